"""Guards of the fusions. A chain means what its links mean, so a guard that is missing shows
as work done twice or as a kernel that nobody can write, seldom as a wrong value."""

from dataclasses import dataclass

import pytest

from cnndsl.ops.conv import Conv
from cnndsl.ops.reshape import Pad
from cnndsl.passes import chains, kinds
from cnndsl.passes.base import Fired, Rewrite, Trace
from cnndsl.passes.chains import fuse, links_of
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.fuse_elementwise import FuseElementwise
from cnndsl.passes.fuse_epilogue import FuseEpilogue
from cnndsl.passes.group_conv_pool import GroupConvPool
from cnndsl.passes.ops import Affine, Chain, Link
from cnndsl.passes.pipeline import GPU
from cnndsl.passes.prologue import Prologue
from cnndsl.passes.squeeze import Squeeze
from tests.passes.guards import flow_of, rewrite


def _yes(*_: object) -> bool:
    return True


def kernels(flow: Flow) -> list[str]:
    """The operators of every step, inputs first."""
    return [" ".join(link.op.name for link in links_of(step)) for step in flow if step.inputs]


def work(flow: Flow) -> int:
    """Values that operators compute, stored or not."""
    return sum(chains.holds(step, *_COUNTED) * flow.values(step) for step in flow if step.inputs)


_COUNTED = (*kinds.ELEMENTWISE, *kinds.CONVOLUTIONS)


# --- fuse-epilogue ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "net N: [3, H, W] = conv(4, 3) @x -> relu -> conv(4, 3) + x",
        "net N: [3, H, W] = conv(4, 3) -> emit raw: id -> relu",
    ],
)
def test_a_value_that_is_read_twice_is_not_computed_twice(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = flow_of(text)
    before = flow.total_macs()
    rewrite(flow, "fuse-epilogue")
    assert flow.total_macs() == before
    monkeypatch.setattr(FuseEpilogue, "one_reader", _yes)
    flow = flow_of(text)
    FuseEpilogue()._sweep(flow, Trace())
    assert flow.total_macs() > before


def test_a_kernel_has_the_size_of_its_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "net N: [4, H, W] = id * (gap -> g: conv(4, 1) -> sigmoid)"
    flow = flow_of(text)
    rewrite(flow, "fuse-epilogue")
    assert kernels(flow) == ["gap", "conv sigmoid", "mul"]
    monkeypatch.setattr(FuseEpilogue, "lies_over", _yes)
    rewrite(flow, "fuse-epilogue")
    assert kernels(flow) == ["gap", "conv sigmoid mul"]  # 1x1 becomes HxW on the way


def test_a_kernel_has_one_residual(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "net N: [3, H, W] = id @x -> sigmoid -> (c: conv(3, 3) + id) -> (id + x)"
    flow = flow_of(text)
    rewrite(flow, "fuse-epilogue")
    assert max(chains.holds(step, kinds.Add) for step in flow) == 1
    wide = flow_of(text)
    FuseEpilogue(residuals=2).run(wide, Trace())
    assert kernels(wide) == ["sigmoid", "conv add add"]
    monkeypatch.setattr(FuseEpilogue, "has_operands", _yes)
    rewrite(flow, "fuse-epilogue")
    assert kernels(flow) == kernels(wide)


def test_a_residual_that_depends_on_the_convolution_is_another_reader() -> None:
    flow = flow_of("net N: [4, H, W] = conv(4, 3) @x -> maxpool(3, 1, 1) -> sigmoid -> id + x")
    assert not rewrite(flow, "fuse-epilogue").fired


def test_a_chain_that_reads_a_value_again_is_no_epilogue(monkeypatch: pytest.MonkeyPatch) -> None:
    # The chain has its input once, and two of its links read it.
    text = "net N: [4, H, W] = conv(4, 3) @x -> relu -> (id + x) -> maxpool(2)"
    flow = flow_of(text, "fuse-elementwise")
    assert kernels(flow) == ["conv", "relu add", "maxpool"]
    assert not rewrite(flow, "fuse-epilogue").fired
    monkeypatch.setattr(FuseEpilogue, "one_reader", _yes)
    with pytest.raises(AssertionError):
        rewrite(flow, "fuse-epilogue")


def test_each_convolution_alone_has_its_reason() -> None:
    text = (
        "net N: [3, H, W] = a: conv(8, 3) @x -> relu -> b: conv(8, 3) -> (id + x)"
        " -> c: conv(4, 1) -> d: conv(4, 3) -> maxpool(2) -> e: conv(2, 1)"
    )
    missed = {
        event.origins[0].path: event.text
        for event in rewrite(flow_of(text), "fuse-epilogue").missed
    }
    assert missed == {
        "a": "its value is read twice",
        "c": "what follows is `conv`",
        "d": "what follows is `maxpool`",
        "e": "it is a result",
    }


# --- fuse-elementwise ------------------------------------------------------------------------


def test_an_elementwise_value_is_not_computed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "net N: [4, H, W] = sigmoid @x -> relu -> maxpool(3, 1, 1) + x"
    flow = flow_of(text)
    before = work(flow)
    rewrite(flow, "fuse-elementwise")
    assert work(flow) == before
    monkeypatch.setattr(FuseElementwise, "one_reader", _yes)
    flow = flow_of(text)
    FuseElementwise()._sweep(flow, Trace())
    assert work(flow) > before


def test_a_gate_is_made_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "net N: [4, H, W] = id * (gap -> sigmoid)"
    flow = flow_of(text)
    assert not rewrite(flow, "fuse-elementwise").fired
    monkeypatch.setattr(FuseElementwise, "lies_over", _yes)
    rewrite(flow, "fuse-elementwise")
    assert kernels(flow) == ["gap", "sigmoid mul"]


def test_long_rows_are_cut() -> None:
    flow = flow_of(f"net N: [4, H, W] = {' -> '.join(['sigmoid'] * 40)}")
    rewrite(flow, "fuse-elementwise")
    assert max(len(links_of(step)) for step in flow) == FuseElementwise.most


def test_a_concatenation_may_stay_for_its_buffer() -> None:
    text = "net N: [4, H, W] = (id | sigmoid) -> relu -> tanh"
    flow = flow_of(text)
    FuseElementwise(concats=False).run(flow, Trace())
    assert kernels(flow) == ["sigmoid", "concat", "relu tanh"]
    rewrite(flow, "fuse-elementwise")
    assert kernels(flow) == ["sigmoid", "concat relu tanh"]


# --- group-conv-pool -------------------------------------------------------------------------


def test_a_pooled_map_is_not_computed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "net N: [3, H, W] = conv(8, 3) -> relu -> (maxpool(2) | avgpool(2))"
    flow = flow_of(text, "fuse-epilogue")
    before = flow.total_macs()
    assert rewrite(flow, "group-conv-pool").missed
    monkeypatch.setattr(GroupConvPool, "one_reader", _yes)
    rewrite(flow, "group-conv-pool")
    assert flow.total_macs() == 2 * before


def test_a_pooling_kernel_has_no_residual(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = flow_of("net N: [3, H, W] = (c: conv(3, 3) + id) -> maxpool(2)", "fuse-epilogue")
    assert rewrite(flow, "group-conv-pool").missed
    monkeypatch.setattr(GroupConvPool, "has_operands", _yes)
    rewrite(flow, "group-conv-pool")
    assert kernels(flow) == ["conv add maxpool"]


# --- prologue --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "net N: [4, H, W] = bn -> relu -> ((f: conv(8, 3)) + (s: conv(8, 1)))",
        "net N: [4, H, W] = bn -> relu @x -> conv(4, 3) -> id + x",
        "net N: [4, H, W] = bn -> relu @x -> maxpool(3, stride=1, padding=1) -> id + x",
    ],
)
def test_an_activated_map_is_not_computed_twice(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = flow_of(text, "norm-to-affine", "fuse-epilogue")
    before = work(flow)
    rewrite(flow, "prologue")
    assert work(flow) == before
    monkeypatch.setattr(Prologue, "one_reader", _yes)
    flow = flow_of(text, "norm-to-affine")
    Prologue()._sweep(flow, Trace())
    assert work(flow) > before


@dataclass(frozen=True)
class PadFirst(Rewrite):
    """Planted: the kernel pads what it loads, and then applies the prologue."""

    name = "pad-first"
    exact = False

    def visit(self, step: Step, flow: Flow) -> Fired | None:
        if not isinstance(step.op, Conv) or not isinstance(step.inputs[0].op, Chain | Affine):
            return None
        (value,) = step.inputs
        pad = flow.add(Pad(tuple(step.op.padding)), value.inputs)
        links = (*links_of(value), Link(step.op.replace(padding=(0, 0, 0, 0)), (-1,)))
        prefix = "" if isinstance(value.op, Chain) else "0."
        weights = {f"{prefix}{k}": e for k, e in value.weights.items()}
        weights |= {f"{len(links) - 1}.{k}": e for k, e in step.weights.items()}
        new = flow.add(Chain(links), [pad], weights, (*value.origins, *step.origins))
        flow.replace(step, new)
        return Fired("wrong")


@pytest.mark.parametrize("before", ["bn", "bn -> relu", "bn -> leaky_relu(0.3)"])
def test_padding_before_the_prologue_is_caught(before: str) -> None:
    text = f"net N: [4, H, W] = {before} -> conv(8, 3)"
    right = flow_of(text, "norm-to-affine", "fuse-elementwise", "prologue")
    assert len(kernels(right)) == 1
    wrong = flow_of(text, "norm-to-affine", "fuse-elementwise")
    with pytest.raises(AssertionError):
        PadFirst().run(wrong, Trace())


def test_the_activation_of_the_prologue_has_one_reader_too() -> None:
    flow = flow_of("net N: [4, H, W] = bn @x -> relu -> conv(4, 3) + x", "norm-to-affine")
    assert not rewrite(flow, "prologue").fired


# --- squeeze ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "net N: [4, H, W] = gap -> ((f: conv(2, 1)) | (s: conv(3, 1)))",
        "net N: [4, H, W] = gap -> flatten @x -> emit means: id -> linear(3)",
        "net N: [4, H, W] = gap @x -> emit means: id -> flatten -> linear(3)",
    ],
)
def test_means_are_not_computed_twice(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = flow_of(text)
    assert not rewrite(flow, "squeeze").fired
    monkeypatch.setattr(Squeeze, "one_reader", _yes)
    Squeeze()._sweep(flow, Trace())
    assert sum(name.startswith("gap") for name in kernels(flow)) > 1


def test_between_three_products_is_more_than_one_program_holds() -> None:
    text = "net N: [4, H, W] = gap -> a: conv(3, 1) -> relu -> b: conv(2, 1) -> relu -> conv(5, 1)"
    flow = flow_of(text, "fuse-epilogue")
    rewrite(flow, "squeeze")
    assert kernels(flow) == ["gap conv relu conv relu", "conv"]
    wide = flow_of(text, "fuse-epilogue")
    Squeeze(most=3).run(wide, Trace())
    assert len(kernels(wide)) == 1


# --- chains ----------------------------------------------------------------------------------


def test_fusing_moves_operands_and_weights_to_their_numbers() -> None:
    text = "net N: [4, H, W] = ((bn -> prelu(4) -> c: conv(4, 3)) + id) -> prelu(4)"
    flow = flow_of(text, "norm-to-affine")
    GPU.run(flow)
    assert kernels(flow) == ["affine prelu conv add prelu"]
    (chain,) = (step for step in flow if step.inputs)
    assert list(chain.weights) == [
        "0.weight",
        "0.bias",
        "1.weight",
        "2.weight",
        "2.bias",
        "4.weight",
    ]


def test_an_input_that_is_also_the_residual_is_one_operand() -> None:
    flow = flow_of("net N: [4, H, W] = c: conv(4, 3) + id")
    rewrite(flow, "fuse-epilogue")
    (step,) = (step for step in flow if step.inputs)
    assert len(step.inputs) == 1


def test_a_result_in_the_middle_stays() -> None:
    flow = flow_of("net N: [4, H, W] = conv(4, 3) -> emit raw: id -> relu")
    (conv, relu) = (step for step in flow if step.inputs)
    fuse(flow, conv, relu)
    assert kernels(flow) == ["conv", "conv relu"]
