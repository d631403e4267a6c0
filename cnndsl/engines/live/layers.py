"""What the layers of a module are, to tell when somebody made others of them.

An engine computes what the text says. A layer that was exchanged, patched or set in another way is
run by the plain module alone, and that it is another one shows beside what ``compile`` made.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from types import BuiltinFunctionType, FunctionType
from typing import Any, NamedTuple

import torch
from torch import nn

from cnndsl.ops.modules import DropPath, Join

_OF_EVERY_MODULE = frozenset(nn.Module().__dict__)
_OF_TRAINING: dict[type[nn.Module], frozenset[str]] = {
    nn.modules.batchnorm._NormBase: frozenset({"momentum"}),
    nn.modules.dropout._DropoutNd: frozenset({"p", "inplace"}),
    DropPath: frozenset({"p", "mode", "draw"}),
    Join: frozenset({"drop", "share"}),
}
"""Settings that eval mode does not read: they may be tuned."""


class Layer(NamedTuple):
    """One layer of a module, without a number."""

    kind: type[nn.Module]
    forward: Callable[..., Any]
    settings: dict[str, Any]
    shapes: dict[str, tuple[int, ...] | None]
    children: tuple[str, ...]


Layers = dict[str, Layer]
"""By path; the module itself at ``""``."""


def layers_of(module: nn.Module) -> Layers:
    """What the layers are now."""
    return {path: _layer(part) for path, part in _named(module).items()}


def difference(layers: Mapping[str, Layer], module: nn.Module) -> str:
    """How the module is no longer what it was, as a sentence; "" if it is.

    What was only added to the module itself is no difference: its forward does not call it.
    """
    found = _named(module)
    for path, layer in layers.items():
        how = _exchanged(layer, found.get(path)) if path else _reshaped(layer, module)
        if how:
            return f"`{path}` {how}" if path else f"the module {how}"
    return ""


def _named(module: nn.Module) -> dict[str, nn.Module]:
    return dict(module.named_modules(remove_duplicate=False))


def _layer(part: nn.Module) -> Layer:
    state, tuned = part.__dict__, _tuned(part)
    settings = {
        name: copy.deepcopy(value) if _is_plain(value) else value
        for name, value in state.items()
        if name not in _OF_EVERY_MODULE | tuned and (name[0] != "_" or _is_plain(value))
    }
    return Layer(type(part), type(part).forward, settings, _shapes(part), tuple(part._modules))


def _tuned(part: nn.Module) -> frozenset[str]:
    kinds = (names for kind, names in _OF_TRAINING.items() if isinstance(part, kind))
    return frozenset[str]().union(*kinds)


def _shapes(part: nn.Module) -> dict[str, tuple[int, ...] | None]:
    held = {**part._parameters, **part._buffers}
    return {name: None if value is None else tuple(value.shape) for name, value in held.items()}


_PLAIN = (
    *(bool, int, float, complex, str, bytes, type(None), type, FunctionType, BuiltinFunctionType),
    *(torch.dtype, torch.device, torch.memory_format),
)


def _is_plain(value: object) -> bool:
    """Whether two of them can be compared; what is private and is not, is the layer's own."""
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


def _exchanged(layer: Layer, part: nn.Module | None) -> str:
    if part is None:
        return "is gone"
    if type(part) is not layer.kind:
        return f"is of class {type(part).__name__} now"
    if layer.kind.forward is not layer.forward:
        return f"runs another forward of {layer.kind.__name__}"
    state = part.__dict__
    for name in state.keys() - layer.settings.keys() - _OF_EVERY_MODULE - _tuned(part):
        if hasattr(layer.kind, name) or name in layer.shapes or name in layer.children:
            return f"has a `{name}` of its own"
    for name, value in layer.settings.items():
        if name not in state or not _same(value, state[name]):
            return f"has another `{name}`"
    if tuple(part._modules) != layer.children:
        return "has other parts"
    return _reshaped(layer, part)


def _same(one: object, other: object) -> bool:
    return one is other or (_is_plain(one) and _is_plain(other) and one == other)


def _reshaped(layer: Layer, part: nn.Module) -> str:
    found = _shapes(part)
    for name in {**layer.shapes, **found}:
        if name not in found or found[name] != layer.shapes.get(name, ()):
            return f"has another `{name}`"
    return ""
