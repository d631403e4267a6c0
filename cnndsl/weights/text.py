"""Expressions as a person would write them, for reports and tests."""

from __future__ import annotations

from cnndsl.weights.expr import Expr

_SIGNS = {"add": ("+", 1), "sub": ("-", 1), "mul": ("*", 2), "div": ("/", 2)}


def show(expr: Expr) -> str:
    """``conv.weight * rows(bn.weight / sqrt(bn.running_var + 1e-05))``: reshapes are left out."""
    return _show(expr)[0]


def _show(expr: Expr) -> tuple[str, int]:
    """The text and how tightly it binds: 1 sums, 2 products, 3 the rest."""
    if expr.kind == "param":
        return expr.options[0], 3
    if expr.kind == "full":
        return f"{expr.options[0]:g}", 3
    if expr.kind == "numbers":
        rows = ("[" + ", ".join(f"{n:g}" for n in row) + "]" for row in expr.options)
        return f"[{', '.join(rows)}]", 3
    if expr.kind == "reshape":
        return _show(expr.args[0])
    if expr.kind in _SIGNS:
        sign, binds = _SIGNS[expr.kind]
        (left, tight_left), (right, tight_right) = (_show(arg) for arg in expr.args)
        left = left if tight_left >= binds else f"({left})"
        # Subtraction and division do not associate to the right.
        right = right if tight_right > binds else f"({right})"
        return f"{left} {sign} {right}", binds
    inside = ", ".join([*(show(arg) for arg in expr.args), *map(_option, expr.options)])
    return f"{expr.kind}({inside})", 3


def _option(value: object) -> str:
    return str(value).replace(" ", "")
