"""Where an output pixel reads its input, in the registers of a kernel."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def source_of(
    out, tap, size, STRIDE: tl.constexpr, DILATION: tl.constexpr, EDGE: tl.constexpr,
    TRANSPOSED: tl.constexpr,
):  # fmt: skip
    """Which input row or column ``out`` reads for this tap, and whether there is one."""
    if TRANSPOSED:
        at = out + EDGE - tap * DILATION
        found = at // STRIDE
        return found, (at >= 0) & (at % STRIDE == 0) & (found < size)
    else:
        found = out * STRIDE - EDGE + tap * DILATION
        return found, (found >= 0) & (found < size)
