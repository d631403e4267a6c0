"""Windows of several convolutions on one input, laid over each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cnndsl.ops.conv import Conv
from cnndsl.ops.values import Edges
from cnndsl.passes.convolutions import edges_of
from cnndsl.passes.flow import Step
from cnndsl.weights.expr import Expr


class Window(NamedTuple):
    """The window of a convolution into which others were laid."""

    kernel: tuple[int, int]
    edges: Edges


class _Span(NamedTuple):
    """A window along one axis: it starts ``before`` before the pixel that it belongs to."""

    kernel: int
    before: int
    after: int
    dilation: int


def _spans(conv: Step) -> tuple[_Span, _Span]:
    assert isinstance(conv.op, Conv)
    (height, width), (down, right) = conv.op.kernel, conv.op.dilation
    top, bottom, left, rest = edges_of(conv)
    return _Span(height, top, bottom, down), _Span(width, left, rest, right)


def common_window(convs: Sequence[Step]) -> Window | None:
    """The smallest window that holds all of theirs, each where it looks at the same pixels.

    Strides and dilations are equal. None if they do not lie on one grid or if the outputs
    would differ in size.
    """
    rows, columns = zip(*(_spans(conv) for conv in convs), strict=True)
    down, right = _cover(rows), _cover(columns)
    if down is None or right is None:
        return None
    edges = Edges(down.before, down.after, right.before, right.after)
    return Window((down.kernel, right.kernel), edges)


def _cover(spans: Sequence[_Span]) -> _Span | None:
    before, step = max(s.before for s in spans), spans[0].dilation
    if any((before - s.before) % step for s in spans):
        return None
    offsets = [(before - s.before) // step for s in spans]
    kernel = max(o + s.kernel for o, s in zip(offsets, spans, strict=True))
    afters = {s.after + step * (kernel - s.kernel - o) for o, s in zip(offsets, spans, strict=True)}
    return _Span(kernel, before, afters.pop(), step) if len(afters) == 1 else None


def laid_into(window: Window, conv: Step) -> Expr:
    """The weight of ``conv`` with zeros around, so that it may use the larger window."""
    starts = (window.edges.top, window.edges.left)
    room = []
    for span, start, kernel in zip(_spans(conv), starts, window.kernel, strict=True):
        offset = (start - span.before) // span.dilation
        room.append((offset, kernel - offset - span.kernel))
    return conv.weights["weight"].pad((0, 0), (0, 0), *room)
