"""A net as an ONNX model, and the proof that onnxruntime computes what PyTorch does.

Initialisers are called as the keys of the ``state_dict`` (``layer1.0.conv1.weight``), nodes as
the modules, outputs as in the text. The batch is ``N``; H, W, … stay free where the text leaves
them free. The model carries its own ``.cnn`` text. Heads emitted in training are left out.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import cnndsl
from cnndsl.checkpoints.origin import Origin
from cnndsl.compilation import Compilation
from cnndsl.engines.found import missing
from cnndsl.exporters.proof import Exported, ExportError, Judge, Proof
from cnndsl.graph.printer import print_graph
from cnndsl.passes.flow import Flow, Step

if TYPE_CHECKING:
    from cnndsl.backends.torch.module import Network

PRODUCER = "cnndsl"
MARK = b"\x12\x06" + PRODUCER.encode()
"""The producer's field, which stands among the first bytes of a model."""
VALID = "cnndsl.valid"
"""Key of the metadata for what ONNX cannot say of sizes: ``H % 16 == 0``."""
_LARGEST = 2**31 - 1  # bytes that protobuf takes
_ROOM = 2**24  # for what is not weights


def export_onnx(
    net: Compilation, network: Network | None = None, *, optimize: int = 0, opset: int | None = None
) -> Exported:
    """The bytes of a model that passed ``onnx.checker`` and computes what ``network`` does.

    ``network``: whose weights are taken, by default a new one with random weights.
    ``optimize=1`` rewrites the net first (norms folded into convolutions, …): weights computed
    from others end in ``.folded``. ``opset``: by default the lowest that has every operator.
    Raises ExportError: libraries that are missing, an operator without a form, 2 GiB of
    weights, or other numbers from onnxruntime than from PyTorch at two sizes and two batches.
    """
    refuse(net)
    network = network or net.compile(optimize=0)
    model = build(net, network, optimize=optimize, opset=opset)
    _check(model)
    data = model.SerializeToString()
    proof = _prove(net, network, data, model.opset_import[0].version)
    return Exported(data, (_described(model), _of_values(model)), proof)


def refuse(net: Compilation) -> None:
    """ExportError for what is known before anything takes long."""
    absent = missing("onnx", "onnxruntime")
    if absent is not None:
        raise ExportError(absent)
    total = sum(
        4 * math.prod(shape)
        for shape in {e: e.shape for s in Flow(net.graph) for e in s.weights.values()}.values()
    )
    if total > _LARGEST - _ROOM:
        raise ExportError(
            f"{net.graph.name} has {total:,} bytes of weights: an ONNX file holds less than "
            "2 GiB, and weights in files beside it are not written"
        )


def build(
    net: Compilation, network: Network, *, optimize: int = 0, opset: int | None = None
) -> Any:
    """The ``onnx.ModelProto``, not yet proven. Raises ExportError."""
    from onnx import defs, helper

    from cnndsl.engines.base import EngineError, Job
    from cnndsl.engines.derived import derived
    from cnndsl.engines.onnx.model import NoForm, onnx_model
    from cnndsl.passes.pipeline import ALGEBRA

    newest = defs.onnx_opset_version()
    if opset is not None and opset > newest:
        raise ExportError(f"opset {opset} is unknown: this onnx package knows those to {newest}")
    flow = Flow(net.graph)
    if optimize:
        ALGEBRA.run(flow)
    try:
        weights = derived(Job(flow, network.state_dict(), ()))
        model = onnx_model(flow, weights, opset=opset)
    except NoForm as problem:
        raise ExportError(f"{problem}{_where(problem.step)}") from None
    except EngineError as problem:
        raise ExportError(str(problem)) from None
    model.producer_name, model.producer_version = PRODUCER, cnndsl.__version__
    helper.set_model_props(model, _metadata(net))
    return model


def _where(step: Step) -> str:
    span = next((node.span for node in step.origins if node.span is not None), None)
    return f" (`{step.origins[0].path}`)" + (f", {span.source.name}:{span.line}" if span else "")


def _metadata(net: Compilation) -> dict[str, str]:
    """The text of the flat graph, as in files of weights, and the valid sizes."""
    origin = Origin(print_graph(net.graph), net.graph.name)
    valid = ", ".join(str(net.facts.allowed(symbol)) for symbol in net.facts.symbols)
    return {**origin.to_metadata(), **({VALID: valid} if valid else {})}


# --- proof --------------------------------------------------------------------------------------


def _check(model: Any) -> None:
    from onnx import checker

    try:
        checker.check_model(model, full_check=True)
    except Exception as problem:  # its errors have no common base
        raise ExportError(f"onnx.checker: {_first_line(problem)}; nothing was written") from None


def _prove(net: Compilation, network: Network, data: bytes, opset: int) -> Proof:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # The model as it is written: onnxruntime's own folding of norms may cost digits.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        return Judge(net, network).prove(_runner(session), f"onnxruntime {onnxruntime.__version__}")
    except ExportError:
        raise
    except Exception as problem:  # its errors have no common base
        said = f"onnxruntime {onnxruntime.__version__} does not run opset {opset} of this net"
        raise ExportError(f"{said}: {_first_line(problem)}; nothing was written") from None


def _runner(session: Any) -> Callable[..., Sequence[Any]]:
    import torch

    names = [value.name for value in session.get_inputs()]

    def run(*inputs: Any) -> list[Any]:
        given = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
        return list(map(torch.from_numpy, session.run(None, given)))

    return run


def _first_line(problem: Exception) -> str:
    return next(iter(str(problem).strip().splitlines()), type(problem).__name__)


# --- what is said of it -------------------------------------------------------------------------


def _described(model: Any) -> str:
    weights = sum(not t.name.startswith("constant_") for t in model.graph.initializer)
    return (
        f"opset {model.opset_import[0].version}, {len(model.graph.node):,} nodes, "
        f"{weights:,} weights"
    )


def _of_values(model: Any) -> str:
    takes = ", ".join(map(_value, model.graph.input))
    return f"takes {takes}; gives {', '.join(map(_value, model.graph.output))}"


def _value(value: Any) -> str:
    dims = value.type.tensor_type.shape.dim
    shape = ", ".join(dim.dim_param or str(dim.dim_value) for dim in dims)
    return f"{value.name} [{shape}]"


def is_ours(path: str) -> bool:
    """Whether cnndsl wrote this file; the libraries are not asked."""
    if not os.path.isfile(path):  # a pipe nobody writes to would be waited for
        return False
    with open(path, "rb") as file:
        return MARK in file.read(32)
