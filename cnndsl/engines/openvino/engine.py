"""The ``openvino`` engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from cnndsl.engines.arrays import float_array
from cnndsl.engines.base import Engine, EngineError, Job, Runner
from cnndsl.engines.derived import derived
from cnndsl.engines.finite import check_sums
from cnndsl.engines.found import missing
from cnndsl.engines.openvino.stock import Stock
from cnndsl.engines.tiles import ByTiles
from cnndsl.passes.pipeline import TILES_APART
from cnndsl.passes.winograd import F4X1_APART


class OpenVinoEngine(Engine):
    """OpenVINO's CPU plugin, for one shape at a time; bfloat16 where the CPU has it.

    ``as_written``: without our own forms for its sums and without a look at the inputs, as others
    give it a network.
    """

    name = "openvino"

    def __init__(self, *, as_written: bool = False) -> None:
        self.as_written, self.looks = as_written, not as_written

    def absent(self) -> str | None:
        return missing("openvino", "onnx")

    def refuses(self, job: Job) -> str | None:
        if job.dtype not in (torch.float32, torch.bfloat16):
            return "openvino computes in float32 or bfloat16"
        return None

    def build(self, job: Job) -> Runner:
        return self._request(self._compiled(job, 1))

    def streams(self, job: Job) -> Sequence[Runner]:
        compiled = self._compiled(job, job.threads)
        return [self._request(compiled) for _ in range(job.threads)]

    def _request(self, compiled: Any) -> Runner:
        kind = _Looking if self.looks else _Request
        return kind(compiled.create_infer_request())

    def _compiled(self, job: Job, streams: int) -> Any:
        """The model for as many requests at a time as there are ``streams``."""
        import openvino
        from openvino import properties

        half = job.dtype == torch.bfloat16 and _has_half()
        model = self._model(job, half)
        kind = openvino.Type.bf16 if half else openvino.Type.f32
        settings = {
            properties.hint.performance_mode(): properties.hint.PerformanceMode.LATENCY,
            properties.hint.inference_precision(): kind,
            properties.inference_num_threads(): job.threads,
        }
        if streams > 1:
            settings[properties.num_streams()] = streams
        try:
            read = openvino.Core().read_model(model.SerializeToString())
            return openvino.compile_model(read, "CPU", settings)
        except Exception as error:  # its errors have no common base
            raise EngineError(f"openvino: {error}") from None

    def _model(self, job: Job, half: bool) -> Any:
        """In ONNX. ``half``: it is to be computed in bfloat16."""
        from cnndsl.engines.onnx.exact import (
            means_in_stages,
            means_into_products,
            products_in_stages,
        )
        from cnndsl.engines.onnx.inputs import sum_inputs
        from cnndsl.engines.onnx.model import onnx_model
        from cnndsl.engines.openvino.forms import products_as_convolutions
        from cnndsl.engines.openvino.rows import rows_apart

        full = replace(job, dtype=torch.float32)
        model = onnx_model(job.flow, derived(full), job.sizes, job.shapes[0][0])
        if self.as_written:
            return model
        rows_apart(model)
        if not half:  # where each part would be rounded
            products_in_stages(model)
        else:
            means_into_products(model)
            means_in_stages(model)
            if job.shapes[0][0] == 1:
                products_as_convolutions(model)
        sum_inputs(model)
        return model


class OpenVinoTiles(ByTiles, OpenVinoEngine):
    """OpenVINO with 3x3 convolutions by Winograd's tiles of 4x1, of which it has none itself."""

    name = "openvino-winograd"
    fusion = TILES_APART
    tile = F4X1_APART
    caution = 0.95


def _has_half() -> bool:
    """Whether this processor has arithmetic for bfloat16: without it, float32 is faster, and nearer
    to the truth. Raises EngineError."""
    import openvino
    from openvino import properties

    try:
        return "BF16" in openvino.Core().get_property("CPU", properties.device.capabilities())
    except Exception as error:
        raise EngineError(f"openvino: {error}") from None


class _Request:
    """One place for inputs and results: a thread waits until another has taken its own.

    By its parts: ``infer(inputs)`` takes 15 us more, and three times that right behind a forward,
    which leaves nothing in the caches.
    """

    def __init__(self, request: Any) -> None:
        import openvino

        self.request, self.turn = request, Lock()
        self._tensor = openvino.Tensor
        self._results = range(len(request.output_tensors))

    def __call__(self, *inputs: Tensor) -> Sequence[Tensor]:
        with self.turn:
            held = self._set(inputs)
            self.request.infer(share_outputs=True)  # copied once, below
            del held
            return self._found()

    def _set(self, inputs: Sequence[Tensor]) -> Sequence[Any]:
        """Gives what is to be held until all is computed: a request does not."""
        arrays = list(map(float_array, inputs))
        for i, array in enumerate(arrays):
            self.request.set_input_tensor(i, self._tensor(array, shared_memory=True))
        return arrays

    def _found(self) -> Sequence[Tensor]:
        arrays = [self.request.get_output_tensor(i).data for i in self._results]
        return [torch.from_numpy(array.copy()) for array in arrays]


class _Looking(_Request):
    """Of a model with sums of its inputs. One at the address of the last call is not set again.

    An address is all that a request knows of an input, and between two calls that may be gone. A
    call that brings the same one brings memory that is there. To set it anew takes 70 us behind a
    forward, 3 % of MobileNet-v2's; to ask for a result 10 us, which in a model of fixed shapes is
    always in one place.
    """

    def __init__(self, request: Any) -> None:
        super().__init__(request)
        self._addresses: Sequence[object] = ()
        views = [request.get_output_tensor(i).data for i in self._results]
        kept = len(views) - len(request.input_tensors)
        self._stocks = list(map(Stock, views[:kept]))
        self._sums = [memoryview(view) for view in views[kept:]]

    def _set(self, inputs: Sequence[Tensor]) -> Sequence[Any]:
        addresses = [_address(x) for x in inputs]
        if addresses == self._addresses and None not in addresses:
            return ()
        self._addresses = ()  # if one cannot be set
        arrays = super()._set(inputs)
        self._addresses = addresses
        return arrays

    def _found(self) -> Sequence[Tensor]:
        check_sums(total[()] for total in self._sums)
        return [stock.take() for stock in self._stocks]


def _address(x: Tensor) -> tuple[int, torch.Size] | None:
    """Where its numbers lie; None if an array of float32 has others (``float_array``)."""
    return (x.data_ptr(), x.shape) if x.dtype is torch.float32 and x.is_contiguous() else None
