"""The group of commands, and the one place where errors become exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

import cnndsl
from cnndsl.cli.commands import Commands
from cnndsl.cli.memory import lift
from cnndsl.cli.terminal import err, error, prepare
from cnndsl.diagnostics import CnnError

COMMANDS = {
    name: f"cnndsl.cli.{name}"
    for name in ("check", "compile", "tune", "fmt", "summary", "explain", "ops", "new", "doctor")
} | {name: f"cnndsl.cli.{name}_group" for name in ("export", "import", "weights")}
OK, WRONG, FAILED, INTERRUPTED = 0, 1, 2, 130
_BACKTRACE = "--backtrace"
_MORE_MEMORY = "`--limit memory=BYTES` moves this limit where a command reads a file."


class App(Commands):
    """Commands by name, imported on use; errors told in words."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Runs a command line and ends the process with its exit code."""
        words = list(sys.argv[1:] if args is None else args)
        backtrace = _takes_backtrace(words)
        extra["standalone_mode"] = False
        prepare()
        try:
            code = super().main(words, prog_name or "cnndsl", **extra)
        except SystemExit as end:  # click's own: words for a shell; else stdout's reader has gone
            code = FAILED if end.code else OK
        except Exception as problem:
            code = _told(problem, backtrace)
        except KeyboardInterrupt:
            code = _told(click.Abort(), backtrace)
        sys.exit(code if isinstance(code, int) else OK)


def _takes_backtrace(words: list[str]) -> bool:
    """Whether the option stands anywhere before ``--``; it is taken out."""
    end = words.index("--") if "--" in words else len(words)
    if _BACKTRACE not in words[:end]:
        return False
    words.remove(_BACKTRACE)
    return True


def _told(problem: Exception, backtrace: bool) -> int:
    """Says what went wrong on stderr; the exit code."""
    held = lift() if isinstance(problem, MemoryError) else None
    if backtrace and not isinstance(problem, click.exceptions.Exit):
        import traceback

        traceback.print_exception(problem)
    if isinstance(problem, click.exceptions.Exit):
        return problem.exit_code
    if isinstance(problem, click.Abort):
        error("interrupted")
        return INTERRUPTED
    if isinstance(problem, CnnError):
        from cnndsl.cli.report import report

        report(problem.diagnostics)
        return WRONG
    if isinstance(problem, click.ClickException):
        _refuse(problem)
    elif isinstance(problem, OSError):
        name = f"{problem.filename}: " if problem.filename is not None else ""
        error(f"{name}{(problem.strerror or str(problem)).lower()}")
    elif isinstance(problem, MemoryError):
        _tell_bound(held)
    else:
        _own_up(problem)
    return FAILED


def _refuse(problem: click.ClickException) -> None:
    if isinstance(problem, click.exceptions.NoArgsIsHelpError):
        err(problem.format_message())  # the list of commands, which is no error's text
        return
    context = problem.ctx if isinstance(problem, click.UsageError) else None
    hint = f"\nTry `{context.command_path} --help`." if context else ""
    error(problem.format_message(), hint)


def _tell_bound(held: int | None) -> None:
    if held is None:
        error("not enough memory")
    else:
        error(f"this takes more than {held:,} bytes of memory", f"\n{_MORE_MEMORY}")


def _own_up(problem: Exception) -> None:
    kind = type(problem).__name__
    said = str(problem).partition("\n")[0]
    error(
        f"internal error: {kind}{f': {said}' if said else ''}",
        f"\nThis is a bug in cnndsl {cnndsl.__version__}, not in your file. Please report it with "
        f"the command and the file; `{_BACKTRACE}` shows where it happened.",
    )


@click.command(
    "cnndsl", cls=App, modules=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(cnndsl.__version__, prog_name="cnndsl", message="%(prog)s %(version)s")
@click.option(_BACKTRACE, is_flag=True, expose_value=False, help="Show where an error came from.")
def app() -> None:
    """Compile convolutional networks written as text."""
