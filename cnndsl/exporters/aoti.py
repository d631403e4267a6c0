"""A net compiled ahead of time by AOTInductor: a ``.pt2`` package with a library in it.

    run = torch._inductor.aoti_load_package("net.pt2")
    run(torch.randn(1, 3, 224, 224))

It runs where PyTorch does, on processors like the one it was compiled on; neither cnndsl nor a
compiler is needed there. Free sizes are those of ``cnndsl.exporters.pt2``. With Triton kernels it
is for GPUs like the one that is here, for one sample, and for one size.
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnndsl.compilation import Compilation
from cnndsl.exporters import kernels as choice
from cnndsl.exporters.kernels import PLAIN, TRITON
from cnndsl.exporters.proof import Exported, ExportError
from cnndsl.exporters.pt2 import Plan, Run, by_output, proven

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from cnndsl.backends.torch.module import Network

WHAT = "a package of AOTInductor"
GPU = "cuda"
_NO_GPU = (
    "AOTInductor compiles Triton kernels for the GPU that is there, and there is none here; "
    "`export pt2 --kernels triton` needs none"
)


def export_aoti(
    net: Compilation, network: Network | None = None, *, optimize: int = 1, kernels: str = PLAIN
) -> Exported:
    """The bytes of a package that was loaded again and computed what ``network`` does.

    ``network``: whose weights are taken, by default a new one with random weights.
    ``optimize=0`` leaves out our rewrites; inductor's own are always made. ``kernels="triton"``
    compiles fused steps as Triton kernels of ours, for the GPU that is here. Raises ExportError,
    also where there is no C++ compiler, or no GPU for such kernels; ValueError for other
    ``kernels``.
    """
    refuse(net, kernels)
    network = network or net.compile(optimize=0)
    plan = Plan(optimize, kernels, batch=None if kernels == PLAIN else 1)
    device = "cpu" if kernels == PLAIN else GPU
    with tempfile.TemporaryDirectory(prefix="cnndsl-") as folder:
        path = Path(folder, "net.pt2")

        def load(traced: ExportedProgram) -> Run:
            return _loaded(traced, path, {"net": _told(net)}, device)

        program, proof = proven(net, network, plan, load, "AOTInductor")
        how = "as Triton kernels, compiled for the GPU that is here"
        said = (*program.notes, *choice.steps(kernels, program.traced, how))
        return Exported(path.read_bytes(), said, proof)


def refuse(net: Compilation, kernels: str = PLAIN) -> None:
    """ExportError where there is no C++ compiler, or no GPU to compile Triton kernels for."""
    from cnndsl.engines.inductor_engine import InductorEngine

    choice.refuse(kernels)
    absent = InductorEngine().absent()
    if absent is not None:
        raise ExportError(absent)
    if kernels == TRITON and not _has_gpu():
        raise ExportError(_NO_GPU)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _told(net: Compilation) -> Any:
    from cnndsl.views.facts import facts_json

    return facts_json(net.graph)


def _loaded(traced: ExportedProgram, path: Path, facts: dict[str, Any], device: str) -> Run:
    """Compiles for a device, marks the package as ours, loads it; its inputs may lie on the CPU."""
    from torch._inductor import aoti_compile_and_package, aoti_load_package
    from torch.export.passes import move_to_device_pass

    path.unlink(missing_ok=True)
    aoti_compile_and_package(move_to_device_pass(traced, device), package_path=str(path))
    _mark(path, facts)
    run = by_output(aoti_load_package(str(path)))
    return lambda *inputs: [y.cpu() for y in run(*(x.to(device) for x in inputs))]


def _mark(path: Path, facts: dict[str, Any]) -> None:
    from cnndsl.backends.torch.export import marked
    from cnndsl.backends.torch.mark import MARK

    with zipfile.ZipFile(path, "a") as archive:
        folder = archive.namelist()[0].partition("/")[0]
        # The time is part of the entry: without it the same net gives the same bytes.
        archive.writestr(zipfile.ZipInfo(f"{folder}/extra/{MARK}"), marked(facts))
