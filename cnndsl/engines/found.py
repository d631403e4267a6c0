"""Whether optional libraries are installed, without importing them."""

from __future__ import annotations

from importlib.util import find_spec

EXTRAS = {"onnx": "onnx", "onnxruntime": "onnx", "openvino": "openvino"}


def missing(*names: str) -> str | None:
    """A sentence that names what is not installed and how to get it; None if all is there."""
    absent = [name for name in names if find_spec(name) is None]
    if not absent:
        return None
    verb = "is" if len(absent) == 1 else "are"
    extra = EXTRAS[absent[0]]
    return f"{' and '.join(absent)} {verb} not installed: pip install 'cnndsl[{extra}]'"
