"""Each bound on what a text may mean has a code, fires at once, and can be raised."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import cnndsl
from cnndsl import Limits

SECONDS = 0.05
NET = "net N: [3, H, W] = "
PAST = {
    "nodes by multiplication": ("E0212", NET + "(relu^10000)^10000"),
    "nodes through calls": (
        "E0212", "def A = relu^100\ndef B = A^100\ndef C = B^100\n" + NET + "C^100",
    ),
    "nodes through loops": ("E0212", NET + "for i in 1..1000 do for j in 1..1000 do relu"),
    "steps by multiplication": ("E0212", NET + "((id -> id)^10000)^10000"),
    "repetitions": ("E0212", NET + "for i in 1..10001 do relu"),
    "repetitions in parallel": ("E0212", NET + "add(for i in 1..100000 do relu)"),
    "operands of a join": ("E0212", NET + "add(for i in 1..4097 do relu)"),
    "calls": ("E0211", "def A(n) = relu -> A(n + 1)\n" + NET + "A(0)"),
    "calls of numbers": ("E0211", "def f(n) = f(n + 1)\n" + NET + "conv(f(0), 1)"),
    "dimension of an input": ("E0408", "net N: [3, 2147483648, 8] = relu"),
    "dimension": ("E0409", "net N: [3, 2147483647, 1] = upsample((2, 1))"),
    "channels": ("E0303", NET + "conv(2147483648, 1)"),
    "elements": ("E0409", "net N: [3, 1000000, 1000000] = conv(2, 1)"),
    "elements of weights": ("E0409", NET + "conv(2000000000, 1001) -> conv(2000000000, 1)"),
    "huge numbers": ("E0307", NET + "conv(10^128, 1)"),
    "powers of powers": ("E0307", NET + "conv(((9^99)^99)^99, 1)"),
    "fine fractions": ("E0307", NET + "conv(" + "/".join(["1"] + ["999999999999"] * 9) + ", 1)"),
    "sizes without a short form": (
        "E0410", NET + "maxpool(251) -> upsample(2) -> maxpool(241) -> upsample(3) -> maxpool(239)",
    ),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """What is loaded once per process is no cost of a limit."""
    assert cnndsl.loads(NET + "rleu").diagnostics[0].fixes


@pytest.fixture(autouse=True)
def own_garbage() -> Iterator[None]:
    """What other tests left is not gone through while one is timed: that takes up to 0.05 s."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("what", PAST)
def test_past_a_limit(what: str) -> None:
    code, text = PAST[what]
    started = time.process_time()
    found = cnndsl.loads(text).diagnostics
    taken = time.process_time() - started
    assert [d.code for d in found if d.severity == "error"] == [code]
    assert taken < SECONDS


def test_a_recursion_of_numbers_ends() -> None:
    """The one bound that has to count: it may take longer, but far less than two seconds."""
    text = "def f(n) = if n < 2 then n else (f(n-1) + f(n-2))\n" + NET + "conv(f(60), 3)"
    started = time.process_time()
    (found,) = cnndsl.loads(text).diagnostics
    assert found.code == "E0212" and time.process_time() - started < 1


def test_within_the_limits() -> None:
    deep = "def A(n) = if n > 0 then (relu -> A(n - 1))\n" + NET + "A(60)"
    wide = NET + "add(for i in 1..1000 do relu)"
    long = NET + "relu^5000"
    for text in (deep, wide, long):
        assert not cnndsl.loads(text).diagnostics


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        ({"nodes": 200_000}, NET + "for i in 1..9000 do (relu -> silu) -> (tanh^9900)^9"),
        ({"repeat": 20_000}, NET + "for i in 1..10001 do relu"),
        ({"call_depth": 200}, "def A(n) = if n > 0 then (relu -> A(n - 1))\n" + NET + "A(100)"),
        ({"fan_in": 5_000}, NET + "add(for i in 1..4097 do relu)"),
        ({"elements": 2**50}, "net N: [3, 1000000, 1000000] = conv(2, 1)"),
    ],
)
def test_limits_can_be_raised(limit: dict[str, int], text: str) -> None:
    assert cnndsl.loads(text).diagnostics
    assert not cnndsl.loads(text, limits=replace(Limits(), **limit)).diagnostics


def test_files_and_bytes(tmp_path: Path) -> None:
    for number in range(70):
        text = f'import "f{number + 1}.cnn" (F{number + 1})\ndef F{number} = F{number + 1}\n'
        (tmp_path / f"f{number}.cnn").write_text(text, encoding="utf-8")
    (tmp_path / "f70.cnn").write_text("def F70 = relu\n", encoding="utf-8")
    main = 'import "f0.cnn" (F0)\n' + NET + "F0\n"
    (many,) = cnndsl.loads(main, root=tmp_path).diagnostics
    assert many.code == "E0203" and "at most 64 files" in many.message
    small = replace(Limits(), total_bytes=1_000)
    (total,) = cnndsl.loads(main, root=tmp_path, limits=small).diagnostics
    assert total.code == "E0203" and "at most 1,000 bytes" in total.message
    (tmp_path / "f0.cnn").write_text("#" + " " * (1 << 20), encoding="utf-8")
    (long,) = cnndsl.loads(main, root=tmp_path).diagnostics
    assert long.code == "E0203" and "1,048,576 bytes" in long.message


def test_many_errors_cost_little() -> None:
    """A thousand mistakes: all are found, ten get fixes, and the time stays small."""
    text = "".join(f"net N{i}: [3, H, W] = cnov{i}(8, 3)\n" for i in range(1_000))
    started = time.process_time()
    found = cnndsl.loads(text).diagnostics
    assert len(found) == 1_000 and sum(bool(d.fixes) for d in found) <= 10
    assert time.process_time() - started < 2


@pytest.mark.parametrize("pair", ["relu -> A(n-1) | relu -> A(n-1)", "relu -> A(n-1) -> A(n-1)"])
@pytest.mark.parametrize(("depth", "code"), [(20, "E0212"), (40, "E0211")])
def test_a_recursion_that_doubles(pair: str, depth: int, code: str) -> None:
    """Calls that are alike are counted once, so a million of them are refused at once."""
    started = time.process_time()
    found = cnndsl.loads(f"block A(n) = if n > 0 then ({pair})\n{NET}A({depth})").diagnostics
    assert [d.code for d in found] == [code]
    assert time.process_time() - started < 2


# --- one limit alone ---------------------------------------------------------------------------

PAIR = 'import "a.cnn" (A)\nimport "b.cnn" (B)\n' + NET + "A -> B\n"


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    (tmp_path / "a.cnn").write_text("def A = " + " -> ".join(["relu"] * 5) + "\n")
    (tmp_path / "b.cnn").write_text("def B = relu -> silu\n")
    return tmp_path


def test_words_and_signs_alone(pair: Path) -> None:
    """A file is read only while what was read before is within the limit."""

    def checked(tokens: int) -> tuple[cnndsl.Diagnostic, ...]:
        return cnndsl.loads(PAIR, root=pair, limits=replace(Limits(), tokens=tokens)).diagnostics

    few = checked(30)[0]
    assert few.code == "E0203"
    assert few.message.endswith("a program has at most 30 words and signs in all")
    assert not checked(100)


@pytest.mark.parametrize(
    ("limit", "said"),
    [("files", "at most 2 files"), ("total_bytes", "at most 100 bytes")],
)
def test_limits_of_many_files_fire_at_once(limit: str, said: str, pair: Path) -> None:
    bound = {"files": 2, "total_bytes": 100}[limit]
    started = time.process_time()
    found = cnndsl.loads(PAIR, root=pair, limits=replace(Limits(), **{limit: bound})).diagnostics
    taken = time.process_time() - started
    assert [d.code for d in found] == ["E0203"] and said in found[0].message
    assert taken < SECONDS
