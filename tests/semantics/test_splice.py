"""Joins of joins become one; a forecast of a network's size says what building it would say."""

from __future__ import annotations

from dataclasses import replace

import pytest

import cnndsl
from cnndsl import Limits
from cnndsl.semantics.forecast import Forecast

NET = "net N: [8, H, W] = "


@pytest.mark.parametrize(
    ("body", "last"),
    [
        ("join(relu, join(tanh, silu))", ("join", (1, 2, 3))),
        ("join(relu, join(tanh, join(silu, id)))", ("join", (1, 2, 3, 0))),
        ("join(relu, join(tanh, silu, drop=0.1), drop=0.1)", ("join(drop=0.1)", (1, 2, 3))),
        ("join(relu, join(tanh, silu, drop=0.5))", ("join", (1, 4))),  # another join
        ("join(relu, join(tanh, silu) -> gelu)", ("join", (1, 5))),  # not read by the join
        ("join(tanh, silu) -> join(id, relu)", ("join", (3, 4))),  # read twice
        ("relu + (tanh + silu)", ("add", (1, 4))),  # of joins alone
    ],
)
def test_splice(body: str, last: tuple[str, tuple[int, ...]]) -> None:
    *_, node = cnndsl.loads(NET + body).net().graph
    assert (node.op.text(), tuple(node.inputs)) == last


@pytest.mark.parametrize("pair", ["relu -> A(n-1) | relu -> A(n-1)", "relu -> A(n-1) -> A(n-1)"])
@pytest.mark.parametrize("nodes", [8_190, 8_191, 5_000, 3_000])
def test_a_forecast_says_what_building_says(
    pair: str, nodes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"block A(n) = if n > 0 then ({pair})\n{NET}A(12) -> relu"
    limits = replace(Limits(), nodes=nodes)

    def codes() -> list[str]:
        return [d.code for d in cnndsl.loads(text, limits=limits).diagnostics]

    seen = codes()
    monkeypatch.setattr(Forecast, "too_large", lambda self: None)
    assert codes() == seen
