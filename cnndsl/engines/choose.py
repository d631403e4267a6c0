"""The engines there are, and which one a network gets."""

from __future__ import annotations

import hashlib
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor, nn

from cnndsl.engines import memory
from cnndsl.engines.accuracy import Standard, samples
from cnndsl.engines.base import Engine, EngineError, Job, Runner
from cnndsl.engines.chunks import SIZES, sizes_for_batch
from cnndsl.engines.inductor_engine import InductorEngine
from cnndsl.engines.live.layers import layers_of
from cnndsl.engines.live.link import Choice, Live, Recipe
from cnndsl.engines.onnxruntime.engine import OrtEngine, OrtSquares, OrtTiles
from cnndsl.engines.openvino.engine import OpenVinoEngine, OpenVinoTiles
from cnndsl.engines.timing import interleaved
from cnndsl.engines.torch_engine import TorchEngine
from cnndsl.engines.triton_engine import TritonEngine
from cnndsl.graph.facts import Facts
from cnndsl.graph.model import Graph
from cnndsl.passes.flow import Flow
from cnndsl.passes.text import show_flow

ENGINES: dict[str, Engine] = {
    engine.name: engine
    for engine in (
        TorchEngine(),
        InductorEngine(),
        OrtEngine(),
        OrtTiles(),
        OrtSquares(),
        OpenVinoEngine(),
        OpenVinoTiles(),
        TritonEngine(),
    )
}
AUTO = "auto"
QUICK = tuple(name for name in ENGINES if name not in ("inductor", "triton"))
"""What ``auto`` tries. Not inductor: it compiles for minutes, and was never the fastest; and triton
wants a GPU."""
ROUNDS = 3
CLOSE, MORE_ROUNDS, PATIENCE = 1.25, 30, 12.0
"""Choices within this factor of the fastest are timed again, at most so many rounds, of which none
begins after so many seconds; not at all if one would take longer. The first look ends then too,
with at least one round."""


EXACT, EXACT_HALF = 1.2, 1.05
"""How much larger than PyTorch's an engine's error may be on a few samples, so that it is at most
``SLACK`` times as large on others. In half precision PyTorch rounds after each layer, and an engine
has no reason to be less exact; but a mean of eight samples is uncertain by a twentieth: one that is
so is chosen only if no other engine is as exact as PyTorch."""
RULES = 6
"""Of what is chosen: a choice by other rules is made again."""
Race = Callable[[Sequence[Choice]], dict[Choice, float]]
"""Median milliseconds of each choice that runs a job and agrees."""


def live_for(
    network: nn.Module, graph: Graph, facts: Facts, engine: str, dtype: torch.dtype | None
) -> Live:
    """What a network of this graph runs in eval mode; ValueError if the engine cannot."""
    device = ENGINES[engine].device if engine in ENGINES else "cpu"
    recipe = Recipe(graph, facts, chooser(engine), layers_of(network), dtype, device)
    return Live(recipe).of(network)


def chooser(name: str) -> Callable[[Job, Recipe], Choice]:
    """A named engine, or the one that is fastest here; ValueError with the reason if absent."""
    if name == AUTO:
        return fastest
    if name not in ENGINES:
        raise ValueError(f"engine={name!r}: there are {', '.join((AUTO, *ENGINES))}")
    reason = ENGINES[name].absent()
    if reason is not None:
        raise ValueError(f"engine={name!r}: {reason}")
    return lambda job, recipe: Choice(ENGINES[name])


def fastest(job: Job, recipe: Recipe) -> Choice:
    """The quickest of the installed engines on this job that is as exact as PyTorch.

    Timed once, in interleaved rounds, and remembered for this network, shape, machine and
    versions.
    """
    there = [ENGINES[n] for n in QUICK if not ENGINES[n].absent() and not ENGINES[n].refuses(job)]
    sizes = sizes_for_batch(job.flow, job.shapes[0][0])
    if len(there) == 1 and not sizes:
        return Choice(there[0])
    key = _key(job, there)
    known = _known(memory.recall(key), there)
    if known is not None:
        return known
    # What PyTorch makes of the network as a user would run it without us.
    standard = Standard(replace(job, flow=Flow(recipe.graph)), samples(job.shapes, job.dtype))

    def race(choices: Sequence[Choice]) -> dict[Choice, float]:
        return _race(job, recipe, choices, standard)

    times = race([Choice(engine) for engine in there])
    if not times:
        raise EngineError("no engine computes these numbers as PyTorch does")
    best = _first(_with_caution(times, job))
    if sizes:  # which engine gains most by a way through the batch is not known before
        best, ways = _through_the_batch(race, _close(times), sizes)
        times |= ways
    memory.remember(
        key,
        {
            "engine": best.engine.name,
            "chunk": best.chunk,
            "streams": best.streams,
            "milliseconds": {label(choice): found for choice, found in times.items()},
        },
    )
    return best


def _through_the_batch(
    race: Race, engines: Sequence[Choice], sizes: Sequence[int]
) -> tuple[Choice, dict[Choice, float]]:
    """The best of all ways of these engines, and what all took. One engine after the other, as each
    runner holds all weights; the best of each run once more, beside each other."""
    times: dict[Choice, float] = {}
    last = []
    for choice in engines:
        ways = [Choice(choice.engine, size, streams) for size in sizes for streams in (False, True)]
        found = race([choice, *ways])
        times |= found
        last.append(_first(found or {choice: 0.0}))
    final = race(last) if len(last) > 1 else {}
    return (_first(final) if final else last[0]), times | final


def _with_caution(times: Mapping[Choice, float], job: Job) -> dict[Choice, float]:
    """What the choices may take when threads are slow to read what others wrote.

    On a virtual machine ResNet-18 took 14.7 or 19.7 ms by Winograd's tiles on onnxruntime, for
    seconds each, and 17.0 or 17.7 ms without: as if the cores shared a cache at one time and none
    at another. By those on OpenVINO ResNet-50 took 0.95 or 1.04 times as long as without;
    MobileNet-v2 on onnxruntime 1.0 or 1.12 times as long as on OpenVINO; and SqueezeNet on PyTorch
    1.0 or 1.27 times as long as on onnxruntime. Of several samples each thread has its own.
    """
    if job.threads == 1 or job.shapes[0][0] > 1:
        return dict(times)
    return {choice: found / choice.engine.caution for choice, found in times.items()}


def _first(times: Mapping[Choice, float]) -> Choice:
    return min(times, key=lambda choice: times[choice])


def label(choice: Choice) -> str:
    """The choice in words."""
    if choice.chunk is None:
        return choice.engine.name
    return f"{choice.engine.name} by {choice.chunk}{' in streams' if choice.streams else ''}"


def _known(found: dict[str, Any] | None, there: Sequence[Engine]) -> Choice | None:
    """What was remembered, if it is a choice that this version can make."""
    engines = {engine.name: engine for engine in there}
    if found is None or found.get("engine") not in engines:
        return None
    chunk, streams = found.get("chunk"), found.get("streams") is True
    if chunk is not None and chunk not in SIZES:
        return None
    return Choice(engines[found["engine"]], chunk, streams)


def _race(
    job: Job, recipe: Recipe, choices: Sequence[Choice], standard: Standard
) -> dict[Choice, float]:
    """Median milliseconds of each choice that runs this and agrees."""
    runners: dict[Choice, Runner] = {}
    errors: dict[Choice, float] = {}
    slack = EXACT if job.dtype.itemsize >= 4 else EXACT_HALF
    for choice in choices:
        try:
            runner = choice.build(replace(job, flow=recipe.fused(choice.engine, job.sizes)))
            as_given = partial(_rounded, runner, _entering(job))
            if choice.engine.name != "torch":
                errors[choice] = standard.error_of(as_given, slack)
            if errors.get(choice, 0.0) <= slack:
                runners[choice] = runner
        except EngineError:
            continue
    given = [x.to(_entering(job)) for x in standard.inputs[0]]
    coarse = _coarse(errors) if job.dtype.itemsize < 4 else set()
    return _timed({c: partial(runner, *given) for c, runner in runners.items() if c not in coarse})


def _coarse(errors: Mapping[Choice, float]) -> set[Choice]:
    """Those less exact than PyTorch, if there are others."""
    found = {choice for choice, times in errors.items() if times > 1}
    return found if len(found) < len(errors) else set()


def _rounded(runner: Runner, dtype: torch.dtype, *inputs: Tensor) -> Sequence[Tensor]:
    """Results as ``Live`` gives them."""
    return [y.to(dtype) for y in runner(*inputs)]


def _entering(job: Job) -> torch.dtype:
    """Of inputs as they come: that of the parameters (``Live``)."""
    dtypes = (value.dtype for value in job.parameters.values() if value.is_floating_point())
    return next(dtypes, job.dtype)


def _timed(runs: Mapping[Choice, Callable[[], Any]]) -> dict[Choice, float]:
    """Median milliseconds of each; those close to the fastest are looked at longer."""
    times = interleaved(runs, ROUNDS, patience=PATIENCE)
    medians = {choice: statistics.median(found) for choice, found in times.items()}
    close = {choice: runs[choice] for choice in _close(medians)}
    once = 2 * sum(medians[choice] for choice in close)
    if len(close) > 1 and once < PATIENCE:
        for choice, found in interleaved(close, MORE_ROUNDS, patience=PATIENCE).items():
            medians[choice] = statistics.median((*times[choice], *found))
    return {choice: 1000 * seconds for choice, seconds in medians.items()}


def _close(times: Mapping[Choice, float]) -> list[Choice]:
    """Those that may yet turn out to be the fastest."""
    least = min(times.values(), default=0.0)
    return [choice for choice, found in times.items() if found < CLOSE * least]


def _key(job: Job, engines: Sequence[Engine]) -> dict[str, Any]:
    flow = hashlib.sha256(show_flow(job.flow).encode()).hexdigest()
    packages = ("torch", "onnxruntime", "openvino")
    return {
        "rules": RULES,
        "flow": flow,
        "engines": [engine.name for engine in engines],
        "shapes": [list(shape) for shape in job.shapes],
        "dtype": str(job.dtype),
        "inputs": str(_entering(job)),
        "threads": torch.get_num_threads(),
        "versions": {name: _version(name) for name in ("cnndsl", *packages)},
        "machine": [
            platform.machine(),
            torch.backends.cpu.get_cpu_capability(),
            torch.ops.mkldnn._is_mkldnn_bf16_supported(),
        ],
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"
