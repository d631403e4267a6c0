"""Whether two flows are the same function: measured in float64, not argued.

Parameters and inputs are drawn; every value must agree within 1e-10 of its componentwise scale:
the sum of the magnitudes that the last convolution before it adds up, not the size of the value
itself, which may cancel. A rewrite puts equal values in each other's place, so not only the
results are compared but every step that is still there: depth hides nothing.

Two more laws. What is not a number stays where it was (``spreads``: it may reach more values).
Rewrites that only move numbers (``exact``) do not change a bit of small whole numbers, and
leave infinities where they were; other sums of infinities may be NaN, and relu tells them apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from torch import Tensor

from cnndsl.graph.infer import evaluation_facts
from cnndsl.limits import DEFAULT_LIMITS
from cnndsl.passes.flow import Flow, Step
from tests.passes.drawn import Drawn
from tests.passes.exact import exact_steps
from tests.passes.values import Scale, Values

TOLERANCE = 1e-10
"""Of the scale. Rounding made at most 3e-14 of it in 400 random networks."""
_LARGEST = 10**8  # multiply-accumulates per comparison: one small size is enough for large nets
SOUND, WITH_NAN, WITH_INFINITY = slice(0, 2), slice(2, 3), slice(3, 4)
"""The samples of a batch, as ``Drawn`` has them."""
_RESOLUTION = 1e-15  # what float64 tells apart beside the largest value


class Options(NamedTuple):
    """What is compared beside the values; see the module."""

    exact: bool = False
    spreads: bool = False
    inside: bool = True
    """Steps that are in both flows too, not the results only."""


def assert_same(
    before: Flow,
    after: Flow,
    *,
    exact: bool = False,
    spreads: bool = False,
    inside: bool = True,
    seed: int = 0,
) -> None:
    """AssertionError, with the first place, unless both give the same values.

    ``after`` is a copy of ``before`` that was edited, or was made from the same graph.
    """
    if not _last or not _last[0].serve(before, seed):
        _last[:] = [Numbers(before, seed)]
    Comparison(before, seed, _last[0]).check(after, Options(exact, spreads, inside))


def sizes_of(flow: Flow) -> list[dict[str, int]]:
    """The smallest valid size, and another that is no multiple of it, if that is not too much."""
    facts = evaluation_facts(flow.graph, DEFAULT_LIMITS)
    small = facts.smallest()
    if not small:
        return [{}]
    larger = {s: facts.allowed(s).next(n + 9 + 2 * k) for k, (s, n) in enumerate(small.items())}
    twin = flow.copy()
    twin.sizes = larger
    return [small] if larger == small or 2 * twin.total_macs() > _LARGEST else [small, larger]


class Numbers:
    """What is drawn for flows of one network, and the values of these flows.

    Rewrites that are measured one after the other need the same numbers, and the values of
    what a rewrite left alone are known from those before it.
    """

    def __init__(self, flow: Flow, seed: int) -> None:
        self.flow, self.seed = flow.copy(), seed
        self.sizes = sizes_of(flow)
        self._shapes = flow.parameter_shapes()
        self._values: dict[tuple[int, bool], Values] = {}

    def serve(self, flow: Flow, seed: int) -> bool:
        """Whether the flow reads nothing else than what is drawn here."""
        return (
            (flow.graph, seed) == (self.flow.graph, self.seed)
            and [step.type for step in flow.inputs] == [step.type for step in self.flow.inputs]
            and flow.parameter_shapes().items() <= self._shapes.items()
        )

    def values(self, index: int, whole: bool) -> Values:
        """At one of ``sizes``; at the last one with poisoned samples too."""
        key = (index, whole)
        if key not in self._values:
            poisoned = index == len(self.sizes) - 1 and not whole
            seed, sizes = self.seed + index, self.sizes[index]
            drawn = Drawn(self.flow, sizes, seed, whole=whole, poisoned=poisoned)
            self._values[key] = Values(drawn)
        return self._values[key]


_last: list[Numbers] = []
"""Those that ``assert_same`` needed last, and no more, as they may be large."""


class Comparison:
    """One flow with its values, to compare others with: they are computed once."""

    def __init__(self, before: Flow, seed: int = 0, numbers: Numbers | None = None) -> None:
        self.before = before
        self.numbers = numbers or Numbers(before, seed)
        self.sizes = self.numbers.sizes
        self._runs: dict[tuple[int, bool], Run] = {}

    def check(self, after: Flow, options: Options) -> int:
        """How many results were compared to the bit."""
        for index in range(len(self.sizes)):
            self.close(after, index, inside=options.inside)
        self._run(len(self.sizes) - 1).masks(after, options)
        return self.bits(after, options) if options.exact else 0

    def close(self, after: Flow, index: int, *, inside: bool = True) -> None:
        """The values at one of ``sizes``, the smallest first."""
        self._run(index).close(after, inside)

    def bits(self, after: Flow, options: Options) -> int:
        last = len(self.sizes) - 1
        return self._run(last, whole=True).bits(after, options.inside)

    def _run(self, index: int, *, whole: bool = False) -> Run:
        key = (index, whole)
        if key not in self._runs:
            self._runs[key] = Run(self.before, self.numbers.values(index, whole))
        return self._runs[key]


class Run:
    """The values of one flow on one set of drawn numbers."""

    def __init__(self, before: Flow, values: Values) -> None:
        self.before, self.values = before, values
        self.want = values(before)

    @cached_property
    def _scale(self) -> Scale:
        return Scale(self.values, {i: value[SOUND] for i, value in self.want.items()})

    def close(self, after: Flow, inside: bool) -> None:
        got = self.values(after)
        for name, one, other in pairs(self.before, after, inside):
            want, found = self.want[one.id], got[other.id]
            if found is not want:
                _close(name, want[SOUND], found[SOUND], lambda step=one: self._scale(step))

    def masks(self, after: Flow, options: Options) -> None:
        """NaN where it was, and what is not finite where it was."""
        got = self.values(after)
        for name, one, other in pairs(self.before, after, options.inside):
            want, found = self.want[one.id], got[other.id]
            if found is want:
                continue
            _masks(name, "NaN", want[WITH_NAN].isnan(), found[WITH_NAN].isnan(), options)
            if options.exact:
                one, other = want[WITH_INFINITY].isinf(), found[WITH_INFINITY].isinf()
                _masks(name, "infinity", one, other, options)

    def bits(self, after: Flow, inside: bool) -> int:
        got = self.values(after)
        exact, compared = exact_steps(self.before, self.want, self.values), 0
        for name, one, other in pairs(self.before, after, inside):
            if one.id in exact:
                wrong = self.want[one.id] != got[other.id]
                assert not wrong.any(), f"{name} is not the same to the bit {_where(wrong)}"
                compared += name.startswith("result")
        return compared


def pairs(before: Flow, after: Flow, inside: bool) -> Iterator[tuple[str, Step, Step]]:
    """Steps that must have one value: what is in both flows, inputs first, then the results."""
    if inside and before.graph is after.graph:
        for step in before:
            twin = after.steps.get(step.id)
            if twin is not None and twin.op is step.op:
                paths = ", ".join(origin.path for origin in step.origins)
                yield f"step {step.id} ({paths or 'input'}: {step.op.text()})", step, twin
    assert len(before.results) == len(after.results), "results came or went"
    for output, one, other in zip(before.outputs, before.results, after.results, strict=True):
        yield f"result {output.name}", one, other


def _close(name: str, want: Tensor, got: Tensor, scale) -> None:  # type: ignore[no-untyped-def]
    assert got.shape == want.shape, f"{name}: {tuple(got.shape)} is not {tuple(want.shape)}"
    floor = _RESOLUTION * float(want.abs().max())
    assert math.isfinite(floor), f"{name}: drawn numbers overflow, nothing can be compared"
    error = (got - want).abs()
    # The scale is never below the value itself, and most values do not cancel.
    if bool((error <= TOLERANCE * want.abs() + floor).all()):
        return
    allowed = scale()
    allowed = allowed.where(allowed.isfinite(), want.abs())  # infinity would let anything pass
    wrong = ~(error <= TOLERANCE * allowed + floor)
    if wrong.any():
        place = tuple(wrong.nonzero()[0].tolist())
        raise AssertionError(
            f"{name}{list(place)} is {got[place].item()}, not {want[place].item()} "
            f"({int(wrong.sum())} of {wrong.numel()} values differ)"
        )


def _masks(name: str, kind: str, want: Tensor, got: Tensor, options: Options) -> None:
    lost, new = want & ~got, got & ~want
    assert not lost.any(), f"{name}: {kind} is gone {_where(lost)}"
    assert options.spreads or not new.any(), f"{name}: {kind} is new {_where(new)}"


def _where(wrong: Tensor) -> str:
    count = f"{int(wrong.sum())} of {wrong.numel()} values"
    return f"at {wrong.nonzero()[0].tolist()} ({count})" if wrong.any() else ""
