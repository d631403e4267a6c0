"""A look at the inputs within the model, where it costs next to nothing.

Whether a picture holds NaN, only who reads all of it can say, and that takes as long as a small
convolution: 0.08 ms of MobileNet-v2's 5. A session reads it anyway, and on all threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def sum_inputs(model: Any) -> None:
    """Sums of each input, per sample and channel, as further outputs; in place."""
    graph = model.graph
    for value in list(graph.input):
        rank = len(value.type.tensor_type.shape.dim)
        axes, sums = f"{value.name}/sums/axes", f"{value.name}/sums"
        over = np.arange(min(2, rank - 1), rank)
        graph.initializer.append(numpy_helper.from_array(over, axes))
        node = helper.make_node("ReduceSum", [value.name, axes], [sums], sums, keepdims=0)
        graph.node.append(node)
        kept = [d.dim_value for d in value.type.tensor_type.shape.dim[: over[0]]]
        graph.output.append(helper.make_tensor_value_info(sums, TensorProto.FLOAT, kept))
