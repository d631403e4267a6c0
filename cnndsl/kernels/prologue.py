"""Pre-activated convolutions of stride 1 on an H100, as DenseNet and ResNet v2 have them.

    y[n, h, w, f] = epilogue(sum over r, s, c of a(x[n, h - top + r * D, w - left + s * D, c], c)
                                               * w[f, r, s, c])
    a(v, c) = activation(scale[c] * v + shift[c]) inside the image, 0 in its padding

Boxes of the map come by bulk copies into shared memory, from there into registers, where the
prologue runs, in float32; the tensor cores then read pixels from registers and weights from
shared memory. The normalised map, which would be as large as the input, is nowhere stored, and
the result goes into its slice of the concatenation at once: of a dense layer's traffic is left
one read of what there is and one write of what it adds.

A bulk copy gives zeros outside the image, which the prologue would turn into shifts: padding is
masked after it. A 1x1 convolution has none and takes the pixels of all images in one line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from cnndsl.kernels import boxes
from cnndsl.kernels.base import Config, Kernel, Launch, Operands
from cnndsl.kernels.epilogue import Epilogue, finish
from cnndsl.kernels.layout import is_wide
from cnndsl.kernels.operands import (
    epilogue_arguments,
    epilogue_of,
    misfit,
    pack_before,
    pack_with_rows,
    prologue_of,
    the_window,
)
from cnndsl.kernels.parts import Parts, best_first, stored
from cnndsl.kernels.problem import Problem, extents
from cnndsl.kernels.tiles import corner, finish_tile, pixels_of, put_boxes, put_rows
from cnndsl.kernels.window import Window, window_of


@triton.jit
def convolve_activated(
    x, w, y, y_box, parts, before, rows, residual, gate,
    batch, height, width, in_height, in_width, down, across, channels, filters, area,
    y_pitch, residual_pitch, gate_pitch,
    R: tl.constexpr, S: tl.constexpr, DH: tl.constexpr, DW: tl.constexpr,
    TOP: tl.constexpr, LEFT: tl.constexpr, PADDED: tl.constexpr, WIDE: tl.constexpr,
    PRECISION: tl.constexpr, PROLOGUE: tl.constexpr, EPILOGUE: tl.constexpr,
    GATE_MAP: tl.constexpr, SPLIT: tl.constexpr,
    TN: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, BF: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """``height``, ``width``: of the result. Neighbouring programs share their pixels."""
    BP: tl.constexpr = TN * TH * TW
    strips = tl.cdiv(filters, BF)
    first = tl.program_id(0) % strips * BF
    n, h, v = corner(tl.program_id(0) // strips, down, across, TN, TH, TW)
    ih = h - TOP + tl.arange(0, BP) // TW % TH
    iw = v - LEFT + tl.arange(0, BP) % TW
    steps = tl.cdiv(channels, BK)
    part = tl.program_id(1) if SPLIT > 1 else 0
    each = tl.cdiv(R * S * steps, SPLIT)
    acc = tl.zeros((BP, BF), dtype=tl.float32)
    for i in range(part * each, tl.minimum((part + 1) * each, R * S * steps)):
        tap = i // steps
        c = (i - tap * steps) * BK
        dh, dw = tap // S * DH, tap % S * DW
        a = x.load([n, h - TOP + dh, v - LEFT + dw, c]).reshape(BP, BK)
        a = activated(a, before, c, channels, PROLOGUE, BK)
        if PADDED:
            inside = _within(ih + dh, in_height) & _within(iw + dw, in_width)
            a = tl.where(inside[:, None], a, 0.0)
        a = a.to(y.dtype.element_ty)
        b = w.load([first, tap * channels + c])
        acc = tl.dot(a, b.T, acc, input_precision=PRECISION)
    f = first + tl.arange(0, BF)
    m, ok = pixels_of(n, h, v, batch, height, width, TN, TH, TW, WIDE)
    if SPLIT > 1:
        put_rows(parts, filters, acc, part * batch * height * width + m, ok, f, filters)
    else:
        acc = finish_tile(
            acc, m, ok, f, filters, area, rows, residual, residual_pitch, gate, gate_pitch,
            EPILOGUE, GATE_MAP,
        )  # fmt: skip
        put_boxes(y, y_box, y_pitch, acc, m, ok, f, filters, n, h, v, first, TN, TH, TW, BF)


@triton.jit
def activated(a, before, start, channels, PROLOGUE: tl.constexpr, BK: tl.constexpr):
    """The prologue of channels from ``start`` on, in float32; 0 where there are none."""
    c = start + tl.arange(0, BK)
    ok = (c < channels)[None, :]
    a = finish(a.to(tl.float32), PROLOGUE, before, channels, c[None, :], ok, None, 0, None, 0, ok)
    return tl.where(ok, a, 0.0)


@triton.jit
def _within(at, size):
    return (at >= 0) & (at < size)


class Activated(Kernel):
    """``tf32``: float32 products rounded to 10 bits; otherwise float32 is refused."""

    name = "prologue"

    def __init__(self, tf32: bool = False) -> None:
        self.tf32 = tf32

    def refuses(self, problem: Problem, capability: int) -> str | None:
        index = _convolution(problem)
        if index == 0:
            return "it does not begin with what a convolution's input goes through"
        why = misfit(problem, index)
        if why is not None:
            return why
        window = the_window(problem, index)
        if window.transposed or window.groups != 1 or window.stride != (1, 1):
            return "it is transposed, strided or has groups"
        return boxes.why_unaddressable(problem, capability, self.tf32)

    def configs(self, problem: Problem, capability: int) -> Sequence[Config]:
        """Large tiles before small ones, as long as they keep the device busy."""
        call = _Call.of(problem)
        deepest = boxes.WIDEST // problem.dtype.itemsize
        fitting = [c for c in SHAPES if 2 * call.filters > c["BF"] and c["BK"] <= deepest]
        return best_first([(c, call.tiles(c), call.steps(c)) for c in fitting or [SMALLEST]])

    def pack(self, problem: Problem, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        index = _convolution(problem)
        return pack_with_rows(problem, index, weights) | pack_before(problem, index, weights)

    def launches(self, problem: Problem, config: Config, operands: Operands) -> Sequence[Launch]:
        if operands.out.numel() == 0:
            return []
        call = _Call.of(problem)
        size, split = math.prod(call.whole), config["SPLIT"]
        parts = Parts.cut(size, call.filters, split, operands.out.device)
        sums = None if parts is None else parts.sums
        arguments = self._arguments(call, config, operands, sums)
        before = prologue_of(problem, _convolution(problem))
        arguments |= {"PROLOGUE": before.text, "SPLIT": split}
        product = Launch(convolve_activated, (call.tiles(config), split), arguments, config)
        if parts is None:
            return [product]
        return [product, parts.launch(call.epilogue, call.area, operands)]

    def scratch(self, problem: Problem, config: Config) -> int:
        """Parts of sums."""
        call = _Call.of(problem)
        return stored(math.prod(call.whole) * call.filters, config["SPLIT"])

    def _arguments(
        self, call: _Call, config: Config, operands: Operands, parts: Tensor | None
    ) -> dict[str, Any]:
        """All but what the prologue is, and into how many parts the sums are cut."""
        whole, inside, sides = call.whole, call.inside, boxes.tile(*call.whole, config["BP"])
        x, x_pitch = boxes.readable(operands.inputs[0])
        y, y_pitch, y_box = boxes.result(operands.out, whole, (*sides, config["BF"]))
        ends = epilogue_arguments(call.epilogue, operands)
        packed, box = operands.packed, (config["BF"], config["BK"])
        return {
            "x": boxes.maps(x, x_pitch, inside, (*sides, config["BK"])),
            "w": boxes.matrix(packed["filters"], call.window.taps * x.shape[1], box),
            "y": y, "y_box": y_box, "y_pitch": y_pitch, "before": packed.get("before"), **ends,
            "batch": whole[0], "height": whole[1], "width": whole[2], "area": call.area,
            "in_height": inside[1], "in_width": inside[2],
            "down": triton.cdiv(whole[1], sides[1]), "across": triton.cdiv(whole[2], sides[2]),
            "channels": x.shape[1], "filters": call.filters, **_constants(call.window),
            "PADDED": not call.window.is_product or inside != whole,
            "parts": parts, "WIDE": is_wide(y, parts, ends["residual"], ends["gate"]),
            "PRECISION": "tf32" if self.tf32 else "ieee",
            "TN": sides[0], "TH": sides[1], "TW": sides[2], "BF": box[0], "BK": box[1],
        }  # fmt: skip


class _Call(NamedTuple):
    """What is to be computed. ``whole``, ``inside``: images, rows and columns of the result and
    of the input as tiles cover them: a 1x1 convolution has the pixels of all in one line."""

    window: Window
    epilogue: Epilogue
    channels: int
    filters: int
    area: int
    whole: boxes.Box
    inside: boxes.Box

    @staticmethod
    def of(problem: Problem) -> _Call:
        index = _convolution(problem)
        window, epilogue = the_window(problem, index), epilogue_of(problem, index + 1)
        channels, *size = extents(problem.inputs[0])
        filters, *out = extents(problem.output)
        whole, inside = (problem.batch, *out), (problem.batch, *size)
        if window.is_product and size == out:
            whole = inside = (1, 1, math.prod(whole))
        return _Call(window, epilogue, channels, filters, math.prod(out), whole, inside)

    def tiles(self, config: Config) -> int:
        pixels = boxes.tiles_in(boxes.tile(*self.whole, config["BP"]), self.whole)
        return pixels * boxes.tiles_in((config["BF"],), (self.filters,))

    def steps(self, config: Config) -> int:
        return self.window.taps * boxes.tiles_in((config["BK"],), (self.channels,))


def _shape(warps: int, stages: int, filters: int, pixels: int, deep: int) -> Config:
    return Config.of(warps, stages, BF=filters, BP=pixels, BK=deep, SPLIT=1)


SHAPES = [
    _shape(4, 3, 128, 128, 64),
    _shape(4, 4, 64, 128, 64),
    _shape(4, 4, 32, 128, 64),
    _shape(4, 4, 128, 128, 32),
    _shape(4, 4, 64, 64, 64),
    _shape(4, 4, 32, 64, 64),
    _shape(4, 4, 16, 64, 64),
    _shape(4, 4, 32, 128, 32),
    _shape(4, 4, 16, 64, 16),
    _shape(8, 4, 128, 128, 64),
    _shape(8, 4, 128, 128, 32),
]
SMALLEST = _shape(4, 4, 16, 64, 16)


def _convolution(problem: Problem) -> int:
    """The number of the first link that is one; 0 if there is none."""
    indices = range(len(problem.links))
    return next((index for index in indices if window_of(problem, index)), 0)


def _constants(window: Window) -> dict[str, Any]:
    (r, s), (dh, dw) = window.kernel, window.dilation
    return {"R": r, "S": s, "DH": dh, "DW": dw, "TOP": window.top, "LEFT": window.left}
