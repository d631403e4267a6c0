"""Parameter declarations, and the error of a rule that does not hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cnndsl.ops.values import Check, Coercion, Value

if TYPE_CHECKING:
    from cnndsl.ops.base import Op


class RuleError(Exception):
    """An operator's rule does not hold. It knows no places in the text.

    ``param`` names the parameter at fault, ``operand`` the index of the input at fault;
    ``rule`` is the kind of rule: ``value``, ``missing``, ``kind``, ``channels``, ``groups``,
    ``space``, ``small``, ``symbolic``, ``complex``, ``operands``.
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
    """One declared parameter. ``coerce`` turns what the text says into the stored value.

    ``derive`` computes the default from the other parameters (a pool's stride is its kernel).
    """

    __slots__ = ("check", "choices", "coerce", "default", "derive", "doc", "name")

    def __init__(
        self,
        default: Value,
        derive: Callable[[Any], Value] | None,
        doc: str,
        check: Check | None,
        choices: tuple[str, ...],
        coerce: Coercion | None,
    ) -> None:
        self.name = ""
        self.default, self.derive, self.doc = default, derive, doc
        self.check, self.choices, self.coerce = check, choices, coerce

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    def means_default(self, value: Value) -> bool:
        """None, or the word ``auto`` where something else settles the value."""
        settled = self.derive is not None or self.default is None
        return value is None or (settled and isinstance(value, str) and value == "auto")

    def default_for(self, op: Op) -> Value:
        return self.derive(op) if self.derive else self.default

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
    derive: Callable[[Any], Value] | None = None,
    check: Check | None = None,
    choices: tuple[str, ...] = (),
    coerce: Coercion | None = None,
) -> Any:
    """Declares a parameter. Its coercion follows from the annotation unless given."""
    return Param(default, derive, doc, check, choices, coerce)
