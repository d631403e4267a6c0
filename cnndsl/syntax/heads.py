"""Where declarations break: the head, then what it declares, one part to a line."""

from __future__ import annotations

from collections.abc import Iterator

from cnndsl.syntax import ast
from cnndsl.syntax.layout import Expressions
from cnndsl.syntax.page import INDENT, WIDTH, Page, Steps, run


def lay_out(page: Page, node: ast.Import | ast.Declaration) -> bool:
    """Breaks one declaration; whether it takes more than one line."""
    before = len(page.breaks)
    first, last = page.tokens.first(node), page.tokens.last(node)
    if isinstance(node, ast.Declaration):
        run(_Declarations(page).declaration(node))
    elif not page.fits(first, last, WIDTH):
        column = page.width(first, first + 1) + 1
        run(Expressions(page).bracket(first + 2, node.names, column, 0, 0))
    return len(page.breaks) > before or not page.fits(first, last, page.width(first, last))


class _Declarations(Expressions):
    def declaration(self, node: ast.Declaration) -> Steps:
        column: int
        page, body = self.page, node.body
        first, end = self.tokens.first(node), self.tokens.last(body)
        if _is_plain(body) and page.fits(first, end, WIDTH):
            column = page.width(first, end)
        elif _is_plain(body) and self._opens_on_head(node, first):
            column = page.advance(first, self.tokens.first(body))
            column = yield self.node(body.results[0], column, 0)
        else:
            yield self._head(node, first, self._equal(body))
            column = yield self._body(body)
        for clause in node.clauses:
            column = yield self._part(self.tokens.first(clause), self._clause(clause))
        return column

    def _opens_on_head(self, node: ast.Declaration, first: int) -> bool:
        """Whether the body is one call too long for a line: its bracket opens on the head's."""
        value, page = node.body.results[0], self.page
        if len(node.body.results) > 1 or not isinstance(value, ast.Call):
            return False
        opening = self.tokens.first(value) + 1
        long = not page.node_fits(value, WIDTH - INDENT) and bool(value.args or value.wires)
        return long and page.fits(first, opening, WIDTH)

    def _equal(self, body: ast.Body) -> int:
        """The index of the ``=`` before a body. The body's span leaves ``with`` out."""
        index = self.tokens.first(body) - 1
        return index - 1 if self.page.text(index) == "with" else index

    def _head(self, node: ast.Declaration, first: int, equal: int) -> Steps:
        if self.page.fits(first, equal, WIDTH):
            return 0
        at = first + 2
        column = self.page.width(first, first + 1)
        for sign, items in (("(", node.params), ("[", node.wires)):
            if self.page.text(at) == sign:
                column = yield self.bracket(at, items, column, 0, len(" ="))
                at = self.page.closing(at, items) + 1
        if node.inputs:
            column = yield self.fill(node.inputs, column + len(": "), 2 * INDENT, len(" ="))
        return column

    def _body(self, body: ast.Body) -> Steps:
        if body.doc is not None:
            self.page.break_at(self.tokens.first(body), INDENT)
        if body.defaults:
            yield self._part(self.tokens.first(body.defaults[0]) - 1, self._defaults(body))
        for let in body.lets:
            yield self._part(self.tokens.first(let), self._let(let))
        first, last = self.tokens.first(body.results[0]), self.tokens.last(body)
        column: int = yield self._part(first, self._results(body, first, last))
        self.page.parts.discard(self._equal(body) + 1)
        return column

    def _part(self, first: int, steps: Steps) -> Steps:
        self.page.break_at(first, INDENT)
        self.page.parts.add(first)
        return steps

    def _defaults(self, body: ast.Body) -> Steps:
        return self.fill(body.defaults, INDENT + len("with "), 2 * INDENT)

    def _clause(self, clause: ast.Clause) -> Steps:
        return self.fill(clause.conditions, INDENT + len(clause.kind) + 1, 2 * INDENT)

    def _let(self, let: ast.Let) -> Steps:
        page, first, value = self.page, self.tokens.first(let), self.tokens.first(let.value)
        column = INDENT + page.advance(first, value)
        whole = page.node_fits(let.value, WIDTH - column)
        if not page.is_commented(value) and (whole or self.opens(let.value, column)):
            return self.node(let.value, column, INDENT)
        return self.content(let.value, 2 * INDENT)

    def _results(self, body: ast.Body, first: int, last: int) -> Steps:
        column = INDENT + self.page.width(first, last)
        if len(body.results) == 1:
            column = yield self.content(body.results[0], INDENT)
        elif not self.page.fits(first, last, WIDTH - INDENT):
            for result in body.results:
                self.page.break_at(self.tokens.first(result), INDENT)
                column = yield self.node(result, INDENT, INDENT, 1)
        return column


def _is_plain(body: ast.Body) -> bool:
    return body.doc is None and not body.defaults and not body.lets


def in_order(module: ast.Module) -> Iterator[ast.Import | ast.Declaration]:
    """Imports and declarations as the text has them."""
    parts: list[ast.Import | ast.Declaration] = [*module.imports, *module.declarations]
    return iter(sorted(parts, key=lambda part: part.span.start))
