"""``f :: [256, H/4, W/4]``: a claim about a type, checked for every size it speaks of."""

from __future__ import annotations

from typing import Any

from cnndsl.ops.base import show
from cnndsl.ops.congruence import Valid, agree
from cnndsl.ops.sizes import Size
from cnndsl.ops.types import FeatureMap, Type, Unknown
from cnndsl.semantics import errors
from cnndsl.semantics.state import State
from cnndsl.semantics.values import Ratio
from cnndsl.syntax import ast


def check_ascription(state: State, type: Type, claimed: tuple[Any, ...], dims: ast.Items) -> None:
    """Reports a claim that is wrong at some size; ``H/4`` speaks of sizes where it is whole."""
    if isinstance(type, Unknown) or any(isinstance(c, Unknown) for c in claimed):
        return
    found = (
        (type.channels, type.height, type.width)
        if isinstance(type, FeatureMap)
        else (type.features,)
    )
    text = "[" + ", ".join(map(_spell, claimed)) + "]"
    if len(found) != len(claimed):
        state.report(errors.ascription(dims.span, dims.span, text, str(type), ""))
        return
    for size, claim, item in zip(found, claimed, dims.items, strict=True):
        note = _disagreement(state, size, claim)
        if note is not None:
            state.report(errors.ascription(item.span, dims.span, text, str(type), note))
            return


def _disagreement(state: State, size: Any, claim: Any) -> str | None:
    """Why ``size`` is not what is claimed, or None if it is."""
    if isinstance(size, Unknown):
        return None
    if isinstance(claim, bool) or not isinstance(claim, int | Size | Ratio):
        return f"{_spell(claim)} is no size"
    allowed: dict[str, Valid] = {s: state.facts.allowed(s) for s in state.facts.symbols}
    if isinstance(claim, Ratio):
        symbol = claim.size.symbol
        for residue in range(claim.divisor):
            if claim.size.at(residue + claim.divisor) % claim.divisor == 0:
                whole = Valid.divisibility(symbol, claim.divisor, residue)
                allowed[symbol] = allowed[symbol].intersect(whole)
                break
        claim = claim.size.floordiv(claim.divisor)
    agreement = agree(size, claim, allowed)
    if agreement.always:
        return None
    at = " and ".join(f"{k}={v}" for k, v in (agreement.witness or {}).items())
    left, right = agreement.values or (size, claim)
    return f"{f'at {at}: ' if at else ''}{left}, not {right}"


def _spell(value: Any) -> str:
    return f"{value.size}/{value.divisor}" if isinstance(value, Ratio) else show(value)
