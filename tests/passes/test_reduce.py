"""A mistake in a large network is shown by a small one."""

from __future__ import annotations

from cnndsl.ops.pool import AvgPool
from tests.networks import random_network
from tests.passes.reduce import reduced, report
from tests.programs import graph_of


def has_average(text: str) -> bool:
    return any(isinstance(node.op, AvgPool) for node in graph_of(text))


def test_what_does_not_matter_is_left_out() -> None:
    seed = next(s for s in range(100) if has_average(random_network(s, tiny=True)))
    text = reduced(random_network(seed, tiny=True), has_average)
    assert has_average(text)
    assert len(text.splitlines()) <= 3 and text.count("->") == 0, text


def test_the_message_is_a_case_of_the_corpus() -> None:
    message = report("net N: [3, H, W] = relu\n", "wrong", "a, b")
    assert "tests/corpus/passes/found" in message
    assert "--- input\n# rewrites: a, b\nnet N" in message
