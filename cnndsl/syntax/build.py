"""Reductions of the grammar into the syntax tree, called bottom-up, so no walk.

Method names are the grammar's rule names and aliases, with an underscore where the bare
name is a word or a type of Python. A child is a token, a node, or a list of nodes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from cnndsl.diagnostics import Diagnostic
from cnndsl.source import Source, Span
from cnndsl.syntax import ast, errors
from cnndsl.syntax.scan import Token

_SUFFIX = {"K": 10**3, "M": 10**6, "G": 10**9}
_WORD = 64  # characters that are looked at before a label
_HYPHENATED = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*-$")
Child = Any


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
        if isinstance(first, list):
            first = first[0]
        start = first.start if isinstance(first, Token) else first.span.start
        end = last.end if isinstance(last, Token) else last.span.end
        return Span(self.source, start, end)

    def _depth(self, children: Sequence[Child]) -> int:
        depth = 1
        for child in children:
            if isinstance(child, ast.Node) and child.depth >= depth:
                depth = child.depth + 1
        if depth > 3 * self.nesting:
            raise TooDeep(self._span(children))
        return depth

    def _at(self, children: Sequence[Child]) -> dict[str, Any]:
        return {"span": self._span(children), "depth": self._depth(children)}

    def _id(self, token: Token) -> ast.Identifier:
        return ast.Identifier(self._span((token,)), token.text)

    def _ids(self, children: Sequence[Child]) -> tuple[ast.Identifier, ...]:
        return tuple(self._id(c) for c in children if isinstance(c, Token) and c.kind == "name")

    # --- atoms --------------------------------------------------------------------------

    def number(self, children: list[Child]) -> ast.Number:
        return ast.Number(self._span(children), _number(children[0].text))

    def boolean(self, children: list[Child]) -> ast.Boolean:
        return ast.Boolean(self._span(children), children[0].text == "yes")

    def constant(self, children: list[Child]) -> ast.Constant:
        return ast.Constant(self._span(children), children[0].text)

    def name(self, children: list[Child]) -> ast.Name:
        return ast.Name(self._span(children), children[0].text)

    def attribute(self, children: list[Child]) -> ast.Attribute:
        owner = self.name(children[:1])
        return ast.Attribute(**self._at(children), owner=owner, name=self._id(children[2]))

    def group(self, children: list[Child]) -> ast.Group:
        return ast.Group(**self._at(children), body=children[1])

    def tuple_(self, children: list[Child]) -> ast.Items:
        return ast.Items(**self._at(children), items=_nodes(children), round=True)

    def list_(self, children: list[Child]) -> ast.Items:
        return ast.Items(**self._at(children), items=_nodes(children))

    def argument(self, children: list[Child]) -> ast.Argument:
        name = self._id(children[0]) if len(children) == 3 else None
        return ast.Argument(**self._at(children), name=name, value=children[-1])

    def arguments(self, children: list[Child]) -> list[ast.Argument]:
        return list(_nodes(children))

    def call(self, children: list[Child]) -> ast.Call:
        groups = [c for c in children if isinstance(c, list)]
        has_wires = any(_is(c, "[") for c in children)
        has_args = len(groups) == (2 if has_wires else 1)
        return ast.Call(
            **self._call_at(children, groups),
            callee=self.name(children[:1]),
            args=tuple(groups[0]) if has_args else (),
            wires=tuple(groups[-1]) if has_wires else None,
        )

    def wired(self, children: list[Child]) -> ast.Call:
        return ast.Call(
            **self._call_at(children, [children[2]]),
            callee=self.name(children[:1]),
            args=None,
            wires=tuple(children[2]),
        )

    def _call_at(self, children: list[Child], groups: list[Child]) -> dict[str, Any]:
        inner = [a for group in groups for a in group]
        return {"span": self._span(children), "depth": self._depth([*inner, children[-1]])}

    # --- expressions ----------------------------------------------------------------------

    def tap(self, children: list[Child]) -> ast.Tap:
        return ast.Tap(**self._at(children), body=children[0], name=self._id(children[2]))

    def ascribed(self, children: list[Child]) -> ast.Ascribed:
        return ast.Ascribed(**self._at(children), body=children[0], dims=children[2])

    def negative(self, children: list[Child]) -> ast.Expr:
        operand = children[1]
        if isinstance(operand, ast.Number):  # so that -1 prints and reads back as itself
            return ast.Number(self._span(children), -operand.value)
        return ast.Negative(**self._at(children), operand=operand)

    def power(self, children: list[Child]) -> ast.Power:
        return ast.Power(**self._at(children), base=children[0], exponent=children[2])

    def chain(self, children: list[Child]) -> ast.Chain:
        return ast.Chain(**self._at(children), steps=_nodes(children))

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
            result = ast.Infix(**self._at(run), op=op, operands=tuple(run))
        return result

    sum = concat = product = _infix

    def _logic(self, children: list[Child]) -> ast.Logic:
        return ast.Logic(**self._at(children), op=children[1].text, operands=_nodes(children))

    expr = conjunction = _logic

    def not_(self, children: list[Child]) -> ast.Logic:
        return ast.Logic(**self._at(children), op="not", operands=(children[1],))

    def comparison(self, children: list[Child]) -> ast.Compare:
        left, op, right = children
        return ast.Compare(**self._at(children), op=op.text, left=left, right=right)

    # --- steps ----------------------------------------------------------------------------

    def label(self, children: list[Child]) -> ast.LabelText:
        parts: list[str | ast.Expr] = [children[0].text]
        for hole in children[1:]:
            parts.extend(hole.parts)
        self._check_label(children[0])
        return ast.LabelText(**self._at(children), parts=tuple(parts))

    def hole(self, children: list[Child]) -> ast.LabelText:
        tail = children[3:]
        if not tail:
            return ast.LabelText(**self._at(children), parts=(children[1],))
        if not _is(tail[-1], "-"):
            self._check_label(tail[-1])
        text = "".join(token.text for token in tail)
        return ast.LabelText(**self._at(children), parts=(children[1], text))

    def _check_label(self, token: Token) -> None:
        """A number may be a label; ``1.5`` would read as two."""
        if not token.text.replace("_", "a").isalnum():
            raise Misuse(errors.template_in_name(self._span((token,))))

    def labelled(self, children: list[Child]) -> ast.Labelled:
        label = children[0].span
        word = _HYPHENATED.search(self.source.text, max(label.start - _WORD, 0), label.start)
        if word:
            meant = word[0].replace("-", "_") + label.text
            place = Span(self.source, word.start(), label.end)
            raise Misuse(errors.hyphen_in_label(place, meant))
        return ast.Labelled(**self._at(children), label=children[0], body=children[2])

    def emit(self, children: list[Child]) -> ast.Emit:
        mode = self._id(children[2]) if len(children) > 2 else None
        return ast.Emit(**self._at(children), mode=mode, body=children[-1])

    def if_(self, children: list[Child]) -> ast.If:
        orelse = children[5] if len(children) > 4 else None
        return ast.If(**self._at(children), condition=children[1], then=children[3], orelse=orelse)

    def for_(self, children: list[Child]) -> ast.For:
        return ast.For(
            **self._at(children),
            variable=self._id(children[1]),
            start=children[3],
            stop=children[5] if _is(children[4], "..") else None,
            body=children[-1],
        )

    def again(self, children: list[Child]) -> ast.Again:
        return ast.Again(**self._at(children), module=children[1])

    def module(self, children: list[Child]) -> ast.LabelText:
        parts: list[str | ast.Expr] = []
        for child in children:
            parts.extend([child.text] if isinstance(child, Token) else child.parts)
        return ast.LabelText(**self._at(children), parts=tuple(parts))

    # --- declarations ---------------------------------------------------------------------

    def import_(self, children: list[Child]) -> ast.Import:
        path = self._span(children[1:2])
        return ast.Import(
            **self._at(children),
            path=path.text[1:-1],
            path_span=path,
            names=self._ids(children[1:]),
        )

    def params(self, children: list[Child]) -> list[ast.Param]:
        return list(_nodes(children))

    def param(self, children: list[Child]) -> ast.Param:
        default = children[2] if len(children) > 1 else None
        return ast.Param(**self._at(children), name=self._id(children[0]), default=default)

    def wires(self, children: list[Child]) -> list[ast.Identifier]:
        return [*self._ids(children)]

    def input(self, children: list[Child]) -> ast.Input:
        name = self._id(children[1]) if len(children) > 1 else None
        return ast.Input(**self._at(children), dims=children[0], name=name)

    def clause(self, children: list[Child]) -> ast.Clause:
        return ast.Clause(**self._at(children), kind=children[0].text, conditions=_nodes(children))

    def with_(self, children: list[Child]) -> list[ast.Call]:
        return list(_nodes(children))

    def let(self, children: list[Child]) -> ast.Let:
        names = self._ids(children[1:])
        return ast.Let(**self._at(children), names=names, value=children[-1])

    def body(self, children: list[Child]) -> ast.Body:
        first = children[0]
        doc = first.text[1:-1] if isinstance(first, Token) and first.kind == "string" else None
        nodes = [c for c in children if isinstance(c, ast.Node)]
        defaults = [call for c in children if isinstance(c, list) for call in c]
        return ast.Body(
            **self._at(children),
            doc=doc,
            defaults=tuple(defaults),
            lets=tuple(n for n in nodes if isinstance(n, ast.Let)),
            results=tuple(n for n in nodes if isinstance(n, ast.Expr)),
        )

    def declaration(self, children: list[Child]) -> ast.Declaration:
        listed = [part for c in children if isinstance(c, list) for part in c]
        nodes = [c for c in children if isinstance(c, ast.Node)]
        return ast.Declaration(
            **self._at(children),
            kind=children[0].text,
            name=self._id(children[1]),
            params=tuple(p for p in listed if isinstance(p, ast.Param)),
            wires=tuple(w for w in listed if isinstance(w, ast.Identifier)),
            inputs=tuple(n for n in nodes if isinstance(n, ast.Input)),
            body=next(n for n in nodes if isinstance(n, ast.Body)),
            clauses=tuple(n for n in nodes if isinstance(n, ast.Clause)),
        )

    block = def_ = net = declaration


def _is(child: Child, text: str) -> bool:
    return isinstance(child, Token) and child.text == text


def _nodes(children: Sequence[Child]) -> tuple[Any, ...]:
    return tuple(c for c in children if isinstance(c, ast.Node))


def _number(text: str) -> int | Fraction:
    if text.isdigit():
        return int(text)
    scale = _SUFFIX.get(text[-1], 1)
    digits = text[:-1] if scale > 1 else text
    value = Fraction(digits) * scale
    return int(value) if value.denominator == 1 else value
