"""Inference on this CPU beside every peer, interleaved in one run.

    python -m benchmarks.cpu [--nets ResNet50 …] [--batch 1 16] [--dtype float32 bfloat16]
                             [--rounds 7] [--seconds 60] [--quick] [--without inductor]
                             [-o FILE.csv]

Peers run the network as written: eager PyTorch (as it is, and channels last), inductor with
frozen weights, onnxruntime, OpenVINO. Ours is what a user gets: `compile(engine="auto")`, called
as a module; what it chose before the race, it keeps. Outputs are compared with float64 before
anything is timed. Only ratios mean anything, taken pair by pair within a round.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

import cnndsl
from benchmarks.networks import FILES, RESULTS, ROOT
from cnndsl.engines.accuracy import error, samples
from cnndsl.engines.apply import Plain
from cnndsl.engines.base import EngineError, Job, Runner
from cnndsl.engines.choose import ENGINES, label
from cnndsl.engines.onnxruntime.engine import OrtEngine
from cnndsl.engines.openvino.engine import OpenVinoEngine
from cnndsl.engines.timing import interleaved
from cnndsl.passes.base import Pipeline
from cnndsl.passes.flow import Flow
from cnndsl.passes.pipeline import ALGEBRA
from cnndsl.passes.pool_forms import PoolForms
from cnndsl.passes.remove_identity import RemoveIdentity

PEERS = ("inductor", "onnxruntime", "openvino")
"""Beside eager PyTorch, which is what others make of the network as written without fusion."""
AS_WRITTEN = {e.name: e for e in (OrtEngine(as_written=True), OpenVinoEngine(as_written=True))}
QUICK = ("ResNet18", "SqueezeNet1_0", "MobileNetV2")
SECONDS, QUICK_SECONDS = 60.0, 20.0
"""Networks of a few milliseconds are timed so long: what single rounds say differs by a tenth, and
what 20 seconds say by 2 %."""
FAR = 4.0
"""How much slower is no rival: eager bfloat16 takes minutes where a processor has none."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


Cases = Sequence[tuple[Tensor, Tensor]]
"""Inputs, and what float64 makes of them. The first is timed."""


@dataclass
class Runs:
    """Everything that is timed for one network, batch and dtype."""

    run: dict[str, Callable[[], Any]] = field(default_factory=dict)
    built: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    ours: str = ""
    """What `auto` chose."""
    times: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, build: Callable[[], Runner], cases: Cases) -> None:
        started = time.perf_counter()
        x = cases[0][0]
        try:
            runner = build()
            with torch.inference_mode():
                runner(x)
                self.built[name] = time.perf_counter() - started
                results = [(runner(given)[0], exact) for given, exact in cases]
                found = [error(*sample) for pair in results for sample in zip(*pair, strict=True)]
        except (EngineError, RuntimeError) as problem:
            self.refused[name] = str(problem).splitlines()[0]
            return
        self.errors[name] = statistics.geometric_mean(max(one, 1e-30) for one in found)
        self.run[name] = lambda: runner(x)

    def race(self, rounds: int, seconds: float) -> None:
        """At least so many rounds, and more until so many seconds are over; of a peer that takes
        ``FAR`` times as long as the fastest, one."""
        with torch.inference_mode():  # as around the loop of who serves
            self.times = interleaved(self.run, 1)
            peers = [found[0] for name, found in self.times.items() if name.startswith("peer")]
            far = FAR * min(peers)
            near = {n: run for n, run in self.run.items() if n == "ours" or self.times[n][0] < far}
            started = time.perf_counter()
            self._more(near, rounds - 1)
            took = time.perf_counter() - started
            self._more(near, int((rounds - 1) * (seconds / took - 1)) if took else 0)

    def _more(self, runs: dict[str, Callable[[], Any]], rounds: int) -> None:
        if rounds > 0:
            for name, found in interleaved(runs, rounds).items():
                self.times[name] += found

    def best(self, names: Sequence[str]) -> str:
        return min(names, key=lambda name: statistics.median(self.times[name]))

    def ratio(self, ours: str, theirs: str) -> float:
        """How many times as fast as the peer, the median over rounds."""
        pairs = zip(self.times[ours], self.times[theirs], strict=True)
        return statistics.median(b / a for a, b in pairs)


def compare(file: str, name: str, batch: int, dtype: torch.dtype, options: Any) -> dict[str, Any]:
    """One row: everything built, checked and timed."""
    net = cnndsl.load(ROOT / "examples" / f"{file}.cnn").net(name)
    torch.manual_seed(0)
    plain = settle(net.compile(optimize=0)).eval()
    sizes = net.facts.reference(options.size)
    flow = Flow(net.graph, sizes)
    (entry,) = flow.inputs
    parameters = plain.state_dict()
    taken = (batch, entry.channels, *sizes_of(entry, sizes))
    exactly = Plain(flow, parameters, torch.float64)
    inputs = [x for (x,) in samples([taken], dtype)]
    cases = [(x, exactly(x.double())[0]) for x in inputs]
    floats = [(x.float(), true) for x, true in cases]
    rewritten = flow.copy()
    started = time.perf_counter()
    ALGEBRA.run(rewritten)
    optimizer = time.perf_counter() - started
    runs = Runs()
    for peer, build in peers(flow.at(sizes), plain, inputs[0], dtype, options.without):
        in_float = peer.removeprefix("peer ") in AS_WRITTEN  # who has such a network has floats
        runs.add(peer, build, floats if in_float else cases)
    chosen = net.compile(engine="auto", dtype=dtype).eval()
    chosen.load_state_dict(parameters)
    runs.add("ours", lambda: called(chosen), floats)
    runs.ours = label(chosen._live.choice)
    runs.race(options.rounds, options.seconds)
    return row(name, batch, dtype, runs, flow, rewritten, optimizer)


def called(model: Any) -> Runner:
    """A module as a user calls it; who calls this is in inference mode."""

    def run(x: Tensor) -> Sequence[Tensor]:
        found = model(x)
        return [found] if isinstance(found, Tensor) else found

    return run


def sizes_of(entry: Any, sizes: dict[str, int]) -> tuple[int, ...]:
    from cnndsl.graph.cost import concrete, shape

    return shape(concrete(entry.type, sizes))[1:]


def settle(model: Any) -> Any:
    """Numbers as of a trained network: BN has something to do, and nothing fades with depth."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for value, low in ((module.running_mean, -0.2), (module.running_var, 0.7)):
                value.copy_(torch.rand(value.shape, generator=generator) * 0.5 + low)
        elif isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(module.weight, generator=generator)
    return model


Candidate = tuple[str, Callable[[], Runner]]


def peers(
    flow: Flow, plain: Any, x: Tensor, dtype: torch.dtype, without: Sequence[str]
) -> Iterator[Candidate]:
    parameters = plain.state_dict()
    yield from eager(plain, dtype)
    written = flow.copy()
    Pipeline([RemoveIdentity(), PoolForms()]).run(written)  # as exporters write fixed sizes
    for name in PEERS:
        engine = AS_WRITTEN.get(name) or ENGINES[name]
        job = Job(written, parameters, (tuple(x.shape),), dtype)
        if name not in without and not engine.absent() and not engine.refuses(job):
            yield f"peer {name}", lambda e=engine, j=job: e.build(j)


def eager(plain: Any, dtype: torch.dtype) -> Iterator[Candidate]:
    import copy

    for suffix, layout in (("", torch.contiguous_format), (" channels_last", torch.channels_last)):
        model = copy.deepcopy(plain).to(dtype).to(memory_format=layout)
        run = called(lambda x, m=model, to=layout: m(x.contiguous(memory_format=to)))
        yield f"peer eager{suffix}", lambda run=run: run


def row(
    name: str,
    batch: int,
    dtype: torch.dtype,
    runs: Runs,
    flow: Flow,
    rewritten: Flow,
    optimizer: float,
) -> dict[str, Any]:
    ours = "ours"
    peer = runs.best([n for n in runs.times if n.startswith("peer")])
    usual = min(runs.errors["peer eager"], runs.errors["peer eager channels_last"])
    return {
        "net": name,
        "batch": batch,
        "dtype": str(dtype).removeprefix("torch."),
        "ratio": round(runs.ratio(ours, peer), 3),
        "ours": runs.ours,
        "ours_ms": _ms(runs.times[ours]),
        "peer": peer.removeprefix("peer "),
        "peer_ms": _ms(runs.times[peer]),
        "error_of_eager": f"{runs.errors[ours] / max(usual, 1e-30):.2f}",
        "macs_before": flow.total_macs(),
        "macs_after": rewritten.total_macs(),
        "steps_before": sum(bool(s.inputs) for s in flow),
        "steps_after": sum(bool(s.inputs) for s in rewritten),
        "optimizer_s": round(optimizer, 3),
        "build_s": round(runs.built[ours], 2),
        **{f"{n}_ms": _ms(t) for n, t in sorted(runs.times.items()) if n != ours},
        "refused": "; ".join(f"{n}: {why}" for n, why in runs.refused.items()),
    }


def _ms(times: Sequence[float]) -> float:
    return round(1000 * statistics.median(times), 2)


def show(found: dict[str, Any]) -> None:
    saved = 1 - found["macs_after"] / max(found["macs_before"], 1)
    print(
        f"{found['net']:16} {found['batch']:>3} {found['dtype']:9} {found['ratio']:5.2f}x  "
        f"{found['ours']:24} {found['ours_ms']:8.1f} ms  over {found['peer']:20} "
        f"{found['peer_ms']:8.1f} ms  error {found['error_of_eager']:>5}x eager's  "
        f"MACs -{saved:.1%}  steps {found['steps_before']} -> {found['steps_after']}",
        flush=True,
    )


def machine() -> dict[str, str]:
    packages = ("torch", "onnxruntime", "openvino")
    known = {name: version(name) for name in packages if _there(name)}
    return {
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
        **known,
    }


def _there(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


def write(rows: Sequence[dict[str, Any]], path: Path) -> None:
    facts = machine()
    columns = dict.fromkeys(key for found in rows for key in found)
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [*columns, *facts], restval="")
        writer.writeheader()
        writer.writerows({**found, **facts} for found in rows)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cpu")
    parser.add_argument("--nets", nargs="+", choices=sorted(FILES), default=list(FILES))
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--dtype", nargs="+", choices=sorted(DTYPES), default=["float32"])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--without", nargs="*", choices=PEERS, default=[])
    parser.add_argument("--quick", action="store_true", help="three networks, in 3 minutes")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "cpu.csv")
    options = parser.parse_args()
    if options.seconds is None:
        options.seconds = QUICK_SECONDS if options.quick else SECONDS
    if options.quick:
        options.nets, options.batch, options.rounds = list(QUICK), [1], 5
        options.without = [*options.without, "inductor"]
    return options


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    rows = []
    with TemporaryDirectory() as folder:
        os.environ["CNNDSL_CACHE"] = folder  # nothing is known of an earlier race
        race_all(options, rows)
    product = statistics.geometric_mean(found["ratio"] for found in rows)
    print(f"geometric mean over the best peer: {product:.3f}x")


def race_all(options: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    for name in options.nets:
        for dtype in options.dtype:
            for batch in options.batch:
                rows.append(compare(FILES[name], name, batch, DTYPES[dtype], options))
                show(rows[-1])
                write(rows, options.output)  # after every row: a long run may be cut off


if __name__ == "__main__":
    main()
