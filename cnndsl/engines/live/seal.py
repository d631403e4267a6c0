"""A seal on a network: as long as it is whole, nothing below the network can have changed.

Whoever changes a layer or a parameter has to get hold of it first, and that leads through the
containers of the network itself, unless he holds it already. So a network is sealed only while
reference counts say that nobody outside holds anything of it; and its containers are exchanged
for empty ones that note every access, and then put the true ones back. One look at the seal
takes the place of a look at each parameter, which costs some tenths of a millisecond.

Not seen is who finds objects in other ways than by references, as ``gc.get_objects`` does.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from threading import RLock
from typing import Any
from weakref import ReferenceType, getweakrefs

import torch
from torch import Tensor, nn

CONTAINERS = ("_parameters", "_buffers", "_modules")
_TURN = RLock()
"""Whoever sets or breaks a seal; two threads may meet at one network."""


class Seal:
    """Closes a network until somebody looks into it."""

    def __init__(self, network: nn.Module) -> None:
        self._closed = True
        self._state = network.__dict__
        with _TURN:
            self.contents = {name: _opened(self._state[name]) for name in CONTAINERS}
            self._doors = {name: _Sealed(self, name) for name in CONTAINERS}
            self._state.update(self._doors)

    @property
    def whole(self) -> bool:
        """Whether nobody opened it, or put containers of his own in its place."""
        state, doors = self._state, self._doors
        return (
            self._closed
            and state["_modules"] is doors["_modules"]
            and state["_parameters"] is doors["_parameters"]
            and state["_buffers"] is doors["_buffers"]
        )

    def open(self) -> dict[str, dict[str, Any]]:
        """The true containers; from now on the network has them again."""
        with _TURN:
            if self._closed:
                self._closed = False
                for name, door in self._doors.items():
                    if self._state[name] is door:
                        self._state[name] = self.contents[name]
                self._doors = {}  # they hold this, and this the containers
        return self.contents

    def is_tight(self, parts: list[nn.Module], held: Sequence[Iterable[object]]) -> bool:
        """Whether nobody holds one of the ``parts`` below the network, or of what they consist of,
        but they each other and the lists ``held``, which hold the parts too."""
        own = self.contents.values()
        return (
            hasattr(sys, "getrefcount")
            and hasattr(torch._C, "_storage_Use_Count")
            and (_are_alone(parts, own, [own, *held]))
        )


class _Sealed(dict[str, Any]):
    """Stands in for a container. As a dict it is empty, so that nobody passes the seal by."""

    def __init__(self, seal: Seal, name: str) -> None:
        super().__init__()
        self.seal, self.name = seal, name

    def __reduce_ex__(self, protocol: Any) -> Any:
        return dict, (dict(self.seal.open()[self.name]),)


def _opened(container: dict[str, Any]) -> dict[str, Any]:
    """The container itself, if another seal stands in its place."""
    return container.seal.open()[container.name] if isinstance(container, _Sealed) else container


def contents(container: dict[str, Any]) -> dict[str, Any]:
    """The container that stands there, or behind a seal; nothing is opened."""
    return container.seal.contents[container.name] if isinstance(container, _Sealed) else container


def _opening(method: str) -> Callable[..., Any]:
    def opened(self: _Sealed, *args: Any, **named: Any) -> Any:
        return getattr(self.seal.open()[self.name], method)(*args, **named)

    return opened


OPENING = (
    *("__contains__", "__getitem__", "__setitem__", "__delitem__", "__iter__", "__reversed__"),
    *("__len__", "__repr__", "__eq__", "__ne__", "__or__", "__ror__", "__ior__"),
    *("clear", "copy", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values"),
)
"""All that reads or writes a dict."""
for _method in OPENING:
    setattr(_Sealed, _method, _opening(_method))


# --- who holds what -----------------------------------------------------------------------------


def _are_alone(
    parts: list[nn.Module], own: Iterable[dict[str, Any]], held: Sequence[Iterable[object]]
) -> bool:
    """The same, with the network's ``own`` containers."""
    states = [part.__dict__ for part in parts]
    dicts = [*own, *(d for state in states for d in state.values() if isinstance(d, dict))]
    tensors = _unique(t for d in dicts for t in d.values() if isinstance(t, Tensor))
    # Each part holds its state. Views of values are made one by one, as they hold their dicts.
    lists: list[Iterable[object]] = [*held, states, states, dicts, tensors]
    values = map(dict.values, chain(states, dicts))
    groups: list[list[Any]] = [tensors, parts, states, dicts]
    return _own_their_numbers(tensors) and _are_known(groups, chain(lists, values))


def _unique(tensors: Iterable[Tensor]) -> list[Tensor]:
    return list({id(tensor): tensor for tensor in tensors}.values())


def _own_their_numbers(tensors: Iterable[Tensor]) -> bool:
    """Whether there is no view, alias or array of them, and no node of autograd has them."""
    alone = _claims(torch.empty(1))
    return all(_claims(tensor) == alone for tensor in tensors)


def _claims(tensor: Tensor) -> tuple[int, int, int, bool, bool]:
    """Memory that PyTorch did not take itself, as an array's or a file's, cannot be resized."""
    storage = tensor.untyped_storage()
    sharers = torch._C._storage_Use_Count(storage._cdata)
    holders = tensor._use_count()  # type: ignore[attr-defined]
    with_others = storage.device.type == "cpu" and storage.is_shared()
    return holders, sharers, sys.getrefcount(storage), storage.resizable(), with_others


def _are_known(groups: Sequence[list[Any]], holders: Iterable[Iterable[object]]) -> bool:
    """Whether each object has no more references than ``holders`` have to it."""
    known = Counter(map(id, chain.from_iterable(holders)))
    in_a_list = _references([object()])[0]
    return all(
        found == known[id(x)] - 1 + in_a_list and not any(map(_is_foreign, getweakrefs(x)))
        for group in groups
        for x, found in zip(group, _references(group), strict=True)
    )


def _is_foreign(reference: ReferenceType[Any]) -> bool:
    """Whether a weak reference may lead somebody here; ``torch.compile`` numbers all modules."""
    if not issubclass(type(reference), ReferenceType):  # a proxy: asked, it answers as its object
        return True
    home = getattr(reference.__callback__, "__module__", None) or ""
    return not home.startswith("torch._dynamo.")


def _references(objects: list[Any]) -> list[int]:
    return list(map(sys.getrefcount, objects))
