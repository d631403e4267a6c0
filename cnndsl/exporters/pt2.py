"""A net as a ``torch.export`` program: a ``.pt2`` file that PyTorch loads without cnndsl.

    program = torch.export.load("net.pt2").module()
    program(torch.randn(1, 3, 224, 224))

The batch is free, and so are H, W, … where the text leaves them free; ``H % 16 == 0`` becomes a
dimension ``16*_H``. What ``torch.export`` cannot state is fixed, and said. Several outputs come
as a dictionary by name; heads emitted in training are left out.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

from cnndsl.compilation import Compilation
from cnndsl.exporters.kernels import PLAIN, TRITON, notes, refuse
from cnndsl.exporters.proof import BATCHES, Exported, ExportError, Judge, Proof
from cnndsl.ops.congruence import Valid
from cnndsl.ops.sizes import Size, at
from cnndsl.ops.types import Extent, FeatureMap, Type

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram

    from cnndsl.backends.torch.module import Network
    from cnndsl.engines.base import Job

Run = Callable[..., Sequence["Tensor"]]
"""Takes one tensor per input, gives one per output."""


class Plan(NamedTuple):
    """What is to be traced.

    ``optimize``: 0 or 1; ``kernels``: what fused steps are; ``batch``: None if it is free; where
    it is a number, all other sizes are fixed too.
    """

    optimize: int
    kernels: str = PLAIN
    batch: int | None = None


class Program(NamedTuple):
    """A traced program, the judge of its sizes, and what is to be said of them."""

    traced: ExportedProgram
    judge: Judge
    notes: tuple[str, ...]


def export_pt2(
    net: Compilation, network: Network | None = None, *, optimize: int = 0, kernels: str = PLAIN
) -> Exported:
    """The bytes of a ``.pt2`` file that was loaded again and computed what ``network`` does.

    ``network``: whose weights are taken, by default a new one with random weights. Names in
    the program's ``state_dict`` are the network's; with ``optimize=1`` the net is rewritten
    first (norms folded into convolutions, …) and they are its own, as with ``kernels="triton"``:
    fused steps are operators ``cnndsl::chain`` then, Triton kernels on a GPU, which
    ``import cnndsl.kernels.library`` registers before the file is loaded. Raises ExportError;
    ValueError for other ``kernels``.
    """
    from cnndsl.backends.torch.export import to_bytes
    from cnndsl.views.facts import facts_json

    refuse(kernels)
    network = network or net.compile(optimize=0)
    found: list[memoryview] = []

    def load(traced: ExportedProgram) -> Run:
        import torch

        found[:] = [to_bytes(traced, {"net": facts_json(net.graph)})]
        return by_output(torch.export.load(io.BytesIO(found[0])).module())

    program, proof = proven(net, network, Plan(optimize, kernels), load, "torch.export")
    said = (*program.notes, *notes(kernels, program.traced))
    return Exported(found[0], said, proof)


def proven(
    net: Compilation,
    network: Network,
    plan: Plan,
    load: Callable[[ExportedProgram], Run],
    by: str,
) -> tuple[Program, Proof]:
    """The program with the freest sizes that it is right at; ExportError if there is none.

    ``load`` makes of it what is to be proven.
    """
    for fixed in _attempts(net, plan):
        try:
            program = _traced(net, network, plan, fixed)
            return program, program.judge.prove(load(program.traced), by)
        except ExportError:
            raise
        except Exception as problem:  # the tracer's errors have no common base
            if fixed:
                said = next(iter(str(problem).strip().splitlines()), type(problem).__name__)
                raise ExportError(f"{by}: {said}; nothing was written") from problem
    raise AssertionError("the last attempt returns or raises")


def _attempts(net: Compilation, plan: Plan) -> list[str]:
    """Why sizes are fixed, "" where they are not; the next is made where the one before fails."""
    if plan.batch is not None:
        return ["kernels are compiled for one size"]
    last = "torch.export cannot trace it for every size"
    return ["", last] if net.facts.symbols else [last]


def by_output(program: Callable[..., Any]) -> Run:
    """Results as a list, in the order of the text."""
    import torch

    def run(*inputs: Tensor) -> list[Tensor]:
        with torch.no_grad():
            found = program(*inputs)
        return list(found.values()) if isinstance(found, dict) else [found]

    return run


def _traced(net: Compilation, network: Network, plan: Plan, fixed: str) -> Program:
    from cnndsl.backends.torch.export import export, export_chains, export_flow
    from cnndsl.backends.torch.quiet import quiet

    dims = _Dims(net, fixed, plan.batch)
    batches = BATCHES if plan.batch is None else (plan.batch,)
    judge = Judge(net, network, {s: dims.traced[s] for s in dims.stuck}, batches)
    nodes = net.graph.inputs
    tensors = judge.inputs(dims.traced, plan.batch or 2)
    inputs = dict(zip((n.path for n in nodes), tensors, strict=True))
    given = [dims.of(node.type) for node in nodes]
    with quiet():
        if plan.kernels == TRITON:
            traced = export_chains(_job(net, network, plan, tensors), inputs, given)
        elif plan.optimize:
            traced = export_flow(_job(net, network, plan, tensors), inputs, given)
        else:
            traced = export(network, inputs, given)
    return Program(traced, judge, dims.notes())


def _job(net: Compilation, network: Network, plan: Plan, inputs: Sequence[Tensor]) -> Job:
    from cnndsl.engines.base import Job
    from cnndsl.passes.flow import Flow
    from cnndsl.passes.pipeline import ALGEBRA, GPU

    flow = Flow(net.graph)
    if plan.optimize:
        ALGEBRA.run(flow)
    if plan.kernels == TRITON:
        GPU.run(flow)
    return Job(flow, network.state_dict(), tuple(tuple(x.shape) for x in inputs))


class _Dims:
    """The dimensions that a program leaves free, and the sizes it is traced with.

    Those are the usual ones: sizes at which an inner size is 1 would be taken for constants.
    """

    def __init__(self, net: Compilation, fixed: str, batch: int | None) -> None:
        from torch.export import Dim

        from cnndsl.backends.torch.export import BATCH

        self.net, self.traced = net, net.facts.reference()
        self.batch = batch or Dim("_" * (BATCH in self.traced) + BATCH, min=1)
        self.free: dict[str, Any] = {}
        self.stuck: dict[str, str] = {}
        for symbol in net.facts.symbols:
            valid = net.facts.allowed(symbol)
            if fixed:
                self.stuck[symbol] = fixed
            elif len(valid.residues) > 1:
                self.stuck[symbol] = f"torch.export cannot state {valid}"
            else:
                self.free[symbol] = _dim(symbol, valid)

    def of(self, type: Type) -> dict[int, Any]:
        """By axis of one input."""
        found = {} if isinstance(self.batch, int) else {0: self.batch}
        if isinstance(type, FeatureMap):
            for axis, extent in ((2, type.height), (3, type.width)):
                if isinstance(extent, Size) and extent.symbol in self.free:
                    found[axis] = self.free[extent.symbol]
        return found

    def notes(self) -> tuple[str, ...]:
        held = {symbol: self.traced[symbol] for symbol in self.stuck}
        batch = self.batch if isinstance(self.batch, int) else "batch"
        takes = " and ".join(f"[{batch}, {_sizes(n.type, held)}]" for n in self.net.graph.inputs)
        why = (f"{s} is fixed at {held[s]}: {reason}" for s, reason in self.stuck.items())
        return (f"takes {takes}", *why)


def _sizes(type: Type, held: Mapping[str, int]) -> str:
    """``3, H, 224``: symbols that are free as they are."""
    if not isinstance(type, FeatureMap):
        return str(type)[1:-1]
    shown = (at(x, held) if _is_held(x, held) else x for x in (type.height, type.width))
    return ", ".join(map(str, (type.channels, *shown)))


def _is_held(extent: Extent, held: Mapping[str, int]) -> TypeGuard[Size]:
    return isinstance(extent, Size) and extent.symbol in held


def _dim(symbol: str, valid: Valid) -> Any:
    """A dimension of exactly the valid sizes."""
    from torch.export import Dim

    step, rest = valid.modulus, valid.residues[0]
    if step == 1:
        return Dim(symbol, min=valid.next())
    rest -= step if rest else 0  # what stands for a root of 0 would be refused
    whole = step * Dim(f"_{symbol}", min=(valid.next() - rest) // step)
    return whole - -rest if rest else whole
