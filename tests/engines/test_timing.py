"""Runs are timed beside each other, and none while another's threads still work."""

from __future__ import annotations

from itertools import pairwise, permutations

import pytest

from cnndsl.engines import timing


class _Clock:
    """Time passes only while somebody sleeps; other threads work until ``idle_from``."""

    def __init__(self, idle_from: float) -> None:
        self.now, self.idle_from = 0.0, idle_from

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def perf_counter(self) -> float:
        return self.now

    def process_time(self) -> float:
        return min(self.now, self.idle_from)


@pytest.mark.parametrize(
    ("idle_from", "least"), [(0.0, 0.0), (0.05, 0.05), (9.0, timing.LONGEST_REST)]
)
def test_a_run_waits_until_no_thread_works(
    idle_from: float, least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = _Clock(idle_from)
    monkeypatch.setattr(timing, "time", clock)
    started: list[float] = []
    timing.interleaved({"a": lambda: started.append(clock.now)}, 0)
    assert least <= started[0] <= least + 3 * timing.STEP


def test_rounds_end_when_patience_does(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: float(next(clock)))
    monkeypatch.setattr(timing.time, "sleep", lambda seconds: None)
    found = timing.interleaved({"a": lambda: None}, 50, patience=20)
    assert 1 <= len(found["a"]) < 20


def test_one_round_counts_however_long_the_first_took(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _Clock(0.0)
    monkeypatch.setattr(timing, "time", clock)
    found = timing.interleaved({"a": lambda: clock.sleep(30.0)}, 50, patience=20)
    assert found == {"a": [30.0]}


def test_rounds_are_interleaved() -> None:
    asked: list[str] = []

    def seconds(name: str) -> float:
        asked.append(name)
        return float(len(asked))

    found = timing.in_rounds({"a": "a", "b": "b"}, 2, seconds)
    rounds = [asked[i : i + 2] for i in (0, 2, 4)]
    assert all(sorted(names) == ["a", "b"] for names in rounds)
    for name in "ab":  # the first round warms up
        assert found[name] == [3.0 + rounds[1].index(name), 5.0 + rounds[2].index(name)]


def test_each_round_has_its_own_order() -> None:
    """Who always comes after the same run is slower or faster for that alone."""
    asked: list[str] = []
    names = ("a", "b", "c")
    timing.in_rounds({name: name for name in names}, 60, lambda name: asked.append(name) or 1.0)
    before = {pair: 0 for pair in permutations(names, 2)}
    for start in range(3, len(asked), 3):
        for pair in pairwise(asked[start : start + 3]):
            before[pair] += 1
    assert min(before.values()) > 10, before
