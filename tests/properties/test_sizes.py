"""Exact sizes against PyTorch, against step-by-step integers and against brute force."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from math import lcm

import pytest
import torch
import torch.nn.functional as F

from cnndsl.ops.congruence import Agreement, Valid, agree, first_in_class
from cnndsl.ops.sizes import (
    MAX_PERIOD,
    Dim,
    Size,
    SizeTooComplex,
    at,
    floordiv,
    minimum,
    plus,
    simpler,
    times,
    transposed,
    window,
)

H = Size.of("H")
W = Size.of("W")
HUGE = 2**31


def size(x: Dim) -> Size:
    assert isinstance(x, Size)
    return x


# --- PyTorch's rules, written from its documentation and independent of the code under test ---


def torch_window(n: int, k: int, s: int, pad: tuple[int, int], d: int, ceil: bool) -> int:
    span = n + pad[0] + pad[1] - d * (k - 1) - 1
    out = (-((-span) // s) if ceil else span // s) + 1
    if ceil and (out - 1) * s >= n + pad[0]:
        out -= 1
    return out


def window_cases() -> Iterator[tuple[int, int, tuple[int, int], int, bool]]:
    for k, s, before, after, d in itertools.product(
        (1, 2, 3, 5, 7), (1, 2, 3, 4, 5), range(4), range(4), (1, 2, 3)
    ):
        yield k, s, (before, after), d, False
        reach = (d * (k - 1) + 1) // 2
        if before <= reach and after <= reach:  # PyTorch pools accept no more padding
            yield k, s, (before, after), d, True


def test_windows_match_the_formula_on_symbols_and_on_numbers() -> None:
    cases = 0
    for k, s, pad, d, ceil in window_cases():
        symbolic = size(window(H, k, s, pad, d, ceil))
        for n in range(1, 64):
            expected = torch_window(n, k, s, pad, d, ceil)
            assert symbolic.at(n) == expected, (n, k, s, pad, d, ceil)
            assert window(n, k, s, pad, d, ceil) == expected
            cases += 1
    assert cases >= 100_000


def test_transposed_matches_the_formula() -> None:
    for k, s, p, q, op, d in itertools.product(
        (1, 2, 3, 4), (1, 2, 3), range(3), range(3), (0, 1), (1, 2)
    ):
        symbolic = transposed(H, k, s, (p, q), op, d)
        for n in range(1, 12):
            expected = (n - 1) * s - p - q + d * (k - 1) + op + 1
            assert at(symbolic, {"H": n}) == expected == transposed(n, k, s, (p, q), op, d)


# --- PyTorch itself, on the meta device: two dimensions per call ---


def meta_sizes(run: Callable[[torch.Tensor], torch.Tensor], n: int, m: int) -> tuple[int, ...]:
    """Output height and width, or nothing when PyTorch refuses the input as too small."""
    try:
        return tuple(run(torch.empty(1, 1, n, m, device="meta")).shape[2:])
    except RuntimeError:
        return ()


def check_meta(
    dims: tuple[Dim, Dim], run: Callable[[torch.Tensor], torch.Tensor], n: int, m: int
) -> None:
    expected = (at(dims[0], {"H": n}), at(dims[1], {"W": m}))
    got = meta_sizes(run, n, m)
    if got:  # transposed convolutions accept an empty output, the others refuse it
        assert got == expected, (dims, n, m)
    else:
        assert min(expected) < 1, (dims, n, m)


def meta_conv(rng: random.Random) -> None:
    k, s, d = [(rng.randint(1, 5), rng.randint(1, 5)) for _ in range(3)]
    pads = [rng.randint(0, 4) for _ in range(4)]  # left, right, top, bottom
    weight = torch.empty(1, 1, *k, device="meta")
    dims = (
        window(H, k[0], s[0], (pads[2], pads[3]), d[0]),
        window(W, k[1], s[1], (pads[0], pads[1]), d[1]),
    )
    for _ in range(4):
        check_meta(
            dims,
            lambda x: F.conv2d(F.pad(x, pads), weight, stride=s, dilation=d),
            rng.randint(1, 40),
            rng.randint(1, 40),
        )


def meta_max_pool(rng: random.Random) -> None:
    k, s, d = [(rng.randint(1, 5), rng.randint(1, 5)) for _ in range(3)]
    p = (rng.randint(0, k[0] // 2), rng.randint(0, k[1] // 2))
    ceil = rng.random() < 0.7
    dims = (
        window(H, k[0], s[0], (p[0], p[0]), d[0], ceil),
        window(W, k[1], s[1], (p[1], p[1]), d[1], ceil),
    )
    for _ in range(4):
        check_meta(
            dims,
            lambda x: F.max_pool2d(x, k, s, p, d, ceil_mode=ceil),
            rng.randint(1, 40),
            rng.randint(1, 40),
        )


def meta_avg_pool(rng: random.Random) -> None:
    k, s = [(rng.randint(1, 6), rng.randint(1, 6)) for _ in range(2)]
    p = (rng.randint(0, k[0] // 2), rng.randint(0, k[1] // 2))
    ceil = rng.random() < 0.7
    dims = (
        window(H, k[0], s[0], (p[0], p[0]), 1, ceil),
        window(W, k[1], s[1], (p[1], p[1]), 1, ceil),
    )
    for _ in range(4):
        check_meta(
            dims,
            lambda x: F.avg_pool2d(x, k, s, p, ceil_mode=ceil),
            rng.randint(1, 40),
            rng.randint(1, 40),
        )


def meta_transposed(rng: random.Random) -> None:
    k, s, d = [(rng.randint(1, 5), rng.randint(1, 4)) for _ in range(3)]
    p = (rng.randint(0, 3), rng.randint(0, 3))
    op = tuple(rng.randint(0, max(s[i], d[i]) - 1) for i in range(2))
    weight = torch.empty(1, 1, *k, device="meta")
    dims = (
        transposed(H, k[0], s[0], (p[0], p[0]), op[0], d[0]),
        transposed(W, k[1], s[1], (p[1], p[1]), op[1], d[1]),
    )
    for _ in range(4):
        check_meta(
            dims,
            lambda x: F.conv_transpose2d(x, weight, None, s, p, op, 1, d),
            rng.randint(1, 20),
            rng.randint(1, 20),
        )


@pytest.mark.parametrize("case", [meta_conv, meta_max_pool, meta_avg_pool, meta_transposed])
def test_sizes_match_pytorch_on_the_meta_device(case: Callable[[random.Random], None]) -> None:
    rng = random.Random(case.__name__)
    for _ in range(1_300):  # four calls each: 20,800 in all, two dimensions a call
        case(rng)


# --- chains ---

Step = Callable[[Dim], Dim]


def random_step(rng: random.Random) -> Step:
    kind = rng.choice(("window", "ceil", "up", "transposed", "plus", "min"))
    k, s, p = rng.randint(1, 5), rng.randint(1, 4), rng.randint(0, 2)
    if kind == "window":
        d, q = rng.randint(1, 2), rng.randint(0, 2)
        return lambda x: window(x, k, s, (p, q), d)
    if kind == "ceil":
        p = min(p, k // 2)
        return lambda x: window(x, k, s, (p, p), 1, True)
    if kind == "up":
        return lambda x: times(x, s)
    if kind == "transposed":
        return lambda x: transposed(x, k, s, (p, p), s - 1)
    if kind == "plus":
        return lambda x: plus(x, k - 3)
    return lambda x: minimum(window(x, k, s), window(x, 3, s, (p, p)))


def random_chain(rng: random.Random, longest: int = 4) -> list[Step]:
    return [random_step(rng) for _ in range(rng.randint(2, longest))]


def run(chain: list[Step], x: Dim) -> Dim:
    for step in chain:
        x = step(x)
    return x


def random_sizes(seed: int, count: int) -> list[Size]:
    rng = random.Random(seed)
    return [size(run(random_chain(rng), H)) for _ in range(count)]


def test_chains_match_step_by_step_numbers() -> None:
    rng = random.Random(1)
    tables = 0
    for _ in range(4_000):
        chain = random_chain(rng)
        symbolic = size(run(chain, H))
        tables += bool(symbolic.table)
        for n in range(1, 70):
            assert symbolic.at(n) == run(chain, n), (str(symbolic), n)
    assert tables > 300  # the general fallback is really exercised


def test_every_size_is_monotone_periodic_and_grows_by_its_stride() -> None:
    for x in random_sizes(2, 1_500):
        values = [x.at(n) for n in range(1, 2 * x.divisor + 2)]
        assert values == sorted(values)
        assert all(
            x.at(n + x.divisor) - x.at(n) == x.divisor / x.stride
            for n in range(1, min(x.divisor, 64) + 1)
        )


def test_least_is_the_first_value_reaching_the_floor() -> None:
    for x in random_sizes(3, 1_500):
        for floor in (-3, 0, 1, 2, 5, 13):
            n = x.least(floor)
            assert n >= 1 and x.at(n) >= floor
            assert n == 1 or x.at(n - 1) < floor


def test_equal_functions_are_equal_sizes() -> None:
    # Two functions of periods up to 120 that agree on 400 consecutive values are the same.
    by_values: dict[tuple[int, ...], Size] = {}
    repeats = 0
    for x in random_sizes(4, 12_000):
        if x.divisor > 120:
            continue
        values = tuple(x.at(n) for n in range(400))
        other = by_values.setdefault(values, x)
        repeats += other is not x
        assert other == x and hash(other) == hash(x), (str(other), str(x))
    assert len(set(by_values.values())) == len(by_values) > 1_000
    assert repeats > 1_000


def test_results_fall_back_to_the_simpler_class() -> None:
    half = floordiv(H, 2)
    assert floordiv(times(half, 2), 2) == half
    assert floordiv(times(H, 6), 3) == times(H, 2)
    assert floordiv(floordiv(times(H, 3), 2), 3) == half  # through a table
    assert plus(times(half, 2), 2) == times(floordiv(H, 2, 2), 2)
    assert floordiv(times(H, 4), 4) == H
    assert times(H, 0) == 0
    assert len(size(floordiv(times(H, 3), 2)).table) == 2


def test_minimum_is_pointwise() -> None:
    a, b = size(times(floordiv(H, 2), 2)), size(plus(times(floordiv(H, 4), 4), 1))
    low = minimum(a, b)
    assert all(at(low, {"H": n}) == min(a.at(n), b.at(n)) for n in range(1, 100))
    assert minimum(floordiv(H, 2, 5), floordiv(H, 2, 3)) == floordiv(H, 2, 3)
    assert minimum(4, 3) == 3
    assert minimum(a, plus(times(floordiv(H, 4), 4), 2)) == a  # built with period 4, kept with 2
    for other in (W, floordiv(H, 2), 7):
        with pytest.raises(SizeTooComplex):
            minimum(H, other)


# --- the text form, limits and errors ---


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (H, "H"),
        (plus(H, -2), "H - 2"),
        (floordiv(H, 8, 7), "floor((H+7)/8)"),
        (floordiv(H, 2), "floor(H/2)"),
        (times(floordiv(H, 2), 2), "2*floor(H/2)"),
        (plus(times(floordiv(H, 4, -1), 2), 3), "2*floor((H+3)/4)+1"),
        (transposed(H, 4, 2), "2*H + 2"),
        (floordiv(times(H, 3), 2), "size(H) [period 2, +3: 1 3]"),
        (floordiv(times(H, 3), 16), "size(H) [period 16, +3: 0 0 0 0 0 1 1 1 ...]"),
    ],
)
def test_text(x: Dim, text: str) -> None:
    assert str(x) == text


def test_stride_counts_symbol_units() -> None:
    assert size(floordiv(H, 32, 31)).stride == 32
    assert size(times(floordiv(H, 2), 3)).stride == Fraction(2, 3)
    assert size(floordiv(times(H, 3), 2)).stride == Fraction(2, 3)


def test_huge_divisors_and_scales_need_no_loop() -> None:
    start = time.perf_counter()
    for _ in range(50):
        x = size(times(floordiv(H, HUGE, HUGE - 1), HUGE))
        assert x.at(1) == HUGE and x.at(HUGE) == HUGE and x.at(HUGE + 1) == 2 * HUGE
        assert x.least(HUGE + 1) == HUGE + 1
        assert floordiv(x, HUGE) == floordiv(H, HUGE, HUGE - 1)
        assert floordiv(x, 2 * HUGE) == floordiv(H, 2 * HUGE, HUGE - 1)
        lower = times(floordiv(H, HUGE), HUGE)
        assert agree(H, lower).when == Valid.divisibility("H", HUGE)
        assert agree(H, lower, {"H": Valid.divisibility("H", 3 * HUGE)}).always
        near = agree(floordiv(H, HUGE), floordiv(H, HUGE, 1))
        assert near.witness == {"H": HUGE - 1} and near.values == (0, 1)
        assert near.when is None  # 2**31 - 1 residues are not a list
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    "build",
    [
        lambda: floordiv(times(floordiv(H, HUGE), 3), 2),
        lambda: floordiv(times(H, HUGE), HUGE - 1),
        lambda: floordiv(floordiv(times(H, 3), 2), HUGE),
        lambda: floordiv(times(H, 3), MAX_PERIOD + 1),
        lambda: minimum(times(floordiv(H, HUGE), HUGE), H),
        lambda: agree(floordiv(times(H, 3), 2), times(floordiv(H, HUGE), 3 * HUGE // 2)),
    ],
)
def test_too_complex_is_refused_at_once(build: Callable[[], object]) -> None:
    start = time.perf_counter()
    with pytest.raises(SizeTooComplex):
        build()
    assert time.perf_counter() - start < 0.05


def test_the_longest_table_is_still_exact() -> None:
    x = size(floordiv(times(H, 3), MAX_PERIOD, 1))
    assert all(x.at(n) == (3 * n + 1) // MAX_PERIOD for n in range(0, 4 * MAX_PERIOD, 977))
    assert floordiv(floordiv(times(H, 3), 2), 60_000) == floordiv(H, 40_000)


@pytest.mark.parametrize("x", [H, 5])
def test_a_divisor_below_one_is_an_error(x: Dim) -> None:
    with pytest.raises(ValueError, match="divided by 0"):
        floordiv(x, 0)


def test_sizes_are_values() -> None:
    assert len({H, Size.of("H"), W}) == 2
    with pytest.raises(AttributeError):
        H.scale = 2  # type: ignore[misc]
    with pytest.raises(ValueError, match="multiplied by -1"):
        times(H, -1)
    with pytest.raises(KeyError):
        at(H, {"W": 3})


# --- smallest inputs of known networks (torchvision's `min_size` metadata) ---

Window = tuple[int, int, int, bool]


def floors(*layers: tuple[int, int, int]) -> list[Window]:
    return [(*layer, False) for layer in layers]


POOL = (3, 2, 0, True)  # SqueezeNet's and GoogLeNet's ceil-mode pool
NETWORKS: dict[str, tuple[int, int, list[Window]]] = {
    "alexnet": (63, 32, floors((11, 4, 2), (3, 2, 0), (5, 1, 2), (3, 2, 0), (3, 1, 1), (3, 2, 0))),
    "vgg": (32, 32, floors(*[(3, 1, 1), (2, 2, 0)] * 5)),
    "squeezenet1_0": (21, 16, [(7, 2, 0, False), POOL, POOL, POOL]),
    "googlenet": (
        15,
        32,
        [(7, 2, 3, False), POOL, (3, 1, 1, False), POOL, POOL, (2, 2, 0, True)],
    ),
    "densenet": (29, 32, floors((7, 2, 3), (3, 2, 1), *[(2, 2, 0)] * 3)),
    "inception_v3": (
        75,
        32,
        floors((3, 2, 0), (3, 1, 0), (3, 1, 1), (3, 2, 0), (3, 1, 0), *[(3, 2, 0)] * 3),
    ),
    "resnet": (1, 32, floors((7, 2, 3), *[(3, 2, 1)] * 4)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_smallest_input_and_stride_of_known_networks(name: str) -> None:
    smallest, stride, layers = NETWORKS[name]
    x: Dim = H
    valid = Valid.all("H")
    for kernel, step, padding, ceil in layers:
        x = window(x, kernel, step, (padding, padding), 1, ceil)
        valid = valid.intersect(Valid.at_least("H", size(x).least()))
    assert valid.first() == (smallest,)
    assert size(x).stride == stride


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
    equal = [n for n in numbers if at(a, {"H": n}) == at(b, {"H": n})]
    differ = [n for n in numbers if n not in set(equal)]
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
