"""Attributes of an operation, checked: whoever asks gets a value of the kind that it needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnndsl.importers.base import ImportProblem
from cnndsl.importers.onnx.model import Operation


def problem(op: Operation, why: str) -> ImportProblem:
    """What is told of an operation that cannot be expressed."""
    return ImportProblem(f"{op} cannot be expressed: {why}")


def integer(op: Operation, name: str, default: int) -> int:
    value = op.attributes.get(name, default)
    if not isinstance(value, int):
        raise _unfit(op, name, "a whole number")
    return value


def real(op: Operation, name: str, default: float) -> float:
    value = op.attributes.get(name, default)
    if not isinstance(value, int | float):
        raise _unfit(op, name, "a number")
    return float(value)


def word(op: Operation, name: str, default: str) -> str:
    value = op.attributes.get(name, default)
    if not isinstance(value, str):
        raise _unfit(op, name, "a word")
    return value


def integers(
    op: Operation, name: str, default: Sequence[int] | None, count: int | None = None
) -> tuple[int, ...]:
    """Whole numbers, ``count`` of them; None stands for a default that there is not."""
    value: Any = op.attributes.get(name, default)
    if not isinstance(value, tuple | list) or not all(isinstance(v, int) for v in value):
        raise _unfit(op, name, "whole numbers")
    if count is not None and len(value) != count:
        raise problem(op, f"`{name}` has {len(value)} values, images need {count}")
    return tuple(value)


def reals(op: Operation, name: str) -> tuple[float, ...]:
    value = op.attributes.get(name)
    if not isinstance(value, tuple) or not all(isinstance(v, int | float) for v in value):
        raise _unfit(op, name, "numbers")
    return tuple(map(float, value))


def tensor(op: Operation, name: str) -> Any:
    """A tensor as an array."""
    from onnx import TensorProto

    from cnndsl.importers.onnx.model import array

    value = op.attributes.get(name)
    if not isinstance(value, TensorProto):
        raise _unfit(op, name, "a tensor")
    return array(value)


def only(op: Operation, name: str, default: int, *allowed: int) -> None:
    """Refuses other values of an attribute than those that mean what the language has."""
    value = integer(op, name, default)
    if value not in (allowed or (default,)):
        raise problem(op, f"{name}={value}")


def _unfit(op: Operation, name: str, wanted: str) -> ImportProblem:
    there = "is not" if name in op.attributes else "is missing, which is"
    return ImportProblem(f"{op}: its attribute `{name}` {there} {wanted}")
