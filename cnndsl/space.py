"""The networks that one net with ``oneof`` describes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from cnndsl.compilation import Compilation
from cnndsl.diagnostics import CnnError, Diagnostic
from cnndsl.limits import Stopwatch
from cnndsl.semantics.net import Parameter
from cnndsl.semantics.space import SpaceFound, drawn, explore, follow, settle
from cnndsl.semantics.state import Choice, Chooser

if TYPE_CHECKING:
    from cnndsl.program import Program


class Space:
    """A search space: counted exactly, every network in it checked.

    ``choices`` are those met when every choice takes its first alternative; an alternative
    may open further ones.
    """

    def __init__(
        self,
        program: Program,
        name: str | None,
        parameters: Mapping[str, Parameter],
        at: Mapping[str, int],
        script: Mapping[str, int] | None = None,
        watch: Stopwatch | None = None,
    ) -> None:
        self.program, self.name = program, name
        self.parameters, self.at, self.script = dict(parameters), dict(at), dict(script or {})
        self._watch = watch or program.watch.fork()

    def _net(self, chooser: Chooser, watch: Stopwatch | None = None) -> Compilation:
        return Compilation(self.program, self.name, self.parameters, self.at, chooser, watch)

    @cached_property
    def found(self) -> SpaceFound:
        with self._watch:
            return explore(
                lambda chooser: self._net(chooser, self._watch).expansion,
                self.script,
                budget=self._has_budget,
            )

    @property
    def _has_budget(self) -> bool:
        """Whether an `assert` counts over all of the network."""
        definition = self.program.library.main.names.get(self._net(follow({})).name or "")
        return definition is not None and any(c.kind == "assert" for c in definition.tree.clauses)

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        return self._net(follow(self.script)).expansion.choices

    @property
    def size(self) -> int:
        """How many networks there are; raises CnnError if one of them is wrong."""
        if self.found.size is None:
            raise CnnError(self.found.problems)
        return self.found.size

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """What is wrong with networks of the space."""
        return self.found.problems

    def sample(self, seed: int) -> Compilation:
        """The network that a seed draws: the same on every machine."""
        return self._net(drawn(seed, self.script))

    def choose(self, wanted: Mapping[str, str | int]) -> Space:
        """The part of the space where choices are fixed, by index or by alternative's text.

        Raises ValueError for a path or an alternative that does not exist.
        """
        script = dict(self.script)
        for path, value in wanted.items():
            choices = self._net(follow(script)).expansion.choices
            script |= settle(choices, {path: value})
        return Space(self.program, self.name, self.parameters, self.at, script)

    @property
    def first(self) -> Compilation:
        """The network of this part of the space; open choices stay open."""
        return self._net(follow(self.script))
