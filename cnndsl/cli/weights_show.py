"""``cnndsl weights show``: what a file of weights holds, by module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import click

from cnndsl.checkpoints.bounds import Spec
from cnndsl.checkpoints.files import Contents, inspect
from cnndsl.cli.app import OK
from cnndsl.cli.terminal import line
from cnndsl.cli.weights import reading
from cnndsl.diagnostics.display import counted, escape

_LINES = 60
_TENSORS = 4  # of a module that are shown with their shapes


@click.command("show")
@click.argument("file", type=click.Path())
@click.option("--depth", type=click.IntRange(1), metavar="N", help="Levels of modules to open.")
def command(file: str, depth: int | None) -> int:
    """Show what a file of weights holds: modules, shapes, kinds of numbers.

    FILE is a .safetensors file, or a file of PyTorch's with nothing but tensors in it.
    """
    with reading(file):
        found = inspect(file)
        origin = found.origin
    line(f"{escape(file)}: {_totals(found.specs)}")
    if origin is not None:
        net = f"net {escape(origin.net)} of " if origin.net else ""
        line(f"carries the text: {net}{counted(len(origin.text.splitlines()), 'line')}")
    for text in _tree(found, depth):
        line(text)
    return OK


def _totals(specs: Mapping[str, Spec]) -> str:
    numbers = sum(spec.numbers for spec in specs.values())
    kinds: dict[str, int] = {}
    for spec in specs.values():
        kinds[spec.dtype] = kinds.get(spec.dtype, 0) + 1
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    kind = next(iter(kinds), "") if len(kinds) < 2 else listed
    told = f"{counted(len(specs), 'tensor')}, {counted(numbers, 'number')}"
    return told + (f", {kind}" if kind else "")


def _tree(found: Contents, depth: int | None) -> Iterator[str]:
    """One line for each group of tensors."""
    level = depth or _first_branching(found.specs)
    groups: dict[str, list[str]] = {}
    for name in found.specs:
        parts = name.split(".")
        groups.setdefault(".".join(parts[: min(level, len(parts) - 1)]), []).append(name)
    rows = [
        (escape(group) or "(no module)", counted(len(names), "tensor"),
         f"{_numbers(found, names):,}", _shapes(found.specs, group, names))
        for group, names in list(groups.items())[:_LINES]
    ]  # fmt: skip
    first, second, third = (max((len(row[i]) for row in rows), default=0) for i in range(3))
    for row in rows:
        yield f"  {row[0]:<{first}}  {row[1]:>{second}}  {row[2]:>{third}}  {row[3]}".rstrip()
    if len(groups) > _LINES:
        yield f"  and {len(groups) - _LINES:,} more"


def _numbers(found: Contents, names: Iterable[str]) -> int:
    return sum(found.specs[name].numbers for name in names)


def _first_branching(names: Iterable[str]) -> int:
    """The level where there is more than one module: `module.` before all names tells nothing."""
    spaces = [name.split(".")[:-1] for name in names]
    level = 1
    while spaces and len({tuple(s[:level]) for s in spaces}) == 1 and len(spaces[0]) > level:
        level += 1
    return level


def _shapes(specs: Mapping[str, Spec], group: str, names: list[str]) -> str:
    """Of a module's own tensors; of what is inside it, nothing."""
    if len(names) > _TENSORS and any("." in name[len(group) + 1 :] for name in names):
        return ""
    lead = len(group) + 1 if group else 0
    told = [f"{escape(name[lead:])} {list(specs[name].shape)}" for name in names[:_TENSORS]]
    return ", ".join(told) + (", …" if len(names) > _TENSORS else "")
