"""Joins of joins become one."""

from __future__ import annotations

import pytest

import cnndsl

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
