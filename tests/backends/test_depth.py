"""The edges: namespaces as deep as the limits allow, and numbers that a caller gives."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

import cnndsl
from cnndsl import CnnError, Limits
from tests.cli.runner import cnndsl as command

FRAMES = 300  # of a caller with a framework of its own; Python stops at 1,000
NAMES = Limits().path

# --- depth ----------------------------------------------------------------------------------------


def nested(levels: int) -> str:
    """The last step has a path of ``levels`` names; joins and `again` all the way down."""
    r = "b." * (levels - 1) + "r"
    inner = f"(c: conv(3, 3) @a -> r: relu -> (id + a) -> again {r} -> conv(3, 1))"
    for _ in range(levels - 2):
        inner = f"(id + b: {inner})"
    return f"net N: [3, H, W] = b: {inner}\n"


def build() -> Any:
    return cnndsl.loads(nested(NAMES)).net().compile(optimize=0).eval()


def image() -> torch.Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def under(frames: int, work: Callable[[], Any]) -> Any:
    """What ``work`` gives, called from so many frames further down."""
    return work() if not frames else under(frames - 1, work)


def hooked(model: Any) -> Any:
    """The forward pass with two hooks around each module."""
    count = []
    for module in model.modules():
        module.register_forward_pre_hook(lambda *_: count.append(1))
        module.register_forward_hook(lambda *_: count.append(1))
    found = model(image())
    assert len(count) == 2 * (len(list(model.modules())) + 1)  # `r` runs twice
    return found


def saved(model: Any) -> Any:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


WAYS: dict[str, Callable[[Any], Any]] = {
    "forward": lambda model: model(image()),
    "hooks": hooked,
    "deepcopy": lambda model: copy.deepcopy(model)(image()),
    "saved": lambda model: saved(model)(image()),
    "exported": lambda model: torch.export.export(model, (image(),)).module()(image()),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_deepest_network_runs_in_every_way_below_a_deep_caller(way: str) -> None:
    model = build()
    expected = model(image())
    assert torch.equal(under(FRAMES, lambda: WAYS[way](model)), expected)


def test_it_trains_there() -> None:
    model = build().train()
    under(FRAMES, lambda: model(image()).sum().backward())
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


def test_one_name_more_is_an_error() -> None:
    (found,) = cnndsl.loads(nested(NAMES + 1)).net().diagnostics
    assert found.code == "E0212" and f"more than {NAMES} levels of module names" in found.message


@pytest.mark.parametrize("levels", [NAMES - 1, NAMES])
def test_the_deepest_printed_text_reads_back_under_the_default_limits(levels: int) -> None:
    net = cnndsl.loads(nested(levels)).net()
    assert max(node.path.count(".") for node in net.graph) == levels - 1
    printed = cnndsl.loads(net.to_text())
    assert not printed.diagnostics
    assert printed.net().graph.signature() == net.graph.signature()


def test_blocks_that_call_each_other_reach_as_deep() -> None:
    text = "block B(n) = if n > 0 then b: B(n - 1) else conv(3, 3)\nnet N(n): [3, H, W] = B(n)\n"
    program = cnndsl.loads(text)
    net = program.net(n=NAMES - 2)
    assert net.graph.nodes[1].path.count(".") == NAMES - 1
    assert under(FRAMES, lambda: net.compile(optimize=0)(image())).shape == (2, 3, 8, 8)
    assert [d.code for d in program.net(n=NAMES - 1).diagnostics] == ["E0211"]


# --- numbers from outside -------------------------------------------------------------------------

ONE = "net N(p = 0.5): [8, H, W] = dropout(p)\n"
FIVE: Any = np.int16(5)
MANY = "net N(w = [8, 16], k = 3): [8, H, W] = for c in w do conv(c, k)\n"
LONG: dict[str, Any] = {
    "inf": math.inf, "minus inf": -math.inf, "nan": math.nan, "tiny": 1e-40, "huge float": 1e40,
    "huge": 10**40, "minus huge": -(10**40), "past Python's own digits": 10**5000,
    "fine fraction": Fraction(1, 10**40), "huge fraction": Fraction(10**40, 3),
    "huge decimal": Decimal("1e40"), "whole decimal of 39 digits": Decimal("9" * 39),
    "tiny decimal": Decimal("1e-40"), "endless decimal": Decimal("inf"),
    "undefined decimal": Decimal("nan"), "numpy inf": np.float32("inf"), "numpy nan": np.nan,
    "in a list": [0.5, math.nan],
}  # fmt: skip


@pytest.mark.parametrize("what", LONG)
def test_a_number_that_no_text_could_write_is_an_error(what: str) -> None:
    (found,) = cnndsl.loads(ONE).net(p=LONG[what]).diagnostics
    assert found.code == "E0303" and "a finite number of at most 38 digits" in found.message


@pytest.mark.parametrize("value", [None, {}, {1: 2}, b"1", {1}, 1j, object(), [1, None], [[b"2"]]])
def test_a_value_of_another_kind_is_an_error(value: Any) -> None:
    (found,) = cnndsl.loads(ONE).net(p=value).diagnostics
    assert found.code == "E0303" and "a number, yes or no, a word, or a list" in found.message
    with pytest.raises(CnnError, match="E0303"):
        cnndsl.loads(ONE).net(p=value).compile()


@pytest.mark.parametrize(
    "value", [0.25, Fraction(1, 4), Decimal("0.25"), np.float32(0.25), np.float64(0.25)]
)
def test_numbers_are_exact_whatever_their_type(value: Any) -> None:
    net = cnndsl.loads(ONE).net(p=value)
    assert net.graph.parameters == {"p": Fraction(1, 4)}
    assert net.graph.nodes[1].op.text() == "dropout(p=0.25)"
    assert cnndsl.loads(ONE).net(p=0.1).graph.parameters == {"p": Fraction(1, 10)}
    assert cnndsl.loads(ONE).net(p=10.0**-38).graph.parameters == {"p": Fraction(1, 10**38)}


@pytest.mark.parametrize(
    "widths",
    [[4, 2], (4, 2), [np.int64(4), np.int32(2)], [4.0, Decimal(2)], list(np.array([4, 2]))],
)
def test_lists_and_whole_numbers_of_numpy_work(widths: Any) -> None:
    net = cnndsl.loads(MANY).net(w=widths, k=FIVE)
    assert net.graph.parameters == {"w": (4, 2), "k": 5}
    assert {type(k) for k in (*net.graph.parameters["w"], net.graph.parameters["k"])} == {int}
    assert net.params == 8 * 4 * 25 + 4 + 4 * 2 * 25 + 2


@pytest.mark.parametrize("number", ["1e-40", "1e40", "9" * 40, "1e999999999", "-inf", "b'1'", "{}"])
def test_the_command_line_refuses_them_too(number: str) -> None:
    run = command("check", "-", "--set", f"p={number}", stdin=ONE)
    assert run.code in (1, 2) and ("E0303" in run.err + run.out or "--set p" in run.err)


@pytest.mark.parametrize("number", ["0.25", "25e-2", "0"])
def test_and_takes_the_others(number: str) -> None:
    assert command("check", "-", "--set", f"p={number}", stdin=ONE).code == 0
