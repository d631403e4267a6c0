"""3x3 convolutions by Winograd's minimal filtering: a half or a quarter of the products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cnndsl.ops.conv import Conv, ConvTranspose
from cnndsl.ops.merge import Concat
from cnndsl.ops.reshape import ChannelShuffle, Crop
from cnndsl.ops.types import FeatureMap
from cnndsl.ops.values import Edges
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.convolutions import NO_EDGES, edges_of
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.toom_cook import TAPS, Line, line
from cnndsl.weights.expr import Expr, einsum, full, numbers

FOUR = line(0, 5 / 8, -5 / 8, 3 / 2, -3 / 2)
"""Four outputs at a time. Sums are 2.3 times (4x4) and 1.5 times (4x1) as exact as by the customary
1 and 2, whose powers spread wider; the best of a grid, measured on 64 to 512 channels."""
ONE = Line(1, 1, *[numbers((1.0,))] * 4)
"""One output at a time, as a convolution gives it: its taps are not transformed."""


class Tile(NamedTuple):
    """Outputs that are computed together, and what that costs."""

    rows: Line
    columns: Line
    value: int
    """Multiply-accumulates that take as long as one value of a transform."""
    far: int
    """As one of more values than ``_NEAR``."""
    channel: int
    """And as the start of the transforms of a channel."""
    margin: float
    """How much less work it has to be."""

    @property
    def size(self) -> str:
        """Rows and columns of outputs, in words."""
        return f"{self.rows.outputs}x{self.columns.outputs}"

    @property
    def points(self) -> int:
        """Products for each pair of channels, or rows of products."""
        return self.rows.window * self.columns.window

    @property
    def is_line(self) -> bool:
        """Whether tiles lie along the height alone, and columns stay a convolution's."""
        return self.columns.window == 1

    @property
    def window(self) -> tuple[int, int]:
        """Inputs that a tile reads."""
        return self.rows.window, self.columns.window

    @property
    def stride(self) -> tuple[int, int]:
        """Outputs of a tile."""
        return self.rows.outputs, self.columns.outputs

    @property
    def kernel(self) -> tuple[int, int]:
        """What is left of the filter."""
        return 1, TAPS if self.is_line else 1

    def counts(self, step: Step) -> tuple[int, int]:
        """Tiles in a column and a row of the map."""
        height, width = _size(step)
        return -(-height // self.rows.outputs), -(-width // self.columns.outputs)

    def beyond(self, step: Step) -> tuple[int, int]:
        """Rows and columns of outputs that lie beyond the map."""
        (rows, columns), (height, width) = self.counts(step), _size(step)
        return rows * self.rows.outputs - height, columns * self.columns.outputs - width

    def cost(self, step: Step) -> float:
        """In multiply-accumulates for one sample, times the margin."""
        outputs, inputs = step.weights["weight"].shape[:2]
        rows, columns = self.counts(step)
        products = self.points * self.kernel[1] * inputs * outputs
        values = self.points * rows * columns * (inputs + outputs)
        moved = values * (self.value if values < _NEAR else self.far)
        started = self.channel * (inputs + outputs)
        return self.margin * (products * (rows * columns + _WEIGHT) + moved + started)


_WEIGHT = 12
"""Multiply-accumulates that take as long as one more weight."""
_NEAR = 2**20
"""Values of one sample, 4 MB, that the caches near the cores hold."""
# Fitted to layers of VGG-16, ResNet and AlexNet, one sample, two threads with AVX-512.
F4X4 = Tile(FOUR, FOUR, value=120, far=120, channel=0, margin=1.15)
F4X1 = Tile(FOUR, ONE, value=66, far=132, channel=15_000, margin=1.05)
F4X1_APART = F4X1._replace(far=66)
"""Where rows lie apart, as in OpenVINO's form: whole rows are read. Fitted to 24 layers, some of
GoogLeNet and SqueezeNet, in float32 and bfloat16."""


@dataclass(frozen=True)
class Winograd(Rewrite):
    """F(4x4, 3x3) of Lavin & Gray 2015 (arXiv:1509.09308), or F(4, 3) along the height alone, in
    operators that every engine has::

        conv(c, 3)   on m channels
            becomes   conv(36m, 6, stride=4, groups=m)            B^T d B of each tile
                      -> channel_shuffle(m)                       sorted by point of the tile
                      -> conv(36c, 1, groups=36)                  a matrix product per point
                      -> channel_shuffle(36)                      sorted by channel
                      -> conv_transpose(c, 4, stride=4, groups=c) A^T y A of each tile
                      [-> crop]                                   what lies beyond the map

        A^T [(G g G^T) * (B^T d B)] A,   * point by point

    A tile of 4x4 outputs takes 36 products for each pair of channels instead of 144. One of 4x1
    takes 6 rows of three instead of 12, moves fewer values, and its sums are more exact::

        conv(c, 3)   on m channels
            becomes   concat(6 of conv(m, (6, 1), stride=(4, 1), groups=m))       B^T d
                      -> conv(6c, (1, 3), groups=6)         a row of products per point
                      -> channel_shuffle(6)
                      -> conv_transpose(c, (4, 1), stride=(4, 1), groups=c)       A^T y
                      [-> crop]

    with a convolution per point, which onnxruntime computes in its blocks of channels; for OpenVINO
    an engine has another form. The transforms' numbers are constants; those of the filters are
    derived like any weight.

    Pays by a model of costs, measured in multiply-accumulates of a direct convolution: values moved
    by the transforms, their starts, further weights, and the products. On noise one layer is 1.5 to
    1.7 times (4x1) and three to four times (4x4) as far from the truth as a direct convolution, in
    networks, whose maps are smoother, about as far and up to 1.4 times: an engine with it is judged
    anew.

    Guards: a 3x3 window, stride, dilation and groups of 1; a size in numbers, as tiles are counted.
    """

    tiles: Sequence[Tile] = (F4X4, F4X1)
    """Of which the cheapest is taken."""
    always: bool = False
    """Also where it does not pay."""

    name = "winograd"
    after = ("compose-convolutions", "merge-siblings")
    exact = False

    @property
    def spreads(self) -> bool:
        return True

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        if not self.fits(step):
            return None
        tile = self.best(step)
        if not (self.always or _pays(step, tile)):
            return Missed("tiles do not pay: the transforms cost more than they save")
        flow.replace(step, _tiled(step, tile, flow))
        return Fired(f"a 3x3 convolution by tiles of {tile.size}")

    def best(self, step: Step) -> Tile:
        """The cheapest tile here."""
        return min(self.tiles, key=lambda tile: tile.cost(step))

    def tiles_that_pay(self, flow: Flow) -> set[str]:
        """Their sizes."""
        best = ((step, self.best(step)) for step in flow if self.fits(step))
        return {tile.size for step, tile in best if _pays(step, tile)}

    def fits(self, step: Step) -> bool:
        """Whether it is right here."""
        return isinstance(step.op, Conv) and self.is_plain(step) and self.has_numbers(step)

    def is_plain(self, step: Step) -> bool:
        """A dense 3x3 window that stops at every pixel."""
        op = step.op
        assert isinstance(op, Conv)
        return (op.kernel, op.stride, op.dilation, op.groups) == ((3, 3), (1, 1), (1, 1), 1)

    def has_numbers(self, step: Step) -> bool:
        """Whether the size is known."""
        return isinstance(step.type, FeatureMap) and all(
            isinstance(size, int) for size in (step.type.height, step.type.width)
        )


def _pays(step: Step, tile: Tile) -> bool:
    """Whether the tile is by a margin less work."""
    outputs, inputs = step.weights["weight"].shape[:2]
    height, width = _size(step)
    return tile.cost(step) < TAPS * TAPS * inputs * outputs * (height * width + _WEIGHT)


def _size(step: Step) -> tuple[int, int]:
    assert isinstance(step.type, FeatureMap)
    height, width = step.type.height, step.type.width
    assert isinstance(height, int) and isinstance(width, int)
    return height, width


def _tiled(step: Step, tile: Tile, flow: Flow) -> Step:
    weight = step.weights["weight"]
    outputs, points = weight.shape[0], tile.points
    below, beside = tile.beyond(step)
    top, bottom, left, right = edges_of(step)
    if tile.is_line:
        outside, within = Edges(top, bottom + below, 0, 0), Edges(0, 0, left, right)
    else:
        outside, within = Edges(top, bottom + below, left, right + beside), NO_EDGES
    has_bias = "bias" in step.weights
    product = Conv(points * outputs, tile.kernel, padding=within, groups=points, bias=has_bias)
    output = ConvTranspose(outputs, tile.stride, tile.stride, groups=outputs, bias=False)

    products = {"weight": _filters(weight, tile)}
    if has_bias:  # here, where a kernel adds it on its way
        added = einsum("ai,bj,o->ijo", tile.rows.ones, tile.columns.ones, step.weights["bias"])
        products["bias"] = added.reshape(points * outputs)
    transform = einsum("ki,lj->ijkl", tile.rows.output_transform, tile.columns.output_transform)

    found = _by_point(step, tile, outside, flow)
    for op, weights in (
        (product, products),
        (ChannelShuffle(points), {}),
        (output, {"weight": _for_each(outputs, transform)}),
    ):
        found = flow.add(op, [found], weights, step.origins)
    if below or beside:
        found = flow.add(Crop(Edges(0, below, 0, beside)), [found], origins=step.origins)
    return found


def _by_point(step: Step, tile: Tile, padding: Edges, flow: Flow) -> Step:
    """The transformed input, all channels for each point."""
    (x,) = step.inputs
    inputs = step.weights["weight"].shape[1]
    transform = einsum("ia,jb->ijab", tile.rows.input_transform, tile.columns.input_transform)

    def by(transform: Expr) -> Step:
        count = transform.shape[0] * transform.shape[1]
        op = Conv(count * inputs, tile.window, tile.stride, padding, groups=inputs, bias=False)
        return flow.add(op, [x], {"weight": _for_each(inputs, transform)}, step.origins)

    if not tile.is_line:
        return flow.add(ChannelShuffle(inputs), [by(transform)], origins=step.origins)
    parts = [by(transform.slice(0, i, i + 1)) for i in range(tile.points)]
    return flow.add(Concat(), parts, origins=step.origins)


def _filters(weight: Expr, tile: Tile) -> Expr:
    """``[points * outputs, inputs, 1, 1 or 3]``, point by point."""
    outputs, inputs = weight.shape[:2]
    rows, columns = tile.rows.filter_transform, tile.columns.filter_transform
    if tile.is_line:
        found = einsum("ia,ocab->iocb", rows, weight)
    else:
        found = einsum("ia,ocab,jb->ijoc", rows, weight, columns)
    return found.reshape(tile.points * outputs, inputs, *tile.kernel)


def _for_each(channels: int, transform: Expr) -> Expr:
    """``[points along both axes, k, l]`` as the filters of a convolution that treats every channel
    alike."""
    points, kernel = transform.shape[0] * transform.shape[1], transform.shape[2:]
    tile = einsum("c,ijab->cijab", full((channels,), 1.0), transform)
    return tile.reshape(channels * points, 1, *kernel)
