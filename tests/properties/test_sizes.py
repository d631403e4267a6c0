"""Exact sizes against PyTorch, against step-by-step integers and against brute force."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F

from cnndsl.ops.congruence import Valid, agree
from cnndsl.ops.sizes import (
    MAX_PERIOD,
    Dim,
    Size,
    SizeTooComplex,
    at,
    floordiv,
    minimum,
    plus,
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
