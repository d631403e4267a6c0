"""Sizes that are fixed from outside: what they break, and what a claim says of them."""

from __future__ import annotations

import pytest

import cnndsl

UNET = """
net U: [3, H, W] =
  let a = conv(8, 3)
  (a -> maxpool({m}) -> relu -> maxpool(2) -> upsample({n})) + a
"""


def problems(text: str, **at: int) -> tuple[cnndsl.Diagnostic, ...]:
    return cnndsl.loads(text).net(at=at).diagnostics


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (
            {"H": 33},
            ["H must be a multiple of 32 (valid exactly when H % 32 == 0); "
             "the nearest are 32 and 64"],
        ),
        (
            {"H": 64, "W": 97},
            ["W must be a multiple of 32 (valid exactly when W % 32 == 0); "
             "the nearest are 96 and 128"],
        ),
        (
            {"H": 63, "W": 65},
["H must be a multiple of 32 (valid exactly when H % 32 == 0); "
             "the nearest are 32 and 64; W must be a multiple of 32 "
             "(valid exactly when W % 32 == 0); the nearest are 64 and 96"],
        ),
        ({"H": 64, "W": 32}, []),
    ],
)  # fmt: skip
def test_a_size_that_breaks_a_congruence(at: dict[str, int], said: list[str]) -> None:
    text = UNET.format(m=16, n=32)
    assert not problems(text)
    found = problems(text, **at)
    assert [d.message for d in found] == said
    for problem in found:
        assert problem.code == "E0401" and problem.span is not None and problem.span.text == "+"
        assert not problem.fixes, "another text is no cure"


def test_what_is_left_over_may_be_asked_for() -> None:
    text = (
        UNET.format(m=2, n=4)
        .replace("(a ->", "(a -> pad((1, 0, 0, 0)) ->")
        .replace("+ a", "+ (a -> pad((1, 0, 0, 0)))")
    )
    (found,) = problems(text, H=8)
    assert found.message == "H cannot be 8: valid exactly when H % 4 == 3; the nearest are 7 and 11"
    assert not problems(text, H=7) and not problems(text, H=11)


def test_a_size_that_is_too_small_and_a_join_that_is_wrong_are_told_as_such() -> None:
    (small,) = problems(UNET.format(m=16, n=32), H=8)
    assert small.code == "E0403" and "must be a multiple" not in small.message
    (wrong,) = problems(UNET.format(m=16, n=16), H=33)
    assert wrong.code == "E0401" and "must be" not in wrong.message


CLAIM = "net N: [3, H, W] = maxpool(2, ceil=yes) :: [3, {}, floor((W+1)/2)]\n"


@pytest.mark.parametrize("height", [32, 33])
def test_a_quotient_speaks_of_the_sizes_where_it_is_whole(height: int) -> None:
    """Open or fixed, a claim says the same."""
    for claim in ("H/2", "floor((H+1)/2)"):
        assert not problems(CLAIM.format(claim))
        assert not problems(CLAIM.format(claim), H=height)
    wrong = CLAIM.format("floor(H/2)")
    assert problems(wrong)[0].code == "E0406"
    assert [d.code for d in problems(wrong, H=height)] == ["E0406"] * (height % 2)


def test_a_claim_that_is_no_size_whatever_is_fixed_is_wrong() -> None:
    text = "net N: [3, H, 33] = maxpool(2, ceil=yes) :: [3, H/2, 33/2]\n"
    for at in ({}, {"H": 33}, {"H": 32}):
        (found,) = problems(text, **at)
        assert found.code == "E0406" and "16.5 is no size" in found.notes
