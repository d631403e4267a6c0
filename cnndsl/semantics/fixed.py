"""A size that was fixed from outside and breaks a condition which the text leaves open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from cnndsl.diagnostics import Diagnostic
from cnndsl.graph.facts import Facts
from cnndsl.ops.congruence import Valid
from cnndsl.semantics.joins import JoinFault


def blamed_on_sizes(
    problems: tuple[Diagnostic, ...], facts: Facts, at: Mapping[str, int]
) -> tuple[Diagnostic, ...]:
    """``problems`` at fixed sizes, of a net that is right while they are open.

    A join that fails then is no mistake of the text: the size is one that it does not take,
    and the join is the reason.
    """
    errors = [d for d in problems if d.severity == "error"]
    wrong = list(_wrong(facts, at))
    if not wrong or not all(isinstance(d.cause, JoinFault) for d in errors):
        return problems
    others = tuple(d for d in problems if d.severity != "error")
    message = "; ".join(_said(valid, at[valid.symbol]) for valid in wrong)
    return (*others, replace(errors[0], message=message, help="", fixes=(), cause=None))


def _wrong(facts: Facts, at: Mapping[str, int]) -> Iterator[Valid]:
    """Conditions of divisibility that do not hold."""
    for symbol, value in at.items():
        valid = facts.allowed(symbol) if symbol in facts.symbols else Valid.all(symbol)
        if value >= valid.minimum and not valid.contains(value):
            yield valid


def _said(valid: Valid, value: int) -> str:
    symbol, rule = valid.symbol, f"valid exactly when {valid}"
    nearest = _nearest(valid, value)
    if valid.residues == (0,):
        return f"{symbol} must be a multiple of {valid.modulus} ({rule}); {nearest}"
    return f"{symbol} cannot be {value}: {rule}; {nearest}"


def _nearest(valid: Valid, value: int) -> str:
    # Within one modulus below there is one, unless it is below the minimum.
    below = [n for n in _walk(valid, max(1, value - valid.modulus)) if n < value]
    found = [*below[-1:], valid.next(value)]
    return f"the nearest are {found[0]} and {found[1]}" if below else f"the nearest is {found[0]}"


def _walk(valid: Valid, start: int) -> Iterator[int]:
    """Allowed values from ``start`` on, over one modulus."""
    n = valid.next(start)
    while n <= start + valid.modulus:
        yield n
        n = valid.next(n + 1)
