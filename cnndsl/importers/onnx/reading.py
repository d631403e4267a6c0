"""The state of reading a model: what every ONNX value is by now, and how layers ask for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy

from cnndsl.importers.base import ImportProblem
from cnndsl.importers.onnx import views
from cnndsl.importers.onnx.attributes import problem
from cnndsl.importers.onnx.model import Model, Operation, array, short
from cnndsl.importers.onnx.names import hint_of, weight_name
from cnndsl.importers.onnx.network import Network, Weights
from cnndsl.importers.onnx.views import NoView, View
from cnndsl.limits import Limits
from cnndsl.ops.base import Op
from cnndsl.ops.conv import Conv, ConvTranspose
from cnndsl.ops.linear import Linear
from cnndsl.ops.norm import BatchNorm
from cnndsl.ops.regular import LEARNED, Scale
from cnndsl.ops.reshape import ChannelShuffle, Flatten, PixelShuffle
from cnndsl.ops.sizes import Dim, Size
from cnndsl.ops.types import FeatureMap, Vector
from cnndsl.ops.values import spell

_COMPUTED = 2**28  # numbers that operations on constants may give
_ROUNDING = 1.2e-7  # of float32: factors as near to 1 are 1
_EPS = BatchNorm.params["eps"].default


@dataclass(frozen=True)
class Constant:
    """Numbers. Shapes are arrays of objects: whole numbers and open sizes."""

    value: Any


@dataclass(frozen=True)
class Wire:
    """A view of a step's value, times ``scale`` plus ``shift``, per channel or all alike.

    ``own``: nobody else reads the step, so the factors may become part of it. ``learned``: the
    product whose weight ``scale`` is, if it is one by name: a layer even where it is 1; with the
    weight of a sum behind it, which ``shift`` is, as another input.
    """

    step: int
    view: View
    scale: Any = 1.0
    shift: Any = 0.0
    own: bool = True
    learned: Operation | None = None

    @property
    def plain(self) -> bool:
        nothing = is_all(self.scale, 1.0) and is_all(self.shift, 0.0)
        return nothing and self.learned is None


Value = Constant | Wire


def is_all(value: Any, number: float) -> bool:
    return bool(numpy.all(numpy.asarray(value) == number))


class Reading:
    """Values by name. ``batch`` is what the file says of the first axis."""

    def __init__(self, model: Model, batch: Dim, limits: Limits) -> None:
        self.model, self.batch = model, batch
        self.network = Network(limits)
        self.values: dict[str, Value] = {}
        self.deviations: dict[str, float] = {}
        # Parts of adaptive pools, by step: see ``adaptive``.
        self.windows: dict[int, Any] = {}
        self.pieces: dict[int, Any] = {}
        self.halves: dict[int, bool] = {}
        self.budget = _COMPUTED

    # --- asking -------------------------------------------------------------------------------

    def value(self, name: str) -> Value:
        """What a name stands for."""
        if not name:
            raise ImportProblem("an operation lacks an input that it needs")
        if name not in self.values:
            self.values[name] = Constant(array(self.model.constants[name]))
        return self.values[name]

    def has(self, op: Operation, place: int) -> bool:
        """Whether an optional input is there."""
        return place < len(op.inputs) and op.inputs[place] != ""

    def wire(self, op: Operation, place: int) -> Wire:
        value = self._input(op, place)
        if isinstance(value, Constant):
            raise problem(op, f"its input {place + 1} is a constant")
        return value

    def constant(self, op: Operation, place: int) -> Any:
        """The array that an input is."""
        value = self._input(op, place)
        if isinstance(value, Wire):
            raise problem(op, f"its input {place + 1} is computed, not a constant")
        return value.value

    def numbers(
        self, op: Operation, place: int, count: int | None = None, sizes: bool = False
    ) -> tuple[Any, ...]:
        """Whole numbers in a row; with ``sizes`` some may be open."""
        values = self.constant(op, place).reshape(-1).tolist()
        if not all(isinstance(v, int) or (sizes and isinstance(v, Size)) for v in values):
            raise problem(op, f"its input {place + 1} is not in whole numbers")
        if count is not None and len(values) != count:
            raise problem(op, f"its input {place + 1} has {len(values)} values, not {count}")
        return tuple(values)

    def _input(self, op: Operation, place: int) -> Value:
        if not self.has(op, place):
            raise ImportProblem(f"{op} has no input {place + 1}")
        return self.value(op.inputs[place])

    def floats(self, op: Operation, place: int) -> Any:
        """A weight, as an array of float64 or float32."""
        found = self.constant(op, place)
        if found.dtype.kind not in "fiu":
            raise problem(op, f"its input {place + 1} has no numbers that are weights")
        return found

    def number(self, op: Operation, place: int) -> float:
        """An input that is one finite number."""
        found = self.floats(op, place)
        if found.size != 1 or not numpy.isfinite(found).all():
            raise problem(op, f"its input {place + 1} is not one finite number")
        return float(found.reshape(()))

    def spend(self, elements: int) -> None:
        """Charges for numbers that are computed; ImportProblem past the limit."""
        self.budget -= elements
        if self.budget < 0:
            raise ImportProblem(f"its constants take more than {_COMPUTED:,} numbers to compute")

    # --- wires --------------------------------------------------------------------------------

    def settled(self, op: Operation, place: int) -> Wire:
        """An input without open factors."""
        wire = self.wire(op, place)
        if not wire.plain:
            wire = self.values[op.inputs[place]] = self.settle(wire, op)
        return wire

    def scaled(self, op: Operation, place: int, scale: Any, shift: Any) -> Wire:
        """An input times a factor plus a number; nothing is emitted yet."""
        wire, readers = self.wire(op, place), self.model.readers[op.inputs[place]]
        named = op.kind == "Mul" and self._is_learned(op, wire, scale)
        alone = readers == 1 and is_all(scale, 1.0)
        if (named and not wire.plain) or (wire.learned is not None and not alone):
            wire = self.settled(op, place)  # a factor with a name is a layer, one for all readers
        own = wire.own and readers == 1
        factor = wire.scale * scale
        if numpy.size(factor) == 1 and abs(factor - 1) < _ROUNDING:
            factor = 1.0
        learned = self._with_shift(wire, op, shift)
        if named:  # its weight stands where others have theirs
            learned = replace(op, inputs=(op.inputs[place], op.inputs[1 - place]))
        shift = wire.shift * scale + shift
        return replace(wire, scale=factor, shift=shift, own=own, learned=learned)

    def _is_learned(self, op: Operation, wire: Wire, value: Any) -> bool:
        """Whether the constant is one weight per channel that has a name."""
        if weight_name(op, self.model.constants) is None:
            return False
        # Of one channel, `per_channel` makes one number of either: a weight has axes even then,
        # a number that the program was written with has none.
        shapes = [x.value.shape for x in map(self.value, op.inputs) if isinstance(x, Constant)]
        return numpy.size(value) > 1 or (shapes != [()] and self.channels(wire.step) == 1)

    def _with_shift(self, wire: Wire, op: Operation, shift: Any) -> Operation | None:
        """A product with the sum behind it, whose weights may have a common name."""
        product = wire.learned
        if product is None or op.kind != "Add":
            return None
        if is_all(shift, 0.0) and not self._is_learned(op, wire, shift):
            return product  # a number that adds nothing
        weights = [x for x in (*product.inputs, *op.inputs) if x in self.model.constants]
        return replace(product, inputs=(op.outputs[0], *weights))

    def viewed(self, op: Operation, view: View, place: int = 0) -> Wire:
        """An input's values with other axes."""
        wire = self.wire(op, place)
        own = wire.own and self.model.readers[op.inputs[place]] == 1
        return replace(wire, view=view, own=own)

    def same(self, op: Operation, layer: Op, place: int = 0) -> Wire:
        """A layer that works value by value, whatever the tensor's axes are."""
        wire = self.settled(op, place)
        return Wire(self.network.add(layer, [wire.step], op), wire.view)

    def map(self, op: Operation, place: int) -> int:
        """An input as a feature map [N, C, H, W]."""
        return self._canonical(op, place, FeatureMap)

    def vector(self, op: Operation, place: int) -> int:
        """An input as [N, C]."""
        return self._canonical(op, place, Vector)

    def layer(
        self, op: Operation, layer: Op, inputs: Sequence[int],
        weights: Weights | None = None, hint: str | None = None,
    ) -> Wire:  # fmt: skip
        """A new step, as the wire that it is."""
        place = self.network.add(layer, inputs, op, weights, hint)
        return self.whole(place)

    def whole(self, place: int) -> Wire:
        return Wire(place, views.base(self.network.type(place), self.batch))

    def _canonical(self, op: Operation, place: int, kind: type) -> int:
        wire = self.settled(op, place)
        if isinstance(self.network.type(wire.step), kind) and self.is_whole(wire):
            return wire.step
        step = self.moved(wire, op)
        if step is None or not isinstance(self.network.type(step), kind):
            what = "an image [N, C, H, W]" if kind is FeatureMap else "a vector [N, C]"
            raise problem(op, f"it reads {self.told(wire)} where {what} is needed")
        self.values[op.inputs[place]] = self.whole(step)
        return step

    def is_whole(self, wire: Wire) -> bool:
        """Whether a tensor is the step's value as it is."""
        return views.is_base(wire.view, self.network.type(wire.step))

    def told(self, wire: Wire) -> str:
        """The tensor's axes in words."""
        axes = ["*".join(f"{a.axis}{a.size}" for a in axis) or "1" for axis in wire.view]
        return f"[{', '.join(axes)}] of {self.network.type(wire.step)}"

    def moved(self, wire: Wire, op: Operation) -> int | None:
        """The step that moves values as the view says, if a layer does that."""
        if self.is_whole(wire):
            return wire.step
        kind = self.network.type(wire.step)
        order = views.flat_order(wire.view, kind)
        if order is not None:
            return self.network.add(Flatten(order), [wire.step], op)
        if not isinstance(kind, FeatureMap) or len(wire.view) != 4:
            return None
        return self._shuffled(wire, kind, op)

    def _shuffled(self, wire: Wire, kind: FeatureMap, op: Operation) -> int | None:
        add = self.network.add
        groups = views.shuffle_groups(wire.view[1])
        if groups is not None:
            unmoved = views.base(kind, 1)
            if views.is_batch(wire.view[0]) and wire.view[2:] == unmoved[2:]:
                return add(ChannelShuffle(groups), [wire.step], op)
        factor = views.pixel_factor(wire.view, kind)
        if factor is not None:
            return add(PixelShuffle(factor), [wire.step], op)
        factor = views.depth_first_factor(wire.view, kind)
        if factor is not None:
            turned = add(ChannelShuffle(factor**2), [wire.step], op)
            return add(PixelShuffle(factor), [turned], op)
        return None

    # --- factors ------------------------------------------------------------------------------

    def settle(self, wire: Wire, op: Operation) -> Wire:
        """Open factors as part of the step before, or as a layer of their own."""
        producer = self.network.steps[wire.step]
        channels = self.channels(wire.step)
        scale, shift = (numpy.asarray(x, numpy.float64) for x in (wire.scale, wire.shift))
        if wire.own and producer.op.norm and "bias" in producer.weights:
            producer.weights["weight"] = _float(producer.weights["weight"] * scale)
            producer.weights["bias"] = _float(producer.weights["bias"] * scale + shift)
            return Wire(wire.step, wire.view)
        adds = is_all(scale, 1) and wire.learned is None
        if wire.own and isinstance(producer.op, Conv | ConvTranspose | Linear) and adds:
            before = producer.weights.get("bias", 0.0)
            producer.weights["bias"] = _float(numpy.broadcast_to(before + shift, (channels,)))
            producer.op = producer.op.replace(bias=True)
            return Wire(wire.step, wire.view)
        layer, weights = _factors(scale, shift, channels, wire.learned)
        hint = None if wire.learned is None else self._hint(weights, wire.learned)
        place = self.network.add(layer, [wire.step], wire.learned or op, weights, hint)
        return Wire(place, wire.view)

    def _hint(self, weights: Weights, learned: Operation) -> str:
        """Where a product lives: a bare weight's own name, else what the names have in common."""
        bare = weight_name(learned, self.model.constants) if "" in weights else None
        return bare or hint_of(learned)

    def channels(self, step: int) -> int:
        """Channels or features of a step's value."""
        kind = self.network.type(step)
        found = kind.channels if isinstance(kind, FeatureMap) else kind.features
        assert isinstance(found, int)
        return found

    def per_channel(self, op: Operation, wire: Wire, value: Any) -> Any:
        """A constant that is joined with a tensor: one number, or one for each channel."""
        if value.dtype.kind not in "fiu":
            raise problem(op, "it computes with a constant that is no number")
        if value.size == 1:
            return float(value.reshape(()))
        sizes = (1,) * (len(wire.view) - value.ndim) + value.shape
        axis = views.channel_axis(wire.view, self.network.type(wire.step))
        along = [k for k, size in enumerate(sizes) if size > 1]
        if (
            len(sizes) != len(wire.view)
            or along != [axis]
            or value.size != self.channels(wire.step)
        ):
            raise problem(op, f"its constant {list(value.shape)} is not one number per channel")
        return value.reshape(-1).astype(numpy.float64)

    def on_axis(self, op: Operation, wire: Wire, axis: int) -> bool:
        """Whether an axis of the tensor runs through all channels and nothing else."""
        try:
            (place,) = views.normal([axis], len(wire.view))
        except NoView as why:
            raise problem(op, str(why)) from None
        return views.channel_axis(wire.view, self.network.type(wire.step)) == place


def _float(value: Any) -> Any:
    return numpy.asarray(value, numpy.float32)


def _factors(
    scale: Any, shift: Any, channels: int, learned: Operation | None
) -> tuple[Op, Weights]:
    """A layer that multiplies and adds: a norm of what has mean 0 and variance 1.

    ``learned``: the product that it is by name; behind its own weight stand those of sums, which
    are kept even where they add 0, as they do before training.
    """
    if is_all(shift, 0.0) and (learned is None or len(learned.inputs) == 2):
        by = None if learned else _short(scale)
        if by is not None:
            return Scale(by=by), {}
        return Scale(by=LEARNED), {"": _float(numpy.broadcast_to(scale, (channels,)))}
    return BatchNorm(), {
        "weight": _float(numpy.broadcast_to(scale, (channels,))),
        "bias": _float(numpy.broadcast_to(shift, (channels,))),
        "running_mean": numpy.zeros(channels, numpy.float32),
        "running_var": numpy.full(channels, 1 - _EPS, numpy.float32),
    }


def _short(scale: Any) -> float | None:
    """One factor as a text can have it."""
    if numpy.size(scale) != 1:
        return None
    found = short(float(scale))
    try:
        spell(found)
    except (ValueError, OverflowError):
        return None
    return found
