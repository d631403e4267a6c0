"""A family as the text of a class."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, count

from cnndsl.exporters.python import layers, terms
from cnndsl.exporters.python.classes import Family
from cnndsl.exporters.python.docs import docstring
from cnndsl.exporters.python.draft import Draft
from cnndsl.exporters.python.forward import Forward, Line, shortened, wires
from cnndsl.exporters.python.layout import Group, lines
from cnndsl.exporters.python.names import fresh, identifier, is_attribute, literal
from cnndsl.exporters.python.words import Words, filled
from cnndsl.graph.model import Graph
from cnndsl.graph.names import is_reserved
from cnndsl.ops.sizes import Size
from cnndsl.ops.types import FeatureMap
from cnndsl.outline.families import MISSING, Parameter, Term, leaves, spell

_LEADING = ("nn.Conv2d", "nn.ConvTranspose2d", "nn.Linear", "ChannelLinear")


class ClassWriter:
    """Writes one class of a file: ``write()`` gives its lines."""

    def __init__(self, graph: Graph, found: list[Family], family: Family, doc: str) -> None:
        self.graph, self.family, self.doc = graph, family, doc
        self.draft: Draft = max(family.members, key=lambda draft: len(draft.statements))
        parameters = [parameter.name for parameter in family.solution.parameters]
        children = [name for name, _ in family.body[2]]
        self.kept = kept_names(parameters, {*children})
        before = sum(1 for _ in leaves(family.body[:4]))
        texts = family.solution.texts
        own = [in_forward(text, self.kept) for text in texts[before:]]
        self.stored = [p for p in parameters if any(uses(text, p) for text in texts[before:])]
        _, self.counts, self.children, self.noise, self.statements, self.results = filled(
            family.body, iter([*texts[:before], *own])
        )
        self.root = not self.draft.path
        numbers = [name for name, _ in self.children] == list(map(str, range(len(self.children))))
        bare = [name for name, term in self.children if term[0] == "bare"]
        optional = any(term[0] == "optional" for _, term in self.children)
        self.indexed = bool(self.children) and numbers and not bare and not optional
        taken = {*children, *(self.kept[name] for name in self.stored)}
        noise = [
            fresh({"droppath": "drop_path"}.get(node.op.name, node.op.name), taken)
            for node in self.draft.noise
        ]
        self.draw = fresh("draw", taken)
        borrowed_names = set(self._inputs())
        borrowed = [
            fresh(identifier(path.rpartition(".")[2]), borrowed_names)
            for path in self.draft.borrowed
        ]
        self.words = Words([f.name for f in found], self.indexed, noise, borrowed)

    def write(self) -> list[str]:
        base = "nn.Sequential" if self.indexed else "nn.Module"
        head = [f"class {self.family.name}({base}):", *docstring(self._words())]
        parts = [self._init()]
        if self.draft.live:
            parts.append(self._forward())
        return head + [line for part in parts if part for line in ["", *part]]

    def _words(self) -> list[str]:
        found = [self.doc, self._shapes()]
        if any(found):
            return found
        return [f"The network {self.graph.name}." if self.root else f"{self.draft.path} and alike."]

    def _shapes(self) -> str:
        """Of inputs and results, in the class's parameters."""
        notes, made = self.family.notes, {}
        if not notes or not self.draft.live:
            return ""
        for i, node in enumerate(self.draft.inputs):
            made[i] = self._shape(notes[i], [(m, m.inputs[i]) for m in self.family.members], node)
        shift, channels = len(self.draft.inputs), self._channels()
        for place, (targets, _, _) in enumerate(self.statements):
            if len(targets) == 1:
                made[targets[0]] = self._noted(place, channels[place] or "out")
        inputs = [made[i] for i in range(shift)]
        results = [made.get(i, "") for i in self.results]
        if not all([*inputs, *results]):
            return ""
        return f"{', '.join(inputs)} -> {', '.join(results)}."

    def _channels(self) -> list[str]:
        """Of what each statement makes, in the class's parameters; "" where nobody can say."""
        found = list(self.family.notes[len(self.draft.inputs) :])
        known = dict(enumerate(self.family.notes[: len(self.draft.inputs)]))
        for place, (targets, term, _) in enumerate(self.statements):
            if not found[place] and term[:2] == ("call", "torch.cat"):
                parts = [known.get(i, "") for i in wires(term)]
                found[place] = _total(parts) if all(parts) else ""
            if len(targets) == 1:
                known[targets[0]] = found[place]
        return found

    # --- __init__ ---------------------------------------------------------------------------

    def _init(self) -> list[str]:
        made = list(self._modules())
        if not made and not self.family.solution.parameters:
            return []
        given = ["self", *map(_parameter, self.family.solution.parameters)]
        start = [] if self.indexed else ["        super().__init__()"]
        head = _signature("__init__", given, "None")
        made += self._stored()
        return [*head, *start, *made]

    def _stored(self) -> list[str]:
        """Parameters that ``forward`` needs."""
        return [f"        self.{self.kept[name]} = {name}" for name in self.stored]

    def _modules(self) -> Iterator[str]:
        if self.indexed:
            parts = tuple(self.words.doc(term) for _, term in self.children)
            yield from lines(Group("super().__init__(", parts, ")"), 8)
        else:
            for name, term in self.children:
                yield from self._child(name, term)
        for name, term in zip(self.words.noise, self.noise, strict=True):
            yield from lines(self.words.doc(term), 8, f"self.{name} = ")
        if self.root:
            yield from self._shared_draw()

    def _child(self, name: str, term: Term) -> Iterator[str]:
        if term[0] == "loop":
            _, first, count, part = term
            yield f"        for i in range({self.words.text(count)}):"
            number = f"{{i + {first}}}" if first else "{i}"
            doc = Group("self.add_module(", (f'f"{name}{number}"', self.words.doc(part)), ")")
            yield from lines(doc, 12)
        elif term[0] == "optional":
            yield from self._put(name, terms.call("nn.Identity"), 8)
            yield f"        if {self.words.text(term[1])}:"
            yield from self._put(name, term[2], 12)
        else:
            yield from self._put(name, term, 8)

    def _put(self, name: str, term: Term, indent: int) -> list[str]:
        doc = self.words.doc(term)
        if is_attribute(name):
            return lines(doc, indent, f"self.{name} = ")
        adder = "register_parameter" if term[0] == "bare" else "add_module"
        return lines(Group(f"self.{adder}(", (literal(name), doc), ")"), indent)

    def _shared_draw(self) -> Iterator[str]:
        """What lets all noise of a network share one draw."""
        kinds = [(n.op.name, len(n.inputs)) for n in self.graph if layers.shares_draw(n.op)]
        if not kinds:
            return
        widest = max((size for name, size in kinds if name == "join"), default=1)
        names = sorted({"Join" if name == "join" else "NetDropPath" for name, _ in kinds})
        which = f"({', '.join(names)})" if len(names) > 1 else names[0]
        yield f"        self.{self.draw} = Draw({f'columns={widest}' if widest > 1 else ''})"
        yield "        for module in self.modules():"
        yield f"            if isinstance(module, {which}):"
        yield f"                module.draw = self.{self.draw}"

    # --- forward ----------------------------------------------------------------------------

    def _inputs(self) -> list[str]:
        if self.root:
            taken = {f"{self.family.name}Output"}
            names = (node.path for node in self.graph.inputs)
            return [fresh("x" if name == "in" else identifier(name), taken) for name in names]
        letters = chain("xyzuvw", (f"x{number}" for number in count(2)))
        return [name for name, _ in zip(letters, range(self.counts[0]), strict=False)]

    def _forward(self) -> list[str]:
        inputs = self._inputs()
        labels = {
            name: name for name, term in self.children
            if self._is_space(term)
        }  # fmt: skip
        heads = {name for name, term in self.children if name in labels or _leads(term)}
        body = shortened(self._lines(), self.results, self.words, heads)
        reserved = {*self.words.borrowed, f"{self.family.name}Output"}
        reserved |= set(inputs) if len(inputs) > 1 else set()
        forward = Forward(self.words, body, self.results, inputs, labels, reserved=reserved)
        written = forward.write(8)
        start = self._start()
        if self.root and len(self.results) > 1:
            written[-1:] = self._named([forward.names[i] for i in self.results])
        lent = [f"{name}: nn.Module" for name in self.words.borrowed]
        given = ["self", *(f"{name}: Tensor" for name in inputs), *lent]
        return [*_signature("forward", given, self._returned()), *start, *written]

    def _is_space(self, term: Term) -> bool:
        whole = term[2] if term[0] == "optional" else term
        return whole[0] == "sequence" or (whole[0] == "call" and isinstance(whole[1], tuple))

    def _start(self) -> list[str]:
        if self.root and any(layers.shares_draw(node.op) for node in self.graph):
            return ["        if self.training:", f"            self.{self.draw}.start()"]
        return []

    def _named(self, values: list[str]) -> list[str]:
        doc = Group(f"{self.family.name}Output(", tuple(values), ")")
        return lines(doc, 8, "return ")

    def _returned(self) -> str:
        if len(self.results) == 1:
            return "Tensor"
        if self.root:
            return f"{self.family.name}Output"
        return f"tuple[{', '.join(['Tensor'] * len(self.results))}]" if self.results else "None"

    def _lines(self) -> list[Line]:
        notes = self._channels()
        own = self.draft.statements
        found = []
        for place, (targets, term, train) in enumerate(self.statements):
            node = own[place].node if len(own) == len(self.statements) else -1
            type = self.graph.nodes[node].type if node >= 0 else None
            like: object = type if type is not None else object()
            comment = self._comment(place, notes[place]) if notes and notes[place] else ""
            found.append(Line(targets, term, train, like, comment))
        return found

    def _comment(self, place: int, channels: str) -> str:
        said = self._noted(place, channels)
        return f"# {said}" if said else ""

    def _noted(self, place: int, channels: str) -> str:
        """The shape of what a statement makes."""
        whole = [m for m in self.family.members if len(m.statements) == len(self.statements)]
        made = [(m, m.statements[place].node) for m in whole if m.statements[place].node >= 0]
        return self._shape(channels, made, made[0][1]) if made and channels else ""

    def _shape(self, channels: str, made: list[tuple[Draft, int]], first: int) -> str:
        if not channels:
            return ""
        if not isinstance(self.graph.nodes[first].type, FeatureMap):
            return f"[{channels}]"
        return f"[{channels}, {self._side(made, 'height')}, {self._side(made, 'width')}]"

    def _side(self, made: list[tuple[Draft, int]], side: str) -> str:
        """A height or width, in the H and W of the class's own input where members differ."""
        letter = side[0].upper()
        found = set()
        for member, node in made:
            size = getattr(self.graph.nodes[node].type, side)
            taken = getattr(self.graph.nodes[member.inputs[0]].type, side, None)
            same = size == taken and not self.root
            found.add(letter if same else _spelled(size) if self._says(size) else letter.lower())
        return found.pop() if len(found) == 1 else letter.lower()

    def _says(self, size: object) -> bool:
        """Whether a size means something here: in the network, or a number for all."""
        return self.root or isinstance(size, int)


def _leads(term: Term) -> bool:
    """Whether a layer starts a line: what others follow."""
    return bool(term[0] == "call" and term[1] in _LEADING)


def _total(parts: list[str]) -> str:
    """A sum, its numbers added up."""
    numbers = [int(part) for part in parts if part.isdigit()]
    words = [part for part in parts if not part.isdigit()]
    return " + ".join([*words, *([str(sum(numbers))] if numbers else [])])


def _spelled(size: object) -> str:
    """``floor((H+3)/4)`` as ``ceil(H/4)``."""
    if isinstance(size, Size) and size.divisor > 1:
        rounded = Size(size.symbol, 1, size.divisor - 1, size.divisor)
        return f"ceil({size.symbol}/{size.divisor})" if size == rounded else str(size)
    return str(size)


def kept_names(parameters: list[str], children: set[str]) -> dict[str, str]:
    """The attribute for each parameter, should ``forward`` need it."""
    taken = {*children, "append", "extend", "insert", "pop"}
    return {p: fresh(f"{p}_" if is_reserved(p) else p, taken) for p in parameters}


def uses(text: str, name: str) -> bool:
    return re.search(rf"\b{name}\b", text) is not None


def in_forward(text: str, kept: dict[str, str]) -> str:
    """An expression in parameters, read from where ``__init__`` has put them."""
    return re.sub(r"[A-Za-z_]\w*", lambda m: f"self.{kept[m[0]]}" if m[0] in kept else m[0], text)


def _parameter(parameter: Parameter) -> str:
    kinds = {type(value) for value in parameter.values}
    kind = (
        "bool" if kinds == {bool} else "int" if kinds == {int} else "str" if kinds == {str}
        else "float" if kinds <= {int, float} else "int | tuple[int, int]"
    )  # fmt: skip
    if parameter.default is MISSING:
        return f"{parameter.name}: {kind}"
    return f"{parameter.name}: {kind} = {spell(parameter.default)}"


def _signature(name: str, given: list[str], returned: str) -> list[str]:
    return lines(Group(f"def {name}(", tuple(given), ")"), 4, behind=f" -> {returned}:")
