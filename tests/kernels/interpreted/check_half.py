"""A small network in half precision runs on the kernels of bulk copies, all of them."""

from __future__ import annotations

import torch

import cnndsl
from cnndsl.engines.triton_engine import OnKernel
from tests.kernels.interpreted.check_networks import run

TEXT = """\
net N: [3, 24, 24] =
  conv(16, 5, stride=2, bias=no) -> bn -> relu -> maxpool(3, stride=2, padding=1)
  -> ((conv(16, 3, bias=no) -> bn -> relu -> conv(16, 1, bias=no) -> bn) + id) -> relu
  -> conv(16, 3, stride=2, bias=no) -> bn -> relu
  -> (id | bn -> relu -> conv(16, 1, bias=no) -> bn -> relu -> conv(8, 3, bias=no))
  -> (id | bn -> relu -> conv(8, 3, bias=no))
  -> conv(32, 1)
"""


def test_each_kernel_takes_its_part() -> None:
    program = run(cnndsl.loads(TEXT).net(), 24, seed=2, dtype=torch.float16)
    parts = [part for call in program.calls for part in call.parts]
    names = {part.kernel.name for part in parts if isinstance(part, OnKernel)}
    assert names >= {"stem", "gemm", "conv_tma", "prologue"}
