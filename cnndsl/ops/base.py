"""What an operator is. One class per operator; everything else follows from it.

A subclass registers itself under its grammar-visible name; its ``param`` attributes, in
order, are its positional parameters. Spelling, order, coercion, defaults, messages,
completion, tables and documentation all read this one declaration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, dataclass_transform

from cnndsl.ops.types import FeatureMap, Type, Vector, Weight

if TYPE_CHECKING:
    from cnndsl.ops.sizes import Dim

Pair = tuple[int, int]
Value = Any
Check = Callable[[Value], "str | None"]


class RuleError(Exception):
    """An operator's rule does not hold. It knows no places in the text.

    ``param`` names the parameter at fault, ``operand`` the index of the input at fault;
    ``rule`` is the kind of rule: ``value``, ``missing``, ``kind``, ``channels``, ``groups``,
    ``space``, ``small``, ``symbolic``, ``operands``.
    """

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        operand: int | None = None,
        rule: str = "value",
        note: str = "",
        help: str = "",
    ) -> None:
        super().__init__(message)
        self.message, self.param, self.operand = message, param, operand
        self.rule, self.note, self.help = rule, note, help


class Required:
    """Marks a parameter without a default."""

    def __repr__(self) -> str:
        return "required"


REQUIRED = Required()


class Param:
    """One declared parameter. ``coerce`` turns what the text says into the stored value."""

    __slots__ = ("check", "choices", "coerce", "default", "doc", "name")

    def __init__(
        self,
        default: Value,
        doc: str,
        check: Check | None,
        choices: tuple[str, ...],
        coerce: Callable[[Value], Value] | None,
    ) -> None:
        self.name = ""
        self.default, self.doc, self.check, self.choices = default, doc, check, choices
        self.coerce = coerce

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    def read(self, value: Value) -> Value:
        """The stored form of ``value``; RuleError(param=…) when it does not fit."""
        try:
            stored = self.coerce(value) if self.coerce else value
        except ValueError as error:
            raise RuleError(f"`{self.name}` {error}", param=self.name) from None
        problem = self.check(stored) if self.check and stored is not None else None
        if problem:
            raise RuleError(f"`{self.name}` {problem}", param=self.name)
        return stored


def param(
    default: Value = REQUIRED,
    *,
    doc: str,
    check: Check | None = None,
    choices: tuple[str, ...] = (),
    coerce: Callable[[Value], Value] | None = None,
) -> Any:
    """Declares a parameter. Its coercion follows from the annotation unless given."""
    return Param(default, doc, check, choices, coerce)


# --- coercions: raise ValueError with words that follow the parameter's name ---------------


def show(value: Value) -> str:
    """A value as the text would write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Fraction):
        return str(value.numerator) if value.denominator == 1 else str(float(value))
    if isinstance(value, tuple):
        return "(" + ", ".join(map(show, value)) + ")"
    return str(value)


def whole(value: Value) -> int:
    if isinstance(value, bool) or not isinstance(value, int | Fraction):
        raise ValueError(f"needs a whole number, got {show(value)}")
    if isinstance(value, Fraction) and value.denominator != 1:
        raise ValueError(f"needs a whole number, got {value}")
    if abs(value) > 2**31 - 1:
        raise ValueError(f"is at most 2147483647, got {show(value)}")
    return int(value)


def real(value: Value) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction):
        raise ValueError(f"needs a number, got {show(value)}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError("is too large for a finite number") from None


def flag(value: Value) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"needs yes or no, got {show(value)}")
    return value


def pair(value: Value) -> Pair:
    """``3`` is ``(3, 3)``; a pair is (height, width)."""
    if not isinstance(value, tuple):
        size = whole(value)
        return size, size
    if len(value) != 2:
        raise ValueError(f"needs one number or (height, width), got {show(value)}")
    return whole(value[0]), whole(value[1])


def word(choices: tuple[str, ...]) -> Callable[[Value], str]:
    def read(value: Value) -> str:
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"is one of {', '.join(choices)}, got {show(value)}")
        return value

    return read


_COERCIONS: dict[object, Callable[[Value], Value]] = {
    int: whole, float: real, bool: flag, Pair: pair,
    "int": whole, "float": real, "bool": flag, "Pair": pair,
}  # fmt: skip


# --- checks: return the words that follow the parameter's name, or None ---------------------


def positive(value: Value) -> str | None:
    low = min(value) if isinstance(value, tuple) else value
    return None if low >= 1 else f"is at least 1, got {show(value)}"


def not_negative(value: Value) -> str | None:
    low = min(value) if isinstance(value, tuple) else value
    return None if low >= 0 else f"is at least 0, got {show(value)}"


def probability(value: Value) -> str | None:
    return None if 0 <= value < 1 else f"is at least 0 and below 1, got {show(value)}"


def above_zero(value: Value) -> str | None:
    return None if value > 0 else f"is above 0, got {show(value)}"


# --- the operator ---------------------------------------------------------------------------


@dataclass_transform(frozen_default=True, kw_only_default=False, field_specifiers=(param,))
class Op:
    """Base of every operator: immutable, equal by class and parameter values.

    Class keywords of a subclass: ``name`` (as written in the text), ``on`` (the types its
    inputs may have), ``arity`` (number of inputs; None: one or more, a join), ``norm``
    (a normalisation: a convolution just before it has no bias unless told).
    """

    name: ClassVar[str] = ""
    params: ClassVar[dict[str, Param]] = {}
    on: ClassVar[tuple[type, ...]] = (FeatureMap, Vector)
    arity: ClassVar[int | None] = 1
    norm: ClassVar[bool] = False
    join: ClassVar[bool] = False
    """Joins take several operands of one size, and no position of their own."""
    auto_bias: ClassVar[bool] = False
    """``bias`` left out is settled by the next step of the chain."""

    def __init_subclass__(
        cls,
        name: str = "",
        on: type | tuple[type, ...] | None = None,
        arity: int | None = 1,
        **flags: bool,
    ) -> None:
        super().__init_subclass__()
        own = {key: item for key, item in vars(cls).items() if isinstance(item, Param)}
        for key, item in own.items():
            item.name = key
            if item.coerce is None:
                hint = cls.__annotations__.get(key)
                item.coerce = word(item.choices) if item.choices else _COERCIONS.get(hint)
            delattr(cls, key)
        cls.params = {**cls.params, **own}
        if on is not None:
            cls.on = on if isinstance(on, tuple) else (on,)
        cls.arity = None if flags.get("join") else arity
        for key, value in flags.items():
            setattr(cls, key, value)
        if name:
            cls.name = name
            register(cls)

    def __init__(self, *args: Value, **values: Value) -> None:
        if len(args) > len(self.params):
            raise RuleError(f"`{self.name}` takes at most {len(self.params)} parameters")
        given = dict(zip(self.params, args, strict=False))
        for key, value in values.items():
            if key not in self.params:
                raise RuleError(f"`{self.name}` has no parameter `{key}`", param=key)
            if key in given:
                raise RuleError(f"`{key}` is given twice", param=key)
            given[key] = value
        for key, declared in self.params.items():
            if key in given:
                stored = declared.read(given[key])
            elif declared.required:
                raise RuleError(f"`{self.name}` needs `{key}`", param=key, rule="missing")
            else:
                stored = declared.default
            object.__setattr__(self, key, stored)
        object.__setattr__(self, "_key", (type(self), *(getattr(self, k) for k in self.params)))
        self.validate()

    def __setattr__(self, key: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Op) and self._key == other._key  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash(self._key)  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return self.text()

    @property
    def values(self) -> Mapping[str, Value]:
        return {key: getattr(self, key) for key in self.params}

    def text(self, *, explicit: bool = False) -> str:
        """As the text would write it, defaults left out unless ``explicit``."""
        parts = []
        for key, declared in self.params.items():
            value = getattr(self, key)
            if declared.required:
                parts.append(spell(value))
            elif explicit or value != declared.default:
                parts.append(f"{key}={spell(value)}")
        return f"{self.name}({', '.join(parts)})" if parts else self.name

    def replace(self, **values: Value) -> Op:
        """The same operator with some parameters changed (already in stored form)."""
        return type(self)(**{**self.values, **values})

    # --- what a subclass says -------------------------------------------------------------

    def validate(self) -> None:
        """Rules between parameters; raise RuleError(param=…)."""

    def shape(self, *xs: Any) -> Type:
        """The type of the output; raise RuleError. Elementwise by default."""
        first: Type = xs[0]
        return first

    def weights(self, *xs: Any) -> tuple[Weight, ...]:
        """Parameters and buffers, in ``state_dict`` order, named as PyTorch names them."""
        return ()

    def macs(self, x: Any, y: Any) -> int:
        """Multiply-accumulates for one sample; ``x`` and ``y`` have integer sizes."""
        return 0

    def needs(self, x: Any) -> tuple[tuple[Dim, int], ...]:
        """Sizes that must reach a minimum beyond `output >= 1`."""
        return ()

    def torch(self, *xs: Any) -> Callable[..., Any]:
        """The PyTorch form: an ``nn.Module``, or a plain function for what holds nothing."""
        raise NotImplementedError(f"{self.name} has no PyTorch form")


def spell(value: Value) -> str:
    """A stored value as ``.cnn`` text that reads back to it."""
    if isinstance(value, bool) or value is None:
        return "auto" if value is None else ("yes" if value else "no")
    if isinstance(value, tuple) and len(value) == 2 and value[0] == value[1]:
        return spell(value[0])
    if isinstance(value, tuple):
        return "(" + ", ".join(map(spell, value)) + ")"
    return repr(value) if isinstance(value, float) else str(value)


_CATALOGUE: dict[str, type[Op]] = {}


def register(cls: type[Op]) -> None:
    known = _CATALOGUE.get(cls.name)
    if known is not None and known.__qualname__ != cls.__qualname__:
        raise ValueError(f"operator `{cls.name}` is declared twice: {known} and {cls}")
    _CATALOGUE[cls.name] = cls
