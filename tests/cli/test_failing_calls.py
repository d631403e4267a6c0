"""Whatever call of the system fails: every artefact is the old one or the new one, whole."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import cnndsl as package
from cnndsl.cli import import_files
from cnndsl.cli.files import Failure
from tests.cli.runner import ROOT, cnndsl

NET = "net Small: [3, H, W] = conv1: conv(4, 3) -> relu -> gap -> flatten -> fc: linear(2)\n"
WRITES: dict[str, tuple[list[str], str]] = {
    "convert": (["weights", "convert", "w.pt", "net.cnn"], "out.safetensors"),
    "map": (["weights", "map", "w.pt", "net.cnn"], "out.map"),
    "python": (["export", "python", "net.cnn"], "out.py"),
    "export json": (["export", "json", "net.cnn"], "out.json"),
    "import json": (["import", "json", "net.json"], "out.cnn"),
}
CALLS = ["open", "fdopen", "chmod", "fsync", "replace", "link", "stat", "fstat"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.cnn").write_text(NET)
    assert cnndsl("export", "json", "net.cnn", "-o", "net.json").code == 0
    state = package.load("net.cnn").net().compile(optimize=0).state_dict()
    torch.save({f"m.{key}": value for key, value in state.items()}, "w.pt")


class Fails:
    """The ``k``-th call of anything that it stands for fails, and with ``all`` those after it."""

    def __init__(self, k: int, *, all: bool) -> None:
        self.left, self.all, self.failed = k, all, False

    def wrap(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **more: Any) -> Any:
            if self.left <= 0 and (self.all or not self.failed):
                self.failed = True
                raise OSError(errno.EIO, "Input/output error")
            self.left -= 1
            return real(*words, **more)

        return call

    def __call__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for call in CALLS:
            monkeypatch.setattr(os, call, self.wrap(getattr(os, call)))


def held(name: str) -> bytes | None:
    return Path(name).read_bytes() if Path(name).exists() else None


def put(name: str, data: bytes | None) -> None:
    Path(name).unlink(missing_ok=True)
    if data is not None:
        Path(name).write_bytes(data)


@pytest.mark.parametrize("old", [b"old", None], ids=["replacing", "making"])
@pytest.mark.parametrize("name", WRITES)
def test_every_kth_call_fails(
    name: str, old: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, output = WRITES[name]
    assert cnndsl(*words, "-o", output).code == 0
    new = held(output)
    known = {p.name for p in Path().iterdir()} - {output}
    outcomes = set()
    for k in range(200):
        put(output, old)
        fails = Fails(k, all=True)
        with monkeypatch.context() as patch:
            fails(patch)
            run = cnndsl(*words, "-o", output, "--force")
        assert "bug" not in run.err, run.err
        assert held(output) in (old, new)
        assert run.code == 0 or fails.failed
        assert held(output) == new or run.code
        outcomes.add(run.code)
        assert {p.name for p in Path().iterdir()} - {output} == known
        if not fails.failed:
            break
    else:
        raise AssertionError("it never ends")
    assert outcomes == {0, 2}


@pytest.mark.parametrize("links", [True, False], ids=["", "without links"])
@pytest.mark.parametrize("old", [(b"old", b"old"), (None, b"old"), (None, None)])
def test_a_text_and_its_weights(
    old: tuple[bytes | None, bytes | None], links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call fails: both are there or neither, and what was there before is there again."""
    Path("pair").mkdir()
    names = ("pair/a.cnn", "pair/a.safetensors")
    if not links:
        monkeypatch.setattr(os, "link", Fails(0, all=True).wrap(os.link))
        monkeypatch.setattr(import_files.files, "NO_LINKS", (errno.EIO,))
    for k in range(100):
        for name, data in zip(names, old, strict=True):
            put(name, data)
        fails, failure = Fails(k, all=False), None
        with monkeypatch.context() as patch:
            fails(patch)
            try:
                import_files.write_both(names[0], "new", names[1], b"new", force=any(old))
            except Failure as problem:
                failure = problem
        found = (held(names[0]), held(names[1]))
        assert found == (old if failure else (b"new", b"new")), (k, failure)
        assert len(list(Path("pair").iterdir())) == sum(data is not None for data in found)
        if not fails.failed:
            break
    assert failure is None and 5 < k < 99


KILLED = """
import os, sys
from cnndsl import files
from cnndsl.cli.import_files import write_both
replace = files.replace
def dies(path, data):
    if path.endswith(".cnn"):
        os._exit(9)
    replace(path, data)
files.replace = dies
write_both("a.cnn", "new", "a.safetensors", b"new", True)
"""


def test_a_kill_between_a_text_and_its_weights_loses_nothing() -> None:
    put("a.cnn", b"old")
    put("a.safetensors", b"old")
    before = {p.name for p in Path().iterdir()}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", KILLED], env=environment).returncode == 9
    assert (held("a.cnn"), held("a.safetensors")) == (b"old", b"new")
    (left,) = {p.name for p in Path().iterdir()} - before
    assert left.startswith(".cnndsl-") and held(left) == b"old"


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    words, output = WRITES["convert"]
    assert cnndsl(*words, "-o", output).code == 0
    before = held(output)
    monkeypatch.setattr(os, "fsync", Fails(0, all=True).wrap(os.fsync))
    run = cnndsl(*words, "--dtype", "float16", "-o", output, "--force")
    assert run.code == 2
    assert held(output) == before


def test_a_link_keeps_pointing() -> None:
    Path("real").mkdir()
    words, output = WRITES["convert"]
    Path(output).symlink_to("real/there.safetensors")
    assert cnndsl(*words, "-o", output).code == 2, "a link to nothing is something too"
    assert cnndsl(*words, "-o", output, "--force").code == 0
    assert Path(output).is_symlink()
    assert Path("real/there.safetensors").is_file()
    shutil.rmtree("real")
    assert cnndsl(*words, "-o", output, "--force").code == 2
    assert os.readlink(output) == "real/there.safetensors"
