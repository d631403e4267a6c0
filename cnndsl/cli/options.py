"""Options that several commands share, and what their values mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import wraps
from typing import Any, TypeVar, cast

import click

from cnndsl.cli.files import Failure, open_program
from cnndsl.cli.memory import bound
from cnndsl.cli.report import report
from cnndsl.compiler import Compilation, Program, Space
from cnndsl.diagnostics import CnnError
from cnndsl.diagnostics.suggest import did_you_mean
from cnndsl.limits import DEFAULT_LIMITS, Limits
from cnndsl.semantics.net import Parameter

Command = TypeVar("Command", bound=Callable[..., Any])
_NUMBER = re.compile(r"([+-]?\d{1,12}(?:\.\d{1,12})?(?:[eE][+-]?\d{1,2})?)([KMG]?)")
_SUFFIX = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_FLAGS = {"yes": True, "no": False}


@dataclass(frozen=True)
class Wanted:
    """Which network of a file: its net, parameters, fixed sizes, choices."""

    net: str | None
    parameters: Mapping[str, Parameter]
    at: Mapping[str, int]
    sample: int | None
    choose: Mapping[str, str]

    def __bool__(self) -> bool:
        """Whether anything was asked for."""
        return bool(self.net is not None or self.parameters or self.at or self.chosen)

    @property
    def chosen(self) -> bool:
        """Whether choices of a search space are made."""
        return self.sample is not None or bool(self.choose)

    def plain(self, program: Program) -> Compilation:
        """The net with its choices open."""
        return Compilation(program, self.net, self.parameters, self.at)

    def space(self, program: Program) -> Space:
        """The part of the search space that ``--choose`` leaves."""
        name = self.plain(program).name
        space = Space(program, name, self.parameters, self.at)
        try:
            return space.choose(self.choose)
        except ValueError as problem:
            raise Failure(f"--choose: {problem}") from None

    def network(self, file: str, root: str | None, limits: Limits) -> Compilation:
        """The one network of a file that was asked for; warnings are told.

        Raises Failure, and CnnError for a text with errors or with choices that are open.
        """
        net = self.compilation(open_program(file, root, limits))
        if not net.ok:
            raise CnnError(net.diagnostics)
        report(net.diagnostics)
        net.decided()
        return net

    def compilation(self, program: Program) -> Compilation:
        """The network that was asked for; open choices stay open."""
        plain = self.plain(program)
        if not self.chosen or not plain.ok:
            return plain
        space = self.space(program)
        return space.first if self.sample is None else space.sample(self.sample)


def network_options(command: Command) -> Command:
    """``--net --set --at --sample --choose``, as one ``wanted`` argument."""

    @wraps(command)
    def collected(
        net: str | None, set: tuple[str, ...], at: tuple[str, ...], sample: int | None,
        choose: tuple[str, ...], **rest: Any,
    ) -> Any:  # fmt: skip
        wanted = Wanted(
            net,
            {key: _value(key, text) for key, text in _pairs("--set", set).items()},
            {key: _size(key, text) for key, text in _pairs("--at", _split(at)).items()},
            sample,
            _pairs("--choose", choose),
        )
        return command(wanted=wanted, **rest)

    options = (
        click.option("--net", metavar="NAME", help="The net, where a file has several."),
        click.option("--set", multiple=True, metavar="NAME=VALUE", help="A parameter of the net."),
        click.option("--at", multiple=True, metavar="H=224,W=224", help="Fix sizes of the input."),
        click.option("--sample", type=int, metavar="SEED", help="Draw the network's choices."),
        click.option(
            "--choose", multiple=True, metavar="PATH=VALUE",
            help="Make one choice, by number or by the alternative's text.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        option(collected)
    return cast(Command, collected)


def source_options(command: Command) -> Command:
    """``--root`` and ``--limit``, as ``root`` and ``limits`` arguments."""
    folder = click.Path(exists=True, file_okay=False)
    help = "The folder that imports stay in; by default the file's."
    option = click.option("--root", type=folder, metavar="FOLDER", help=help)
    return option(limit_option(command))


def limit_option(command: Command) -> Command:
    """``--limit``, as a ``limits`` argument."""

    @wraps(command)
    def collected(limit: tuple[str, ...], **rest: Any) -> Any:
        limits = _limits(limit)
        if limits.memory != DEFAULT_LIMITS.memory:
            bound(limits.memory)
        return command(limits=limits, **rest)

    click.option(
        "--limit", multiple=True, metavar="NAME=NUMBER", help="Change a limit; see `doctor`."
    )(collected)
    return cast(Command, collected)


def _pairs(option: str, texts: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        key, sign, value = (part.strip() for part in text.partition("="))
        if not sign or not key or not value:
            raise click.UsageError(f"{option} takes NAME=VALUE, not `{text}`")
        if key in found:
            raise click.UsageError(f"{option} {key} is given twice: {found[key]} and {value}")
        found[key] = value
    return found


def _split(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part for text in texts for part in text.split(","))


def _value(name: str, text: str) -> Parameter:
    """A number, yes or no, or a name of the file."""
    number = _NUMBER.fullmatch(text)
    if number:
        value = Fraction(number[1]) * _SUFFIX[number[2]]
        return int(value) if value.denominator == 1 else value
    if text in _FLAGS:
        return _FLAGS[text]
    if text.isidentifier() and text.isascii():
        return text
    raise click.UsageError(f"--set {name}: a number, yes, no or a name, not `{text}`")


def _size(symbol: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 12 and int(text) >= 1):
        raise click.UsageError(f"--at {symbol}: a whole number from 1, not `{text}`")
    return int(text)


def _limits(texts: tuple[str, ...]) -> Limits:
    known = [field.name for field in fields(Limits)]
    changed: dict[str, int] = {}
    for name, value in _pairs("--limit", texts).items():
        if name not in known:
            near = did_you_mean(name, known)
            tail = f", did you mean `{near}`?" if near else f"; limits: {', '.join(known)}"
            raise click.UsageError(f"--limit: no limit `{name}`{tail}")
        if not (value.isascii() and value.isdigit() and 1 <= int(value[:16]) < 10**15):
            raise click.UsageError(f"--limit {name}: a whole number from 1, not `{value}`")
        changed[name] = int(value)
    return replace(DEFAULT_LIMITS, **changed)
