"""What a command may take: memory, time, and no more patience than the system's files need."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cnndsl.cli import memory
from tests.cli.runner import ROOT, Run, cnndsl

resource = pytest.importorskip("resource")

NET = "net N: [3, H, W] = "
DEFAULT = 4 << 30
INTERRUPTED = "\nerror: interrupted\n"  # below the ^C of a terminal
FIBONACCI = "def f(n) = if n < 2 then 1 else (f(n - 1) + f(n - 2))\n"


def child(*words: str, **how: Any) -> Run:
    """A process of its own, which no test may wait for in vain."""
    how = {"stdout": subprocess.PIPE, "stdin": subprocess.DEVNULL, **how}
    done = subprocess.run(
        [sys.executable, *words], stderr=subprocess.PIPE, text=True, cwd=ROOT, timeout=30, **how
    )
    return Run(done.returncode, done.stdout, done.stderr)


def process(*words: str, **how: Any) -> Run:
    return child("-m", "cnndsl", *words, **how)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "net.cnn"
    path.write_text(NET + "relu\n")
    return str(path)


# --- memory ----------------------------------------------------------------------------------

HELD = """
import os, resource, sys
from cnndsl.cli import app, main

if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[2]), int(sys.argv[2])))
app.main = lambda **_: print(sys.argv[-1], resource.getrlimit(resource.RLIMIT_DATA)[0], flush=True)
for command in sys.argv[1].split():
    if not os.fork():  # a bound that was set stays
        sys.argv[1:] = [command]
        main()
        os._exit(0)
    os.wait()
"""


def held(commands: Sequence[str], *hard: str) -> dict[str, int]:
    run = child("-c", HELD, " ".join(commands), *hard)
    assert run.code == 0, run.err
    return {name: int(size) for name, size in map(str.split, run.out.splitlines())}


def test_every_command_is_bound_but_those_that_import_torch() -> None:
    from cnndsl.cli.app import COMMANDS

    free = resource.getrlimit(resource.RLIMIT_DATA)[0]
    wanted = {
        name: free if name in memory.UNBOUNDED else DEFAULT + memory.RESERVE for name in COMMANDS
    }
    assert held(COMMANDS) == wanted


def test_a_tighter_bound_of_the_system_stays() -> None:
    assert held(["check"], str(1 << 30)) == {"check": 1 << 30}


@pytest.mark.parametrize("command", ["check", "fmt", "summary", "compile"])
def test_the_option_moves_the_bound(
    command: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds: list[int] = []
    monkeypatch.setattr("cnndsl.cli.options.bound", bounds.append)
    words = ["--run", "none"] if command == "compile" else []
    cnndsl(command, file, *words)
    assert bounds == []
    cnndsl(command, file, *words, "--limit", "memory=5000000000")
    assert bounds == [5_000_000_000]


@pytest.mark.parametrize("size", [30_000_000, 60_000_000, 70_000_000])
def test_a_text_that_takes_too_much_is_one_error(size: int, tmp_path: Path) -> None:
    """CPython 3.11 used to try for ever to note where it was, at the last two of these bounds."""
    path = tmp_path / "long.cnn"
    path.write_text(NET + " -> ".join(["relu"] * 90_000) + "\n")
    run = process("check", str(path), "--limit", f"memory={size}")
    assert run.code == 2 and run.out == ""
    assert run.err == (
        f"error: this takes more than {size:,} bytes of memory\n"
        "`--limit memory=BYTES` moves this limit where a command reads a file.\n"
    )


def test_memory_that_ends_without_a_bound(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(*_: object) -> None:
        raise MemoryError

    app = sys.modules["cnndsl.cli.app"]  # `cnndsl.cli.app` is the command
    monkeypatch.setattr(app, "lift", lambda: None)
    monkeypatch.setattr("cnndsl.cli.check._checked", greedy)
    assert cnndsl("check", file) == Run(2, "", "error: not enough memory\n")


def test_a_system_without_such_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    monkeypatch.setattr(memory, "resource", None)
    memory.bound(DEFAULT)
    assert memory.lift() is None
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


# --- time ------------------------------------------------------------------------------------


def test_seconds(tmp_path: Path) -> None:
    path = tmp_path / "heavy.cnn"
    path.write_text(FIBONACCI + NET + "(conv(f(15), 1) -> relu)^60\n")
    run = process("check", str(path), "--limit", "seconds=1")
    assert run.code == 1 and run.out == ""
    assert "error[E0216]: this takes too long: it was given up after 1 second\n" in run.err
    assert run.err.endswith("\n1 error\n")


# --- files that are none ---------------------------------------------------------------------


def test_output_through_a_link_that_leads_nowhere(file: str, tmp_path: Path) -> None:
    link = tmp_path / "net.pt2"
    link.symlink_to(tmp_path / "nowhere" / "net.pt2")
    run = cnndsl("compile", file, "--run", "none", "-o", str(link))
    assert run == Run(2, "", f"error: cannot write {link}: no such folder\n")


def test_output_through_links_that_lead_to_each_other(file: str, tmp_path: Path) -> None:
    one, other = tmp_path / "one.pt2", tmp_path / "other.pt2"
    one.symlink_to(other)
    other.symlink_to(one)
    told = f"error: cannot write {one}: it is a link that leads back to itself\n"
    for more in ((), ("--force",)):
        run = cnndsl("export", "pt2", file, "-o", str(one), *more)
        assert run == Run(2, "", told), "before anything is made"


def test_output_onto_a_folder(file: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    run = cnndsl("compile", file, "--run", "none", "-o", str(folder), "--force")
    assert run == Run(2, "", f"error: cannot write {folder}: is a directory\n")
    assert list(folder.iterdir()) == []


def test_closed_stdin() -> None:
    run = process("check", "-", stdin=None, preexec_fn=lambda: os.close(0))
    assert run == Run(2, "", "error: cannot read stdin: it is closed\n")


def test_a_pipe_in_a_folder_is_not_waited_for(file: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.cnn")
    run = process("check", str(tmp_path))
    assert run.code == 0 and run.err == ""
    assert run.out.startswith("N: valid for")


def test_a_reader_that_has_gone(file: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        for words in (["ops", "--json"], ["check", file], ["check", "--json", file]):
            assert process(*words, stdout=writer) == Run(2, None, ""), words  # type: ignore[arg-type]
    finally:
        os.close(writer)


def test_an_interrupt_inside_a_command(tmp_path: Path) -> None:
    """The command reads from a pipe when the signal comes: it has begun and cannot be over."""
    pipe = tmp_path / "pipe.cnn"
    os.mkfifo(pipe)
    with subprocess.Popen(
        [sys.executable, "-m", "cnndsl", "check", str(pipe)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # A shell starts what runs in the background with this signal ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:  # fmt: skip
        writer = os.open(pipe, os.O_WRONLY)  # waits for the reader
        os.write(writer, b"net")
        running.send_signal(signal.SIGINT)
        try:
            out, err = running.communicate(timeout=30)
        finally:
            running.kill()
            os.close(writer)
    assert (running.returncode, out, err) == (130, "", INTERRUPTED)


def test_an_interrupt_in_python(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cnndsl.cli.check._checked", stopped)
    assert cnndsl("check", file) == Run(130, "", INTERRUPTED)
