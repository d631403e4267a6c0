"""The plan of buffers: an engine that follows it gives what the flow gives."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cnndsl.ops.merge import Concat
from cnndsl.passes import buffers
from cnndsl.passes.buffers import Buffers, Place, takes_views
from cnndsl.passes.chains import links_of
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.pipeline import ALGEBRA, GPU
from tests.networks import random_network
from tests.passes.drawn import Drawn
from tests.passes.guards import flow_of
from tests.passes.hook import unmeasured
from tests.passes.oracle import sizes_of
from tests.passes.values import Values

NETWORKS = 200
DENSE = "net N: [2, H, W] = " + " -> ".join(
    f"(id | (relu -> conv({g}, {k})))" for g, k in [(3, 1), (4, 3), (5, 1)]
)
"""Grows from 2 to 14 channels."""


class Followed:
    """One run by the plan. What is not written yet is NaN, so reading it would show."""

    def __init__(self, flow: Flow, plan: Buffers, drawn: Drawn) -> None:
        self.flow, self.plan = flow, plan
        self.buffers: dict[int, Tensor] = {}
        self.value: dict[int, Tensor] = {}
        functions = Values(drawn)
        for step, value in zip(flow.inputs, drawn.inputs, strict=True):
            self._keep(step, value)
        for step in flow:
            if step.inputs:
                self._keep(step, self._run(step, functions))

    def _run(self, step: Step, functions: Values) -> Tensor:
        if isinstance(step.op, Concat):
            return self._view(self.plan.views[step.id])
        read = [self.value[source.id] for source in step.inputs]
        return functions.function(step)(*read)

    def _keep(self, step: Step, value: Tensor) -> None:
        self.value[step.id] = value
        for place in self.plan.writes.get(step.id, ()):
            if place.buffer not in self.buffers:
                shape = (value.shape[0], self.plan.channels[place.buffer], *value.shape[2:])
                self.buffers[place.buffer] = torch.full(shape, math.nan, dtype=value.dtype)
            view = self._view(place)
            assert view.isnan().all(), "a place is written twice"
            view.copy_(value)

    def _view(self, place: Place) -> Tensor:
        return self.buffers[place.buffer].narrow(1, place.offset, place.channels)


def check(flow: Flow, seed: int = 0) -> Buffers:
    """AssertionError if the plan does not give the flow's values, or not in the form needed."""
    plan = Buffers.of(flow)
    drawn = Drawn(flow, sizes_of(flow)[0], seed)
    want, found = Values(drawn)(flow), Followed(flow, plan, drawn)
    for step in flow:
        torch.testing.assert_close(found.value[step.id], want[step.id], rtol=1e-12, atol=1e-12)
        if isinstance(step.op, Concat) and needs_dense(step, flow):
            assert found.value[step.id].is_contiguous(), f"{step} lies apart"
    assert not any(buffer.isnan().any() for buffer in found.buffers.values())
    return plan


def needs_dense(concat: Step, flow: Flow) -> bool:
    """Whether it is handed out, or goes into what looks at memory as one row of numbers."""
    readers = {link.op.name for user in concat.users.values() for link in links_of(user)}
    return flow.is_result(concat) or bool(readers & {"flatten", "channel_shuffle", "linear"})


def copied(plan: Buffers) -> int:
    """Channels that are written."""
    return sum(place.channels for places in plan.writes.values() for place in places)


def concats(flow: Flow) -> list[Step]:
    return [step for step in flow if isinstance(step.op, Concat)]


def test_a_dense_block_is_one_buffer() -> None:
    flow = flow_of(DENSE)
    plan = check(flow)
    assert plan.channels == (14,)
    assert [plan.views[step.id] for step in concats(flow)] == [
        Place(0, 0, 5),
        Place(0, 0, 9),
        Place(0, 0, 14),
    ]
    assert copied(plan) == 14  # not 5 + 9 + 14


def test_concatenations_that_were_flattened_are_one_buffer_too() -> None:
    text = "net N: [2, H, W] = relu@a -> tanh@b -> (a | b) -> conv(3, 3)@c -> (a | b | c)"
    plan = check(flow_of(text))
    assert plan.channels == (7,)
    assert copied(plan) == 7


def test_different_beginnings_are_different_buffers() -> None:
    text = "net N: [2, H, W] = (relu@a | tanh@b) -> conv(3, 3)@c -> (b | a | c)"
    plan = check(flow_of(text))
    assert plan.channels == (7, 4)
    assert copied(plan) == 11


def test_equal_concatenations_are_one_view() -> None:
    text = (
        "net N: [2, H, W] = relu@a -> tanh@b"
        " -> (((a | b) -> f: conv(3, 3)) + ((a | b) -> s: conv(3, 1)))"
    )
    flow = flow_of(text)
    first, second = concats(flow)
    plan = check(flow)
    assert plan.views[first.id] == plan.views[second.id]


def test_a_part_may_be_there_twice() -> None:
    flow = flow_of("net N: [2, H, W] = (id | id) -> (id | id | tanh)")
    check(flow)


@pytest.mark.parametrize(
    "text",
    [
        "net N: [2, H, W] = (id | relu) -> emit early: id -> (id | conv(3, 3)) -> conv(1, 1)",
        "net N: [2, 4, 4] = (id | relu) @x -> (id | conv(3, 3)) -> emit more: conv(1, 1)"
        " -> (x -> flatten)",
        "net N: [2, H, W] = (id | relu) @x -> (id | conv(3, 3)) -> emit more: conv(1, 1)"
        " -> (x -> channel_shuffle(2))",
    ],
    ids=["a result", "flatten", "shuffle"],
)
def test_who_needs_a_dense_tensor_gets_one(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a buffer of its own, as wide as it is."""
    flow = flow_of(text)
    assert len(check(flow).channels) == 2
    monkeypatch.setattr(buffers, "may_be_view", lambda *_: True)
    with pytest.raises(AssertionError, match="lies apart"):
        check(flow)


def test_a_fused_reader_is_asked_for_the_link_that_reads() -> None:
    text = "net N: [2, H, W] = gap -> flatten -> (fc: linear(4) + {}) -> relu"
    for residual, expected in [("(id | relu)", True), ("(id | relu) -> linear(4)", False)]:
        flow = flow_of(text.format(residual), "fuse-epilogue")
        (concat,) = concats(flow)
        (reader,) = concat.users.values()
        assert reader.op.name == "chain"
        assert takes_views(reader, concat) is expected


def test_random_networks() -> None:
    """As they are, and as engines of our own get them."""
    shared = 0
    with unmeasured():
        for seed in range(NETWORKS):
            flow = flow_of(random_network(seed, tiny=True))
            if concats(flow):
                shared += _shares(check(flow, seed))
                ALGEBRA.run(flow)
                GPU.run(flow)
                shared += _shares(check(flow, seed))
    assert shared >= NETWORKS / 20


def _shares(plan: Buffers) -> bool:
    return len(plan.views) > len(plan.channels)
