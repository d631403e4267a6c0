"""3x3 convolutions by Winograd's minimal filtering: a quarter of the products."""

from __future__ import annotations

from dataclasses import dataclass

from cnndsl.ops.conv import Conv, ConvTranspose
from cnndsl.ops.reshape import ChannelShuffle, Crop
from cnndsl.ops.types import FeatureMap
from cnndsl.ops.values import Edges
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.convolutions import edges_of
from cnndsl.passes.flow import Flow, Step
from cnndsl.weights.expr import Expr, einsum, full, numbers

TILE, WINDOW = 4, 6
"""Outputs of a tile, and the inputs that they read, along one axis."""
_POINTS = WINDOW * WINDOW

_NEAR, _FAR = 5 / 8, 3 / 2
"""Interpolated at 0, infinity and, with both signs, these. Sums are 2.3 times as exact as by the
customary 1 and 2, whose powers spread wider (Barabasz et al. 2020, arXiv:1803.10986, look for such
points; these are the best of a grid, measured on 64 to 512 channels). Of the matrices
made of them, B^T and A^T are exact in float32."""


def _transforms(near: float, far: float) -> tuple[Expr, Expr, Expr]:
    """B^T, G and A^T of F(4x4, 3x3) at 0, +-near, +-far and infinity (Toom-Cook)."""
    n, f = near**2, far**2
    window = numbers(
        (n * f, 0, -n - f, 0, 1, 0),
        (0, -near * f, -f, near, 1, 0),
        (0, near * f, -f, -near, 1, 0),
        (0, -far * n, -n, far, 1, 0),
        (0, far * n, -n, -far, 1, 0),
        (0, n * f, 0, -n - f, 0, 1),
    )
    among = (n * f, *(2 * n * (n - f),) * 2, *(2 * f * (f - n),) * 2)  # the point less each other
    points = (0.0, near, -near, far, -far)
    kernel = numbers(
        *((1 / d, p / d, p * p / d) for p, d in zip(points, among, strict=True)), (0, 0, 1)
    )
    tile = numbers(
        *((*(p**power for p in points), float(power == TILE - 1)) for power in range(TILE))
    )
    return window, kernel, tile


_INPUT, _FILTER, _OUTPUT = _transforms(_NEAR, _FAR)


@dataclass(frozen=True)
class Winograd(Rewrite):
    """F(4x4, 3x3) of Lavin & Gray 2015 (arXiv:1509.09308), in operators that every engine has::

        conv(c, 3)   on m channels
            becomes   conv(36m, 6, stride=4, groups=m)            B^T d B of each tile
                      -> channel_shuffle(m)                       sorted by point of the tile
                      -> conv(36c, 1, groups=36)                  a matrix product per point
                      -> channel_shuffle(36)                      sorted by channel
                      -> conv_transpose(c, 4, stride=4, groups=c) A^T y A of each tile
                      [-> crop]                                   what lies beyond the map

        A^T [(G g G^T) * (B^T d B)] A,   * point by point

    A tile of 4x4 outputs takes 36 products for each pair of channels instead of 144. The
    transforms' numbers are constants; those of the filters are derived like any weight.

    Pays by a model of four costs, measured in multiply-accumulates of a blocked convolution on
    CPUs with AVX2 (onnxruntime): values moved by the transforms, four times the weights, and the
    products. The sums are three to four times less exact than direct ones, so an engine with it is
    judged anew.

    Guards: a 3x3 window, stride, dilation and groups of 1; a size in numbers, as tiles are counted.
    """

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
        if not (self.always or pays(step)):
            return Missed("tiles of 4x4 do not pay: the transforms cost more than they save")
        flow.replace(step, _tiled(step, flow))
        return Fired("a 3x3 convolution by tiles of 4x4")

    def gains(self, flow: Flow) -> bool:
        """Whether it pays anywhere."""
        return any(self.fits(step) and pays(step) for step in flow)

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


_VALUE, _WEIGHT, _MARGIN = 160, 12, 1.15
"""Multiply-accumulates that take as long as one value of a transform, and as one more weight."""


def pays(step: Step) -> bool:
    """Whether tiles are by a margin less work, for a plain convolution of known size."""
    outputs, inputs = step.weights["weight"].shape[:2]
    rows, columns, *_ = _tiles(step)
    tiles = rows * columns
    height, width = _size(step)
    tiled = _POINTS * (
        tiles * (inputs * outputs + _VALUE * (inputs + outputs)) + _WEIGHT * inputs * outputs
    )
    direct = 9 * inputs * outputs * (height * width + _WEIGHT)
    return direct > _MARGIN * tiled


def _size(step: Step) -> tuple[int, int]:
    assert isinstance(step.type, FeatureMap)
    height, width = step.type.height, step.type.width
    assert isinstance(height, int) and isinstance(width, int)
    return height, width


def _tiles(step: Step) -> tuple[int, int, int, int]:
    """Rows and columns of tiles, and rows and columns of outputs beyond the map."""
    (height, width) = _size(step)
    rows, columns = -(-height // TILE), -(-width // TILE)
    return rows, columns, rows * TILE - height, columns * TILE - width


def _tiled(step: Step, flow: Flow) -> Step:
    weight = step.weights["weight"]
    outputs, inputs = weight.shape[:2]
    *_, below, beside = _tiles(step)
    top, bottom, left, right = edges_of(step)
    padding = Edges(top, bottom + below, left, right + beside)
    stride = (TILE, TILE)
    analysis = Conv(_POINTS * inputs, (WINDOW, WINDOW), stride, padding, groups=inputs, bias=False)
    product = Conv(_POINTS * outputs, (1, 1), groups=_POINTS, bias=False)
    has_bias = "bias" in step.weights
    synthesis = ConvTranspose(outputs, stride, stride, groups=outputs, bias=has_bias)

    window = _for_each(inputs, einsum("ia,jb->ijab", _INPUT, _INPUT))
    filters = einsum("ia,ocab,jb->ijoc", _FILTER, weight, _FILTER)
    tile = _for_each(outputs, einsum("ki,lj->ijkl", _OUTPUT, _OUTPUT))
    bias = {"bias": step.weights["bias"]} if has_bias else {}

    found = step.inputs[0]
    for op, weights in (
        (analysis, {"weight": window}),
        (ChannelShuffle(inputs), {}),
        (product, {"weight": filters.reshape(_POINTS * outputs, inputs, 1, 1)}),
        (ChannelShuffle(_POINTS), {}),
        (synthesis, {"weight": tile, **bias}),
    ):
        found = flow.add(op, [found], weights, step.origins)
    if below or beside:
        found = flow.add(Crop(Edges(0, below, 0, beside)), [found], origins=step.origins)
    return found


def _for_each(channels: int, transform: Expr) -> Expr:
    """``[6, 6, k, k]`` as the filters of a convolution that treats every channel alike."""
    kernel = transform.shape[2:]
    tile = einsum("c,ijab->cijab", full((channels,), 1.0), transform)
    return tile.reshape(channels * _POINTS, 1, *kernel)
