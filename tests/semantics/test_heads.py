"""Sizes of networks with heads that run in training only."""

import pytest

import cnndsl
from cnndsl.compiler import Compilation

HEAD = "net N: [3, H, W] = emit[train] aux: (conv(4, 5, padding=0) -> gap) -> conv(8, 3, padding=0)"


def _net(text: str) -> Compilation:
    program = cnndsl.loads(text)
    assert not [d for d in program.diagnostics if d.severity == "error"]
    return program.net()


def test_a_head_asks_for_its_size_in_training_only() -> None:
    net = _net(HEAD)
    assert net.min_size == {"H": 3, "W": 3}
    assert net.training_min_size == {"H": 5, "W": 5}
    assert net.macs(H=3, W=3) == 8 * 27
    with pytest.raises(ValueError, match="H >= 3"):
        net.macs(H=2, W=3)


def test_shapes_of_heads_are_told_where_they_run() -> None:
    net = _net(HEAD)
    assert net.output_shapes(H=5, W=5) == {"out": (8, 3, 3), "aux": (4, 1, 1)}
    assert net.output_shapes(H=5, W=4) == {"out": (8, 3, 2)}


def test_an_output_of_both_modes_asks_in_both() -> None:
    net = _net(HEAD.replace("[train]", ""))
    assert net.min_size == net.training_min_size == {"H": 5, "W": 5}


def test_what_a_head_leaves_to_the_network_runs_in_both_modes() -> None:
    tapped = (
        "net N: [3, H, W] = emit[train] aux: (conv(4, 5, padding=0) @t -> gap) -> (gap | t -> gap)"
    )
    net = _net(tapped)
    assert net.min_size == {"H": 5, "W": 5}


def test_restrictions_of_the_text_hold_in_both_modes() -> None:
    net = _net(HEAD + " where H % 4 == 0, W >= 4")
    assert net.min_size == {"H": 4, "W": 4}
    assert net.training_min_size == {"H": 8, "W": 5}
