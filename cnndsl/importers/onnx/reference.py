"""The original, as onnxruntime runs it: what an import is held against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from cnndsl.graph.model import Graph
from cnndsl.importers.base import ImportProblem, Reference
from cnndsl.importers.onnx import views
from cnndsl.importers.onnx.recognise import Recognised
from cnndsl.ops.types import FeatureMap


def reference(proto: Any, found: Recognised) -> Reference:
    """A function of the text's inputs to the text's outputs; ImportProblem where it cannot run."""
    session = _session(proto)

    def run(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        given = {
            name: views.apply(view, inputs[own]).contiguous().numpy()
            for name, own, view in found.inputs
        }
        try:
            results = session.run([name for name, _, _ in found.outputs], given)
        except Exception as why:
            raise _refused(why) from None
        batch = len(next(iter(inputs.values())))
        return {
            own: _turned(view, torch.from_numpy(value), batch, _kind(found.imported.graph, own))
            for (_, own, view), value in zip(found.outputs, results, strict=True)
        }

    return run


def _session(proto: Any) -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise ImportProblem(
            "proving an import needs the package `onnxruntime`: pip install cnndsl[onnx]"
        ) from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its own words would stand between ours
    # The file as it is: what its optimiser makes of it may be rounded otherwise.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as why:  # its errors have no class of their own
        raise _refused(why) from None


def _refused(why: Exception) -> ImportProblem:
    return ImportProblem(f"onnxruntime cannot run it: {str(why).strip().splitlines()[-1]}")


def _kind(graph: Graph, output: str) -> bool:
    node = next(o.node for o in graph.outputs if o.name == output)
    return isinstance(graph.nodes[node].type, FeatureMap)


def _turned(view: views.View, value: Tensor, batch: int, is_map: bool) -> Tensor:
    turned: Tensor = views.undo(view, value, batch, 4 if is_map else 2)
    return turned
