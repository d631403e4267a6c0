"""Inputs as the sessions of other libraries take them: arrays of float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def float_array(x: Tensor) -> Any:
    """Without a copy where it is one; each call on the way there counts (``Live``).

    Other dtypes are converted by NumPy: PyTorch would wake its threads, which then take a core from
    the session (``is_finite``).
    """
    if x.dtype is torch.float32 and not x.requires_grad and x.is_contiguous():
        return x.numpy()
    x = x.detach()
    if x.dtype is not torch.bfloat16:
        with np.errstate(over="ignore"):  # infinity, as PyTorch has it
            return np.asarray(x.numpy(), np.float32, order="C")
    words = x.view(torch.int16).numpy().view(np.uint16)
    # bfloat16 is the upper half of float32.
    return (np.asarray(words, np.uint32, order="C") << 16).view(np.float32)
