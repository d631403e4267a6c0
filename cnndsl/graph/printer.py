"""A graph as one flat ``.cnn`` file that reads back to the same graph.

The steps stand in the graph's order, as one chain; a namespace is a labelled group. A value
that is read anywhere but by the step behind it gets a name (``@v1``), and a name alone in the
chain goes on from there::

    net Tiny: [3, H, W] =
         conv1: conv(8, 3) -> relu @v1
      -> block: (conv1: conv(8, 3, bias=no) -> bn1: bn) -> (id + v1)

The text is as long as the graph and nests as its namespaces do.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from cnndsl.graph.model import Graph, Node, Output
from cnndsl.graph.spaces import spaces
from cnndsl.graph.spelling import label, restrictions
from cnndsl.graph.writing import Writer
from cnndsl.ops import Op, catalogue

_SIGNS = {"add": " + ", "concat": " | ", "mul": " * "}


def print_graph(graph: Graph) -> str:
    """The graph as text; ``loads(print_graph(g))`` has one net, whose graph has g's signature.

    The text nests as the namespaces do: names of more than 50 levels, or more than a megabyte
    of text, read back under wider limits than the default ones.
    """
    writer = Writer()
    results = _Printer(graph, writer).write()
    return writer.text(heading(graph, graph.name), results, clause(graph))


def heading(graph: Graph, name: str) -> str:
    """``net Tiny: [3, H, W], [1, H, W] mask =``."""
    inputs = ", ".join(f"{n.type}{'' if n.path == 'in' else f' {n.path}'}" for n in graph.inputs)
    return f"net {name}: {inputs} ="


def clause(graph: Graph) -> str:
    """``where H % 32 == 0``; nothing where every size is valid that the steps allow."""
    conditions = ", ".join(restrictions(graph.facts))
    return f"where {conditions}" if conditions else ""


class _Printer:
    """Writes the steps of one graph. ``current`` is the value that flows along the chain."""

    def __init__(self, graph: Graph, writer: Writer) -> None:
        self.graph, self.writer = graph, writer
        self.steps = [node for node in graph if node.inputs]
        self.owners = {node.path for node in self.steps if node.shared}
        self.results = [output for output in graph.outputs if not output.emitted]
        self.names = self._named()
        self.counts: dict[str, int] = {}
        self.texts: dict[tuple[Op, bool], str] = {}

    def write(self) -> list[str]:
        """Writes everything up to the first result; gives the other results."""
        current = self.graph.inputs[0].id
        for index, (node, space) in enumerate(zip(self.steps, spaces(self.steps), strict=True)):
            self.writer.leave_for(space)
            if not node.op.join and node.inputs[0] != current:
                self.writer.step(self.names[node.inputs[0]])
            self._enter(space)
            text = self._join(node, current) if node.op.join else self._module(index)
            self.writer.step(text)
            current = node.id
        self.writer.leave_for("")
        return self._ending(current)

    def _enter(self, path: str) -> None:
        for inner in self.writer.missing(path):
            outer, _, own = inner.rpartition(".")
            self._take(outer)
            self.writer.enter(inner, label(own))

    def _ending(self, current: int) -> list[str]:
        # Behind all modules: an emitted name is a label, and `again` means the last of a name.
        for output in self.graph.outputs:
            if output.emitted:
                mode = "[train]" if output.train else ""
                self.writer.step(f"emit{mode} {label(output.name)}: {self.names[output.node]}")
        if len(self.results) == 1:
            if self.results[0].node != current:
                self.writer.step(self.names[self.results[0].node])
            return []
        first, *others = map(self._result, self.results)
        self.writer.step(first)
        return others

    def _result(self, output: Output) -> str:
        wire = self.names[output.node]
        return wire if wire == output.name else f"{label(output.name)}: {wire}"

    # --- steps ----------------------------------------------------------------------------

    def _join(self, node: Node, current: int) -> str:
        operands = ["id" if i == current else self.names[i] for i in node.inputs]
        sign = _SIGNS.get(node.op.name)
        if sign is not None:
            return self._tapped(node, f"({sign.join(operands)})")
        values = node.op.text()[len(node.op.name) + 1 : -1]
        return self._tapped(node, f"{node.op.name}({', '.join(filter(None, [*operands, values]))})")

    def _module(self, index: int) -> str:
        node = self.steps[index]
        if node.shared:
            text = "again " + ".".join(map(label, node.path.split(".")))
            return self._tapped(node, text, brackets=True)
        space, _, own = node.path.rpartition(".")
        owner = node.path in self.owners
        text = self._operator(index)
        if self._take(space) != own or owner:
            text = f"{label(own)}: {text}"
        # Around what `again` repeats, so that the name stays the first application's.
        return self._tapped(node, text, brackets=owner)

    def _tapped(self, node: Node, text: str, brackets: bool = False) -> str:
        name = self.names.get(node.id)
        if name is None:
            return text
        return f"({text}) @{name}" if brackets else f"{text} @{name}"

    def _take(self, space: str) -> str:
        """The name that the next module of a namespace has without a label."""
        position = self.counts.get(space, 0)
        self.counts[space] = position + 1
        return str(position)

    def _operator(self, index: int) -> str:
        """The operator; without `bias` where the language's own rule settles it so."""
        node = self.steps[index]
        op = node.op
        plain = op.auto_bias and op.values["bias"] is not self._is_normed(index)
        text = self.texts.get((op, plain))
        if text is None:
            text = (op.replace(bias=None) if plain else op).text()
            self.texts[op, plain] = text
        return text

    def _is_normed(self, index: int) -> bool:
        """Whether the next step of the chain is a norm."""
        if index + 1 == len(self.steps):
            return False
        node, following = self.steps[index], self.steps[index + 1]
        return following.op.norm and not following.shared and following.inputs[0] == node.id

    # --- names ----------------------------------------------------------------------------

    def _named(self) -> dict[int, str]:
        """The inputs by their names, and `v1`, `v2`, … for values that are read from afar."""
        names = {node.id: node.path for node in self.graph.inputs}
        taken = {*names.values(), *catalogue()}
        fresh = (name for name in map("v{}".format, count(1)) if name not in taken)
        afar = set(self._afar())
        names.update((node.id, next(fresh)) for node in self.steps if node.id in afar)
        return names

    def _afar(self) -> Iterator[int]:
        """Every value that a step behind it, or an output, cannot take as it passes."""
        current = self.graph.inputs[0].id
        for node in self.steps:
            yield from (i for i in node.inputs if i != current)
            current = node.id
        for output in self.graph.outputs:
            if output.emitted or len(self.results) > 1 or output.node != current:
                yield output.node
