"""Changes that may let an operator's rule hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from math import gcd, isqrt

from cnndsl.diagnostics import Edit, Fix
from cnndsl.graph.model import Node
from cnndsl.ops.types import FeatureMap, channels_of
from cnndsl.ops.values import spell
from cnndsl.repair.offers import Offer
from cnndsl.repair.places import Places, before, drop_argument, set_argument, without
from cnndsl.semantics.faults import RuleFault
from cnndsl.semantics.wording import shortened
from cnndsl.syntax import ast

_USUAL = "224"
_BOUND = re.compile(r"at least ([0-9]+)")
_NEAREST = 4  # divisors and multiples that are tried


def mend_rule(fault: RuleFault, places: Places) -> Iterator[Offer]:
    """Changes by the kind of rule, likeliest first."""
    family = _FAMILIES.get(fault.error.rule)
    if family is not None:
        yield from family(fault, places)


def _set(fault: RuleFault, places: Places, name: str, value: str) -> Iterator[Offer]:
    call = places.node(fault.span)
    names = fault.op.params if fault.op else {}
    edit = set_argument(call, names, name, value) if call is not None else None
    if edit is not None:
        yield Fix(f"write `{name}={value}`", (edit,))


# --- channels and groups ----------------------------------------------------------------------


def _divide(fault: RuleFault, places: Places) -> Iterator[Offer]:
    """The nearest number of groups (parts, factor) that divides; then the nearest filters."""
    name = fault.error.param
    given = fault.values.get(name or "")
    if name is None or not isinstance(given, int):
        return
    channels = _channels(fault)
    out = fault.values.get("out")
    whole = [n for n in (channels, out) if isinstance(n, int)]
    if not whole:
        return
    if name == "factor":
        good = [f for f in range(1, isqrt(whole[0]) + 1) if whole[0] % (f * f) == 0]
    else:
        common = gcd(*whole)
        good = [d for d in range(1, isqrt(common) + 1) if common % d == 0]
        good += [common // d for d in good]
    for value in sorted(set(good) - {1}, key=lambda v: (abs(v - given), v))[:_NEAREST]:
        yield from _set(fault, places, name, str(value))
    if isinstance(out, int) and (channels is None or channels % given == 0):
        below = out // given * given
        for value in sorted({below, below + given} - {0}, key=lambda v: abs(v - out)):
            yield from _set(fault, places, "out", str(value))
    yield from _set(fault, places, name, "1") if name == "groups" else ()
    divisor = given * given if name == "factor" else given
    yield from _feed(fault, places, divisor)
    path = places.path(fault.span)
    if path and channels is not None:
        more = -(-channels // divisor) * divisor
        yield Fix("bring the channels to a multiple first", before(path, f"conv({more}, 1)"))


def _feed(fault: RuleFault, places: Places, divisor: int) -> Iterator[Offer]:
    """The step that sets the channels before gives a multiple instead."""
    step = setter(fault.before)
    if step is not None:
        out = max(1, round(step.op.values["out"] / divisor)) * divisor
        yield from set_of(step, places, "out", str(out))


def setter(steps: Sequence[Node]) -> Node | None:
    found = (s for s in reversed(steps) if type(s.op.values.get("out")) is int)
    return next(found, None)


def set_of(step: Node, places: Places, name: str, value: str) -> Iterator[Fix]:
    """Another value of a parameter of an earlier step."""
    call = places.node(step.span) if step.span else None
    edit = set_argument(call, step.op.params, name, value) if call is not None else None
    if edit is not None and step.span is not None:
        yield Fix(f"`{name}={value}` in `{shortened(step.span.text)}`", (edit,))


def _channels(fault: RuleFault) -> int | None:
    last = fault.before[-1].type if fault.before else None
    channels = channels_of(last) if isinstance(last, FeatureMap) else None
    return channels if isinstance(channels, int) else None


# --- sizes ------------------------------------------------------------------------------------


def _enlarge(fault: RuleFault, places: Places) -> Iterator[Offer]:
    """Pad, take a smaller window, skip the step, or start from a larger input."""
    kernel, x = fault.values.get("kernel"), fault.before[-1].type if fault.before else None
    path = places.path(fault.span)
    for node in reversed(path):
        if isinstance(node, ast.Power) and isinstance(node.exponent, ast.Number):
            fewer = spell(node.exponent.value - 1)
            yield Fix("repeat it once less", (Edit(node.exponent.span, fewer),))
    if isinstance(kernel, tuple) and isinstance(x, FeatureMap):
        if "padding" in fault.values:
            yield from _set(fault, places, "padding", str(max(kernel) // 2))
        sides = [s for s in (x.height, x.width) if isinstance(s, int)]
        fitting = min([*sides, *kernel])
        for value in dict.fromkeys((fitting, fitting - 1 + fitting % 2)):
            if value > 1:
                yield from _set(fault, places, "kernel", str(value))
    yield from _larger_input(fault, places)
    if path and kernel is not None:
        yield Fix("leave this step out", without(path))


def fixed_inputs(nets: Iterable[ast.Declaration]) -> Iterator[Offer]:
    """A net with numbers where its input has symbols."""
    for net in nets:
        items = [item for given in net.inputs for item in given.dims.items]
        edits = tuple(Edit(i.span, _USUAL) for i in items if isinstance(i, ast.Name))
        if edits:
            yield Fix("fix the size of the input", edits)


def _larger_input(fault: RuleFault, places: Places) -> Iterator[Offer]:
    frame = fault.frame
    while frame is not None and frame.parent is not None:
        frame = frame.parent
    net = places.declaration(frame.span) if frame else None
    for given in net.inputs if net else ():
        sizes = [i for i in given.dims.items[1:] if isinstance(i, ast.Number)]
        yield tuple(
            Fix(
                f"an input {times} times as large",
                tuple(Edit(size.span, spell(size.value * times)) for size in sizes),
            )
            for times in (2, 4, 8, 16)
        )


def _number(fault: RuleFault, places: Places) -> Iterator[Offer]:
    """A size that must be a number: pool first, or say the padding."""
    path = places.path(fault.span)
    if fault.op is None or not path:
        return
    if fault.op.name == "flatten":
        yield from _flattened_late(path)
        yield Fix("pool to one position first", before(path, "gap"))
        yield Fix("pool to a fixed size first", before(path, "adaptive_avgpool(7)"))
    if fault.error.param == "padding":
        kernel = fault.values.get("kernel")
        dropped = drop_argument(path[-1], "padding")
        if isinstance(kernel, tuple) and all(k % 2 for k in kernel) and dropped is not None:
            yield Fix("the usual padding", (dropped,))
        yield from _paddings(fault, places)
    yield from fixed_inputs(places.nets(fault.span))


def _flattened_late(path: list[ast.Node]) -> Iterator[Fix]:
    """``flatten -> gap`` in the other order."""
    for chain, step in pairwise(path):
        at = chain.steps.index(step) if isinstance(chain, ast.Chain) else -1
        if isinstance(chain, ast.Chain) and at + 1 < len(chain.steps):
            after = chain.steps[at + 1].span
            edits = (Edit(step.span, after.text), Edit(after, step.span.text))
            yield Fix(f"flatten behind `{shortened(after.text)}`", edits)


def _paddings(fault: RuleFault, places: Places) -> Iterator[Offer]:
    """For an even kernel: what gives H/stride, or keeps the size, or pads nothing."""
    kernel, stride = fault.values.get("kernel"), fault.values.get("stride", (1, 1))
    k = kernel if isinstance(kernel, int) else kernel[0] if isinstance(kernel, tuple) else None
    s = stride if isinstance(stride, int) else stride[0] if isinstance(stride, tuple) else 1
    if not isinstance(k, int) or not isinstance(s, int):
        return
    if s > 1 and k >= s and (k - s) % 2 == 0:
        yield from _set(fault, places, "padding", str((k - s) // 2))
    if s == 1:
        yield from _set(fault, places, "padding", "same_upper")
    yield from _set(fault, places, "padding", "0")
    if k > 1 and k % 2 == 0:
        yield from _set(fault, places, "kernel", str(k - 1))


def _missing(fault: RuleFault, places: Places) -> Iterator[Offer]:
    if fault.error.param == "padding":
        yield from _paddings(fault, places)


# --- kinds and values -------------------------------------------------------------------------


def _kind(fault: RuleFault, places: Places) -> Iterator[Offer]:
    """A vector where a feature map is needed: flatten later, or use `linear`."""
    path = places.path(fault.span)
    last = fault.before[-1].type if fault.before else None
    if not path or fault.op is None:
        return
    if isinstance(last, FeatureMap):
        yield Fix("make it a vector first", before(path, "gap -> flatten"))
        return
    flatten = next((s for s in reversed(fault.before) if s.op.name == "flatten"), None)
    around = places.path(flatten.span) if flatten and flatten.span else []
    if fault.op.name == "conv":
        call = path[-1]
        if isinstance(call, ast.Call) and call.args:
            text = f"linear({call.args[0].value.span.text})"
            yield Fix("a linear layer on the vector", (Edit(call.span, text),))
    if around:
        yield Fix("leave `flatten` out", without(around))
    yield Fix("leave this step out", without(path))


def _value(fault: RuleFault, places: Places) -> Iterator[Offer]:
    """A number below its bound is the bound; a share above 1 was meant in percent."""
    node = places.node(fault.place)
    number = node.value if isinstance(node, ast.Argument) else node
    if not isinstance(number, ast.Number):
        return
    bound = _BOUND.search(fault.error.message)
    if "below 1" in fault.error.message and number.value > 1:
        text = spell(float(number.value / 100))
    elif bound is not None and number.value < int(bound[1]):
        text = bound[1]
    else:
        return
    yield Fix(f"write {text}", (Edit(number.span, text),))


_FAMILIES: dict[str, Callable[[RuleFault, Places], Iterator[Offer]]] = {
    "groups": _divide, "channels": _divide, "small": _enlarge, "symbolic": _number,
    "missing": _missing, "kind": _kind, "value": _value,
}  # fmt: skip
