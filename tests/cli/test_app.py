"""What holds for every command: exit codes, words instead of tracebacks, streams, colours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import cnndsl as package
from cnndsl.cli.app import COMMANDS
from tests.cli.runner import ROOT, cnndsl

NET = "net A: [3, H, W] = conv1: conv(8, 3) -> relu\n"
WRONG = "net A: [3, H, W] = cnov(8, 3)\n"


def process(*words: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "cnndsl", *words]
    return subprocess.run(command, capture_output=True, cwd=ROOT, **options)  # type: ignore[call-overload,no-any-return]


def test_help_names_every_command() -> None:
    run = cnndsl("--help")
    assert run.code == 0
    assert all(f"\n  {name} " in run.out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_refuses_what_it_does_not_know(name: str) -> None:
    assert cnndsl(name, "--help").code == 0
    run = cnndsl(name, "--no-such-option")
    assert run.code == 2
    assert "--no-such-option" in run.err
    assert not run.out


def test_version_of_the_module() -> None:
    run = process("--version")
    assert (run.returncode, run.stdout.decode()) == (0, f"cnndsl {package.__version__}\n")


def test_a_defect_of_ours_is_owned_up_to(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by \x1b[31mzero")

    monkeypatch.setattr(package, "load", broken)
    run = cnndsl("check", "net.cnn")
    assert run.code == 2
    assert "internal error: ZeroDivisionError: by \\x1b[31mzero" in run.err
    assert "bug in cnndsl" in run.err
    assert "Traceback" not in run.err
    for words in (["--backtrace", "check", "net.cnn"], ["check", "net.cnn", "--backtrace"]):
        run = cnndsl(*words)
        assert run.code == 2
        assert "Traceback" in run.err
        assert "raise ZeroDivisionError" in run.err


def test_a_shell_completes_what_would_be_refused() -> None:
    """An option of one value twice: nothing is said while somebody is still at it."""
    line = "cnndsl summary net.cnn --net A --net B --roo"
    run = cnndsl(_CNNDSL_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD="7")
    assert (run.code, run.out, run.err) == (0, "plain,--root\n", "")


def test_an_interrupt_has_its_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(package, "load", interrupted)
    run = cnndsl("check", "net.cnn")
    assert (run.code, run.out) == (130, "")
    assert "Traceback" not in run.err


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = [sys.executable, "-m", "cnndsl", "ops", "--format", "markdown"]
    buffered = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    run = subprocess.Popen(command, **pipes, cwd=ROOT, env=buffered)
    assert run.stdout is not None and run.stderr is not None
    run.stdout.close()
    assert run.stderr.read() == b""
    run.stderr.close()
    assert run.wait() == 2


def test_output_is_utf8_in_every_locale() -> None:
    environment = os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    run = process("check", "-", input=NET.encode(), env=environment)
    assert run.stdout.decode().count(" · ") == 4
    text = "net A: [3, H, W] = cnov(8, 3)  # é 网\n".encode()
    assert process("check", "-", input=text, env=environment).stderr.decode().count("é 网") == 3


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({"NO_COLOR": "1"}, False),
    ],
)
def test_colours_only_where_asked(environment: dict[str, str], coloured: bool) -> None:
    run = cnndsl("check", "-", stdin=WRONG, **environment)
    assert ("\x1b[" in run.err) == coloured
    assert "\x1b[" not in cnndsl("check", "-", stdin=NET, **environment).out


def test_stdin_has_a_name_and_a_folder(tmp_path: Path) -> None:
    (tmp_path / "parts.cnn").write_text("block Unit(c) = conv: conv(c, 3) -> relu\n")
    text = 'import "parts.cnn" (Unit)\nnet A: [3, H, W] = Unit(4)\n'
    run = cnndsl("check", "-", "--stdin-filename", str(tmp_path / "a.cnn"), stdin=text)
    assert (run.code, run.err) == (0, "")
    run = cnndsl("check", "-", stdin=text)
    assert run.code == 1
    assert "<stdin>:1" in run.err


def test_bytes_that_are_no_text_are_a_diagnostic(tmp_path: Path) -> None:
    path = tmp_path / "a.cnn"
    path.write_bytes(b"net A: [3, H, W] = conv(8, 3) \xff\n")
    for words in (["check"], ["fmt"], ["fmt", "--explicit"], ["summary"], ["compile"]):
        run = cnndsl(*words, str(path))
        assert run.code == 1, words
        assert "error[E0" in run.err
    assert path.read_bytes().endswith(b"\xff\n")


def test_a_folder_without_nets_is_wrong_usage(tmp_path: Path) -> None:
    run = cnndsl("check", str(tmp_path))
    assert run.code == 2
    assert "no .cnn files" in run.err
