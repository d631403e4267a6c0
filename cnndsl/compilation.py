"""One net of a program, from its text to a module: each stage computed once when asked for."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnndsl.checkpoints.origin import Origin
from cnndsl.diagnostics import CnnError, Collector, Diagnostic
from cnndsl.graph import cost
from cnndsl.graph.facts import Facts
from cnndsl.graph.infer import evaluation_facts
from cnndsl.graph.model import Graph
from cnndsl.limits import OutOfTime, Stopwatch
from cnndsl.semantics import errors
from cnndsl.semantics.net import Expansion, Parameter, expand_net, first_of_each
from cnndsl.semantics.state import Choice, Chooser
from cnndsl.source import Source
from cnndsl.syntax.errors import out_of_time

if TYPE_CHECKING:
    import networkx
    import torch
    from torch import nn

    from cnndsl.backends.torch.module import Network
    from cnndsl.program import Program
    from cnndsl.repair import Findings
    from cnndsl.views.optimizer import Explanation


class Compilation:
    """One net on its way to a module. Nothing is computed before it is asked for."""

    def __init__(
        self,
        program: Program,
        name: str | None,
        parameters: Mapping[str, Parameter],
        at: Mapping[str, int],
        chooser: Chooser = first_of_each,
        watch: Stopwatch | None = None,
    ) -> None:
        self.program, self.parameters, self.at = program, dict(parameters), dict(at)
        self.name = name if name is not None else program.main_net
        if program.origin is not None and self.name == program.main_net:
            self.parameters = {**program.origin.parameters, **parameters}
            self.at = {**program.origin.at, **at}
        self._chooser = chooser
        self._watch = watch or program.watch.fork()

    @cached_property
    def expansion(self) -> Expansion:
        scope = self.program.library.main
        definition = scope.names.get(self.name or "")
        if definition is None or definition.tree.kind != "net" or self.name is None:
            broken = any(d.severity == "error" for d in self.program.problems)
            known = self.program.nets
            problem = errors.no_such_net(self.name, known) if self.name else errors.which_net(known)
            swallowed = self.name is None or self.name in scope.missing  # its text is broken
            problems = () if broken and swallowed else (problem,)
            return Expansion(None, problems, (), {})
        with self._watch:
            return expand_net(
                definition, self.program.limits, self.parameters, self.at, self._chooser,
                self._watch,
            )  # fmt: skip

    @cached_property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Problems of the text and of this net with these parameters, with checked fixes."""
        problems, spent = self.problems, self.expansion.spent
        return self.program.mended(problems, self._check, spent, self._watch)

    def _check(self, texts: Mapping[Source, str]) -> Findings:
        """The same net of the same program with other texts."""
        program = self.program.with_texts(texts, self._watch)
        net = Compilation(program, self.name, self.parameters, self.at, self._chooser, self._watch)
        yield "", net.problems, net.expansion.spent

    @cached_property
    def problems(self) -> tuple[Diagnostic, ...]:
        found = Collector()
        found.extend(self.program.problems)
        found.merge(self.expansion.diagnostics)
        return found.all

    @property
    def open_choices(self) -> tuple[Choice, ...]:
        """Choices that nobody made: this is a space, not a network."""
        return tuple(choice for choice in self.expansion.choices if choice.open)

    @property
    def ok(self) -> bool:
        return not any(d.severity == "error" for d in self.problems)

    @property
    def graph(self) -> Graph:
        """The checked graph; raises CnnError with every problem if there is none.

        Fixes are not looked for here, so that a search over many nets does not pay for them.
        """
        graph = self.expansion.graph
        if graph is None or not self.ok:
            raise CnnError(self.problems)
        return graph

    def decided(self) -> Graph:
        """The graph of one network; CnnError, which says how to choose, where a choice is open."""
        graph = self.graph
        if self.open_choices:
            first = self.open_choices[0]
            raise CnnError([errors.no_choice(first.span, first.path, first.options)])
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
        graph = self.graph
        try:
            with self._watch:
                return evaluation_facts(graph, self.program.limits, self._watch)
        except OutOfTime:
            raise CnnError([out_of_time(self._watch.seconds)]) from None

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

    def explain(self, *, engine: str = "torch") -> Explanation:
        """What the optimiser does to this net: see ``.text()`` and ``.to_json()``. Needs no torch.

        ``engine`` decides what is said of fusion, as some engines fuse for themselves.
        """
        from cnndsl.views.optimizer import explain

        return explain(self.graph, engine)

    # --- forms ----------------------------------------------------------------------------

    def to_networkx(self) -> networkx.MultiDiGraph[Any]:
        return self.graph.to_networkx()

    def to_json(self) -> dict[str, Any]:
        """The graph for other tools, as ``cnndsl/schemas/graph-1.json`` describes."""
        from cnndsl.graph.as_json import graph_to_json

        return graph_to_json(self.graph)

    def origin(self) -> Origin:
        """What has to be written beside weights, for this very network to be built again."""
        if self.expansion.choices:  # a text describes all of a space, and this is one of it
            return Origin(self.to_text(), self.graph.name)
        main, *others = self.program.library.scopes.items()
        return Origin(
            main[1].source.text, self.name, self.parameters, self.at,
            {path: scope.source.text for path, scope in others},
        )  # fmt: skip

    def save(
        self, path: str | os.PathLike[str], weights: nn.Module | Mapping[str, Any], *,
        force: bool = False,
    ) -> None:  # fmt: skip
        """Writes a module's weights, or a ``state_dict``, as a .safetensors file that stands alone.

        ``cnndsl.restore`` makes the module of it again, and knows it by that ending: ValueError
        for another. A file that was written so is replaced; FileExistsError for any other, unless
        ``force``. Raises WeightsError when the weights are not this network's, and OSError.
        """
        from cnndsl.checkpoints.files import ENDING
        from cnndsl.checkpoints.save import save

        target = Path(path)
        if target.suffix != ENDING or not target.stem:
            raise ValueError(f"{target}: a file of weights ends in {ENDING}")
        if not force and os.path.lexists(target) and not _is_ours(target):
            told = "it was not written by cnndsl, and replaced only with force=True"
            raise FileExistsError(errno.EEXIST, told, str(target))
        save(path, self.graph, weights, self.origin())

    def to_text(self) -> str:
        """The graph as an ordinary ``.cnn`` that reads back to the same graph."""
        from cnndsl.graph.printer import print_graph

        return print_graph(self.graph)

    def compile(
        self, *, optimize: int = 1, engine: str = "torch", dtype: torch.dtype | None = None
    ) -> Network:
        """The PyTorch module; raises CnnError when something is wrong with the text.

        ``optimize=0`` is the plain module: one PyTorch layer per step of the text. At 1 it
        trains the same, on the CPU perhaps with maps channels last, and in eval mode without
        gradients a rewritten network runs on the ``engine`` (docs/engines.md); ``dtype`` is
        that of its computation, by default the parameters'. ValueError for a level or engine
        that is not there.
        """
        if optimize not in (0, 1):
            raise ValueError(f"optimize={optimize!r}: the levels are 0 and 1")
        graph = self.decided()
        try:
            from cnndsl.backends.torch.lower import lower
            from cnndsl.engines.choose import live_for

            network = lower(graph)
            if optimize:
                network._live = live_for(network, graph, self.facts, engine, dtype)
        except ModuleNotFoundError as error:
            raise CnnError([errors.no_torch(error.name or "torch")]) from None
        return network


def _is_ours(path: Path) -> bool:
    """Whether a file has weights with their text, as ``Compilation.save`` writes them."""
    from cnndsl.checkpoints.bounds import WeightsError
    from cnndsl.checkpoints.files import inspect

    try:
        return inspect(path).origin is not None
    except (OSError, WeightsError):
        return False
