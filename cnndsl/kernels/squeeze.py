"""The mean of each channel of an image and one or two products of it, in one launch.

    h[n, i] = middle(sum over c of first[i, c] * mean over pixels p of a(x[n, p, c]))
    y[n, f] = epilogue(sum over i of second[f, i] * h[n, i])       or h, where there is one product

That is what squeezes and excites (a gate per channel), and the head of most networks. A program
has one image and all of ``h``, or a strip of it where that is the result: it pays as long as the
weights are small or the images few, which ``reads`` tells. Means and ``h`` stay float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from cnndsl.kernels.base import Config, Kernel, Launch, Operands
from cnndsl.kernels.epilogue import Epilogue, finish
from cnndsl.kernels.global_pool import pooled
from cnndsl.kernels.layout import as_rows, is_wide, place
from cnndsl.kernels.operands import (
    epilogue_of,
    pack_before,
    pack_with_rows,
    prologue_of,
    the_window,
)
from cnndsl.kernels.problem import Problem, extents
from cnndsl.kernels.segments import Segment, segment
from cnndsl.kernels.window import window_of
from cnndsl.ops.pool import GlobalAvgPool
from cnndsl.ops.reshape import Flatten
from cnndsl.passes.ops import RUNNING


@triton.jit
def squeeze_images(
    x, y, before, first, first_rows, second, second_rows,
    area, channels, hidden, filters, x_pitch, first_pitch, second_pitch, y_pitch,
    WIDE: tl.constexpr, PROLOGUE: tl.constexpr, MIDDLE: tl.constexpr, EPILOGUE: tl.constexpr,
    BM: tl.constexpr, BC: tl.constexpr, BH: tl.constexpr, BO: tl.constexpr,
):  # fmt: skip
    """``second``: None if the first product is the result."""
    strips = tl.cdiv(hidden, BH)
    n = tl.program_id(0) // strips
    if WIDE:
        n = n.to(tl.int64)
    h = tl.program_id(0) % strips * BH + tl.arange(0, BH)
    h_ok = h < hidden
    pixels = x + n * area * x_pitch
    total = tl.zeros((BH,), dtype=tl.float32)
    for start in range(0, channels, BC):
        c = start + tl.arange(0, BC)
        mean = pooled(pixels, x_pitch, 0, area, before, c, channels, False, WIDE, PROLOGUE, BM, BC)
        total += _product(first, first_pitch, h, h_ok, c, c < channels, mean / area)
    total = finish(total, MIDDLE, first_rows, hidden, h, h_ok, None, 0, None, 0, h_ok)
    if second is None:
        tl.store(y + n * y_pitch + h, total.to(y.dtype.element_ty), mask=h_ok)
    else:
        total = tl.where(h_ok, total, 0.0)  # what is not there is NaN of infinite means
        for start in range(0, filters, BO):
            f = start + tl.arange(0, BO)
            f_ok = f < filters
            found = _product(second, second_pitch, f, f_ok, h, h_ok, total)
            found = finish(found, EPILOGUE, second_rows, filters, f, f_ok, None, 0, None, 0, f_ok)
            tl.store(y + n * y_pitch + f, found.to(y.dtype.element_ty), mask=f_ok)


@triton.jit
def _product(w, pitch, row, row_ok, column, column_ok, vector):
    """Rows of a matrix times a vector, in float32."""
    at = row[:, None] * pitch + column[None, :]
    numbers = tl.load(w + at, mask=row_ok[:, None] & column_ok[None, :], other=0.0)
    return tl.sum(numbers.to(tl.float32) * vector[None, :], 1)


class Squeeze(Kernel):
    """``gap`` and 1x1 convolutions or linear layers."""

    name = "squeeze"

    def refuses(self, problem: Problem, capability: int) -> str | None:
        why = _why_not(problem)
        if why is not None:
            return why
        call = _Call.of(problem)
        if call.is_double and call.hidden > WIDEST:
            return f"there are more than {WIDEST} numbers between its products"
        best = self.configs(problem, capability)[0]
        if self.reads(problem, best) > AGAIN * problem.bytes:
            return f"its programs would read more than {AGAIN} times what there is"
        return None

    def configs(self, problem: Problem, capability: int) -> Sequence[Config]:
        """All numbers between two products, or a strip of the results of one."""
        call = _Call.of(problem)
        rows = max(SMALLEST, triton.next_power_of_2(call.hidden))
        heights = [rows] if call.is_double else [min(rows, 64), SMALLEST]
        return [_config(height) for height in dict.fromkeys(heights)]

    def pack(self, problem: Problem, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        call = _Call.of(problem)
        packed = pack_before(problem, call.pool, weights)
        for which, part in zip(("first", "second"), call.products, strict=False):
            own = pack_with_rows(part.problem, 0, part.weights(weights))
            packed |= {f"{which}_{name}": value for name, value in own.items()}
        return packed

    def launches(self, problem: Problem, config: Config, operands: Operands) -> Sequence[Launch]:
        if operands.out.numel() == 0:
            return []
        call, packed = _Call.of(problem), operands.packed
        (x, x_pitch), (y, y_pitch) = as_rows(operands.inputs[0]), place(operands.out)
        first, second = packed["first_filters"], packed.get("second_filters")
        ends = [epilogue_of(part.problem, 1).text for part in call.products]
        arguments = dict(config.tiles) | {
            "x": x, "y": y, "x_pitch": x_pitch, "y_pitch": y_pitch, "before": packed.get("before"),
            "first": first, "first_pitch": first.stride(0), "first_rows": packed.get("first_rows"),
            "second": second, "second_pitch": 0 if second is None else second.stride(0),
            "second_rows": packed.get("second_rows"), "area": call.area, "channels": x.shape[1],
            "hidden": call.hidden, "filters": extents(problem.output)[0], "WIDE": is_wide(x, y),
            "PROLOGUE": prologue_of(problem, call.pool).text, "MIDDLE": ends[0],
            "EPILOGUE": ends[1] if call.is_double else "",
        }  # fmt: skip
        grid = (problem.batch * triton.cdiv(call.hidden, config["BH"]),)
        return [Launch(squeeze_images, grid, arguments, config)]

    def reads(self, problem: Problem, config: Config) -> int:
        """Every image by each strip, the weights by each image."""
        call, (channels, *_) = _Call.of(problem), extents(problem.inputs[0])
        strips = -(-call.hidden // config["BH"])
        filters = extents(problem.output)[0] if call.is_double else 0
        weights = call.hidden * (channels + filters)
        return problem.batch * (strips * channels * call.area + weights) * problem.dtype.itemsize


WIDEST = 512
"""Numbers between two products that one program holds."""
AGAIN = 8
"""How often all operands may be read: beyond, kernels of their own are surely faster."""
SMALLEST = 16


def _config(height: int) -> Config:
    """Tiles of 64 numbers a thread in the products and 16 in the means: it is no product of
    tiles, whose sides the cost model would know by their names."""
    width = min(64, 8192 // height)
    return Config.of(4, 1, BM=2048 // width, BC=width, BH=height, BO=width)


class _Call(NamedTuple):
    """``pool``: the link that takes the means; ``products``: one or two, each with what follows
    it; ``hidden``: results of the first; ``area``: pixels of an image."""

    pool: int
    products: list[Segment]
    hidden: int
    area: int

    @property
    def is_double(self) -> bool:
        return len(self.products) == 2

    @staticmethod
    def of(problem: Problem) -> _Call:
        starts = _products(problem)
        ends = [*starts[1:], len(problem.links)]
        parts = [segment(problem, *cut) for cut in zip(starts, ends, strict=True)]
        hidden = extents(problem.results[starts[0]])[0]
        return _Call(problem.first(GlobalAvgPool), parts, hidden, problem.area)


def _why_not(problem: Problem) -> str | None:
    """Why its links are not a global mean and one or two products."""
    products, pool = _products(problem), problem.first(GlobalAvgPool)
    if not 1 <= len(products) <= 2 or not 0 <= pool < products[0]:
        return "it is not a global mean and one or two products"
    between = problem.links[pool + 1 : products[0]]
    if any(not isinstance(link.op, Flatten) for link in between):
        return "something stands between its mean and its product"
    if any(set(link.slots) != {RUNNING} for link in problem.links[1:]):
        return "it reads more than one map"
    if not all(_is_product(problem, index) for index in products):
        return "its convolutions have windows or groups"
    after = [Epilogue.of(part.problem, 1) for part in _Call.of(problem).products]
    ends = [Epilogue.before(problem, pool), *after]
    return next((end for end in ends if isinstance(end, str)), None)


def _products(problem: Problem) -> list[int]:
    """The links that are convolutions or linear layers."""
    return [k for k in range(len(problem.links)) if window_of(problem, k) is not None]


def _is_product(problem: Problem, index: int) -> bool:
    window = the_window(problem, index)
    return window.is_product and window.groups == 1
