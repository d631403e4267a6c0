"""A net compiled ahead of time by AOTInductor: a ``.pt2`` package with a library in it.

    run = torch._inductor.aoti_load_package("net.pt2")
    run(torch.randn(1, 3, 224, 224))

It runs where PyTorch does, on processors like the one it was compiled on; neither cnndsl nor a
compiler is needed there. Free sizes are those of ``cnndsl.exporters.pt2``.
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnndsl.compilation import Compilation
from cnndsl.exporters.proof import Exported, ExportError
from cnndsl.exporters.pt2 import Run, by_output, proven

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from cnndsl.backends.torch.module import Network

WHAT = "a package of AOTInductor"


def export_aoti(net: Compilation, network: Network | None = None, *, optimize: int = 1) -> Exported:
    """The bytes of a package that was loaded again and computed what ``network`` does.

    ``network``: whose weights are taken, by default a new one with random weights.
    ``optimize=0`` leaves out our rewrites; inductor's own are always made. Raises ExportError,
    also where there is no C++ compiler.
    """
    refuse(net)
    network = network or net.compile(optimize=0)
    with tempfile.TemporaryDirectory(prefix="cnndsl-") as folder:
        path = Path(folder, "net.pt2")

        def load(traced: ExportedProgram) -> Run:
            return _loaded(traced, path, {"net": _told(net)})

        program, proof = proven(net, network, optimize, load, "AOTInductor")
        return Exported(path.read_bytes(), program.notes, proof)


def refuse(net: Compilation) -> None:
    """ExportError where there is no C++ compiler."""
    from cnndsl.engines.inductor_engine import InductorEngine

    absent = InductorEngine().absent()
    if absent is not None:
        raise ExportError(absent)


def _told(net: Compilation) -> Any:
    from cnndsl.views.facts import facts_json

    return facts_json(net.graph)


def _loaded(traced: ExportedProgram, path: Path, facts: dict[str, Any]) -> Run:
    """Compiles, marks the package as ours, loads it."""
    from torch._inductor import aoti_compile_and_package, aoti_load_package

    path.unlink(missing_ok=True)
    aoti_compile_and_package(traced, package_path=str(path))
    _mark(path, facts)
    return by_output(aoti_load_package(str(path)))


def _mark(path: Path, facts: dict[str, Any]) -> None:
    from cnndsl.backends.torch.export import marked
    from cnndsl.backends.torch.mark import MARK

    with zipfile.ZipFile(path, "a") as archive:
        folder = archive.namelist()[0].partition("/")[0]
        # The time is part of the entry: without it the same net gives the same bytes.
        archive.writestr(zipfile.ZipInfo(f"{folder}/extra/{MARK}"), marked(facts))
