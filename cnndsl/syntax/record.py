"""Values with named parts: what frozen dataclasses are, without their cost.

``dataclass`` writes and compiles six methods for each class. For the thirty classes of the
tree that takes longer than to check a network. Here only ``__init__`` is, of the classes that
a text needs: it makes a node for nearly every token. That no part is assigned to later is for
a type checker to see.
"""

from __future__ import annotations

from collections.abc import Callable
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

    part_types: ClassVar[dict[str, str]] = {}
    """The types of the parts as they are written, by name."""
    _made: ClassVar[dict[str, _Part]] = {}
    _compared: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        own: dict[str, str] = vars(cls).get("__annotations__", {})
        if not own:
            return
        given = {name: vars(cls).get(name, ...) for name in own}
        made = {n: g if isinstance(g, _Part) else _Part(g, False, True) for n, g in given.items()}
        cls.part_types, cls._made = {**cls.part_types, **own}, {**cls._made, **made}
        cls._compared = tuple(name for name, made in cls._made.items() if made.compare)
        cls.__init__ = Record.__init__  # type: ignore[method-assign]

    def __init__(self, *values: Any, **named: Any) -> None:
        """Called once for each class that has parts of its own: it gives the class the real one."""
        cls = type(self)
        cls.__init__ = made = _initializer(cls._made)  # type: ignore[method-assign]
        made(self, *values, **named)

    def _key(self) -> tuple[Any, ...]:
        return tuple([getattr(self, name) for name in self._compared])

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in self._compared)
        return f"{type(self).__name__}({', '.join(shown)})"


def _initializer(parts: dict[str, _Part]) -> Callable[..., None]:
    """``def __init__(self, a, b=…, *, c=…)``, which sets the parts."""
    defaults = {f"_{n}": made.default for n, made in parts.items() if made.default is not ...}
    taken = {n: f"{n}=_{n}" if f"_{n}" in defaults else n for n in parts}
    plain = [text for n, text in taken.items() if not parts[n].kw_only]
    named = [text for n, text in taken.items() if parts[n].kw_only]
    head = ", ".join(["self", *plain, *["*"][: len(named)], *named])
    body = "".join(f"\n    self.{n} = {n}" for n in parts)
    found: dict[str, Any] = {}
    exec(f"def __init__({head}):{body}", defaults, found)
    made: Callable[..., None] = found["__init__"]
    return made
