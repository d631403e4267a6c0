"""A forecast of a network's size says what building it would say, only sooner."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

import cnndsl
from cnndsl import Limits
from cnndsl.semantics.forecast import Forecast
from cnndsl.semantics.structure import SIZES, Structure
from cnndsl.semantics.values import Definition

NET = "net N: [8, H, W] = "
TWICE = "A(n-1, 2*k) -> A(n-1, 2*k + 1)"
DIFFERENT = {
    "passed on": f"block A(n, k) = if n > 0 then (relu -> {TWICE})\n{NET}A(20, 1)",
    "by a def": f"def A(n, k) = if n > 0 then (relu -> {TWICE})\n{NET}A(50, 1)",
    "widths": f"block A(n, k) = if n > 0 then (conv(k, 1) -> {TWICE})\n{NET}A(20, 1)",
    "widths of the input":
        f"def A(n, k) = if n > 0 then (conv(in.channels + k, 1) -> {TWICE})\n{NET}A(20, 1)",
    "in a join":
        "block A(n, k) = if n > 0 then (a: A(n-1, 2*k) + (relu -> b: A(n-1, 2*k + 1)))\n"
        f"{NET}A(20, 1)",
    "by a default":
        "def A(n, k, m = 2*k) = if n > 0 then (relu -> A(n-1, m) -> A(n-1, k, m=m+1))\n"
        f"{NET}A(20, 1)",
    "by a function of numbers":
        "def f(k) = floor(k/2)*3 + 1\n"
        f"def A(n, k) = if n > 0 then (conv(f(k), 1) -> {TWICE})\n{NET}A(20, 1)",
    "in a list of widths":
        "def A(n, k) = if n > 0 then ((for c in [k, k + 1] do conv(c, 1)) -> "
        f"{TWICE})\n{NET}A(20, 1)",
}  # fmt: skip


@pytest.mark.parametrize("what", DIFFERENT)
def test_a_recursion_that_never_repeats_is_refused_soon(what: str) -> None:
    """Calls that differ in what decides nothing are counted once; building takes ten seconds."""
    started = time.process_time()
    found = cnndsl.loads(DIFFERENT[what]).diagnostics
    assert {d.code for d in found if d.severity == "error"} >= {"E0212"}
    assert time.process_time() - started < 2


# --- what decides ------------------------------------------------------------------------------

GROW = "A(n-1, k) -> A(n-1, 1)"
DECIDING = {
    "alike": "block A(n, k) = if n > 0 then (relu -> A(n-1, k) -> A(n-1, k))",
    "a power": f"block A(n, k) = if n > 0 then (relu^k -> {GROW})",
    "a loop": f"block A(n, k) = if n > 0 then ((for i in 1..k do relu) -> {GROW})",
    "a loop in a join": f"block A(n, k) = if n > 0 then (add(for i in 1..k+1 do relu) -> {GROW})",
    "a condition": f"block A(n, k) = if n > 0 then ((if k > 1 then relu^5 else relu) -> {GROW})",
    "a truth of numbers":
        "block A(n, k) = if n > 0 and k > 0 then (relu^4 -> A(n-1, k) -> A(n-1, k-2))",
    "a number by if":
        f"block A(n, k) = if n > 0 then (relu^(if k > 1 then 4 else 1) -> {GROW})",
    "a def's power": f"def P(m) = relu^m\nblock A(n, k) = if n > 0 then (P(k) -> {GROW})",
    "a function of numbers":
        f"def f(m) = m + 1\nblock A(n, k) = if n > 0 then (relu^f(k) -> {GROW})",
    "a let": f"block B(k) = let m = k + 1 relu^m\nblock A(n, k) = if n > 0 then (B(k) -> {GROW})",
    "a default":
        f"block B(k, m = k) = relu^m\nblock A(n, k) = if n > 0 then (B(k) -> {GROW})",
    "a list": f"block A(n, k) = if n > 0 then ((for i in [k, 1] do relu^i) -> {GROW})",
    "a list that is passed":
        "block W(w) = for i in w do relu^i\n"
        f"block A(n, k) = if n > 0 then (W([k, k]) -> {GROW})",
    "a block that is passed":
        "block Few = relu\nblock Many = relu^4\n"
        "block B(f) = f -> tanh\n"
        "block A(n, k, f = Many) = if n > 0 then (B(f) -> A(n-1, k, f) -> A(n-1, k, Few))",
    "a block that is called":
        "block P(m) = relu^m\nblock Q(m) = relu\n"
        "block A(n, k, f = P) = if n > 0 then (f(k) -> A(n-1, k, f) -> A(n-1, k, Q))",
    "a layer that is passed":
        "block B(f) = f -> tanh\n"
        f"block A(n, k) = if n > 0 then (B(relu^k) -> {GROW})",
    "sizes":
        "block A(n, k) = if n > 0 then ((if in.channels > 8 then relu^k) -> conv(8 + k % 2, 1) "
        f"-> {GROW})",
    "sizes, below":
        "block B = if in.channels > 8 then relu^5 else relu\n"
        f"block A(n, k) = if n > 0 then (conv(8 + k, 1) -> B -> {GROW})",
}  # fmt: skip


STEPS = {
    "a condition":
        f"block A(n, k) = if n > 0 then (conv((if k > 1 then (k*k*k) else 1), 1) -> {GROW})",
    "a truth":
        "block A(n, k) = "
        f"if n > 0 then (conv(8, 1, bias=(k > 1 and k*k*k*k > 1)) -> {GROW})",
}  # fmt: skip


def codes(declarations: str, **limit: int) -> list[str]:
    text = f"{declarations}\n{NET}A(5, 7)\n"
    found = cnndsl.loads(text, limits=replace(Limits(), **limit)).diagnostics
    return [d.code for d in found if d.severity == "error"]


@pytest.mark.parametrize(
    ("limit", "what"), [*(("nodes", w) for w in DECIDING), *(("steps", w) for w in STEPS)]
)
def test_a_forecast_says_what_building_says(
    limit: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = DECIDING[what] if limit == "nodes" else STEPS[what]
    monkeypatch.setattr("cnndsl.semantics.state._LARGE", 3)
    told, forecasts = Forecast.too_large, []

    def watched(self: Forecast) -> cnndsl.Diagnostic | None:
        forecasts.append(told(self))
        return forecasts[-1]

    monkeypatch.setattr(Forecast, "too_large", lambda self: None)
    low, most = 4, 5_000  # refused; within the limit
    while most - low > 1:
        middle = (low + most) // 2
        low, most = (middle, most) if codes(text, **{limit: middle}) else (low, middle)
    monkeypatch.setattr(Forecast, "too_large", watched)
    assert not codes(text, **{limit: most}) and forecasts == [None]
    assert codes(text, **{limit: low}) == ["E0212"]
    assert forecasts[1] is not None or what == "sizes, below"  # where no two calls are alike


def test_what_decides() -> None:
    program = cnndsl.loads(
        "block A(n, k, w, f, m = w) = if n > 0 then (f -> conv(k + in.channels, 1) -> relu^m)\n"
        "block B(p, q, r) = A(p, q, r, relu)\n"
        "block C(p) = if in.height > 3 then conv(p, 1)\n"
        "block D(p) = B(1, p, 1) -> C(p)\n"
    )
    (scope,) = program.library.scopes.values()
    structure = Structure()

    def deciding(name: str) -> list[str]:
        definition: Definition = scope.names[name]
        names = [param.name.text for param in definition.tree.params]
        return [name for name in (*names, SIZES) if structure.decides(definition, name)]

    assert deciding("D") == [SIZES] and deciding("C") == [SIZES]
    assert deciding("A") == ["n", "w", "f", "m"] and deciding("B") == ["p", "r"]
