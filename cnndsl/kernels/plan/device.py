"""What a GPU can do at most. A new GPU is one entry here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

TERA = 10**12
MB = 1024**2


@dataclass(frozen=True)
class Device:
    """Roofs of one GPU. Where ``measured`` is False they are shares of its data sheet.

    ``bandwidth``, ``l2_bandwidth``: bytes per second from memory and from the L2 cache, which
    holds ``l2`` bytes; ``flops``: per second by dtype, a multiply-accumulate as two; ``interval``:
    seconds from one kernel of a CUDA graph to the next if they do nothing.
    """

    name: str
    capability: int
    sms: int
    bandwidth: float
    l2: int
    l2_bandwidth: float
    flops: Mapping[torch.dtype, float]
    interval: float
    measured: bool
    source: str


def _flops(half: float, full: float) -> dict[torch.dtype, float]:
    """Tensor cores in half precision; float32 is computed exactly, without them."""
    return {torch.float16: half, torch.bfloat16: half, torch.float32: full}


_ASSUMED = "the L2 cache at two thirds of 64 bytes per cycle and SM, and the interval, are assumed"
_SHARE_NOTE = (
    "NVIDIA's data sheet, at the shares of it that were measured on an H100 (0.80 of the "
    f"products, 0.90 of the bandwidth); {_ASSUMED}"
)
DEVICES: Mapping[str, Device] = {
    device.name: device
    for device in (
        Device(
            "A100 SXM", 80, 108, 0.90 * 2.039 * TERA, 40 * MB, 6.0 * TERA,
            _flops(0.80 * 312 * TERA, 0.80 * 19.5 * TERA), 1.8e-6, False, _SHARE_NOTE,
        ),
        Device(
            "H100 SXM", 90, 132, 3.0 * TERA, 50 * MB, 9.0 * TERA,
            _flops(790 * TERA, 0.80 * 67 * TERA), 1.5e-6, True,
            "bfloat16 products and copies measured with PyTorch; float32 is 0.80 of NVIDIA's data "
            f"sheet; {_ASSUMED}",
        ),
        Device(
            "H200 SXM", 90, 132, 0.90 * 4.8 * TERA, 50 * MB, 9.0 * TERA,
            _flops(790 * TERA, 0.80 * 67 * TERA), 1.5e-6, False, _SHARE_NOTE,
        ),
    )
}  # fmt: skip
_STANDING_FOR = {80: "A100 SXM", 90: "H100 SXM"}


def device_of(capability: int) -> Device:
    """The one that stands for all of its kind; ValueError for a kind that is not known."""
    if capability not in _STANDING_FOR:
        known = ", ".join(map(str, _STANDING_FOR))
        raise ValueError(f"nothing is known of GPUs of capability {capability}: known are {known}")
    return DEVICES[_STANDING_FOR[capability]]


def present() -> Device:
    """The GPU here, or the nearest relative that is known; ValueError where there is none."""
    if not torch.cuda.is_available():
        raise ValueError("there is no GPU here")
    found = torch.cuda.get_device_name()
    known = (device for device in DEVICES.values() if device.name.split()[0] in found)
    return next(known, device_of(_nearest(torch.cuda.get_device_capability())))


def _nearest(capability: tuple[int, int]) -> int:
    """The newest kind that is known and not newer."""
    number = 10 * capability[0] + capability[1]
    return max((kind for kind in _STANDING_FOR if kind <= number), default=min(_STANDING_FOR))
