"""The statements of one ``forward``: short chains in one line, and names for what flows."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field, replace

from cnndsl.exporters.python.layout import WIDTH, Doc, lines
from cnndsl.exporters.python.names import identifier
from cnndsl.exporters.python.words import Words
from cnndsl.outline.families import Term

_LETTERS = ("x", "y", "z", "u", "v", "w")
_DEEPEST, _LONGEST = 3, 66  # calls inside each other, and columns that they may take
_NAME = 20


@dataclass(frozen=True)
class Line:
    """A statement to be written: ``like`` tells shapes apart, ``comment`` stands behind it."""

    targets: tuple[int, ...]
    term: Term
    train: bool
    like: object
    comment: str = ""
    depth: int = 1


def wires(term: Term) -> Iterator[int]:
    """The values that an expression reads, in its order."""
    if isinstance(term, tuple):
        if len(term) == 2 and term[0] == "wire":
            yield term[1]
        else:
            for part in term:
                yield from wires(part)


def shortened(
    body: Sequence[Line],
    results: Sequence[int],
    words: Words,
    heads: Container[str],
    anyway: bool = False,
) -> list[Line]:
    """Lines with what is read once, by the next line, written inside it.

    Only where the shape stays, or is about to be flattened: a line has one comment. Calls of
    inner namespaces, convolutions and the like (``heads``) start a line.
    ``anyway``: shapes do not matter.
    """
    uses: dict[int, int] = {}
    for i in [*results, *(i for line in body for i in wires(line.term))]:
        uses[i] = uses.get(i, 0) + 1
    found: list[Line] = []
    for line in body:
        last = found[-1] if found else None
        leads = line.term[0] == "call" and line.term[1][0] == "child" and line.term[1][1] in heads
        if last is not None and not leads and _fits(last, line, uses, anyway):
            term = _with(line.term, last.targets[0], last.term)
            if len(words.text(term)) <= _LONGEST:
                found[-1] = replace(line, term=term, depth=last.depth + 1)
                continue
        found.append(line)
    return found


def _fits(last: Line, line: Line, uses: dict[int, int], anyway: bool) -> bool:
    if "loop" in (last.term[0], line.term[0]):
        return False
    if len(last.targets) != 1 or len(line.targets) != 1 or last.train != line.train:
        return False
    once = uses.get(last.targets[0], 0) == 1 and last.targets[0] in wires(line.term)
    alike = anyway or last.like == line.like or _flattens(line.term)
    return once and last.depth < _DEEPEST and alike


def _outer(term: Term) -> Term:
    """The expression of a round, its values as those of a body."""
    if not isinstance(term, tuple):
        return term
    if len(term) == 2 and term[0] == "at":
        return ("wire", term[1])
    return tuple(_outer(part) for part in term)


def _sum(first: int, count: str) -> str:
    return str(first + int(count)) if count.isdigit() else f"{count} + {first}"


def _flattens(term: Term) -> bool:
    return bool(term[0] == "text" and term[1][-1] == ".flatten(1)")


def _with(term: Term, wire: int, value: Term) -> Term:
    if not isinstance(term, tuple):
        return term
    if term == ("wire", wire):
        return value
    return tuple(_with(part, wire, value) for part in term)


@dataclass
class Forward:
    """Writes lines with variables. ``labels``: names for the values of inner namespaces."""

    words: Words
    body: list[Line]
    results: tuple[int, ...]
    inputs: list[str]
    labels: dict[str, str]
    names: dict[int, str] = field(default_factory=dict)
    reserved: set[str] = field(default_factory=set)
    result: str = ""

    def write(self, indent: int) -> list[str]:
        """The lines of the body, the ``return`` among them, is the caller's to head."""
        self.names.update(enumerate(self.inputs))
        self.words.wires = self.names.__getitem__
        self.last = self._last_reads()
        self.makers = {i: at for at, line in enumerate(self.body) for i in line.targets}
        self.readers: dict[int, list[int]] = {}
        for line in self.body:
            read = set(wires(line.term))
            for i in read:
                self.readers.setdefault(i, []).append(len(read))
        self.live = set(self.names)
        found: list[str] = []
        for at, line in enumerate(self.body):
            if line.train and (at == 0 or not self.body[at - 1].train):
                found += self._heads(at, indent)
            if self._returned(at):
                doc = self.words.doc(line.term)
                return [*found, *_commented(doc, indent, "return ", line.comment)]
            self.live = {i for i in self.live if self.last.get(i, -1) >= at}
            if line.term[0] == "loop":
                found += self._loop(at, indent)
                continue
            doc = self.words.doc(line.term)
            left = ", ".join(self._name(at, k) for k in range(len(line.targets)))
            inner = indent + 4 * line.train
            if not (isinstance(doc, str) and doc == left):
                found += _commented(doc, inner, f"{left} = ", line.comment)
        values = [self.names[i] for i in self.results]
        return [*found, f"{' ' * indent}return {self._tuple(values)}"]

    def _loop(self, at: int, indent: int) -> list[str]:
        """Rounds that carry a value; its name is the same before and behind."""
        line = self.body[at]
        _, alone, (prefix, first), count, outer, inner = line.term
        read = [wire for _, wire in outer]
        start, name = self.names[read[0]], self._name(at, 0)
        pad = " " * indent
        found = [] if start == name else [f"{pad}{name} = {start}"]
        heads = "for layer in self.children():" if alone else self._range(first, count)
        each = "layer" if alone else f'self.get_submodule(f"{prefix}{{i}}")'
        body = [Line((made,), _outer(term), False, object()) for made, term in inner]
        words = replace(self.words, each=each)
        taken = {self.names[i] for i in self._live(at)} | {"layer", "i"} | self.reserved
        names = [name, *(self.names[i] for i in read[1:])]
        results = (inner[-1][0],)
        inside = Forward(words, shortened(body, results, words, (), True), results, names, {})
        inside.reserved, inside.result = taken - {name}, name
        return [*found, f"{pad}{heads}", *inside.write(indent + 4)[:-1]]

    def _range(self, first: int, count: Term) -> str:
        number = self.words.text(count)
        rounds = f"{first}, {_sum(first, number)}" if first else number
        return f"for i in range({rounds}):"

    def _tuple(self, values: list[str]) -> str:
        return ", ".join(values)

    def _last_reads(self) -> dict[int, int]:
        last: dict[int, int] = {}
        for at, line in enumerate(self.body):
            last.update(dict.fromkeys(line.targets, at))
            last.update(dict.fromkeys(wires(line.term), at))
        return last | dict.fromkeys(self.results, len(self.body))

    def _returned(self, at: int) -> bool:
        line = self.body[at]
        end = at + 1 == len(self.body) and not line.train and line.term[0] != "loop"
        return end and not self.result and line.targets == self.results and len(self.results) == 1

    def _heads(self, at: int, indent: int) -> list[str]:
        """What training adds from here on: its results, None in evaluation, and the branch."""
        end = at
        while end < len(self.body) and self.body[end].train:
            end += 1
        pad = " " * indent
        made = [i for line in self.body[at:end] for i in line.targets if self.last[i] >= end]
        for i in made:
            self.names[i] = self._free(self._label(i), at - 1)
            self.live.add(i)
        none = [f"{pad}{self.names[i]} = None" for i in made]
        return [*none, f"{pad}if self.training:"]

    # --- names ------------------------------------------------------------------------------

    def _name(self, at: int, place: int) -> str:
        line = self.body[at]
        wire = line.targets[place]
        if self.result and at + 1 == len(self.body):
            self.names.setdefault(wire, self.result)
        elif wire not in self.names:
            self.names[wire] = self._reused(at, place) or self._free(self._label(wire), at)
        self.live.add(wire)
        return self.names[wire]

    def _reused(self, at: int, place: int) -> str:
        """The name of a value that this line is the last to read."""
        line = self.body[at]
        if line.train or place or self._is_kept(line):
            return ""
        taken = {self.names[i] for i in self._live(at)}
        dying = [self.names[i] for i in wires(line.term) if self.last[i] == at]
        return next((n for n in dying if n in _LETTERS and n not in taken), "")

    def _is_kept(self, line: Line) -> bool:
        """Whether it is an inner namespace's value that is one of many, or is read again later."""
        wire = line.targets[0]
        if not self._called(line.term):
            return False
        beside = self.readers.get(wire, [])
        return len(beside) > 1 or any(count > 2 for count in beside)

    def _called(self, term: Term) -> str:
        """The inner namespace that an expression is a call of; "" if it is none."""
        if term[0] == "call" and isinstance(term[1], tuple) and term[1][0] == "child":
            label = self.labels.get(term[1][1], "")
            return label if label[:1].isalpha() else ""
        return ""

    def _label(self, wire: int) -> str:
        made = self.body[self.makers[wire]]
        kept = made.train or self._is_kept(made)
        return self._called(made.term) if kept and len(made.targets) == 1 else ""

    def _free(self, wanted: str, at: int) -> str:
        taken = {self.names[i] for i in self._live(at)} | self.reserved
        choices = [identifier(wanted)[:_NAME]] if wanted else list(_LETTERS)
        number = 1
        while True:
            for name in choices:
                if name not in taken:
                    return name
            number += 1
            choices = [f"{identifier(wanted)[:_NAME]}_{number}" if wanted else f"x{number}"]

    def _live(self, at: int) -> list[int]:
        """Values that have a name and are read behind this line."""
        return [i for i in self.live if self.last.get(i, -1) > at]


def _commented(doc: Doc, indent: int, before: str, comment: str) -> list[str]:
    found = lines(doc, indent, before)
    if comment and len(found) == 1 and len(found[0]) + len(comment) + 2 <= WIDTH:
        return [f"{found[0]}  {comment}"]
    return found
