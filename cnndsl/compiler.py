"""From text to module, each stage computed once when asked for.

``load``/``loads`` give a ``Program`` and never raise for a bad text; ``Program.net`` gives a
``Compilation``; only asking that for a graph or a module raises ``CnnError``.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnndsl.diagnostics import CnnError, Collector, Diagnostic
from cnndsl.graph import cost
from cnndsl.graph.facts import Facts
from cnndsl.graph.infer import evaluation_facts
from cnndsl.graph.model import Graph
from cnndsl.limits import DEFAULT_LIMITS, Limits
from cnndsl.semantics import errors
from cnndsl.semantics.files import Library, Loader
from cnndsl.semantics.net import Expansion, Parameter, expand_net, first_of_each
from cnndsl.semantics.resolve import resolve
from cnndsl.semantics.space import SpaceFound, drawn, explore, follow, settle
from cnndsl.semantics.state import Choice, Chooser
from cnndsl.source import Source

if TYPE_CHECKING:
    import networkx

    from cnndsl.backends.torch.module import Network
    from cnndsl.repair import Check, Findings


class Program:
    """One file with what it imports. ``diagnostics`` holds every problem as a value."""

    def __init__(
        self,
        source: Source,
        root: Path | None = None,
        limits: Limits = DEFAULT_LIMITS,
        problem: Diagnostic | None = None,
        given: Mapping[str, Source] | None = None,
    ) -> None:
        self.source, self.root, self.limits = source, root, limits
        self._problem = problem
        self._given = given or {}
        self._plain: dict[str | None, Compilation] = {}

    @cached_property
    def _loaded(self) -> tuple[Library, tuple[Diagnostic, ...]]:
        found = Collector()
        if self._problem is not None:  # a file that is no text, or too long to be read
            found.add(self._problem)
        library = Loader(self.root, self.limits, found, self._given).load(self.source)
        for key, scope in library.scopes.items():
            resolve(scope, library.modules[key], found)
        return library, found.all

    @property
    def library(self) -> Library:
        return self._loaded[0]

    @cached_property
    def nets(self) -> tuple[str, ...]:
        """The names of the file's nets, in the order of the text."""
        return self.library.nets

    @cached_property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Problems of the text and of every net at its default parameters, with checked fixes."""
        found, spent, wrong = Collector(), 0, set()
        for name, problems, work in self._search():
            found.merge(problems)
            spent += work
            if any(d.severity == "error" for d in problems):
                wrong.add(name)
        return self._mended(found.all, lambda texts: self._with(texts)._search(wrong), spent)

    def _search(self, first: Collection[str] = ()) -> Findings:
        """Problems as they are found, those of some nets first, and the work of each part."""
        lines = sum(s.source.text.count("\n") for s in self.library.scopes.values())
        yield "", self._loaded[1], lines
        for name in sorted(self.nets, key=lambda name: name not in first):
            if self.requires(name):
                continue  # nothing is known of it until somebody gives these
            net = self.net(name)
            yield name, net.expansion.diagnostics, net.expansion.spent
            if net.open_choices and net.ok:
                yield name, (found := self.space(name)._found).problems, found.spent

    def _with(self, texts: Mapping[Source, str]) -> Program:
        """The same program with other texts, without reading a file again."""
        files = {key: scope.source for key, scope in self.library.scopes.items()}
        files |= {k: Source(s.name, texts[s]) for k, s in files.items() if s in texts}
        return Program(files[self.source.name], self.root, self.limits, given=files)

    def _mended(
        self, problems: tuple[Diagnostic, ...], check: Check, work: int
    ) -> tuple[Diagnostic, ...]:
        if not any(d.severity == "error" for d in problems):
            return problems
        from cnndsl.repair import mend

        scopes, modules = self.library.scopes, self.library.modules
        return mend(problems, {s.source: modules[k] for k, s in scopes.items()}, check, work)

    def requires(self, name: str) -> tuple[str, ...]:
        """Parameters of a net that have no default."""
        definition = self.library.main.names.get(name)
        params = definition.tree.params if definition else ()
        return tuple(p.name.text for p in params if p.default is None)

    def net(
        self,
        name: str | None = None,
        *,
        at: Mapping[str, int] | None = None,
        chooser: Chooser = first_of_each,
        **parameters: Parameter,
    ) -> Compilation:
        """One net with its parameters; without a name, the file's only net.

        ``at`` fixes symbols of the input (``{"H": 224}``).
        """
        if not parameters and not at and chooser is first_of_each:
            # `diagnostics` and a caller who asks for the facts expand it once
            return self._plain.setdefault(name, Compilation(self, name, {}, {}))
        return Compilation(self, name, parameters, at or {}, chooser)

    def space(
        self, name: str | None = None, *, at: Mapping[str, int] | None = None, **parameters: Any
    ) -> Space:
        """The networks that a net with ``oneof`` describes."""
        return Space(self, name, parameters, at or {})


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
    ) -> None:
        self.program, self.name = program, name
        self.parameters, self.at, self.script = dict(parameters), dict(at), dict(script or {})

    def _net(self, chooser: Chooser) -> Compilation:
        return Compilation(self.program, self.name, self.parameters, self.at, chooser)

    @cached_property
    def _found(self) -> SpaceFound:
        return explore(lambda chooser: self._net(chooser).expansion, self.script)

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        return self._net(follow(self.script)).expansion.choices

    @property
    def size(self) -> int:
        """How many networks there are; raises CnnError if one of them is wrong."""
        if self._found.size is None:
            raise CnnError(self._found.problems)
        return self._found.size

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """What is wrong with networks of the space."""
        return self._found.problems

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


class Compilation:
    """One net on its way to a module. Nothing is computed before it is asked for."""

    def __init__(
        self,
        program: Program,
        name: str | None,
        parameters: Mapping[str, Parameter],
        at: Mapping[str, int],
        chooser: Chooser = first_of_each,
    ) -> None:
        self.program, self.parameters, self.at = program, dict(parameters), dict(at)
        nets = program.nets
        self.name = name if name is not None else (nets[0] if len(nets) == 1 else None)
        self._chooser = chooser

    @cached_property
    def expansion(self) -> Expansion:
        scope = self.program.library.main
        definition = scope.names.get(self.name or "")
        if definition is None or definition.tree.kind != "net" or self.name is None:
            broken = any(d.severity == "error" for d in self.program._loaded[1])
            known = self.program.nets
            problem = errors.no_such_net(self.name, known) if self.name else errors.which_net(known)
            problems = () if broken and self.name is None else (problem,)
            return Expansion(None, problems, (), {})
        return expand_net(
            definition, self.program.limits, self.parameters, self.at, self._chooser
        )

    @cached_property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Problems of the text and of this net with these parameters, with checked fixes."""
        return self.program._mended(self._problems, self._check, self.expansion.spent)

    def _check(self, texts: Mapping[Source, str]) -> Findings:
        """The same net of the same program with other texts."""
        program = self.program._with(texts)
        net = Compilation(program, self.name, self.parameters, self.at, self._chooser)
        yield "", net._problems, net.expansion.spent

    @cached_property
    def _problems(self) -> tuple[Diagnostic, ...]:
        found = Collector()
        found.extend(self.program._loaded[1])
        found.merge(self.expansion.diagnostics)
        return found.all

    @property
    def open_choices(self) -> tuple[Choice, ...]:
        """Choices that nobody made: this is a space, not a network."""
        return tuple(choice for choice in self.expansion.choices if choice.open)

    @property
    def ok(self) -> bool:
        return not any(d.severity == "error" for d in self._problems)

    @property
    def graph(self) -> Graph:
        """The checked graph; raises CnnError with every problem if there is none.

        Fixes are not looked for here, so that a search over many nets does not pay for them.
        """
        graph = self.expansion.graph
        if graph is None or not self.ok:
            raise CnnError(self._problems)
        return graph

    # --- facts ----------------------------------------------------------------------------

    @cached_property
    def params(self) -> int:
        """Trainable numbers of the module, heads emitted in training included."""
        return cost.parameters(self.graph)

    @cached_property
    def inference_params(self) -> int:
        """Trainable numbers that eval mode uses."""
        return cost.parameters(self.graph, cost.inference_nodes(self.graph))

    def macs(self, **sizes: int) -> int:
        """Multiply-accumulates of one sample in eval mode, convolutions and linear layers.

        Symbols left out are 224, or the next size that is valid in both modes.
        """
        return cost.macs(self.graph, self._sizes(sizes))

    @cached_property
    def facts(self) -> Facts:
        """What is known of the input's sizes in eval mode; ``graph.facts`` hold in training too."""
        return evaluation_facts(self.graph, self.program.limits)

    @property
    def min_size(self) -> dict[str, int]:
        """The smallest valid size of every symbol of the input, in eval mode."""
        return self.facts.smallest()

    @property
    def training_min_size(self) -> dict[str, int]:
        """The same for training, where heads emitted in training may ask for more."""
        return self.graph.facts.smallest()

    def output_shapes(self, **sizes: int) -> dict[str, tuple[int, ...]]:
        """Shapes by output name, without the batch; of heads only where training is valid."""
        values = self._sizes(sizes)
        training = self.graph.facts.accepts(values)
        return {
            output.name: cost.shape(cost.concrete(self.graph.nodes[output.node].type, values))
            for output in self.graph.outputs
            if training or not output.train
        }

    def _sizes(self, sizes: Mapping[str, int]) -> dict[str, int]:
        facts = self.facts
        unknown = [s for s in sizes if s not in facts.symbols]
        if unknown:
            known = ", ".join(facts.symbols) or "none"
            raise ValueError(f"`{unknown[0]}` is no symbol of this net (it has: {known})")
        values = {**self.graph.facts.reference(), **sizes}
        for symbol in facts.symbols:
            if not facts.allowed(symbol).contains(values[symbol]):
                raise ValueError(f"{symbol}={values[symbol]} is not valid: {facts.allowed(symbol)}")
        return values

    # --- forms ----------------------------------------------------------------------------

    def to_networkx(self) -> networkx.MultiDiGraph[Any]:
        return self.graph.to_networkx()

    def to_json(self) -> dict[str, Any]:
        """The graph for other tools, as ``cnndsl/schemas/graph-1.json`` describes."""
        from cnndsl.graph.as_json import graph_to_json

        return graph_to_json(self.graph)

    def to_text(self) -> str:
        """The graph as an ordinary ``.cnn`` that reads back to the same graph."""
        from cnndsl.graph.printer import print_graph

        return print_graph(self.graph)

    def compile(self, *, optimize: int = 0) -> Network:
        """The PyTorch module; raises CnnError when something is wrong.

        ``optimize=0`` is the plain module: one PyTorch layer per step of the text.
        """
        if optimize != 0:
            raise ValueError(f"optimize={optimize!r}: this version has level 0 only")
        graph = self.graph
        if self.open_choices:
            first = self.open_choices[0]
            raise CnnError([errors.no_choice(first.span, first.path, first.options)])
        try:
            from cnndsl.backends.torch.lower import lower

            return lower(graph)
        except ModuleNotFoundError as error:
            raise CnnError([errors.no_torch(error.name or "torch")]) from None


def loads(
    text: str | bytes, *, name: str = "<text>", root: str | os.PathLike[str] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Program:  # fmt: skip
    """The program of a text; imports are read below ``root`` (without it there are none)."""
    below = Path(root) if root is not None else None
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > limits.file_bytes:
        problem = errors.too_long(name, len(data), limits.file_bytes)
        return Program(Source(name, ""), below, limits, problem)
    if isinstance(text, str):
        return Program(Source(name, text), below, limits)
    try:
        return Program(Source(name, data.decode("utf-8-sig")), below, limits)
    except UnicodeDecodeError as error:
        return Program(Source(name, ""), below, limits, errors.not_text(name, error.start))


def load(
    path: str | os.PathLike[str], *, root: str | os.PathLike[str] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Program:  # fmt: skip
    """The program of a file; imports are read below ``root``, by default the file's folder.

    A bad text never raises: see ``Program.diagnostics``. A file that cannot be read at all
    raises ``OSError``.
    """
    file = Path(path)
    with open(file, "rb") as stream:
        data = stream.read(limits.file_bytes + 1)
    below = root if root is not None else file.parent
    return loads(data, name=str(path), root=below, limits=limits)


def compile(
    path: str | os.PathLike[str], net: str | None = None, **parameters: Parameter
) -> Network:
    """The module of one net of a file, in one line; raises CnnError."""
    return Compilation(load(path), net, parameters, {}).compile()
