"""Where numbers lie, how chains are cut, what a problem costs: the parts around the kernels."""

from __future__ import annotations

import pytest
import torch

import cnndsl
from cnndsl.kernels.layout import as_rows, is_wide, pitch, place
from cnndsl.kernels.problem import Problem
from cnndsl.kernels.segments import segments
from cnndsl.ops.conv import Conv
from tests.kernels.oracle import SLICE, guarded, problem_of


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


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError) as problem:
        cnndsl.loads("net N: [3, H, W] = conv(8, 3)").net().compile(engine="triton")
    assert str(problem.value) == (
        "engine='triton': there is no GPU here "
        "(TRITON_INTERPRET=1 runs the kernels on the CPU, slowly)"
    )
