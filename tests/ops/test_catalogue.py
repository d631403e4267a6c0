"""Every operator against its PyTorch form: types, weights, cost, text, gradients."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from cnndsl.ops import Op, find_op
from cnndsl.ops.types import UNKNOWN, FeatureMap, Vector
from tests.ops.cases import CASES, IDS, INSTANCES, built_in, read
from tests.ops.lowered import BATCH, Lowered, sizes, tensor_like

LOWERED = [(t, xs) for t, xs in CASES if not t.startswith("split")]
LOWERED_IDS = [name for name in IDS if not name.startswith("split")]
on_all = pytest.mark.parametrize(("text", "xs"), CASES, ids=IDS)
on_lowered = pytest.mark.parametrize(("text", "xs"), LOWERED, ids=LOWERED_IDS)
once_each = pytest.mark.parametrize("text", [t for texts in INSTANCES.values() for t in texts])


def test_every_operator_has_its_case() -> None:
    assert set(INSTANCES) == set(built_in())


@pytest.mark.parametrize("name", INSTANCES)
def test_an_operator_says_what_it_does_and_to_which_shapes(name: str) -> None:
    op = find_op(name)
    assert op is not None and op.__doc__ is not None
    assert "``[" in op.__doc__ and "->" in op.__doc__
    assert all(declared.doc for declared in op.params.values())


@on_lowered
def test_the_output_has_the_inferred_shape(text: str, xs: Any) -> None:
    op = read(text)
    with torch.device("meta"):
        output = Lowered(op, *xs).eval()(*(tensor_like(x) for x in xs))
    assert tuple(output.shape) == (BATCH, *sizes(op.infer(*xs)))


@on_lowered
def test_weights_are_the_state_dict(text: str, xs: Any) -> None:
    op = read(text)
    form = op.torch(*xs)
    weights = op.weights(*xs)
    if not isinstance(form, nn.Module):
        assert all(weight.name == "" for weight in weights)
        assert [weight.shape for weight in weights] == [
            tuple(value.shape) for value in Lowered(op, *xs).parameters()
        ]
        return
    state = [(name, tuple(value.shape)) for name, value in form.state_dict().items()]
    assert [(weight.name, weight.shape) for weight in weights] == state
    buffers = {name for name, _ in form.named_buffers()}
    assert {weight.name for weight in weights if weight.buffer} == buffers


def _multiplications(op: Any, x: Any) -> float:
    """With ones everywhere, also in the padding, the sum of the output counts the products."""
    if op.name == "linear":
        positions = sizes(x)[1] * sizes(x)[2] if isinstance(x, FeatureMap) else 1
        return float(
            torch.ones(positions, sizes(x)[0]).matmul(torch.ones(sizes(x)[0], op.out)).sum()
        )
    weight = torch.ones(op.weights(x)[0].shape)
    if op.name == "conv":
        padded = functional.pad(torch.ones(1, *sizes(x)), op.edges(x).torch_order, value=1.0)
        result = functional.conv2d(padded, weight, None, op.stride, 0, op.dilation, op.groups)
    else:
        ones = torch.ones(1, *sizes(x))
        result = functional.conv_transpose2d(
            ones, weight, None, op.stride, 0, 0, op.groups, op.dilation
        )
    return float(result.sum(dtype=torch.float64))


@on_all
def test_macs_count_every_product(text: str, xs: Any) -> None:
    op = read(text)
    multiplies = op.name in ("conv", "conv_transpose", "linear")
    expected = _multiplications(op, xs[0]) if multiplies else 0
    assert op.macs(xs[0], op.infer(*xs)) == expected


@once_each
def test_text_reads_back(text: str) -> None:
    op = read(text)
    assert read(op.text()) == op
    assert read(op.text(explicit=True)) == op
    assert op.replace() == op and hash(op.replace()) == hash(op)
    assert pickle.loads(pickle.dumps(op)) == op == copy.deepcopy(op)


@once_each
def test_explicit_text_says_every_parameter(text: str) -> None:
    op = read(text)
    spelled = op.text(explicit=True)
    assert all(declared.required or f"{key}=" in spelled for key, declared in op.params.items())


@on_lowered
def test_gradients_flow(text: str, xs: Any) -> None:
    torch.manual_seed(0)
    lowered = Lowered(read(text), *xs).train()
    inputs = [tensor_like(x, requires_grad=True) for x in xs]
    lowered(*inputs).square().sum().backward()
    for value in lowered.parameters():
        assert value.grad is not None and value.grad.isfinite().all()
    if "drop" not in text:  # a dropped operand of a join has none
        assert all(value.grad is not None for value in inputs)


@on_lowered
def test_forms_can_be_pickled_and_copied(text: str, xs: Any) -> None:
    torch.manual_seed(0)
    lowered = Lowered(read(text), *xs).eval()
    inputs = [tensor_like(x) for x in xs]
    expected = lowered(*inputs)
    for twin in (pickle.loads(pickle.dumps(lowered)), copy.deepcopy(lowered)):
        # A fractional p-norm of negative numbers is NaN, in PyTorch as here.
        torch.testing.assert_close(twin(*inputs), expected, rtol=0, atol=0, equal_nan=True)


@on_all
def test_unknown_sizes_pass_in_silence(text: str, xs: Any) -> None:
    op = read(text)
    assert op.infer(*(UNKNOWN for _ in xs)) is UNKNOWN
    unknown = [
        Vector(UNKNOWN) if isinstance(x, Vector) else FeatureMap(UNKNOWN, UNKNOWN, UNKNOWN)
        for x in xs
    ]
    known = op.infer(*xs)
    assert type(op.infer(*unknown)) is type(known)
    if op.join:  # what one operand lacks another may know
        assert type(op.infer(*unknown[:-1], xs[-1])) is type(known)


def test_split_gives_slices_that_concatenate_to_the_input() -> None:
    x = torch.randn(2, 12, 5, 5)
    pieces = read("split(3)").pieces(FeatureMap(12, 5, 5))
    assert [piece.text() for piece in pieces] == ["slice(0, 4)", "slice(4, 8)", "slice(8, 12)"]
    outputs = [piece.torch(FeatureMap(12, 5, 5))(x) for piece in pieces]
    assert all(map(torch.equal, outputs, torch.chunk(x, 3, dim=1)))


def test_a_plain_operator_has_no_pieces_and_an_abstract_one_no_form() -> None:
    assert read("relu").pieces(FeatureMap(3, 5, 5)) == ()

    class Nothing(Op):
        """Declares nothing."""

    with pytest.raises(NotImplementedError):
        Nothing().torch()


def test_importing_operators_does_not_import_heavy_packages() -> None:
    heavy = {"torch", "lark", "numpy", "importlib.metadata"}
    code = f"import sys, cnndsl.ops; print({heavy} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
