"""A network as a ``torch.export`` program that runs where cnndsl is not installed."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx.experimental import _config as tracing

from cnndsl.backends.torch.mark import MARK, SCHEMA
from cnndsl.backends.torch.module import Block, Network
from cnndsl.backends.torch.trial import named_outputs
from cnndsl.engines.base import Job
from cnndsl.engines.inductor_engine import FlowModule
from cnndsl.engines.traceable import traceable

BATCH = "batch"
Dims = Sequence[Mapping[int, Any]]
"""For each input, by axis, the ``torch.export.Dim`` of a size that may change."""


class _Plain(Network):
    """Returns several outputs as a dictionary: a type of ours would be needed to load it."""

    def forward(self, *inputs: Tensor, **named: Tensor) -> Any:
        return _single(named_outputs(self, super().forward(*inputs, **named)))


class _Rewritten(FlowModule):
    """The same for a flow."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.names = _names(job)

    def forward(self, *inputs: Tensor) -> Any:
        return _single(dict(zip(self.names, super().forward(*inputs), strict=True)))


class _Chained(nn.Module):
    """The same with operators ``cnndsl::chain`` for what a kernel takes."""

    def __init__(self, job: Job) -> None:
        from cnndsl.kernels.module import Lowered  # triton, which not every system has

        super().__init__()
        self.names = _names(job)
        self.chains = Lowered(job)

    def forward(self, *inputs: Tensor) -> Any:
        return _single(dict(zip(self.names, self.chains(*inputs), strict=True)))


def _names(job: Job) -> tuple[str, ...]:
    return tuple(output.name for output in job.flow.outputs)


def _single(outputs: Mapping[str, Tensor]) -> Any:
    return outputs if len(outputs) > 1 else next(iter(outputs.values()))


def export(
    network: Network, inputs: Mapping[str, Tensor], dims: Dims | None = None
) -> ExportedProgram:
    """The eval-mode program. Names in its ``state_dict`` are the network's own.

    ``dims`` by default: any batch, the other sizes as those of ``inputs``. Where they do not free
    the batch, it is that of ``inputs``.
    """
    twin = traceable(network)
    assert isinstance(twin, Network)
    _leave_out_heads(twin)
    twin.__class__, twin._live = _Plain, None
    return _traced(twin.eval(), inputs, dims)


def _leave_out_heads(network: Network) -> None:
    """Modules that run in training only would be saved with their weights."""
    kept, heads = (
        [f"{path}." for path, train in _calls(network) if train is wanted]
        for wanted in (False, True)
    )
    for head in heads:
        # `again` may call what stands in a head from elsewhere.
        if not any(head.startswith(other) or other.startswith(head) for other in kept):
            _remove(network, head[:-1])


def _calls(network: Network) -> set[tuple[str, bool]]:
    """Paths of what is called, with whether that is in training only; some are both."""
    found: set[tuple[str, bool]] = set()
    waiting = [("", False)]
    modules = dict(network.named_modules())
    while waiting:
        here, resting = waiting.pop()
        block = modules.get(here)
        for call in block._calls if isinstance(block, Block) else ():
            if call.path:
                outer = () if call.outside or not here else (here,)
                inner = (".".join((*outer, *call.path)), resting or call.train)
                if inner not in found:
                    found.add(inner)
                    waiting.append(inner)
    return found


def _remove(network: Network, path: str) -> None:
    """A module, or a bare weight; nothing where a namespace around it is gone already."""
    space, _, name = path.rpartition(".")
    try:
        parent = network.get_submodule(space)
    except AttributeError:
        return
    parent._modules.pop(name, None)
    parent._parameters.pop(name, None)


def export_flow(
    job: Job, inputs: Mapping[str, Tensor], dims: Dims | None = None
) -> ExportedProgram:
    """The program of a rewritten flow with the numbers of a job; its own names of weights."""
    module = _Rewritten(job)
    _lay_plainly(module)
    return _traced(traceable(module).eval(), inputs, dims)


def export_chains(
    job: Job, inputs: Mapping[str, Tensor], dims: Dims | None = None
) -> ExportedProgram:
    """The same with operators of ours in it; ``job.flow`` has the fusion of the triton engine.

    To load it, ``cnndsl.kernels.library`` has to be imported before.
    """
    module = _Chained(job)
    _lay_plainly(module)
    return _traced(traceable(module).eval(), inputs, dims)


def _lay_plainly(module: nn.Module) -> None:
    """Weights of another layout would make the tracer ask which layout fits each size."""
    for weight in (*module.parameters(), *module.buffers()):
        weight.data = weight.data.contiguous()


def _traced(module: nn.Module, inputs: Mapping[str, Tensor], dims: Dims | None) -> ExportedProgram:
    if dims is None:
        batch = torch.export.Dim(BATCH, min=1)
        dims = [{0: batch} for _ in inputs]
    # A batch of one would be taken for a constant.
    examples = tuple(
        torch.cat([x[:1], x[:1]]) if 0 in free else x
        for x, free in zip(inputs.values(), dims, strict=True)
    )
    sizes = {"inputs": tuple(dict(given) for given in dims)}
    # Else the program would refuse sizes at which some inner size is 0 or 1.
    with tracing.patch(backed_size_oblivious=True), torch.no_grad():  # type: ignore[attr-defined]
        return torch.export.export(module, examples, dynamic_shapes=sizes)


def to_bytes(program: ExportedProgram, facts: Mapping[str, Any]) -> memoryview:
    """The content of a ``.pt2`` file; ``facts`` go into it as JSON, which marks it as ours."""
    file = io.BytesIO()
    program.example_inputs = None  # they would be saved too
    torch.export.save(program, file, extra_files={MARK: marked(facts)})
    return file.getbuffer()


def marked(facts: Mapping[str, Any]) -> str:
    """What a file that we wrote says of itself."""
    return json.dumps({"schema": SCHEMA, **facts})
