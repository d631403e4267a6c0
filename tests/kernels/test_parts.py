"""Where numbers lie, how chains are cut, what a problem costs: the parts around the kernels."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import cnndsl
from cnndsl.kernels.base import Kernel
from cnndsl.kernels.global_pool import GlobalPool
from cnndsl.kernels.layout import as_rows, is_wide, pitch, place
from cnndsl.kernels.lrn import ResponseNorm
from cnndsl.kernels.plan.cost import Way, cost_of
from cnndsl.kernels.pool import Pool
from cnndsl.kernels.problem import Problem
from cnndsl.kernels.segments import segments
from cnndsl.kernels.squeeze import Squeeze
from cnndsl.kernels.stem import Stem
from cnndsl.ops.activation import ReLU
from cnndsl.ops.conv import Conv
from cnndsl.ops.merge import Add
from cnndsl.ops.pool import GlobalMaxPool, MaxPool
from cnndsl.ops.types import FeatureMap
from cnndsl.passes.ops import RUNNING, Chain, Link
from tests.kernels.oracle import SLICE, guarded, problem_of
from tests.kernels.planning import H100


def rows(*shape: int) -> torch.Tensor:
    return torch.zeros(shape).to(memory_format=torch.channels_last)


def test_pitch() -> None:
    assert pitch(rows(2, 5, 3, 4)) == 5
    assert pitch(rows(2, 8, 3, 4)[:, 2:5]) == 8
    assert pitch(rows(2, 1, 3, 4)) == 1
    assert pitch(rows(2, 8, 1, 1)[:, 1:3]) == 8
    assert pitch(torch.zeros(3, 7)[:, :5, None, None]) == 7
    assert pitch(rows(0, 5, 3, 4)) == 5
    assert pitch(guarded((1, 4, 1, 1), torch.float32, SLICE)[0]) == 4  # nothing to be apart


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(2, 5, 3, 4),
        rows(2, 5, 3, 4)[:, :, ::2],
        rows(2, 5, 3, 4)[:, ::2],
        rows(2, 5, 3, 8)[:, :, :, :4],
        rows(1, 5, 3, 4).expand(2, 5, 3, 4),
        rows(1, 5, 1, 1).expand(1, 5, 1, 4),
    ],
    ids=["channels first", "other rows", "other channels", "left half", "images", "one pixel"],
)
def test_what_is_not_rows_is_copied_and_not_written(x: torch.Tensor) -> None:
    assert pitch(x) is None
    assert pitch(as_rows(x)[0]) == as_rows(x)[1] == x.shape[1]
    with pytest.raises(ValueError, match="rows of channels"):
        place(x)


def test_wide_is_what_32_bits_cannot_count() -> None:
    edge = torch.empty(2**31, device="meta", dtype=torch.half)
    assert not is_wide(edge, None)
    assert is_wide(torch.empty(2**31 + 1, device="meta", dtype=torch.half))


def cut(text: str, longest: int = 9) -> list[str]:
    """Where the chain is cut if convolutions take all up to some length."""
    problem = problem_of(text)

    def takes(part: Problem) -> bool:
        ops = [link.op for link in part.links]
        return isinstance(ops[0], Conv) and len(ops) <= longest

    found = list(segments(problem, takes))
    assert [s.problem.inputs[0] for s in found[1:]] == [s.problem.output for s in found[:-1]]
    return [f"{segment.slots} {segment.problem.chain.text()}" for segment in found]


def test_a_chain_is_cut_where_no_kernel_goes_on() -> None:
    text = "[4, 5, 5] = (conv(4, 3) + id) -> relu"
    assert cut(text) == ["(0,) conv(4, 3, bias=yes) -> add[_, 0] -> relu"]
    assert cut(text, 1) == ["(0,) conv(4, 3, bias=yes)", "(-1, 0) add[0, 1]", "(-1,) relu"]


def test_weights_follow_their_links() -> None:
    problem = problem_of("[4, 5, 5] = conv(6, 1, bias=no) -> prelu(6)")
    first, second = segments(problem, lambda part: len(part.links) == 1)
    assert first.weights({"0.weight": 1, "1.weight": 2}) == {"0.weight": 1}
    assert second.weights({"0.weight": 1, "1.weight": 2}) == {"0.weight": 2}


def test_what_a_problem_costs() -> None:
    problem = problem_of("[4, 5, 7] = (conv(4, 3, bias=no) + id) -> relu", 3, torch.half)
    assert problem.macs == 3 * 5 * 7 * 4 * 4 * 9
    assert problem.bytes == 2 * (3 * 5 * 7 * 4 * 2 + 4 * 4 * 9)


@pytest.mark.parametrize("rest", ["k=0", "alpha=-1"])
def test_no_logarithm_of_what_may_not_be_positive(rest: str) -> None:
    assert ResponseNorm().refuses(problem_of("[8, 4, 4] = lrn(3)"), 80) is None
    assert ResponseNorm().refuses(problem_of(f"[8, 4, 4] = lrn(3, {rest})"), 80)


def test_an_image_is_cut_where_few_programs_have_much_to_do() -> None:
    """Parts of four tiles at least; none where the images keep the device busy."""
    parts = {
        (size, batch): [config["PARTS"] for config in GlobalPool().configs(problem, 90)][:2]
        for size, batch in [(32, 1), (16, 1), (8, 1), (32, 256)]
        for problem in [problem_of(f"[64, {size}, {size}] = gap", batch, torch.half)]
    }
    assert parts == {(32, 1): [8, 1], (16, 1): [2, 1], (8, 1): [1, 1], (32, 256): [1, 1]}


def test_parts_of_an_image_are_stored() -> None:
    kernel, problem = GlobalPool(), problem_of("[64, 32, 32] = gap", 3, torch.half)
    found = {
        config["PARTS"]: kernel.scratch(problem, config) for config in kernel.configs(problem, 90)
    }
    assert found.pop(1) == 0 and found
    for parts, size in found.items():
        assert size == 4 * parts * 3 * 64  # float32


@pytest.mark.parametrize(
    ("kernel", "text"),
    [(GlobalPool(), "[64, 32, 32] = gap"), (Stem(), "[3, 32, 32] = conv(8, 3, stride=2)")],
)
def test_what_fits_into_the_cache_between_two_launches_moves_no_memory(
    kernel: Kernel, text: str
) -> None:
    problem = problem_of(text, 3, torch.half)
    config = max(kernel.configs(problem, 90), key=lambda c: kernel.scratch(problem, c))
    way, moved = Way(kernel, config), 2 * kernel.scratch(problem, config)
    small = replace(H100, l2=0)
    assert moved and cost_of(way, problem, H100).bytes == problem.bytes
    assert cost_of(way, problem, small).bytes == problem.bytes + moved
    slow = replace(H100, l2_bandwidth=1.0)  # then what moves through L2 is all that counts
    more = replace(slow, l2=0)
    assert cost_of(way, problem, slow).works[0].units >= moved
    assert cost_of(way, problem, slow).works[0].units > cost_of(way, problem, more).works[0].units


def test_one_product_of_means_may_be_in_strips() -> None:
    """Two are not: a program holds all numbers between them."""
    kernel, one = Squeeze(), "[256, 7, 7] = gap -> conv(100, 1)"
    heights = [config["BH"] for config in kernel.configs(problem_of(one), 90)]
    assert heights == [64, 16]
    heights = [config["BH"] for config in kernel.configs(problem_of(f"{one} -> conv(4, 1)"), 90)]
    assert heights == [128]


@pytest.mark.parametrize("kernel", [Pool(), GlobalPool()], ids=lambda kernel: kernel.name)
def test_a_pool_of_another_input_is_refused(kernel: Kernel) -> None:
    """A chain may begin with any of its inputs, and read them again behind."""
    pool = MaxPool(1) if isinstance(kernel, Pool) else GlobalMaxPool()
    second = Link(pool, (1,)), Link(Add(), (RUNNING, 0))
    again = Link(ReLU(), (0,)), Link(pool, (0,))
    for links, count in ((second, 2), (again, 1)):
        x = FeatureMap(4, 1, 1)
        problem = Problem(Chain(links), (x,) * count, 1, torch.half)
        assert "another input" in (kernel.refuses(problem, 90) or "")


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError) as problem:
        cnndsl.loads("net N: [3, H, W] = conv(8, 3)").net().compile(engine="triton")
    assert str(problem.value) == (
        "engine='triton': there is no GPU here "
        "(TRITON_INTERPRET=1 runs the kernels on the CPU, slowly)"
    )
