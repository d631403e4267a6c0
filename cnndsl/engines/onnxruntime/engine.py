"""The ``onnxruntime`` engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cnndsl.engines.arrays import float_array
from cnndsl.engines.base import Engine, EngineError, Job, Runner
from cnndsl.engines.derived import derived
from cnndsl.engines.finite import check_sums
from cnndsl.engines.found import missing
from cnndsl.engines.tiles import ByTiles
from cnndsl.passes.pipeline import TILES, TILES_4X1
from cnndsl.passes.winograd import F4X1, F4X4


class OrtEngine(Engine):
    """The CPU provider of onnxruntime, for one shape at a time; it computes in float32 always.

    ``as_written``: without our own forms for its layout and sums and without a look at the inputs,
    as others give it a network.
    """

    name = "onnxruntime"
    caution = 0.95

    def __init__(self, *, as_written: bool = False) -> None:
        self.as_written, self.looks = as_written, not as_written

    def absent(self) -> str | None:
        return missing("onnxruntime", "onnx")

    def refuses(self, job: Job) -> str | None:
        if job.dtype not in (torch.float32, torch.bfloat16):
            return "onnxruntime computes in float32, for networks in float32 or bfloat16"
        return None

    def build(self, job: Job) -> Runner:
        import onnxruntime

        from cnndsl.engines.onnx.exact import means_in_stages
        from cnndsl.engines.onnx.inputs import sum_inputs
        from cnndsl.engines.onnx.model import onnx_model
        from cnndsl.engines.onnxruntime.layout import keep_blocks
        from cnndsl.engines.onnxruntime.samples import samples_as_pixels
        from cnndsl.engines.onnxruntime.tiles import rows_by_one_product

        full = replace(job, dtype=torch.float32)
        model = onnx_model(job.flow, derived(full), job.sizes, job.shapes[0][0])
        if not self.as_written:
            means_in_stages(model)
            keep_blocks(model)
            rows_by_one_product(model)
            samples_as_pixels(model)
            sum_inputs(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = job.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors have no common base
            raise EngineError(f"onnxruntime: {error}") from None
        return _Session(session, looks=self.looks)

    def streams(self, job: Job) -> Sequence[Runner]:
        # With one thread a session computes on whichever thread calls it.
        return [self.build(replace(job, threads=1))] * job.threads


class OrtTiles(ByTiles, OrtEngine):
    """onnxruntime with 3x3 convolutions by Winograd's tiles of 4x1, which it has none of itself."""

    name = "onnxruntime-winograd"
    fusion = TILES_4X1
    tile = F4X1
    caution = 0.8


class OrtSquares(OrtTiles):
    """Also by tiles of 4x4, where these gain more: fewer products, less exact."""

    name = "onnxruntime-winograd-squares"
    fusion = TILES
    tile = F4X4


class _Session:
    def __init__(self, session: Any, *, looks: bool) -> None:
        self.session, self.looks = session, looks
        self.names = [value.name for value in session.get_inputs()]
        self.outputs = [value.name for value in session.get_outputs()]

    def __call__(self, *inputs: Tensor) -> Sequence[Tensor]:
        arrays = dict(zip(self.names, map(float_array, inputs), strict=True))
        found = self.session.run(self.outputs, arrays)
        if self.looks:
            kept = len(found) - len(inputs)
            check_sums(found[kept:])
            found = found[:kept]
        return list(map(torch.from_numpy, found))
