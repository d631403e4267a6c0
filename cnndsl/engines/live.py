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
from math import isfinite
from threading import RLock
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from cnndsl.engines.base import Engine, EngineError, Job, Runner, sizes_for
from cnndsl.engines.chunks import chunked
from cnndsl.engines.watch import Watch
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
    first job; ``dtype`` is that of the computation, None for that of the parameters; ``device``
    is the kind of device that the engine computes on.
    """

    graph: Graph
    facts: Facts
    choose: Callable[[Job, Recipe], Choice]
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
            flow = self._fused[engine.name] = self.flow.copy()
        if engine.fusion is not None:
            engine.fusion.run(flow)
        return flow


class Live:
    """What one network runs in eval mode."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.choice: Choice | None = None
        self.refused = ""
        """Why the plain module answered last; "" if the engine did."""
        self._watch: Watch | None = None
        self._runners: OrderedDict[object, Runner | str] = OrderedDict()
        self._building = RLock()

    def __deepcopy__(self, memo: dict[int, Any]) -> Live:
        """No number is copied: the copy watches the copied parameters."""
        return Live(self.recipe)

    def __reduce__(self) -> Any:
        return (_nothing, ())  # engines hold what no file can: a pickled module runs plainly

    @property
    def engine(self) -> Engine | None:
        """What was chosen, once something was."""
        return self.choice.engine if self.choice is not None else None

    def run(self, module: nn.Module, inputs: Sequence[Tensor]) -> Sequence[Tensor] | None:
        """The results, or None if the plain module is to answer."""
        self.refused = in_the_way(inputs, self.recipe.device)
        if self.refused:
            return None
        if self._watch is None or self._watch.changed():
            self._watch, self._runners = Watch(module), OrderedDict()
        self.refused = self._watch.in_the_way() or self._misfit(inputs)
        if self.refused:
            return None
        runner = self._runner(module, tuple(tuple(x.shape) for x in inputs))
        if isinstance(runner, str):
            self.refused = runner
            return None
        dtype = self._parameters_dtype(inputs[0])
        return [y if y.dtype == dtype else y.to(dtype) for y in runner(*inputs)]

    def _parameters_dtype(self, x: Tensor) -> torch.dtype:
        assert self._watch is not None
        return next(iter(self._watch.dtypes), x.dtype)

    def _misfit(self, inputs: Sequence[Tensor]) -> str:
        """Dtypes and devices of which the plain module knows more than an engine."""
        assert self._watch is not None
        if len(self._watch.dtypes.union(x.dtype for x in inputs)) > 1:
            return "inputs and parameters are of several dtypes"
        device = self.recipe.device
        elsewhere = self._watch.devices.union(x.device.type for x in inputs) - {device}
        return f"the module is not on the {_DEVICES[device]}" if elsewhere else ""

    def _runner(self, module: nn.Module, shapes: tuple[tuple[int, ...], ...]) -> Runner | str:
        """What runs these shapes, or why nothing does."""
        with self._building:
            choice = self.choice
            # One runner for all shapes, unless it cuts the batch up.
            free = choice is not None and choice.engine.dynamic and choice.chunk is None
            key = tuple(map(len, shapes)) if free else shapes
            if key not in self._runners:
                self._runners[key] = self._built(module, shapes)
            self._runners.move_to_end(key)
            while len(self._runners) > MOST_SHAPES:
                self._runners.popitem(last=False)
            return self._runners[key]

    def _built(self, module: nn.Module, shapes: tuple[tuple[int, ...], ...]) -> Runner | str:
        recipe = self.recipe
        sizes = sizes_for(recipe.flow, shapes)
        if sizes is None or not recipe.facts.accepts(sizes) or not all(s[0] for s in shapes):
            return "the inputs' shapes are not what the text says"
        with torch.inference_mode(False), torch.no_grad():
            parameters = {k: v.detach() for k, v in module.state_dict().items()}
            dtype = recipe.dtype or self._parameters_dtype(torch.empty(0))
            job = Job(recipe.flow, parameters, shapes, dtype)
            try:
                if self.choice is None:
                    self.choice = recipe.choose(job, recipe)
                refusal = self.choice.engine.refuses(job)
                if refusal is not None:
                    return refusal
                return self.choice.build(replace(job, flow=recipe.fused(self.choice.engine, sizes)))
            except EngineError as error:
                return str(error)


def _nothing() -> None:
    return None


_DEVICES = {"cpu": "CPU", "cuda": "GPU"}


def in_the_way(inputs: Sequence[Tensor], device: str) -> str:
    """Why an engine of this device may not answer for these inputs in this mode of PyTorch; ""
    if it may."""
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
        return "the module is being traced"
    if any(type(x) is not Tensor or x.device.type != device for x in inputs):
        return f"an input is not a plain tensor on the {_DEVICES[device]}"
    if torch._C._len_torch_dispatch_stack() or torch._C._len_torch_function_stack():
        return "a mode of PyTorch looks at every operation"
    if torch._C._functorch.maybe_current_level() is not None:
        return "a transform of torch.func is at work"
    if torch.is_autocast_enabled(device):
        return "autocast chooses the dtypes"
    if torch.is_grad_enabled() and any(x.requires_grad for x in inputs):
        return "gradients are wanted (use torch.no_grad() or torch.inference_mode())"
    # Fused activations of the libraries turn NaN into 0; PyTorch's own hand it on.
    if not all(x.is_floating_point() and _is_finite(x.detach()) for x in inputs):
        return "an input holds a value that is not finite"
    return ""


def _is_finite(x: Tensor) -> bool:
    """Whether no number is infinite or NaN: then neither is the sum, unless it overflows.

    By NumPy where it can: PyTorch's sum wakes its threads, which go on looking for work for some
    milliseconds and take a core from the engine (measured: ResNet-18 35 ms instead of 25).
    ``einsum`` takes half as long as ``sum``, and says nothing when it overflows.
    On a GPU it is not asked: our kernels hand NaN on, and the answer would be waited for.
    """
    if x.device.type != "cpu":
        return True
    total = np.einsum("i->", x.numpy().ravel("K")) if x.dtype in _IN_NUMPY else x.sum()
    return isfinite(float(total))


_IN_NUMPY = (torch.float32, torch.float64)
