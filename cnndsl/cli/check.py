"""``cnndsl check``: every mistake of a text, and what follows from it where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import click

from cnndsl.cli.app import FAILED, OK, WRONG
from cnndsl.cli.files import STDIN, Failure, find_files, keep_weights, open_program, write_atomic
from cnndsl.cli.options import Wanted, network_options, source_options
from cnndsl.cli.report import FORMATS, MACHINE, has_errors, report, report_to_machine
from cnndsl.cli.terminal import err, error, line, out
from cnndsl.compiler import Compilation, Program, Space
from cnndsl.diagnostics import Diagnostic
from cnndsl.diagnostics.display import counted, escape
from cnndsl.limits import Limits

_SHOWN = 16  # choices and alternatives of a space that are listed
_ROUNDS = 50  # of making fixes and checking again


class Checked(NamedTuple):
    """One file: its problems and the nets that have none."""

    program: Program
    diagnostics: tuple[Diagnostic, ...]
    nets: tuple[Compilation | Space, ...]


@click.command("check")
@click.argument("files", nargs=-1, metavar="[FILES… | FOLDER | -]")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="full", help="Of problems.")
@click.option("--json", "as_json", is_flag=True, help="Short for --format json.")
@click.option("--fix", is_flag=True, help="Make the changes that were checked, then check again.")
@click.option("--stdin-filename", metavar="NAME", help="What to call the text on stdin.")
@click.option("-q", "--quiet", is_flag=True, help="No facts, only problems.")
@network_options
@source_options
def command(
    files: tuple[str, ...], kind: str, as_json: bool, fix: bool, stdin_filename: str | None,
    quiet: bool, wanted: Wanted, root: str | None, limits: Limits,
) -> int:  # fmt: skip
    """Find every mistake; print what follows from a text that has none.

    Problems go to stderr. For each net one line goes to stdout: the input sizes it is
    valid for, its output, stride, parameters and multiply-accumulates. Formats json,
    github and sarif go to stdout instead. With --sample the drawn network is printed as
    an ordinary .cnn text. Without FILES, the current folder is checked.
    """
    names = find_files(files or (".",))
    kind = "json" if as_json else kind
    found: list[Checked] = []
    unread = False
    for name in names:
        try:
            checked = _checked(open_program(name, root, limits, stdin_filename), wanted)
            if fix:
                checked = _fixed(name, checked, wanted, root, limits, stdin_filename)
        except Failure as problem:
            error(problem.format_message())
            unread = True
            continue
        found.append(checked)
    diagnostics = [d for checked in found for d in checked.diagnostics]
    if kind in MACHINE:
        nets = [_net_json(net) for checked in found for net in checked.nets]
        report_to_machine(kind, diagnostics, nets)
    else:
        report(diagnostics, concise=kind == "concise", limit=limits.printed)
        if not quiet and not (fix and STDIN in names):
            _print_nets(found, wanted, many=len(names) > 1)
    return FAILED if unread else WRONG if has_errors(diagnostics) else OK


# --- checking -------------------------------------------------------------------------------


def _checked(program: Program, wanted: Wanted) -> Checked:
    if not wanted:
        diagnostics = program.diagnostics
        nets = [program.net(name) for name in program.nets if not program.requires(name)]
    else:
        nets = [wanted.compilation(program)]
        diagnostics = nets[0].diagnostics
    if has_errors(diagnostics):
        return Checked(program, diagnostics, ())
    results: list[Compilation | Space] = []
    for net in nets:
        if not net.open_choices:
            results.append(net)
            continue
        space = wanted.space(program) if wanted else program.space(net.name)
        if wanted:
            diagnostics += tuple(d for d in space.diagnostics if d not in diagnostics)
        results.append(space)
    return Checked(program, diagnostics, () if has_errors(diagnostics) else tuple(results))


# --- facts ----------------------------------------------------------------------------------


def _print_nets(found: list[Checked], wanted: Wanted, many: bool) -> None:
    for checked in found:
        lead = f"{escape(checked.program.source.name)}: " if many else ""
        for net in checked.nets:
            if isinstance(net, Compilation) and wanted.chosen:
                out(net.to_text())
                continue
            for text in _net_lines(net):
                line(lead + text)
        if not wanted and not has_errors(checked.diagnostics):
            for text in _open_nets(checked.program):
                line(lead + text)


def _open_nets(program: Program) -> Iterator[str]:
    """Nets of which nothing is known before somebody gives their parameters."""
    for name in program.nets:
        given = " ".join(f"--set {key}=…" for key in program.requires(name))
        if given:
            yield f"{name}: needs {given}"


def _net_lines(net: Compilation | Space) -> Iterator[str]:
    from cnndsl.views.facts import facts_line

    if isinstance(net, Compilation):
        yield facts_line(net.graph)
        return
    choices = net.first.open_choices
    space = f"a space of {counted(net.size, 'network')}, {counted(len(choices), 'open choice')}"
    yield f"{net.first.name}: {space} · pick with --sample SEED or --choose PATH=…"
    for choice in choices[:_SHOWN]:
        texts = [" ".join(text.split()) for text in choice.alternatives[:_SHOWN]]
        shown = escape(" | ".join(texts), 160)
        yield f"  {escape(choice.path)}: {shown}"
    if len(choices) > _SHOWN:
        yield f"  … and {len(choices) - _SHOWN:,} more choices"


def _net_json(net: Compilation | Space) -> dict[str, Any]:
    from cnndsl.views.facts import facts_json

    if isinstance(net, Compilation):
        return facts_json(net.graph)
    choices = [
        {"path": c.path, "alternatives": [" ".join(text.split()) for text in c.alternatives]}
        for c in net.first.open_choices
    ]
    return {"name": net.first.name, "space": {"size": str(net.size), "choices": choices}}


# --- fixes ----------------------------------------------------------------------------------


def _fixed(
    name: str, checked: Checked, wanted: Wanted, root: str | None, limits: Limits,
    stdin_name: str | None,
) -> Checked:  # fmt: skip
    """The file after every fix that was checked; a fix may uncover the next problem."""
    from cnndsl.diagnostics.apply import plan_fixes

    done = 0
    for _ in range(_ROUNDS):
        plan = plan_fixes(checked.diagnostics)
        if not plan.texts:
            break
        done += len(plan.done)
        checked = _rewritten(name, checked.program, plan.texts, wanted)
    if done:
        err(f"fixed {counted(done, 'problem')} in {escape(checked.program.source.name)}")
    if name == STDIN:
        out(checked.program.source.text)
    return checked


def _rewritten(name: str, program: Program, texts: dict[Any, str], wanted: Wanted) -> Checked:
    """Writes the new texts, each file whole or not at all, and checks again."""
    keep_weights(program)
    for source, text in texts.items():
        if source is not program.source:
            assert program.root is not None
            write_atomic(program.root / source.name, text.encode())
        elif name != STDIN:
            write_atomic(name, text.encode())
    import cnndsl

    text = texts.get(program.source, program.source.text)
    again = cnndsl.loads(text, name=program.source.name, root=program.root, limits=program.limits)
    return _checked(again, wanted)
