"""Guards of the rewrites of concatenations."""

import pytest

from cnndsl.ops.merge import Concat
from cnndsl.passes.activation_into_concat import ActivationIntoConcat
from cnndsl.passes.base import Pipeline
from cnndsl.passes.flatten_concat import FlattenConcat
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.fuse_elementwise import FuseElementwise
from cnndsl.passes.fuse_epilogue import FuseEpilogue
from tests.passes.guards import breaks, fires, flow_of, operators, rewrite


def _yes(*_: object) -> bool:
    return True


def values(flow: Flow) -> int:
    """Numbers that are computed or copied."""
    return sum(flow.values(step) for step in flow if step.inputs)


def kernels(flow: Flow) -> int:
    """Steps that are left when all are fused that can be."""
    twin = flow.copy()
    Pipeline([FuseEpilogue(), FuseElementwise()]).run(twin)
    return len(operators(twin))


# --- flatten-concat --------------------------------------------------------------------------


def test_only_a_concatenation_is_the_same_as_its_operands(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "net N: [2, H, W] = (relu | tanh)"
    assert not fires("flatten-concat", text)
    monkeypatch.setattr(FlattenConcat, "is_inner", _yes)
    assert breaks("flatten-concat", text)


@pytest.mark.parametrize(
    "text",
    [
        "net N: [2, H, W] = (relu | tanh) -> (id | conv(3, 1))",
        "net N: [2, H, W] = (relu | tanh) -> (id | id)",
        "net N: [2, H, W] = (relu | tanh) -> emit early: id -> (id | conv(1, 1))",
    ],
)
def test_a_concatenation_that_is_made_anyhow_stays(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_concat(self: FlattenConcat, source: Step, step: Step, flow: Flow) -> bool:
        return isinstance(source.op, Concat)

    assert not fires("flatten-concat", text)
    flow = flow_of(text)
    before = len(flow)
    monkeypatch.setattr(FlattenConcat, "is_inner", is_concat)
    (event,) = rewrite(flow, "flatten-concat").fired
    if len(flow) == before:
        assert event.bytes == event.kernels == 0  # the same work, in more parts
    else:
        # Both readers were one step, so it is gone; each part is in the result twice.
        assert operators(flow) == ["relu", "tanh", "concat"]


# --- activation-into-concat ------------------------------------------------------------------


def test_each_channel_keeps_its_slope(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "net N: [2, H, W] = (conv(2, 1) | conv(2, 3)) -> prelu({})"
    assert fires("activation-into-concat", text.format(""))
    assert not fires("activation-into-concat", text.format(4))
    monkeypatch.setattr(ActivationIntoConcat, "is_uniform", _yes)
    assert breaks("activation-into-concat", text.format(4))


@pytest.mark.parametrize("then", ["+ x", "-> emit more: id + x -> tanh"])
def test_another_reader_needs_the_plain_concatenation(
    then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"net N: [2, H, W] = (conv(2, 1) | conv(2, 3)) @x -> relu {then}"
    flow = flow_of(text)
    before = values(flow)
    assert not rewrite(flow, "activation-into-concat").fired
    monkeypatch.setattr(ActivationIntoConcat, "one_reader", _yes)
    rewrite(flow, "activation-into-concat")
    assert values(flow) > before


@pytest.mark.parametrize(
    "text",
    [
        "net N: [2, H, W] = (conv(2, 1) | maxpool(3, 1, 1)) -> relu",
        "net N: [2, H, W] = conv(2, 1) -> (id | conv(2, 3)) -> relu",
        "net N: [2, H, W] = conv(2, 1) -> (id | id) -> relu",
    ],
    ids=["no convolution", "a part is read", "a part is there twice"],
)
def test_each_part_takes_the_activation_for_nothing(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = flow_of(text)
    before = kernels(flow)
    assert not rewrite(flow, "activation-into-concat").fired
    monkeypatch.setattr(ActivationIntoConcat, "takes_activation", _yes)
    rewrite(flow, "activation-into-concat")
    assert kernels(flow) > before
