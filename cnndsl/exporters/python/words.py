"""Terms as expressions of Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cnndsl.exporters.python.layout import Doc, Group, flat
from cnndsl.exporters.python.names import is_attribute, literal
from cnndsl.outline.families import Leaf, Term, spell


def filled(term: Term, texts: Iterator[str]) -> Term:
    """The term with an expression for each number, ``("expr", text)``."""
    if isinstance(term, Leaf):
        return ("expr", next(texts))
    if isinstance(term, tuple):
        return tuple([filled(part, texts) for part in term])
    return term


@dataclass
class Words:
    """Writes the terms of one class. ``classes`` are names by number; ``wires`` variables.

    ``indexed``: the class is an ``nn.Sequential``, whose children are ``self[0]``, ….
    """

    classes: Sequence[str]
    indexed: bool = False
    noise: Sequence[str] = ()
    borrowed: Sequence[str] = ()
    wires: Callable[[int], str] = str
    each: str = ""

    def doc(self, term: Term) -> Doc:
        kind, *rest = term
        writer: Callable[..., Doc] = getattr(self, f"_{kind}")
        return writer(*rest)

    def text(self, term: Term) -> str:
        return flat(self.doc(term))

    def _expr(self, text: str) -> Doc:
        return text

    def _wire(self, number: int) -> Doc:
        return self.wires(number)

    def _call(self, callee: Term, arguments: Sequence[Term]) -> Doc:
        name = callee if isinstance(callee, str) else flat(self.doc(callee))
        written = [self._argument(*argument[1:]) for argument in arguments]
        return Group(f"{name}(", tuple(doc for doc in written if doc != ""), ")")

    def _argument(self, keyword: str, default: Term, term: Term) -> Doc:
        """An argument; "" when it may be left out."""
        doc = term if isinstance(term, str) else self.doc(term)
        if default != "None" and doc == spell(default):
            return ""
        return f"{keyword}={flat(doc)}" if keyword else doc

    def _class(self, number: int) -> Doc:
        return self.classes[number]

    def _sequence(self, parts: Sequence[Term]) -> Doc:
        return Group("nn.Sequential(", tuple(map(self.doc, parts)), ")")

    def _run(self, count: Term, part: Term) -> Doc:
        inner = self.doc(part)
        variable = "i" if steps(part) else "_"
        loop = f"for {variable} in range({flat(self.doc(count))})"
        return Group("*(", (inner,), ")", loop)

    def _step(self, first: Term, growth: Term) -> Doc:
        start, step = flat(self.doc(first)), flat(self.doc(growth))
        grown = "i" if step == "1" else f"{_factor(step)} * i"
        return grown if start == "0" else f"{start} + {grown}"

    def _text(self, parts: Sequence[Term], tight: bool) -> Doc:
        if parts[0] == "[" and not tight:
            return Group("[", tuple(self.doc(p) for p in parts if isinstance(p, tuple)), "]")
        return "".join(
            p if isinstance(p, str) else self._operand(p) if tight else flat(self.doc(p))
            for p in parts
        )

    def _index(self, start: Term, stop: Term) -> Doc:
        ends = [part if isinstance(part, str) else flat(self.doc(part)) for part in (start, stop)]
        if not any(" " in end or "." in end for end in ends):
            return ":".join(ends)
        return " : ".join(ends).strip() if ends[1] else f"{ends[0]} :"

    def _each(self, _: str) -> Doc:
        return self.each

    def _operand(self, term: Term) -> str:
        text = flat(self.doc(term))
        loose = term[0] == "text" and term[2] and _has_sign(term)
        loose = loose or (term[0] == "expr" and " " in text)
        return f"({text})" if loose else text

    def _bare(self, term: Term) -> Doc:
        return self.doc(term)

    # --- modules ----------------------------------------------------------------------------

    def _child(self, path: str) -> Doc:
        parts = path.split(".")
        if self.indexed and len(parts) == 1:
            return f"self[{int(path)}]"
        if all(map(is_attribute, parts)):
            return f"self.{path}"
        return f"self.get_submodule({literal(path)})"

    def _weight(self, path: str) -> Doc:
        if all(map(is_attribute, path.split("."))):
            return f"self.{path}"
        return f"self.get_parameter({literal(path)})"

    def _module(self, term: Term) -> Doc:
        return self.doc(term)

    def _noise(self, number: int) -> Doc:
        return f"self.{self.noise[number]}"

    def _borrowed(self, number: int) -> Doc:
        return self.borrowed[number]


def steps(term: Term) -> bool:
    """Whether a number in it grows with the loop."""
    if not isinstance(term, tuple):
        return False
    return bool(term) and (term[0] == "step" or any(map(steps, term)))


def _factor(text: str) -> str:
    return f"({text})" if "+" in text or "-" in text else text


def _has_sign(term: Term) -> bool:
    return any(part in (" + ", " * ") or str(part).startswith(" / ") for part in term[1])
