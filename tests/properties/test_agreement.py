"""Valid sets and agreement of sizes, against brute force."""

from __future__ import annotations

import itertools
import random
from math import lcm

import pytest

from cnndsl.ops.congruence import Agreement, Valid, agree, first_in_class
from cnndsl.ops.sizes import (
    Dim,
    Size,
    SizeTooComplex,
    at,
    floordiv,
    plus,
    simpler,
    times,
    transposed,
    window,
)
from tests.properties.test_sizes import H, W, random_sizes, size

# --- valid sets ---


def random_valid(rng: random.Random) -> Valid:
    modulus = rng.choice((1, 2, 3, 4, 6, 8, 12, 16))
    residues = tuple(r for r in range(modulus) if rng.random() < 0.6)
    return Valid("H", modulus, residues, rng.choice((1, 1, 2, 7, 20, 64)))


def brute(one: Valid, two: Valid | None = None) -> list[int]:
    return [n for n in range(1, 400) if one.contains(n) and (two is None or two.contains(n))]


def test_valid_contains_what_it_was_built_from() -> None:
    rng = random.Random(5)
    for _ in range(500):
        modulus, least = rng.randint(1, 24), rng.randint(1, 40)
        residues = {rng.randrange(modulus) for _ in range(rng.randint(0, modulus))}
        valid = Valid("H", modulus, tuple(residues), least)
        expected = [n for n in range(1, 400) if n >= least and n % modulus in residues]
        assert brute(valid) == expected
        assert valid.first(3) == tuple(expected[:3])
        assert valid.is_empty == (not expected)


def test_valid_sets_intersect_and_normalise() -> None:
    rng = random.Random(6)
    seen: dict[tuple[int, ...], Valid] = {}
    for _ in range(3_000):
        one, two = random_valid(rng), random_valid(rng)
        both = one.intersect(two)
        members = brute(one, two)
        assert brute(both) == members
        assert seen.setdefault(tuple(members), both) == both  # equal sets, equal values
        assert both == two.intersect(one) and hash(both) == hash(two.intersect(one))
    assert len(seen) > 500


@pytest.mark.parametrize(
    ("valid", "text"),
    [
        (Valid.at_least("H", 63), "H >= 63"),
        (Valid.all("H"), "H >= 1"),
        (Valid.divisibility("H", 32), "H % 32 == 0"),
        (Valid.divisibility("H", 32).intersect(Valid.at_least("H", 20)), "H % 32 == 0"),
        (Valid.divisibility("H", 32).intersect(Valid.at_least("H", 33)), "H % 32 == 0, H >= 64"),
        (Valid("H", 4, (1, 2)), "H % 4 in {1, 2}"),
        (Valid("H", 4, (3, 1)), "H % 2 == 1"),
        (Valid("H", 32, tuple(range(16))), "H % 32 in {0, 1, 2, 3, 4, 5, 6, 7, ... 15}"),
        (Valid("H", 4, ()), "no H"),
    ],
)
def test_valid_text(valid: Valid, text: str) -> None:
    assert str(valid) == text


def test_valid_refuses_what_it_cannot_mean() -> None:
    with pytest.raises(ValueError, match="at least 1, not 0"):
        Valid("H", 0)
    for remainder in (-1, 4):
        with pytest.raises(ValueError, match=f"never {remainder}"):
            Valid.divisibility("H", 4, remainder)
    with pytest.raises(ValueError, match="different symbols"):
        Valid.all("H").intersect(Valid.all("W"))
    with pytest.raises(ValueError, match="no value"):
        Valid("H", 1, ()).next()
    with pytest.raises(SizeTooComplex):
        Valid("H", 4001, tuple(range(4000))).intersect(Valid("H", 4003, tuple(range(4000))))


def test_first_in_class_is_the_first() -> None:
    rng = random.Random(7)
    for _ in range(20_000):
        n, step, modulus = rng.randint(0, 50), rng.randint(1, 60), rng.randint(1, 60)
        start, length = rng.randint(-70, 70), rng.randint(0, modulus)
        terms = (n + step * t for t in range(modulus + 1))
        expected = next((x for x in terms if (x - start) % modulus < length), None)
        assert first_in_class(n, step, modulus, start, length) == expected


# --- agreement ---

REACH = 400


def similar_pair(rng: random.Random) -> tuple[Size, Size]:
    """Two chains with the same strides and scales but their own kernels and padding."""
    a: Dim = H
    b: Dim = H
    for _ in range(rng.randint(1, 4)):
        s, up = rng.randint(1, 3), rng.random() < 0.35
        if up:
            a, b = times(a, s), transposed(b, rng.randint(1, 4), s, (0, rng.randint(0, 2)))
        else:
            a = window(a, rng.randint(1, 3), s, (rng.randint(0, 1), 0))
            b = window(b, rng.randint(1, 3), s, (rng.randint(0, 1), 0))
    undo = size(a).stride  # bring one side back up, as a decoder does
    if undo.denominator == 1 and rng.random() < 0.4:
        a, b = times(a, undo.numerator), plus(H, rng.randint(-1, 1))
    return size(a), size(b)


def check_agreement(a: Dim, b: Dim, allowed: Valid, found: Agreement) -> None:
    numbers = [n for n in range(1, REACH) if allowed.contains(n)]
    same = {n: at(a, {"H": n}) == at(b, {"H": n}) for n in numbers}
    equal = [n for n in numbers if same[n]]
    differ = [n for n in numbers if not same[n]]
    assert found.always == (not found.witness)
    if found.witness:
        n = found.witness["H"]
        assert allowed.contains(n)
        assert found.values == (at(a, {"H": n}), at(b, {"H": n}))
        assert at(a, {"H": n}) != at(b, {"H": n})
        assert n == differ[0] if differ else n >= REACH
    else:
        assert not differ
    assert not (found.never and equal)
    if found.when is not None:
        assert [n for n in numbers if found.when.contains(n)] == equal
        assert all(allowed.contains(n) for n in found.when.first(20))
        assert not found.only_at
    elif not isinstance(a, Size) or not isinstance(b, Size) or a.stride != b.stride:
        assert tuple(n for n in found.only_at if n < REACH) == tuple(equal)[: len(found.only_at)]
        assert len(found.only_at) == 8 or len(found.only_at) >= len(equal)
        assert found.never == (not found.only_at)
    else:
        assert not equal and found.never


def test_agreement_of_sizes_of_one_rate_matches_brute_force() -> None:
    rng = random.Random(8)
    verdicts = {"always": 0, "never": 0, "sometimes": 0}
    for _ in range(3_000):
        a, b = similar_pair(rng)
        allowed = rng.choice((Valid.all("H"), random_valid(rng)))
        if allowed.is_empty or lcm(a.divisor, b.divisor, allowed.modulus) > REACH // 2:
            continue
        found = agree(a, b, {"H": allowed})
        verdicts[found.verdict] += 1
        check_agreement(a, b, allowed, found)
        if found.verdict == "sometimes" and a.stride == b.stride:
            assert found.derivable == (a.is_extended or b.is_extended)
    assert min(verdicts.values()) > 200


def test_agreement_of_any_sizes_matches_brute_force() -> None:
    rng = random.Random(9)
    pool = [*random_sizes(10, 300), *range(-1, 30)]
    for _ in range(4_000):
        a, b = rng.choice(pool), rng.choice(pool)
        allowed = rng.choice((Valid.all("H"), random_valid(rng)))
        together = lcm(*(x.divisor for x in (a, b) if isinstance(x, Size)), allowed.modulus)
        numbers = isinstance(a, int) and isinstance(b, int)
        if numbers or allowed.is_empty or together > REACH // 2:
            continue
        check_agreement(a, b, allowed, agree(a, b, {"H": allowed}))


def test_a_mistake_is_told_from_a_derived_fact() -> None:
    wrong = agree(floordiv(H, 2), floordiv(H, 2, 1))
    assert (wrong.verdict, wrong.derivable) == ("sometimes", False)
    assert wrong.witness == {"H": 1} and wrong.values == (0, 1)
    skip = agree(times(floordiv(H, 2), 2), H)
    assert skip.derivable and skip.when == Valid.divisibility("H", 2)
    assert agree(H, times(floordiv(H, 2), 2)).derivable
    assert agree(times(floordiv(H, 2), 2), H, {"H": Valid.divisibility("H", 4)}).always


def test_constants_and_other_symbols() -> None:
    fixed = agree(floordiv(H, 2), 7)
    assert (fixed.verdict, fixed.when, fixed.only_at) == ("sometimes", None, (14, 15))
    assert agree(7, 7).always and agree(7, 8).never
    assert agree(H, W).witness == {"H": 1, "W": 2}
    other = agree(H, W, {"W": Valid.divisibility("W", 5), "H": Valid.at_least("H", 5)})
    assert other.witness == {"H": 6, "W": 5} and other.values == (6, 5)
    assert not other.always and other.when is None
    assert agree(H, 7, {"H": Valid("H", 1, ())}).always  # nothing allowed, nothing wrong


@pytest.mark.parametrize("levels", [1, 2, 3, 4, 5])
def test_nested_unet_needs_exactly_a_power_of_two(levels: int) -> None:
    valid = Valid.all("H")
    skips: list[Dim] = []
    x: Dim = H
    for _ in range(levels):
        skips.append(x)
        x = window(x, 2, 2)
        valid = valid.intersect(Valid.at_least("H", size(x).least()))
    for skip in reversed(skips):
        up = transposed(x, 2, 2)
        found = agree(up, skip, {"H": valid})
        assert found.when is not None and found.derivable
        valid = found.when
        x = simpler(up, skip)
    assert x == H
    assert str(valid) == f"H % {2**levels} == 0"


def test_simpler_prefers_numbers_then_short_forms() -> None:
    order: list[Dim] = [
        3,
        H,
        plus(H, 1),
        floordiv(H, 2),
        times(floordiv(H, 2), 2),
        floordiv(times(H, 3), 2),
    ]
    for a, b in itertools.combinations(order, 2):
        assert simpler(a, b) == simpler(b, a) == a
