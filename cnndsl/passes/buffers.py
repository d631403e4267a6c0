"""Which concatenations are views into one buffer, so that each part is copied once.

DenseNet reads ``concat(a)``, ``concat(a, b)``, ``concat(a, b, c)`` …: each is the beginning of
the next, so one buffer as wide as the last holds them all::

    buffer:  [ a | b | c | … ]
             '-------'          a view of its first channels is concat(a, b)

Written out, k layers of g channels copy k^2 g / 2 channels; into one buffer, k g.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from cnndsl.ops.conv import Conv
from cnndsl.ops.merge import Concat
from cnndsl.ops.norm import BatchNorm
from cnndsl.ops.pool import AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool
from cnndsl.passes.chains import links_of, operands
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.kinds import ELEMENTWISE


class Place(NamedTuple):
    """Channels ``offset .. offset + channels`` of a buffer, a number from 0 on."""

    buffer: int
    offset: int
    channels: int


@dataclass(frozen=True)
class Buffers:
    """Where the concatenations of a flow lie. Nothing here changes the flow.

    An engine that follows it writes each part to its places as soon as it has the value (or
    has the kernel write it there), and takes a view where the flow has a concatenation.
    Whatever reads a view must leave it as it is: an activation in place would change what the
    next layer reads.
    """

    channels: tuple[int, ...]
    """How wide each buffer is."""
    views: dict[int, Place]
    """Where a concatenation lies, by the id of its step."""
    writes: dict[int, tuple[Place, ...]]
    """Where a part is copied to, by the id of its step: more than one place if buffers share
    it."""

    @staticmethod
    def of(flow: Flow) -> Buffers:
        """The plan for a flow, in time linear in its operands and the buffers' parts."""
        root = _Node(None, None, 0)
        ends: dict[int, _Node] = {}
        for step in flow:
            if isinstance(step.op, Concat):
                ends[step.id] = _insert(root, step, ends)
        return _assign(ends.values(), flow)


@dataclass(eq=False)
class _Node:
    """A list of parts, as the list before it and one part more; equal lists are one node."""

    before: _Node | None
    part: Step | None
    channels: int
    concats: list[Step] = field(default_factory=list)
    longer: dict[Step, _Node] = field(default_factory=dict)
    placed: bool = False

    def path(self) -> Iterator[_Node]:
        """Itself, and each shorter list."""
        node: _Node | None = self
        while node is not None and node.part is not None:
            yield node
            node = node.before


def takes_views(reader: Step, concat: Step) -> bool:
    """Guard: whether what reads a concatenation takes rows that lie apart.

    Convolutions, pools and elementwise steps do; reshapes, matrices and softmax want a dense
    tensor, and so does whoever is handed a result.
    """
    links = [link for link in links_of(reader) if concat in operands(reader, link)]
    return all(isinstance(link.op, _STRIDED) for link in links)


_STRIDED = (*ELEMENTWISE, BatchNorm, Conv, MaxPool, AvgPool, GlobalAvgPool, GlobalMaxPool, Concat)


def may_be_view(concat: Step, flow: Flow) -> bool:
    """Whether a concatenation may be narrower than its buffer."""
    if flow.is_result(concat):
        return False
    return all(takes_views(reader, concat) for reader in concat.users.values())


def _insert(root: _Node, concat: Step, ends: dict[int, _Node]) -> _Node:
    """The node of the concatenation's parts; a first part that is one itself is its parts."""
    first, *rest = concat.inputs
    known = ends.get(first.id)
    node, parts = (root, concat.inputs) if known is None else (known, tuple(rest))
    for part in parts:
        if part not in node.longer:
            node.longer[part] = _Node(node, part, node.channels + part.channels)
        node = node.longer[part]
    node.concats.append(concat)
    return node


def _assign(ends: Iterable[_Node], flow: Flow) -> Buffers:
    """Widest first: a buffer takes the shorter lists on its path that have none yet."""
    widths: list[int] = []
    views: dict[int, Place] = {}
    writes: dict[int, list[Place]] = {}
    for end in sorted(dict.fromkeys(ends), key=lambda node: -node.channels):
        if not any(concat.id not in views for concat in end.concats):
            continue
        buffer = len(widths)
        widths.append(end.channels)
        for node in end.path():
            assert node.part is not None
            offset = node.channels - node.part.channels
            place = Place(buffer, offset, node.part.channels)
            writes.setdefault(node.part.id, []).append(place)
            for concat in node.concats:
                if concat.id not in views and (node is end or may_be_view(concat, flow)):
                    views[concat.id] = Place(buffer, 0, node.channels)
    return Buffers(tuple(widths), views, {i: tuple(places) for i, places in writes.items()})
