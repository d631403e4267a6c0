"""Changes of earlier steps after which an ascription says what is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cnndsl.diagnostics import Fix
from cnndsl.graph.model import Node
from cnndsl.ops.types import FeatureMap
from cnndsl.ops.values import spell
from cnndsl.repair.places import Places
from cnndsl.repair.rules import set_of, setter
from cnndsl.repair.windows import MOST_PADDING, replayed, stride_of
from cnndsl.semantics.faults import ClaimFault

_STRIDES = (1, 2, 3, 4)
_NEAR = (-1, 1, -2, 2)
"""How far a kernel is usually off."""


def mend_claim(fault: ClaimFault, places: Places) -> Iterator[Fix]:
    """The window nearest to the claim that gives its sizes; then its channels."""
    start, steps = fault.before[0].type, fault.before[1:]
    wanted = fault.believed
    for step in reversed(steps) if isinstance(wanted, FeatureMap) else ():
        for name, value, text in _windows(step):
            found = replayed(start, steps, step, **{name: value})
            if found == wanted:
                yield from set_of(step, places, name, text)
    filters = setter(fault.before)
    if filters is not None and type(fault.claimed[0]) is int:
        yield from set_of(filters, places, "out", str(fault.claimed[0]))


def _windows(step: Node) -> Iterator[tuple[str, Any, str]]:
    """Other windows of a step: parameter, value, and the value as text; likeliest first."""
    stride, kernel = stride_of(step.op), step.op.values.get("kernel")
    if stride is None or not isinstance(kernel, tuple):
        return
    for value in sorted(_STRIDES, key=lambda s: abs(s - stride[0])):
        yield "stride", (value, value), str(value)
    if "ceil" in step.op.params:
        other = not step.op.values["ceil"]
        yield "ceil", other, spell(other)
    for value in range(MOST_PADDING + 1) if "padding" in step.op.params else ():
        yield "padding", (value,) * 4, str(value)
    for value in (max(kernel) + by for by in _NEAR):
        if value > 0:
            yield "kernel", (value, value), str(value)
