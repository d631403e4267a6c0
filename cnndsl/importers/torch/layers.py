"""Layers with weights, and pools: their parameters are the recorded ones."""

from __future__ import annotations

from typing import Any

from cnndsl.importers.torch.convert import Converter, recognises
from cnndsl.importers.torch.trace import Call, shape_of
from cnndsl.importers.torch.values import CHANNELS_LAST, PERMUTED, PLAIN, SQUEEZED, Value, Weight
from cnndsl.ops import catalogue
from cnndsl.ops.values import Edges


def plain(c: Converter, call: Call, name: str = "self", rank: int = 0) -> Value:
    """The argument as it is: a map (``rank`` 4) or a vector (2), in order."""
    value = c.value(call, name)
    if value.form != PLAIN or (rank and len(shape_of(call.node.all_input_nodes[0])) != rank):
        raise call.problem(f"takes its input as {value.form}, and no step does")
    return value


def pair(value: Any) -> Any:
    """PyTorch's ``[3]`` or ``3`` for both axes."""
    items = list(value) if isinstance(value, list | tuple) else [value]
    return tuple(items * 2 if len(items) == 1 else items)


@recognises("conv2d")
def conv2d(c: Converter, call: Call) -> Value:
    x = plain(c, call, "input", 4)
    given = c.look(call.arguments["weight"])
    if isinstance(given, Weight) and len(given.shape) == 2:
        return _linear_on_positions(c, call, x, given)
    module = c.owner(call, weight="weight", bias="bias")
    weight = c.weight(call, "weight")
    assert weight is not None
    kernel, dilation = weight.shape[2:], pair(c.fixed(call, "dilation"))
    op = catalogue()["conv"](
        out=weight.shape[0], kernel=kernel, stride=pair(c.fixed(call, "stride")),
        padding=_padding(c.fixed(call, "padding"), kernel, dilation), dilation=dilation,
        groups=c.fixed(call, "groups"), bias=call.arguments.get("bias") is not None,
    )  # fmt: skip
    return Value(c.put(call, op, [x.id], module))


def _linear_on_positions(c: Converter, call: Call, x: Value, weight: Weight) -> Value:
    """A linear layer on the channels at each position, written as a convolution."""
    path, _, own = weight.key.rpartition(".")
    stride, padding = pair(c.fixed(call, "stride")), pair(c.fixed(call, "padding"))
    if (own, stride, padding, call.arguments["groups"]) != ("weight", (1, 1), (0, 0), 1):
        raise call.problem("has a weight that is computed")
    bias = call.arguments.get("bias") is not None
    if bias and c.owner(call, bias="bias") != path:
        raise call.problem("has weights of several modules")
    return Value(c.add(call, "linear", [x.id], path, out=weight.shape[0], bias=bias))


def _padding(padding: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> Any:
    """Numbers; ``same`` puts what is odd behind, as PyTorch does."""
    if padding == "valid":
        return (0, 0)
    if padding != "same":
        return pair(padding)
    rows, columns = ((k - 1) * d for k, d in zip(kernel, dilation, strict=True))
    return Edges(rows // 2, rows - rows // 2, columns // 2, columns - columns // 2)


@recognises("conv_transpose2d")
def conv_transpose2d(c: Converter, call: Call) -> Value:
    x = plain(c, call, "input", 4)
    module = c.owner(call, weight="weight", bias="bias")
    weight = c.weight(call, "weight")
    assert weight is not None
    groups = c.fixed(call, "groups")
    op = catalogue()["conv_transpose"](
        out=weight.shape[1] * groups, kernel=weight.shape[2:],
        stride=pair(c.fixed(call, "stride")), padding=pair(c.fixed(call, "padding")),
        output_padding=pair(c.fixed(call, "output_padding")), groups=groups,
        bias=call.arguments.get("bias") is not None, dilation=pair(c.fixed(call, "dilation")),
    )  # fmt: skip
    return Value(c.put(call, op, [x.id], module))


@recognises("linear")
def linear(c: Converter, call: Call) -> Value:
    """On a vector, or on the last axis of a map with its channels there."""
    x = c.value(call, "input")
    rank = len(call.shapes[0])
    if not (rank == 2 and x.form in (PLAIN, SQUEEZED)) and (x.form, x.detail) != (
        PERMUTED, CHANNELS_LAST
    ):  # fmt: skip
        raise call.problem("acts on an axis that is not the channels")
    weight = c.weight(call, "weight")
    assert weight is not None
    bias = call.arguments.get("bias") is not None
    module = c.owner(call, weight="weight", bias="bias")
    return x.like(c.add(call, "linear", [x.id], module, out=weight.shape[0], bias=bias))


@recognises("batch_norm")
def batch_norm(c: Converter, call: Call) -> Value:
    x = c.value(call, "input")
    if x.form not in (PLAIN, SQUEEZED) or len(call.shapes[0]) not in (2, 4):
        raise call.problem(f"takes its input as {x.form}, and no step does")
    if call.arguments.get("running_mean") is None:
        raise call.problem("keeps no running statistics")
    affine = call.arguments.get("weight") is not None
    names = {"running_mean": "running_mean", "running_var": "running_var"}
    names |= {"weight": "weight", "bias": "bias"} if affine else {}
    momentum, eps = c.fixed(call, "momentum"), c.fixed(call, "eps")
    module = c.owner(call, **names)
    id = c.add(call, "bn", [x.id], module, eps=eps, momentum=momentum, affine=affine)
    return x.like(id)


@recognises("layer_norm")
def layer_norm(c: Converter, call: Call) -> Value:
    """Over the channels at each position, or over a vector."""
    x = c.value(call, "input")
    rank, normalized = len(call.shapes[0]), c.fixed(call, "normalized_shape")
    last = (x.form, x.detail) == (PERMUTED, CHANNELS_LAST)
    if len(normalized) != 1 or not (last or (rank == 2 and x.form in (PLAIN, SQUEEZED))):
        raise call.problem("normalises other axes than the channels")
    module = c.owner(call, weight="weight", bias="bias")
    return x.like(c.add(call, "layer_norm", [x.id], module, eps=c.fixed(call, "eps")))


@recognises("group_norm")
def group_norm(c: Converter, call: Call) -> Value:
    x = plain(c, call, "input")
    module = c.owner(call, weight="weight", bias="bias")
    groups, eps = c.fixed(call, "num_groups"), c.fixed(call, "eps")
    return Value(c.add(call, "group_norm", [x.id], module, groups=groups, eps=eps))


@recognises("prelu")
def prelu(c: Converter, call: Call) -> Value:
    x = c.value(call)
    weight = c.weight(call, "weight")
    if weight is None or not x.is_map_in_order or x.channel_axis != 1:
        raise call.problem(f"takes its input as {x.form}, and no step does")
    module = c.owner(call, weight="weight")
    return x.like(c.add(call, "prelu", [x.id], module, num_parameters=weight.shape[0]))


# --- pools --------------------------------------------------------------------------------------


@recognises("max_pool2d")
def max_pool2d(c: Converter, call: Call) -> Value:
    x = plain(c, call, rank=4)
    if _covers(call):
        return Value(c.add(call, "gmp", [x.id]))
    kernel, stride = pair(c.fixed(call, "kernel_size")), c.fixed(call, "stride")
    id = c.add(
        call, "maxpool", [x.id], kernel=kernel, stride=pair(stride) if stride else kernel,
        padding=pair(c.fixed(call, "padding")), dilation=pair(c.fixed(call, "dilation")),
        ceil=c.fixed(call, "ceil_mode"),
    )  # fmt: skip
    return Value(id)


@recognises("avg_pool2d")
def avg_pool2d(c: Converter, call: Call) -> Value:
    x = plain(c, call, rank=4)
    if _covers(call):
        return Value(c.add(call, "gap", [x.id]))
    if c.fixed(call, "divisor_override") is not None:
        raise call.problem("divides by a number of its own")
    kernel, stride = pair(c.fixed(call, "kernel_size")), c.fixed(call, "stride")
    padding = pair(c.fixed(call, "padding"))
    # where nothing is padded it makes no difference, and the default reads better
    counts = c.fixed(call, "count_include_pad") or padding == (0, 0)
    id = c.add(
        call, "avgpool", [x.id], kernel=kernel, stride=pair(stride) if stride else kernel,
        padding=padding, ceil=c.fixed(call, "ceil_mode"), count_include_pad=counts,
    )  # fmt: skip
    return Value(id)


def _covers(call: Call) -> bool:
    """Whether the one window is all of the input, whatever its size."""
    x, y = (shape_of(node.all_input_nodes[0])[2:] for node in (call.node, call.twin))
    kernels = [pair(a["kernel_size"]) for a in (call.arguments, call.others)]
    same = kernels == [x, y]
    return same and kernels[0] != kernels[1] and pair(call.arguments["padding"]) == (0, 0)


@recognises("adaptive_avg_pool2d", "adaptive_max_pool2d")
def adaptive_pool2d(c: Converter, call: Call) -> Value | list[Value | None]:
    x, output = plain(c, call, rank=4), pair(c.fixed(call, "output_size"))
    kind = "avg" if "avg" in call.name else "max"
    if output == (1, 1):
        found = Value(c.add(call, "gap" if kind == "avg" else "gmp", [x.id]))
    else:
        found = Value(c.add(call, f"adaptive_{kind}pool", [x.id], output=output))
    return found if kind == "avg" else [found, None]  # the places of the maxima


@recognises("leaf")
def leaf(c: Converter, call: Call) -> Value:
    """A layer that was not looked into; stochastic depth that never drops is nothing."""
    x = c.value(call, "x")
    op = c.trace.leaves[call.arguments["place"]]
    if op.values.get("p") == 0:
        return x
    if not x.is_map_in_order or (op.name == "lrn" and x.form != PLAIN):
        raise call.problem(f"takes its input as {x.form}, and no step does")
    return x.like(c.put(call, op, [x.id]))
