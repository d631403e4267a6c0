"""``cnndsl fmt``: one layout for every text."""

from __future__ import annotations

import sys
from enum import Enum

import click

from cnndsl.cli.app import FAILED, OK, WRONG
from cnndsl.cli.files import STDIN, Failure, find_files, keep_weights, open_program, write_atomic
from cnndsl.cli.options import source_options
from cnndsl.cli.report import report
from cnndsl.cli.terminal import err, error, out, wants_color
from cnndsl.compiler import Program
from cnndsl.diagnostics.display import coloured, counted, escape
from cnndsl.limits import Limits
from cnndsl.source import Source


class Change(Enum):
    """What became of one file."""

    NONE = "left unchanged"
    MADE = "reformatted"
    WRONG = "not formatted"
    UNREAD = "skipped"


@click.command("fmt")
@click.argument("files", nargs=-1, metavar="[FILES… | FOLDER | -]")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if a file would change.")
@click.option("--diff", is_flag=True, help="Write nothing; print the changes.")
@click.option("--explicit", is_flag=True, help="Write out every default that was resolved.")
@click.option("--stdin-filename", metavar="NAME", help="What to call the text on stdin.")
@source_options
def command(
    files: tuple[str, ...], check: bool, diff: bool, explicit: bool, stdin_filename: str | None,
    root: str | None, limits: Limits,
) -> int:  # fmt: skip
    """Lay texts out in the one way; comments and meaning stay.

    Files are rewritten in place; `-` goes from stdin to stdout. A file that does not parse
    is left alone. Without FILES, the current folder is formatted.
    """
    changes: list[Change] = []
    for name in find_files(files or (".",)):
        try:
            program = open_program(name, root, limits, stdin_filename)
            changes.append(_format(name, program, check, diff, explicit))
        except Failure as problem:
            error(problem.format_message())
            changes.append(Change.UNREAD)
    if files != (STDIN,) and not diff:
        _count(changes, check)
    if Change.UNREAD in changes:
        return FAILED
    changed = Change.MADE in changes and (check or diff)
    return WRONG if Change.WRONG in changes or changed else OK


def _format(name: str, program: Program, check: bool, diff: bool, explicit: bool) -> Change:
    before = program.source.text
    after = _explicit(program) if explicit else _plain(program)
    if after is None:
        return Change.WRONG
    if diff:
        out(_diff(program.source, after))
    elif check:
        if after != before:
            err(f"would reformat {escape(program.source.name)}")
    elif name == STDIN:
        out(after)
    elif after != before:
        keep_weights(program)
        write_atomic(name, after.encode())
    return Change.NONE if after == before else Change.MADE


def _plain(program: Program) -> str | None:
    """The text laid out, or None and its problems told."""
    if not program.source.text:  # empty, or bytes that are no text
        report(program.diagnostics)
        return None if program.diagnostics else ""
    from cnndsl.syntax.formatter import format_source

    text, problems = format_source(program.source, program.limits)
    report(problems)
    return text


def _explicit(program: Program) -> str | None:
    """The same with every default written out; it builds the same networks, or is not given."""
    import cnndsl
    from cnndsl.syntax.formatter import format_source
    from cnndsl.views.explicit import made_explicit

    report(program.diagnostics)
    if any(d.severity == "error" for d in program.diagnostics):
        return None
    nets = [program.net(name) for name in program.nets if not program.requires(name)]
    if any(net.open_choices for net in nets):
        raise Failure(
            f"{program.source.name} describes a search space, and defaults depend on the choices; "
            "draw a network first, with `check --sample SEED`"
        )
    text = made_explicit(program.source, program.library.module, [net.graph for net in nets])
    after, problems = format_source(Source(program.source.name, text), program.limits)
    again = cnndsl.loads(
        after or "", name=program.source.name, root=program.root, limits=program.limits
    )
    same = not problems and all(
        again.net(net.name).graph.signature() == net.graph.signature() for net in nets
    )
    if not same:
        raise RuntimeError("the explicit text would have built another network")
    return after


def _diff(source: Source, after: str) -> str:
    """A unified diff; a screen gets no control characters from it."""
    import difflib

    lines = difflib.unified_diff(
        source.text.splitlines(keepends=True), after.splitlines(keepends=True),
        source.name, source.name,
    )  # fmt: skip
    if not sys.stdout.isatty():
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
    styles = {"+": "added", "-": "removed"} if wants_color(sys.stdout) else {}
    shown = (escape(line.rstrip("\r\n")) for line in lines)
    return "".join(_painted(line, styles.get(line[:1])) + "\n" for line in shown)


def _painted(line: str, style: str | None) -> str:
    return coloured(style, line) if style else line


def _count(changes: list[Change], check: bool) -> None:
    words = []
    for change in Change:
        count = changes.count(change)
        if count:
            would = "would be " if check and change is not Change.UNREAD else ""
            words.append(f"{counted(count, 'file')} {would}{change.value}")
    err(", ".join(words))
