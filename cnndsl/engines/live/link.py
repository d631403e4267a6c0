"""The link between a module's parameters and an engine: fast while nothing is in the way.

``Live.run`` answers a forward in eval mode, or says None when the plain module has to: when
gradients are wanted, hooks wait for values, a tracer looks on, or the input is not what the
engine was made for. Derived tensors are made again as soon as a parameter changed (``Watch``).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from operator import attrgetter
from threading import RLock
from typing import Any, NamedTuple
from weakref import ReferenceType, ref

import torch
from torch import Tensor, nn

from cnndsl.engines.base import Engine, EngineError, Job, NotFinite, Runner, sizes_for
from cnndsl.engines.chunks import chunked, is_ours
from cnndsl.engines.finite import refusing
from cnndsl.engines.live.layers import Layers
from cnndsl.engines.live.surroundings import DEVICES, GRADIENTS, in_the_way, is_watched
from cnndsl.engines.live.training import Freedom, freedom
from cnndsl.engines.live.watch import Watch
from cnndsl.graph.facts import Facts
from cnndsl.graph.model import Graph
from cnndsl.passes.base import Trace
from cnndsl.passes.flow import Flow
from cnndsl.passes.pipeline import ALGEBRA


class Choice(NamedTuple):
    """An engine, and how a batch goes through it.

    ``chunk``: how many samples it takes at a time; None: all. ``streams``: every thread takes
    chunks of its own.
    """

    engine: Engine
    chunk: int | None = None
    streams: bool = False

    def build(self, job: Job) -> Runner:
        """Raises EngineError."""
        size, batch = self.chunk, job.shapes[0][0]
        if size is None or batch <= size or batch % size:
            return self.engine.build(job)
        return chunked(self.engine, job, size, streams=self.streams)


MOST_SHAPES = 8
"""Compiled shapes that are kept, for engines that compile for one shape."""


@dataclass
class Recipe:
    """What ``compile`` decided, without a number: shared by all copies of a module.

    ``facts`` are what is known of sizes in eval mode; ``choose`` picks the engine for the
    first job; ``layers`` are those that the text made; ``dtype`` is that of the computation, None
    for that of the parameters; ``device`` is the kind of device that the engine computes on.
    """

    graph: Graph
    facts: Facts
    choose: Callable[[Job, Recipe], Choice]
    layers: Layers
    dtype: torch.dtype | None = None
    device: str = "cpu"
    _fused: dict[str, Flow] = field(default_factory=dict)

    @cached_property
    def rewritten(self) -> tuple[Flow, Trace]:
        """The flow with every rewrite that all engines gain from, and what happened."""
        flow = Flow(self.graph)
        return flow, ALGEBRA.run(flow)

    @property
    def flow(self) -> Flow:
        return self.rewritten[0]

    @cached_property
    def is_ours(self) -> bool:
        """Whether no operator is another package's."""
        return all(is_ours(node.op) for node in self.graph)

    def fused(self, engine: Engine, sizes: Mapping[str, int]) -> Flow:
        """The flow with the rewrites that this engine wants beyond those for all.

        An engine that compiles for one shape gets a flow for ``sizes`` alone, where more can be
        rewritten: an adaptive pool is an ordinary one, or nothing.
        """
        if not engine.dynamic:
            flow = self.flow.at(sizes)
            ALGEBRA.run(flow)
        elif engine.fusion is None:
            return self.flow
        elif engine.name in self._fused:
            return self._fused[engine.name]
        else:
            flow = self.flow.copy()
        if engine.fusion is not None:
            engine.fusion.run(flow)
        if engine.dynamic:
            self._fused[engine.name] = flow  # when it is done: copies share this
        return flow


@dataclass
class _Derived:
    """What was made of a module's numbers, and the watch that was set before they were read."""

    watch: Watch
    runners: OrderedDict[object, Runner | str] = field(default_factory=OrderedDict)
    """By shapes, or why nothing runs these."""
    general: Runner | None = None
    """What takes every shape that the text allows."""
    last: tuple[list[Any], Runner, bool] | None = None
    """What ran last, of what kind its inputs were, and whether one requires gradients."""


class Live:
    """What one network runs in eval mode."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.choice: Choice | None = None
        self.refused = ""
        """Why the plain module answered last; "" if the engine did."""
        self._module: ReferenceType[nn.Module] | None = None
        self._derived: _Derived | None = None
        self._mark: object = None
        self._building = RLock()

    def __deepcopy__(self, memo: dict[int, Any]) -> Live:
        """No number is copied: the copy watches the copied parameters."""
        return Live(self.recipe)

    def __reduce__(self) -> Any:
        return (_nothing, ())  # engines hold what no file can: a pickled module runs plainly

    def of(self, module: nn.Module) -> Live:
        """This, or a new one for a shallow copy of its module, which has the same attributes."""
        if self._module is None:
            self._module = ref(module)
        return self if self._module() is module else Live(self.recipe).of(module)

    @property
    def engine(self) -> Engine | None:
        """What was chosen, once something was."""
        return self.choice.engine if self.choice is not None else None

    @property
    def sealed(self) -> bool:
        """Whether nobody can have changed the module since its last forward (``Seal``)."""
        return self._derived is not None and self._derived.watch.sealed

    def doubt(self) -> None:
        """The plain module runs, perhaps to be trained: all numbers are to be compared."""
        self._mark = None  # what a tracer takes; the next look makes a new one

    def run(self, module: nn.Module, inputs: Sequence[Tensor]) -> Sequence[Tensor] | None:
        """The results, or None if the plain module is to answer."""
        found = self._answer(module, inputs)
        if isinstance(found, str):
            self.refused = found
            self.doubt()
            return None
        self.refused = ""
        return found

    def freedom(self, module: nn.Module, inputs: Sequence[Tensor]) -> Freedom:
        """What a forward in training mode may do beside what the layers say."""
        if is_watched() or not self.recipe.is_ours:
            return Freedom.NONE
        return freedom(module, inputs)

    def _answer(self, module: nn.Module, inputs: Sequence[Tensor]) -> Sequence[Tensor] | str:
        """The results, or why there are none."""
        runner = self._same_again(inputs) or self._looked_for(module, inputs)
        if isinstance(runner, str):
            return runner
        try:
            found = runner(*inputs)
        except NotFinite:
            return NOT_FINITE
        dtype = inputs[0].dtype  # and of all others, and of the parameters
        return [y if y.dtype == dtype else y.to(dtype) for y in found]

    def _same_again(self, inputs: Sequence[Tensor]) -> Runner | None:
        """What ran last, if all is as it was then.

        Between two forwards the caches are filled with other things, so that each function that
        is called here costs microseconds: what has just been looked at is not looked at again.
        """
        derived = self._derived
        if derived is None or derived.last is None or is_watched():
            return None
        kinds, runner, wanted = derived.last
        if not all(map(_is_plain, inputs)) or list(map(_kind, inputs)) != kinds:
            return None
        wanted = wanted or derived.watch.trains
        same = derived.watch.is_untouched()
        return runner if same and not (wanted and torch.is_grad_enabled()) else None

    def _looked_for(self, module: nn.Module, inputs: Sequence[Tensor]) -> Runner | str:
        """What runs these inputs, or why nothing does."""
        reason = in_the_way(inputs, self.recipe.device) or self._graph_is_wanted(module)
        if reason:
            return reason
        derived = self._current(module)
        reason = derived.watch.in_the_way() or self._misfit(derived.watch, inputs)
        if reason:
            return reason
        runner = self._runner(derived, tuple(tuple(x.shape) for x in inputs))
        if not isinstance(runner, str):
            wanted = any(x.requires_grad for x in inputs)
            derived.last = list(map(_kind, inputs)), runner, wanted
        return runner

    def _graph_is_wanted(self, module: nn.Module) -> str:
        """Asked before anything is compared, as one may train in eval mode."""
        if not torch.is_grad_enabled():
            return ""
        if self._derived is not None and self._derived.watch.sealed:  # and nobody is to open it
            return GRADIENTS if self._derived.watch.trains else ""
        held = chain(module.parameters(), module.buffers())
        return GRADIENTS if any(t.requires_grad for t in held) else ""

    def _current(self, module: nn.Module) -> _Derived:
        """What belongs to the numbers as they are. A thread goes on with what it gets here:
        another may find newer numbers meanwhile, and replace it."""
        derived, mark = self._derived, self._mark
        if mark is None:
            mark = self._mark = object()
        if derived is None or derived.watch.changed(mark):
            derived = self._derived = _Derived(Watch(module, self.recipe.layers, mark))
        return derived

    def _misfit(self, watch: Watch, inputs: Sequence[Tensor]) -> str:
        """Dtypes and devices of which the plain module knows more than an engine."""
        if not all(map(Tensor.is_floating_point, inputs)):
            return "an input holds no floating-point numbers"
        dtypes = watch.dtypes or {torch.get_default_dtype()}  # that of the job
        if len(dtypes.union(x.dtype for x in inputs)) > 1:
            return "inputs and parameters are of several dtypes"
        device = self.recipe.device
        elsewhere = watch.devices.union(x.device.type for x in inputs) - {device}
        return f"the module is not on the {DEVICES[device]}" if elsewhere else ""

    def _runner(self, derived: _Derived, shapes: tuple[tuple[int, ...], ...]) -> Runner | str:
        """What runs these shapes, or why nothing does."""
        runners = derived.runners
        with self._building:
            if shapes not in runners:
                runners[shapes] = self._built(derived, shapes)
            runners.move_to_end(shapes)
            while len(runners) > MOST_SHAPES:
                runners.popitem(last=False)
            return runners[shapes]

    def _built(self, derived: _Derived, shapes: tuple[tuple[int, ...], ...]) -> Runner | str:
        recipe = self.recipe
        sizes = sizes_for(recipe.flow, shapes)
        batches = {shape[0] for shape in shapes}
        one = len(batches) == 1 and 0 not in batches
        if sizes is None or not recipe.facts.accepts(sizes) or not one:
            return "the inputs' shapes are not what the text says"
        if derived.general is not None:
            return derived.general
        with torch.inference_mode(False), torch.no_grad():
            numbers = {path: value.detach() for path, value in derived.watch.numbers.items()}
            dtype = recipe.dtype or _dtype(derived.watch, torch.get_default_dtype())
            job = Job(recipe.flow, numbers, shapes, dtype)
            try:
                if self.choice is None:
                    self.choice = recipe.choose(job, recipe)
                refusal = self.choice.engine.refuses(job)
                if refusal is not None:
                    return refusal
                fused = recipe.fused(self.choice.engine, sizes)
                runner = self.choice.build(replace(job, flow=fused))
                # Fused activations of the libraries turn NaN into 0; PyTorch's own hand it on.
                runner = runner if self.choice.engine.looks else refusing(runner)
            except EngineError as error:
                return str(error)
        if self.choice.engine.dynamic and self.choice.chunk is None:
            derived.general = runner
        return runner


def _dtype(watch: Watch, otherwise: torch.dtype) -> torch.dtype:
    """Of the parameters, if there are any."""
    return next(iter(watch.dtypes), otherwise)


def _is_plain(x: Any) -> bool:
    return type(x) is Tensor and not x.is_neg()


_kind = attrgetter("dtype", "shape", "layout", "device", "requires_grad")


def _nothing() -> None:
    return None


NOT_FINITE = "an input holds a value that is not finite, or adds up to too much"
