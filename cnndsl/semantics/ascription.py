"""``f :: [256, H/4, W/4]``: a claim about a type, checked for every size it speaks of."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from cnndsl.graph.model import Node
from cnndsl.ops.congruence import Valid, agree
from cnndsl.ops.sizes import Size
from cnndsl.ops.types import UNKNOWN, FeatureMap, Type, Unknown, Vector
from cnndsl.semantics import errors
from cnndsl.semantics.faults import ClaimFault, trail
from cnndsl.semantics.numbers import spell
from cnndsl.semantics.state import State
from cnndsl.semantics.values import Ratio
from cnndsl.source import Span
from cnndsl.syntax import ast


def check_ascription(state: State, node: Node, claimed: tuple[Any, ...], dims: ast.Items) -> Type:
    """Reports a claim that is wrong at some size; ``H/4`` speaks of sizes where it is whole.

    The type to go on with: a wrong claim is believed, so that what follows is measured by
    what its author had in mind, and says nothing of the same mistake.
    """
    if any(isinstance(claim, Unknown) for claim in claimed):
        return node.type
    wrong = _wrong(state, node.type, claimed, dims)
    if wrong is None:
        return node.type
    believed = _believed(claimed)
    other = state.doubt.types([node.id])
    if other is None or _wrong(state, other[0], claimed, dims) is not None:
        text = "[" + ", ".join(map(spell, claimed)) + "]"
        fault = ClaimFault(claimed, believed, trail(state.nodes, node.id))
        state.report(errors.ascription(wrong[0], dims.span, text, wrong[1], fault))
        state.doubt.begin(node.id)
    return believed


def _wrong(
    state: State, type: Type, claimed: tuple[Any, ...], dims: ast.Items
) -> tuple[Span, str] | None:
    """Where a claim disagrees with a type, and in which numbers."""
    if isinstance(type, Unknown):
        return None
    found: tuple[Any, ...] = (
        (type.channels, type.height, type.width)
        if isinstance(type, FeatureMap)
        else (type.features,)
    )
    if len(found) != len(claimed):
        return dims.span, ""
    for size, claim, item in zip(found, claimed, dims.items, strict=True):
        if _speaks_of_others(state, claim, item):
            continue
        note = _disagreement(state, size, claim)
        if note is not None:
            return item.span, note
    return None


def _speaks_of_others(state: State, claim: Any, item: ast.Expr) -> bool:
    """Whether ``H/4`` is claimed while H was fixed at a size that 4 does not divide."""
    if not isinstance(claim, Fraction) or claim.denominator == 1:
        return False
    return any(isinstance(n, ast.Name) and n.name in state.fixed for n in ast.walk(item))


def _believed(claimed: tuple[Any, ...]) -> Type:
    sizes: list[Any] = [c.size.floordiv(c.divisor) if isinstance(c, Ratio) else c for c in claimed]
    if any(not isinstance(s, Size) and (type(s) is not int or s < 1) for s in sizes):
        return UNKNOWN
    if len(sizes) not in (1, 3) or not isinstance(sizes[0], int):
        return UNKNOWN
    return FeatureMap(*sizes) if len(sizes) == 3 else Vector(sizes[0])


def _disagreement(state: State, size: Any, claim: Any) -> str | None:
    """Why ``size`` is not what is claimed, or None if it is."""
    if isinstance(size, Unknown):
        return None
    if isinstance(claim, bool) or not isinstance(claim, int | Size | Ratio):
        return f"{spell(claim)} is no size"
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
