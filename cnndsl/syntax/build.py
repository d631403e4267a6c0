"""Reductions of the grammar into the syntax tree, called bottom-up, so no walk.

Method names are the grammar's rule names and aliases, with an underscore where the bare
name is a word or a type of Python. A child is a token, a node, or a list of nodes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

from cnndsl.diagnostics import Diagnostic
from cnndsl.source import Source, Span
from cnndsl.syntax import ast, errors
from cnndsl.syntax.scan import Token

_SUFFIX = {"K": 10**3, "M": 10**6, "G": 10**9}
_WORD = 64  # characters that are looked at before a label
_HYPHENATED = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*-$")
_made = tuple.__new__  # what a named tuple's own constructor calls, in half of its time
Child = Any
_Arguments = tuple[ast.Argument, ...]


class TooDeep(Exception):
    """A node higher than the nesting limit."""

    def __init__(self, span: Span) -> None:
        super().__init__("nesting")
        self.span = span


class Misuse(Exception):
    """Tokens where the grammar allows them and the language does not; ``problem`` says why."""

    def __init__(self, problem: Diagnostic) -> None:
        super().__init__("misuse")
        self.problem = problem


class Builder:
    """Builds one declaration at a time; ``source`` and ``nesting`` are set before each."""

    source: Source
    nesting: int

    # --- helpers ----------------------------------------------------------------------

    def _span(self, children: Sequence[Child]) -> Span:
        first, last = children[0], children[-1]
        start = first.start if isinstance(first, Token) else first.span.start
        end = last.end if isinstance(last, Token) else last.span.end
        return _made(Span, (self.source, start, end))

    def _place(self, token: Token) -> Span:
        return _made(Span, (self.source, token.start, token.end))

    def _above(self, span: Span, *parts: ast.Node) -> int:
        """The height of the node at ``span`` that is made of ``parts``."""
        depth = 1
        for part in parts:
            if part.depth >= depth:
                depth = part.depth + 1
        if depth > 3 * self.nesting:
            raise TooDeep(span)
        return depth

    def _id(self, token: Token) -> ast.Identifier:
        return ast.Identifier(self._place(token), token.text)

    def _ids(self, children: Sequence[Child]) -> tuple[ast.Identifier, ...]:
        return tuple([self._id(c) for c in children if isinstance(c, Token) and c.kind == "name"])

    # --- atoms --------------------------------------------------------------------------

    def number(self, children: list[Child]) -> ast.Number:
        return ast.Number(self._place(children[0]), _number(children[0].text))

    def boolean(self, children: list[Child]) -> ast.Boolean:
        return ast.Boolean(self._place(children[0]), children[0].text == "yes")

    def constant(self, children: list[Child]) -> ast.Constant:
        return ast.Constant(self._place(children[0]), children[0].text)

    def name(self, children: list[Child]) -> ast.Name:
        return ast.Name(self._place(children[0]), children[0].text)

    def attribute(self, children: list[Child]) -> ast.Attribute:
        return ast.Attribute(self._span(children), self.name(children), self._id(children[2]))

    def group(self, children: list[Child]) -> ast.Group:
        span, body = self._span(children), children[1]
        return ast.Group(span, body, depth=self._above(span, body))

    def tuple_(self, children: list[Child]) -> ast.Items:
        return self._items(children, is_round=True)

    def list_(self, children: list[Child]) -> ast.Items:
        return self._items(children, is_round=False)

    def _items(self, children: list[Child], is_round: bool) -> ast.Items:
        span, items = self._span(children), tuple(children[1:-1:2])
        return ast.Items(span, items, is_round, depth=self._above(span, *items))

    def argument(self, children: list[Child]) -> ast.Argument:
        span, value = self._span(children), children[-1]
        name = self._id(children[0]) if len(children) == 3 else None
        return ast.Argument(span, name, value, depth=self._above(span, value))

    def arguments(self, children: list[Child]) -> list[ast.Argument]:
        return children[::2]

    def call(self, children: list[Child]) -> ast.Call:
        args = tuple(children[2]) if isinstance(children[2], list) else ()
        wires = tuple(children[-2]) if _is(children[-1], "]") else None
        return self._call(children, args, wires)

    def wired(self, children: list[Child]) -> ast.Call:
        return self._call(children, None, tuple(children[2]))

    def _call(
        self, children: list[Child], args: _Arguments | None, wires: _Arguments | None
    ) -> ast.Call:
        span = self._span(children)
        depth = self._above(span, *(args or ()), *(wires or ()))
        return ast.Call(span, self.name(children), args, wires, depth=depth)

    # --- expressions ----------------------------------------------------------------------

    def tap(self, children: list[Child]) -> ast.Tap:
        span, body = self._span(children), children[0]
        return ast.Tap(span, body, self._id(children[2]), depth=self._above(span, body))

    def ascribed(self, children: list[Child]) -> ast.Ascribed:
        span, body, dims = self._span(children), children[0], children[2]
        return ast.Ascribed(span, body, dims, depth=self._above(span, body, dims))

    def negative(self, children: list[Child]) -> ast.Expr:
        span, operand = self._span(children), children[1]
        if isinstance(operand, ast.Number):  # so that -1 prints and reads back as itself
            return ast.Number(span, -operand.value)
        return ast.Negative(span, operand, depth=self._above(span, operand))

    def power(self, children: list[Child]) -> ast.Power:
        span, base, exponent = self._span(children), children[0], children[2]
        return ast.Power(span, base, exponent, depth=self._above(span, base, exponent))

    def chain(self, children: list[Child]) -> ast.Chain:
        span, steps = self._span(children), tuple(children[::2])
        return ast.Chain(span, steps, depth=self._above(span, *steps))

    def _infix(self, children: list[Child]) -> ast.Expr:
        """A run of one joining sign makes one n-ary node; other signs nest to the left."""
        result: ast.Expr = children[0]
        at = 1
        while at < len(children):
            op, run = children[at].text, [result]
            # After the first operand a sign that does not join (`-`, `/`, `%`) ends the run.
            joins = op in "+|*"
            while at < len(children) and children[at].text == op and (joins or len(run) == 1):
                run.append(children[at + 1])
                at += 2
            span = self._span(run)
            result = ast.Infix(span, op, tuple(run), depth=self._above(span, *run))
        return result

    sum = concat = product = _infix

    def _logic(self, children: list[Child]) -> ast.Logic:
        span, operands = self._span(children), tuple(children[::2])
        return ast.Logic(span, children[1].text, operands, depth=self._above(span, *operands))

    expr = conjunction = _logic

    def not_(self, children: list[Child]) -> ast.Logic:
        span, operand = self._span(children), children[1]
        return ast.Logic(span, "not", (operand,), depth=self._above(span, operand))

    def comparison(self, children: list[Child]) -> ast.Compare:
        span, (left, op, right) = self._span(children), children
        return ast.Compare(span, op.text, left, right, depth=self._above(span, left, right))

    # --- steps ----------------------------------------------------------------------------

    def label(self, children: list[Child]) -> ast.LabelText:
        self._check_label(children[0])
        return self._label_text(children)

    def module(self, children: list[Child]) -> ast.LabelText:
        return self._label_text(children)

    def _label_text(self, children: list[Child]) -> ast.LabelText:
        """Literal text, and holes, whose parts are taken over."""
        holes = [c for c in children if isinstance(c, ast.LabelText)]
        parts: list[str | ast.Expr] = []
        for child in children:
            parts.extend([child.text] if isinstance(child, Token) else child.parts)
        span = self._span(children)
        return ast.LabelText(span, tuple(parts), depth=self._above(span, *holes))

    def hole(self, children: list[Child]) -> ast.LabelText:
        """``{expr}`` and the literal text up to the next hole."""
        span, value, tail = self._span(children), children[1], children[3:]
        if tail and not _is(tail[-1], "-"):
            self._check_label(tail[-1])
        text = "".join(token.text for token in tail)
        parts = (value, text) if tail else (value,)
        return ast.LabelText(span, parts, depth=self._above(span, value))

    def _check_label(self, token: Token) -> None:
        """A number may be a label; ``1.5`` would read as two."""
        if not token.text.replace("_", "a").isalnum():
            raise Misuse(errors.template_in_name(self._place(token)))

    def labelled(self, children: list[Child]) -> ast.Labelled:
        label, body = children[0], children[2]
        word = _HYPHENATED.search(
            self.source.text, max(label.span.start - _WORD, 0), label.span.start
        )
        if word:
            meant = word[0].replace("-", "_") + label.span.text
            place = Span(self.source, word.start(), label.span.end)
            raise Misuse(errors.hyphen_in_label(place, meant))
        span = self._span(children)
        return ast.Labelled(span, label, body, depth=self._above(span, label, body))

    def emit(self, children: list[Child]) -> ast.Emit:
        span, body = self._span(children), children[-1]
        mode = self._id(children[2]) if len(children) > 2 else None
        return ast.Emit(span, mode, body, depth=self._above(span, body))

    def if_(self, children: list[Child]) -> ast.If:
        span, parts = self._span(children), children[1::2]
        condition, then, orelse = parts if len(parts) == 3 else (*parts, None)
        return ast.If(span, condition, then, orelse, depth=self._above(span, *parts))

    def for_(self, children: list[Child]) -> ast.For:
        span, bounds, body = self._span(children), children[3:-1:2], children[-1]
        start, stop = bounds if len(bounds) == 2 else (*bounds, None)
        depth = self._above(span, *bounds, body)
        return ast.For(span, self._id(children[1]), start, stop, body, depth=depth)

    def again(self, children: list[Child]) -> ast.Again:
        span, module = self._span(children), children[1]
        return ast.Again(span, module, depth=self._above(span, module))

    # --- declarations ---------------------------------------------------------------------

    def import_(self, children: list[Child]) -> ast.Import:
        path = self._place(children[1])
        return ast.Import(self._span(children), path.text[1:-1], path, self._ids(children[2:]))

    def params(self, children: list[Child]) -> list[ast.Param]:
        return children[1:-1:2]

    def param(self, children: list[Child]) -> ast.Param:
        span, defaults = self._span(children), children[2:]
        default = defaults[0] if defaults else None
        return ast.Param(span, self._id(children[0]), default, depth=self._above(span, *defaults))

    def wires(self, children: list[Child]) -> list[ast.Identifier]:
        return [*self._ids(children)]

    def input(self, children: list[Child]) -> ast.Input:
        span, dims = self._span(children), children[0]
        name = self._id(children[1]) if len(children) > 1 else None
        return ast.Input(span, dims, name, depth=self._above(span, dims))

    def clause(self, children: list[Child]) -> ast.Clause:
        span, conditions = self._span(children), tuple(children[1::2])
        depth = self._above(span, *conditions)
        return ast.Clause(span, children[0].text, conditions, depth=depth)

    def with_(self, children: list[Child]) -> list[ast.Call]:
        return children[1:-1:2]

    def let(self, children: list[Child]) -> ast.Let:
        span, value = self._span(children), children[-1]
        return ast.Let(span, self._ids(children[1:-2]), value, depth=self._above(span, value))

    def body(self, children: list[Child]) -> ast.Body:
        first = children[0]
        doc = first.text[1:-1] if isinstance(first, Token) else None
        defaults = [call for c in children if isinstance(c, list) for call in c]
        nodes = [c for c in children if isinstance(c, ast.Node)]
        span = self._span([*(children[:1] if doc is not None else defaults), *nodes])
        return ast.Body(
            span,
            doc,
            tuple(defaults),
            tuple([n for n in nodes if isinstance(n, ast.Let)]),
            tuple([n for n in nodes if isinstance(n, ast.Expr)]),
            depth=self._above(span, *defaults, *nodes),
        )

    def declaration(self, children: list[Child]) -> ast.Declaration:
        listed = [part for c in children if isinstance(c, list) for part in c]
        nodes = [c for c in children if isinstance(c, ast.Node)]
        span = self._span(children)
        return ast.Declaration(
            span,
            kind=children[0].text,
            name=self._id(children[1]),
            params=tuple([p for p in listed if isinstance(p, ast.Param)]),
            wires=tuple([w for w in listed if isinstance(w, ast.Identifier)]),
            inputs=tuple([n for n in nodes if isinstance(n, ast.Input)]),
            body=next(n for n in nodes if isinstance(n, ast.Body)),
            clauses=tuple([n for n in nodes if isinstance(n, ast.Clause)]),
            depth=self._above(span, *listed, *nodes),
        )

    block = def_ = net = declaration


def _is(child: Child, text: str) -> bool:
    return isinstance(child, Token) and child.text == text


@lru_cache(maxsize=1024)
def _number(text: str) -> int | Fraction:
    if text.isdigit():
        return int(text)
    scale = _SUFFIX.get(text[-1], 1)
    digits = text[:-1] if scale > 1 else text
    value = Fraction(digits) * scale
    return int(value) if value.denominator == 1 else value
