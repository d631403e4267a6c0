"""A group of commands that are imported only when they are used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import click


class Commands(click.Group):
    """Commands by name; ``modules`` says in which module each is ``command``."""

    def __init__(self, *words: Any, modules: Mapping[str, str] | None = None, **rest: Any) -> None:
        super().__init__(*words, **rest)
        self.modules = dict(modules or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.modules)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.modules:
            return None
        command: click.Command = import_module(self.modules[name]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.modules and not args[0].startswith("-"):
            from cnndsl.diagnostics.suggest import did_you_mean

            near = did_you_mean(args[0], self.modules)
            tail = f", did you mean `{near}`?" if near else f": one of {', '.join(self.modules)}"
            raise click.UsageError(f"no command `{args[0]}`{tail}", ctx)
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and not ctx.resilient_parsing:  # as while a shell completes words
            _refuse_repeats(click.Context(command, ctx, name, resilient_parsing=True), rest)
        return name, command, rest


def _refuse_repeats(ctx: click.Context, args: Sequence[str]) -> None:
    """UsageError for an option of one value that is given twice: click takes the last of them."""
    _, _, order = ctx.command.make_parser(ctx).parse_args(list(args))
    for option, times in Counter(order).items():
        single = isinstance(option, click.Option) and not (option.multiple or option.is_flag)
        if single and times > 1:
            raise click.UsageError(f"{option.opts[0]} is given {times} times: it takes one", ctx)


def group(name: str, help: str, *commands: str) -> Commands:
    """A group whose command ``x`` is in ``cnndsl/cli/{name}_x.py``."""
    modules = {command: f"cnndsl.cli.{name}_{command}" for command in commands}
    return Commands(name, help=help, modules=modules)
