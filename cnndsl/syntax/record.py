"""Immutable values with named parts: what frozen dataclasses are, without their cost.

``dataclass`` writes and compiles six methods for each class. For the thirty classes of the
tree that takes longer than to check a network; here the methods are written once.
"""

from __future__ import annotations

from typing import Any, ClassVar, dataclass_transform


def part(*, default: Any = ..., kw_only: bool = False, compare: bool = True) -> Any:
    """A part that is given by name only, or makes no difference to equality."""
    return _Part(default, kw_only, compare)


class _Part:
    def __init__(self, default: Any, kw_only: bool, compare: bool) -> None:
        self.default, self.kw_only, self.compare = default, kw_only, compare


@dataclass_transform(frozen_default=True, field_specifiers=(part,))
class Record:
    """Base of classes whose annotations are their parts, in order; values are defaults."""

    part_names: ClassVar[tuple[str, ...]] = ()
    _positional: ClassVar[tuple[str, ...]] = ()
    _compared: ClassVar[tuple[str, ...]] = ()
    _required: ClassVar[int] = 0

    def __init_subclass__(cls) -> None:
        for name in vars(cls).get("__annotations__", ()):
            given = vars(cls).get(name, ...)
            made = given if isinstance(given, _Part) else _Part(given, False, True)
            cls.part_names += (name,)
            cls._positional += () if made.kw_only else (name,)
            cls._compared += (name,) if made.compare else ()
            cls._required += made.default is ...
            if given is made:
                delattr(cls, name)
            if made.default is not ...:
                setattr(cls, name, made.default)

    def __init__(self, *values: Any, **named: Any) -> None:
        own = self.__dict__
        own.update(zip(self._positional, values))  # noqa: B905 - a type checker counts them
        own.update(named)
        if len(own) < self._required:
            raise TypeError(f"{type(self).__name__} has the parts {', '.join(self.part_names)}")

    def _key(self) -> tuple[Any, ...]:
        return tuple([getattr(self, name) for name in self._compared])

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in self._compared)
        return f"{type(self).__name__}({', '.join(shown)})"
