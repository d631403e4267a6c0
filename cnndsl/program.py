"""A file with its imports, and every problem in it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnndsl.checkpoints.origin import Origin
from cnndsl.compilation import Compilation
from cnndsl.diagnostics import Collector, Diagnostic
from cnndsl.limits import DEFAULT_LIMITS, Limits, OutOfTime, Stopwatch
from cnndsl.semantics.files import Library, Loader
from cnndsl.semantics.net import Parameter, first_of_each
from cnndsl.semantics.resolve import resolve
from cnndsl.semantics.state import Chooser
from cnndsl.source import Source
from cnndsl.space import Space
from cnndsl.syntax.errors import out_of_time

if TYPE_CHECKING:
    from cnndsl.repair import Check, Findings

_LINE = 32  # characters, to count the work of reading in the lines of an ordinary text


class Program:
    """One file with what it imports. ``diagnostics`` holds every problem as a value.

    ``origin``: the network that is meant where a call names none, if the text came with weights.
    """

    def __init__(
        self,
        source: Source,
        root: Path | None = None,
        limits: Limits = DEFAULT_LIMITS,
        problem: Diagnostic | None = None,
        given: Mapping[str, Source] | None = None,
        watch: Stopwatch | None = None,
        origin: Origin | None = None,
    ) -> None:
        self.source, self.root, self.limits, self.origin = source, root, limits, origin
        self._problem = problem
        self._given = given or {}
        self.watch = watch or Stopwatch(limits.seconds)
        self._plain: dict[str | None, Compilation] = {}

    @cached_property
    def _loaded(self) -> tuple[Library, tuple[Diagnostic, ...]]:
        found = Collector()
        if self._problem is not None:  # a file that is no text, or too long to be read
            found.add(self._problem)
        with self.watch:
            loader = Loader(self.root, self.limits, found, self._given, self.watch)
            library = loader.load(self.source)
            for key, scope in library.scopes.items():
                if self.watch.over:
                    break
                resolve(scope, library.modules[key], found)
            if self.watch.over and all(d.code != "E0216" for d in found.all):
                found.add(out_of_time(self.watch.seconds))
        return library, found.all

    @property
    def library(self) -> Library:
        return self._loaded[0]

    @property
    def problems(self) -> tuple[Diagnostic, ...]:
        """Problems of the text alone: reading, imports and names; no net is looked at."""
        return self._loaded[1]

    @cached_property
    def nets(self) -> tuple[str, ...]:
        """The names of the file's nets, in the order of the text."""
        return self.library.nets

    @property
    def main_net(self) -> str | None:
        """The net that is meant where none is named: that of the weights, or the file's only."""
        if self.origin is not None and self.origin.net is not None:
            return self.origin.net
        return self.nets[0] if len(self.nets) == 1 else None

    @cached_property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Problems of the text and of every net at its default parameters, with checked fixes."""
        found, spent, wrong = Collector(), 0, set()
        with self.watch:
            for name, problems, work in self._search():
                found.merge(problems)
                spent += work
                if any(d.severity == "error" for d in problems):
                    wrong.add(name)
            if self.watch.over and not any(d.code == "E0216" for d in found.all):
                found.add(out_of_time(self.watch.seconds))  # it ran out between two nets
            return self.mended(
                found.all, lambda texts: self.with_texts(texts, self.watch)._search(wrong), spent,
                self.watch,
            )  # fmt: skip

    def _search(self, first: Collection[str] = ()) -> Findings:
        """Problems as they are found, those of some nets first, and the work of each part."""
        size = sum(len(s.source.text) for s in self.library.scopes.values())
        yield "", self.problems, size // _LINE
        for name in sorted(self.nets, key=lambda name: name not in first):
            if self.watch.over:
                return  # what was looked at last has said so
            if self.requires(name):
                continue  # nothing is known of it until somebody gives these
            net = self.net(name)
            yield name, net.expansion.diagnostics, net.expansion.spent
            if net.open_choices and net.ok:
                found = Space(self, name, {}, {}, watch=self.watch).found
                yield name, found.problems, found.spent

    def with_texts(self, texts: Mapping[Source, str], watch: Stopwatch) -> Program:
        """The same program with other texts to be tried out, without reading a file again.

        A net is given up where it takes more than ``TRIED`` steps: a fix that cannot be seen to
        hold in well under a second is not worth the wait.
        """
        from cnndsl.repair import TRIED

        files = {key: scope.source for key, scope in self.library.scopes.items()}
        files |= {k: Source(s.name, texts[s]) for k, s in files.items() if s in texts}
        return Program(
            files[self.source.name], self.root,
            replace(self.limits, steps=min(self.limits.steps, TRIED)), given=files, watch=watch,
            origin=self.origin,
        )  # fmt: skip

    def mended(
        self, problems: tuple[Diagnostic, ...], check: Check, work: int, watch: Stopwatch
    ) -> tuple[Diagnostic, ...]:
        """The problems with fixes that hold; without any where there is no time to try them."""
        if not any(d.severity == "error" for d in problems):
            return problems
        from cnndsl.repair import mend

        def timed(texts: Mapping[Source, str]) -> Findings:
            watch.check()
            return check(texts)

        modules = {s.source: self.library.modules[k] for k, s in self.library.scopes.items()}
        try:
            with watch:
                watch.check()
                return mend(problems, modules, timed, work)
        except OutOfTime:
            return tuple(replace(d, fixes=()) if d.fixes else d for d in problems)

    def requires(self, name: str) -> tuple[str, ...]:
        """Parameters of a net that have no default."""
        definition = self.library.main.names.get(name)
        params = definition.tree.params if definition else ()
        given = self.origin.parameters if self.origin and name == self.main_net else {}
        return tuple(p.name.text for p in params if p.default is None and p.name.text not in given)

    def net(
        self,
        name: str | None = None,
        /,
        *,
        at: Mapping[str, int] | Parameter | None = None,
        chooser: Chooser | Parameter = first_of_each,
        **parameters: Parameter,
    ) -> Compilation:
        """One net with its parameters; without a name, the file's only net.

        ``at`` fixes symbols of the input (``{"H": 224}``). A net may have parameters of these
        names too: what is no mapping, no function, or no net's name is the parameter's value.
        """
        if at is not None and not isinstance(at, Mapping):
            parameters, at = parameters | {"at": at}, None
        if not callable(chooser):
            parameters, chooser = parameters | {"chooser": chooser}, first_of_each
        if name is None and parameters.get("name") in self.nets:
            name = str(parameters.pop("name"))
        if not parameters and not at and chooser is first_of_each:
            # `diagnostics` and a caller who asks for the facts expand it once
            return self._plain.setdefault(name, Compilation(self, name, {}, {}, watch=self.watch))
        return Compilation(self, name, parameters, at or {}, chooser)

    def space(
        self, name: str | None = None, *, at: Mapping[str, int] | None = None, **parameters: Any
    ) -> Space:
        """The networks that a net with ``oneof`` describes."""
        return Space(self, name, parameters, at or {})
