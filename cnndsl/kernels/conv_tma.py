"""k x k convolutions of stride 1 and 2 by the copy engine and tensor cores of an H100.

    y[n, h, w, f] = epilogue(sum over r, s, c of x[n, h * S - top + r * D, w * S - left + s * D, c]
                                               * w[f, r, s, c])

as one matrix product; a tile is a box of images, rows and columns, and what a tap reads of it is
that box moved by the tap's offset: one bulk copy, straight into the shared memory that the tensor
cores read. Coordinates outside the image give zeros, so padding costs nothing.

Operands are swapped: weights are A and pixels B, so sums are ``[filters, pixels]`` and turned
round when they are stored. Both operands then lie along the channels, as they do in memory.

Stride 2 reads the map as ``[N, H / 2, 2, W / 2, 2 * pitch]``: the rows of one parity are an axis,
the columns of one parity half of the last. A box there is what a tap of stride 2 reads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from cnndsl.kernels import boxes
from cnndsl.kernels.base import Config, Kernel, Launch, Operands
from cnndsl.kernels.epilogue import Epilogue
from cnndsl.kernels.layout import is_wide
from cnndsl.kernels.operands import epilogue_arguments, epilogue_of, pack_with_rows, the_window
from cnndsl.kernels.parts import Parts, best_first, stored
from cnndsl.kernels.problem import Problem, extents
from cnndsl.kernels.tiles import corner, finish_tile, pixels_of, put_boxes, put_rows
from cnndsl.kernels.window import Window, window_of


@triton.jit
def convolve_boxes(
    x, w, y, y_box, parts, rows, residual, gate,
    batch, height, width, down, across, channels, filters, area,
    x_pitch, y_pitch, residual_pitch, gate_pitch,
    R: tl.constexpr, S: tl.constexpr, STRIDE: tl.constexpr, DH: tl.constexpr, DW: tl.constexpr,
    TOP: tl.constexpr, LEFT: tl.constexpr, WIDE: tl.constexpr, PRECISION: tl.constexpr,
    EPILOGUE: tl.constexpr, GATE_MAP: tl.constexpr, SWAP: tl.constexpr, SPLIT: tl.constexpr,
    TN: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, BF: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """``height``, ``width``: of the result. Neighbouring programs share their pixels."""
    BP: tl.constexpr = TN * TH * TW
    strips = tl.cdiv(filters, BF)
    first = tl.program_id(0) % strips * BF
    n, h, v = corner(tl.program_id(0) // strips, down, across, TN, TH, TW)
    steps = tl.cdiv(channels, BK)
    part = tl.program_id(1) if SPLIT > 1 else 0
    each = tl.cdiv(R * S * steps, SPLIT)
    acc = tl.zeros((BF, BP) if SWAP else (BP, BF), dtype=tl.float32)
    for i in range(part * each, tl.minimum((part + 1) * each, R * S * steps)):
        tap = i // steps
        c = (i - tap * steps) * BK
        dh, dw = tap // S * DH - TOP, tap % S * DW - LEFT
        a = _read(x, n, h, v, dh, dw, c, x_pitch, STRIDE).reshape(BP, BK)
        b = w.load([first, tap * channels + c])
        if SWAP:
            acc = tl.dot(b, a.T, acc, input_precision=PRECISION)
        else:
            acc = tl.dot(a, b.T, acc, input_precision=PRECISION)
    value = acc.T if SWAP else acc
    f = first + tl.arange(0, BF)
    m, ok = pixels_of(n, h, v, batch, height, width, TN, TH, TW, WIDE)
    if SPLIT > 1:
        put_rows(parts, filters, value, part * batch * area + m, ok, f, filters)
    else:
        value = finish_tile(
            value, m, ok, f, filters, area,
            rows, residual, residual_pitch, gate, gate_pitch, EPILOGUE, GATE_MAP,
        )  # fmt: skip
        put_boxes(y, y_box, y_pitch, value, m, ok, f, filters, n, h, v, first, TN, TH, TW, BF)


@triton.jit
def _read(x, n, h, v, dh, dw, c, x_pitch, STRIDE: tl.constexpr):
    """The box that a tap ``dh``, ``dw`` away reads; of a pair, -1 is number 1 of pair -1."""
    if STRIDE == 1:
        return x.load([n, h + dh, v + dw, c])
    else:
        return x.load([n, h + (dh >> 1), dh & 1, v + (dw >> 1), (dw & 1) * x_pitch + c])


class BoxConvolution(Kernel):
    """``tf32``: float32 products rounded to 10 bits; otherwise float32 is refused."""

    name = "conv_tma"

    def __init__(self, tf32: bool = False) -> None:
        self.tf32 = tf32

    def refuses(self, problem: Problem, capability: int) -> str | None:
        window = window_of(problem, 0)
        if window is None or problem.links[0].slots != (0,):
            return "it does not begin with a convolution of its first input"
        epilogue = Epilogue.of(problem, 1)
        if isinstance(epilogue, str):
            return epilogue
        device = boxes.why_unaddressable(problem, capability, self.tf32)
        return device or _why_not(window, problem)

    def configs(self, problem: Problem, capability: int) -> Sequence[Config]:
        """Large tiles before small ones, as long as they keep the device busy. Few filters
        would leave rows of weights empty: then pixels are A."""
        filters, height, width = extents(problem.results[0])
        channels, taps = extents(problem.inputs[0])[0], the_window(problem, 0).taps
        fitting = [c for c in SHAPES if _fits(c, filters, channels, problem)] or [SMALLEST]
        found = []
        for config in fitting:
            whole = (problem.batch, height, width)
            tiles = boxes.tiles_in(boxes.tile(*whole, config["BP"]), whole)
            tiles *= boxes.tiles_in((config["BF"],), (filters,))
            found.append((config, tiles, taps * boxes.tiles_in((config["BK"],), (channels,))))
        return best_first(found)

    def pack(self, problem: Problem, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return pack_with_rows(problem, 0, weights)

    def launches(self, problem: Problem, config: Config, operands: Operands) -> Sequence[Launch]:
        if operands.out.numel() == 0:
            return []
        filters, height, width = extents(problem.results[0])
        whole = (problem.batch, height, width)
        parts = Parts.cut(math.prod(whole), filters, config["SPLIT"], operands.out.device)
        sums = None if parts is None else parts.sums
        arguments = self._arguments(problem, config, operands, sums)
        tiles = boxes.tiles_in(boxes.tile(*whole, config["BP"]), whole)
        grid = (tiles * triton.cdiv(filters, config["BF"]), config["SPLIT"])
        product = Launch(convolve_boxes, grid, arguments, config)
        if parts is None:
            return [product]
        return [product, parts.launch(epilogue_of(problem, 1), height * width, operands)]

    def _arguments(
        self, problem: Problem, config: Config, operands: Operands, parts: Tensor | None
    ) -> dict[str, Any]:
        """Of ``convolve_boxes``."""
        window = the_window(problem, 0)
        filters, height, width = extents(problem.results[0])
        whole = (problem.batch, height, width)
        sides = boxes.tile(*whole, config["BP"])
        x, x_pitch = boxes.readable(operands.inputs[0])
        y, y_pitch, y_box = boxes.result(operands.out, whole, (*sides, config["BF"]))
        channels, box = x.shape[1], (config["BF"], config["BK"])
        ends = epilogue_arguments(epilogue_of(problem, 1), operands)
        return {
            "x": _view(x, x_pitch, window, (*sides, config["BK"])),
            "w": boxes.matrix(operands.packed["filters"], window.taps * channels, box),
            "y": y, "y_box": y_box, "batch": problem.batch, "height": height, "width": width,
            "area": height * width, "down": triton.cdiv(height, sides[1]),
            "across": triton.cdiv(width, sides[2]), "channels": channels, "filters": filters,
            "x_pitch": x_pitch, "y_pitch": y_pitch, **ends, **_constants(window),
            "parts": parts, "WIDE": is_wide(y, parts, ends["residual"], ends["gate"]),
            "PRECISION": "tf32" if self.tf32 else "ieee",
            "SWAP": config["SWAP"], "SPLIT": config["SPLIT"],
            "TN": sides[0], "TH": sides[1], "TW": sides[2], "BF": box[0], "BK": box[1],
        }  # fmt: skip

    def scratch(self, problem: Problem, config: Config) -> int:
        """Parts of sums."""
        filters, height, width = extents(problem.results[0])
        return stored(problem.batch * height * width * filters, config["SPLIT"])


def _shape(warps: int, stages: int, filters: int, pixels: int, deep: int, swap: int = 1) -> Config:
    return Config.of(warps, stages, BF=filters, BP=pixels, BK=deep, SWAP=swap, SPLIT=1)


SHAPES = [
    _shape(4, 4, 128, 128, 64),
    _shape(4, 4, 64, 128, 64),
    _shape(4, 4, 32, 128, 64, 0),
    _shape(4, 4, 64, 64, 64),
    _shape(4, 4, 64, 128, 32),
    _shape(4, 4, 32, 128, 32, 0),
    _shape(4, 4, 64, 64, 16),
    _shape(4, 4, 16, 64, 16, 0),
    _shape(8, 4, 128, 128, 64),
    _shape(8, 3, 256, 128, 64),
    _shape(8, 3, 128, 256, 64),
]
SMALLEST = _shape(4, 4, 16, 64, 16, 0)


def _fits(config: Config, filters: int, channels: int, problem: Problem) -> bool:
    """Whether channels fill the tile's depth, all but a fifth, and filters more than half of its
    strip. At stride 2 behind the channels lie those of the next column: there they must fill it."""
    deep, empty = config["BK"], -channels % config["BK"]
    full = 4 * empty <= channels if the_window(problem, 0).stride == (1, 1) else not empty
    narrow = deep * problem.dtype.itemsize <= boxes.WIDEST
    return full and narrow and 2 * filters > config["BF"]


def _why_not(window: Window, problem: Problem) -> str | None:
    channels, height, width = extents(problem.inputs[0])
    if window.transposed or window.groups != 1:
        return "it is transposed or has groups"
    if window.stride not in ((1, 1), (2, 2)):
        return f"its stride is {window.stride[0]} x {window.stride[1]}"
    if window.stride == (2, 2) and (height % 2 or width % 2):
        return "at stride 2 the rows and columns must be even in number"
    if window.stride == (2, 2) and channels % SMALLEST["BK"]:
        return f"at stride 2 the channels must be a multiple of {SMALLEST['BK']}"
    return None


def _view(x: Tensor, pitch: int, window: Window, box: boxes.Box) -> TensorDescriptor:
    """The map as the taps of this stride read it."""
    n, c, h, w = x.shape
    if window.stride == (1, 1):
        return boxes.maps(x, pitch, (n, h, w), box)
    sizes = [n, h // 2, 2, w // 2, pitch + c]
    strides = [h * w * pitch, 2 * w * pitch, w * pitch, 2 * pitch, 1]
    return TensorDescriptor(x, sizes, strides, [box[0], box[1], 1, *box[2:]])


def _constants(window: Window) -> dict[str, Any]:
    (r, s), (dh, dw) = window.kernel, window.dilation
    return {
        "R": r, "S": s, "STRIDE": window.stride[0], "DH": dh, "DW": dw,
        "TOP": window.top, "LEFT": window.left,
    }  # fmt: skip
