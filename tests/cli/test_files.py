"""Files are written whole or not at all, whatever fails on the way."""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cnndsl import files
from cnndsl.backends.torch import mark
from cnndsl.cli import import_files, outputs
from cnndsl.cli.files import Failure, read_bounded, write_atomic, write_new
from cnndsl.exporters import onnx
from tests.cli.runner import cnndsl

UGLY = "net A: [3,H,W]=conv(8,3)\n"
TYPO = "net A: [3, H, W] = cnov(8, 3)\n"
STEPS = [(os, "fsync"), (os, "replace"), (os, "chmod"), (tempfile, "mkstemp"), (os, "fdopen")]


def failing(problem: BaseException) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise problem

    return fail


@pytest.mark.parametrize(("owner", "name"), STEPS, ids=[name for _, name in STEPS])
@pytest.mark.parametrize("problem", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_failed_step_leaves_the_old_file(
    owner: Any, name: str, problem: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.cnn"
    path.write_text("old")
    monkeypatch.setattr(owner, name, failing(problem))
    with pytest.raises((Failure, KeyboardInterrupt)):
        write_atomic(path, b"new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["net.cnn"]


class _Full:
    """A file on a full disk: half is written."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __enter__(self) -> _Full:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> None:
        self.file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fdopen

    def fdopen(descriptor: int, mode: str = "r", *rest: Any, **more: Any) -> Any:
        file = real(descriptor, mode, *rest, **more)
        return _Full(file) if "w" in mode else file

    monkeypatch.setattr(os, "fdopen", fdopen)


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize(
    ("words", "text"),
    [(["fmt"], UGLY), (["fmt", "--explicit"], UGLY), (["check", "--fix"], TYPO)],
    ids=["fmt", "fmt --explicit", "check --fix"],
)
def test_commands_survive_a_full_disk(words: list[str], text: str, tmp_path: Path) -> None:
    path = tmp_path / "net.cnn"
    path.write_text(text)
    run = cnndsl(*words, str(path))
    assert run.code == 2
    assert "no space left" in run.err
    assert path.read_text() == text
    assert os.listdir(tmp_path) == ["net.cnn"]


@pytest.mark.usefixtures("full_disk")
def test_new_leaves_nothing_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cnndsl("new", "Small").code == 2
    assert os.listdir(tmp_path) == []


def test_mode_bits_and_links_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "net.cnn", tmp_path / "link.cnn"
    path.write_text(UGLY)
    path.chmod(0o640)
    link.symlink_to(path)
    assert cnndsl("fmt", str(link)).code == 0
    assert link.is_symlink()
    assert path.read_text() == "net A: [3, H, W] = conv(8, 3)\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_new_file_has_the_usual_mode(tmp_path: Path) -> None:
    usual = tmp_path / "usual"
    usual.touch()
    write_atomic(tmp_path / "a", b"")
    write_new(tmp_path / "b", b"")
    modes = {stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    assert modes == {stat.S_IMODE(usual.stat().st_mode)}


def test_a_formatted_file_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "net.cnn"
    path.write_text("net A: [3, H, W] = conv(8, 3)\n")
    os.utime(path, (1, 1))
    assert cnndsl("fmt", str(path)).code == 0
    assert path.stat().st_mtime == 1


def test_a_fix_reaches_an_imported_file(tmp_path: Path) -> None:
    (tmp_path / "parts.cnn").write_text("block Unit(c) = conv: cnov(c, 3) -> relu\n")
    main = tmp_path / "main.cnn"
    main.write_text('import "parts.cnn" (Unit)\nnet A: [3, H, W] = Unit(4) -> rleu\n')
    run = cnndsl("check", "--fix", str(main))
    assert run.code == 0, run.err
    assert "fixed 2 problems" in run.err
    assert "conv: conv(c, 3)" in (tmp_path / "parts.cnn").read_text()
    assert main.read_text().endswith("Unit(4) -> relu\n")


def test_fix_of_stdin_goes_to_stdout() -> None:
    run = cnndsl("check", "--fix", "-", stdin=TYPO)
    assert (run.code, run.out) == (0, TYPO.replace("cnov", "conv"))


# --- what is no file, and systems without links ----------------------------------------------


def test_only_files_are_replaced(tmp_path: Path) -> None:
    """As root, `-o /dev/null` would take the device away from everybody."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        with pytest.raises(Failure, match="not a regular file"):
            write_atomic(path, b"")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]


OURS: dict[str, tuple[Callable[[str], bool], bytes]] = {
    "onnx": (onnx.is_ours, onnx.MARK.ljust(32)),
    "pt2": (mark.is_ours, b"PK\x05\x06".ljust(22, b"\0")),
    "json": (files.is_sealed_json, files.sealed_json({}).encode()),
    "text": (files.is_sealed, files.sealed("").encode()),
}


@pytest.mark.parametrize("kind", OURS)
def test_pipes_are_not_asked_who_wrote_them(kind: str, tmp_path: Path) -> None:
    is_ours, text = OURS[kind]
    path = tmp_path / "pipe.onnx"
    os.mkfifo(path)
    held = os.open(path, os.O_RDWR)  # with something in it, so that nobody waits here
    try:
        os.write(held, text)
        assert not is_ours(str(path)) and not is_ours(str(tmp_path))
        assert os.read(held, 100) == text
        with pytest.raises(Failure, match="not a regular file"):
            outputs.claim(str(path), True, "a model", ".onnx", is_ours)
        with pytest.raises(Failure, match="no regular file; `-` is stdin"):
            read_bounded(str(path), 10)
    finally:
        os.close(held)


@pytest.mark.parametrize("name", ["", ".", "/", "./"])
@pytest.mark.parametrize("is_ours", [None, lambda _: True])
def test_outputs_without_a_name(name: str, is_ours: Callable[[str], bool] | None) -> None:
    with pytest.raises(Failure, match=r"give it a name, such as net\.onnx"):
        outputs.claim(name, True, "a model", ".onnx", is_ours)


def test_what_cannot_be_written_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(os, "access", lambda path, mode: asked.append((path, mode)))
    with pytest.raises(Failure, match="permission denied"):
        outputs.claim(str(tmp_path / "a.onnx"), False, "a model", ".onnx", None)
    assert asked == [(str(tmp_path), os.W_OK)]


def test_of_a_file_that_is_too_long_nothing_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_bounded(str(path), 5) == b"12345"
    long = os.stat_result([0] * 6 + [10**12] + [0] * 3)
    monkeypatch.setattr(os, "fstat", lambda _: long)
    with pytest.raises(Failure, match="has more than 5 bytes"):
        read_bounded(str(path), 5)


def test_bytes_do_not_go_to_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen:
        def isatty(self) -> bool:
            return True

    for stdout, said in ((Screen(), "no text for a screen"), (None, "stdout: it is closed")):
        with monkeypatch.context() as patch, pytest.raises(Failure, match=said):
            patch.setattr(sys, "stdout", stdout)
            outputs.claim_bytes("-", True, "a model", ".onnx")


# --- texts that are replaced while nobody has edited them ---------------------------------------

TEXT = "# a heading\nline 2\n"
EDITS: dict[str, Callable[[bytes], bytes]] = {
    "a letter": lambda data: data.replace(b"2", b"3"),
    "in front": lambda data: b"\n" + data,
    "behind": lambda data: data + b"more\n",
    "another seal": lambda data: data[:-2] + (b"1\n" if data[-2:-1] == b"0" else b"0\n"),
    "no seal": lambda data: TEXT.encode(),
    "nothing": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
}


def test_a_sealed_text_is_known_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    data = files.sealed(TEXT).encode()
    assert data.startswith(TEXT.encode()) and data.count(b"\n") == TEXT.count("\n") + 1
    path.write_bytes(data)
    assert files.is_sealed(path)
    path.write_bytes(data.replace(b"\n", b"\r\n"))
    assert files.is_sealed(path), "git writes such ends on Windows"
    assert not files.is_sealed(tmp_path / "nowhere")


DOCUMENT: dict[str, Any] = {"schema": "a", "nodes": [{"width": 1.5, "path": "\u00e9"}]}


def test_a_sealed_document_is_known_again_in_any_layout(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    text = files.sealed_json(DOCUMENT)
    found = json.loads(text)
    assert found.pop("digest") and found == DOCUMENT
    for same in (text, text.replace("\n", "\r\n"), json.dumps(json.loads(text))):
        path.write_text(same)
        assert files.is_sealed_json(path)
    edits = [
        text.replace("1.5", "2"), text.replace('"schema"', '"scheme"'), json.dumps(DOCUMENT),
        text.replace("{", '{"schema": "mine",', 1), text[:-4], "", "[]", "[" * 100_000,
        '{"digest": 1}', "\u00e9",
    ]  # fmt: skip
    for edited in edits:
        path.write_text(edited, encoding="latin-1")
        assert not files.is_sealed_json(path), edited


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_text_is_not(edit: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(EDITS[edit](files.sealed(TEXT).encode()))
    assert not files.is_sealed(path)


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
def test_systems_without_links(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, weights = tmp_path / "a.cnn", tmp_path / "a.safetensors"
    monkeypatch.setattr(os, "link", failing(OSError(number, "No links")))
    import_files.write_both(str(text), "1", str(weights), b"1", force=False)
    with pytest.raises(Failure, match=r"a\.safetensors exists already"):
        import_files.write_both(str(text), "2", str(weights), b"2", force=False)
    import_files.write_both(str(text), "3", str(weights), b"3", force=True)
    assert (text.read_text(), weights.read_bytes()) == ("3", b"3")
    text.unlink()
    text.mkdir()
    with pytest.raises(Failure, match="is a directory"):
        import_files.write_both(str(text), "4", str(weights), b"4", force=True)
    assert weights.read_bytes() == b"3"
    assert sorted(os.listdir(tmp_path)) == ["a.cnn", "a.safetensors"]


def test_a_failure_without_links_leaves_the_name_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", failing(OSError(errno.EPERM, "No links")))
    monkeypatch.setattr(os, "replace", failing(OSError(errno.ENOSPC, "No space left")))
    with pytest.raises(Failure, match="no space left"):
        write_new(tmp_path / "a", b"new")
    assert os.listdir(tmp_path) == []
