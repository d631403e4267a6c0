"""ONNX models as text: bytes, a validated model, recognised layers, a graph, a proof."""

from __future__ import annotations

from cnndsl.graph.names import is_net_name
from cnndsl.importers.base import Imported, ImportProblem, Written, roll_and_prove
from cnndsl.importers.onnx.model import Folder, Model, read_model
from cnndsl.importers.onnx.names import network_name
from cnndsl.importers.onnx.recognise import recognise
from cnndsl.limits import DEFAULT_LIMITS, Limits

__all__ = ["import_onnx", "read_onnx"]


def read_onnx(
    data: bytes, *, name: str | None = None, file: str = "", limits: Limits = DEFAULT_LIMITS
) -> Imported:
    """The graph and the weights of an ONNX file; ImportProblem says what cannot be expressed.

    Nothing is run and nothing but ``data`` is read. The net is called ``name``, else like the
    model's graph or like the ``file``.
    """
    model, _ = read_model(data, limits)
    return recognise(model, _name(model, name, file, limits), limits).imported


def import_onnx(
    data: bytes,
    *,
    name: str | None = None,
    file: str = "",
    folder: Folder = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Written:
    """Text and weights of an ONNX file, proven to compute what onnxruntime computes of it.

    ``folder``: where the model lies; weights that it keeps in other files are read from there
    and from nowhere else. None: such a model is refused.
    """
    from cnndsl.importers.onnx.reference import reference

    model, proto = read_model(data, limits, folder)
    found = recognise(model, _name(model, name, file, limits), limits)
    return roll_and_prove(
        found.imported, reference(proto, found), batch=found.batch or 2, limits=limits
    )


def _name(model: Model, name: str | None, file: str, limits: Limits) -> str:
    if name is not None:
        if not is_net_name(name, limits):
            raise ImportProblem(f"`{name}` cannot name a net")
        return name
    own = model.name
    return network_name(own if own[:1].isupper() and own.isidentifier() else file or own, limits)
