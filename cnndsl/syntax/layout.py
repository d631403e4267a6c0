"""Where an expression breaks: a pure function of tokens, tree and comments.

A node that fits stays on its line. One that does not breaks at its loosest signs, which
then lead their lines; a chain fills its lines with steps:

         stem: conv(64, 7) -> bn -> relu          ( a -> b
      -> head: linear(10)                           -> c
                                                  + d
                                                  ) -> relu

``column`` is where a part starts, ``base`` the indentation of the item that it belongs to,
``tail`` the columns of what must follow it on its last line.
"""

from __future__ import annotations

from collections.abc import Sequence

from cnndsl.syntax import ast
from cnndsl.syntax.page import INDENT, WIDTH, Page, Steps

_ARROW = 3  # the columns of a sign and its space


class Expressions:
    """Breaks expressions on a page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.tokens = page.tokens

    def node(self, node: ast.Node, column: int, base: int, tail: int = 0) -> Steps:
        if self.page.node_fits(node, WIDTH - column - tail):
            return column + self.page.node_width(node)
        column = yield self._broken(node, column, base, tail)
        return column

    def _broken(self, node: ast.Node, column: int, base: int, tail: int) -> Steps:
        match node:
            case ast.Chain():
                return self._chain(node.steps, column, base, tail)
            case ast.Infix() | ast.Compare():
                return self._joined(operands(node), column, base, tail)
            case ast.Logic() if node.op != "not":
                return self._joined(node.operands, column, base, tail)
            case ast.Group():
                return self._group(node, column, base)
            case ast.Call():
                return self._call(node, column, base, tail)
            case ast.Items():
                return self.bracket(self.tokens.first(node), node.items, column, base, tail)
            case ast.If():
                return self._if(node, column, base, tail)
            case ast.For():
                return self._for(node, column, base, tail)
        return self._parts(node, column, base, tail)

    def _parts(self, node: ast.Node, column: int, base: int, tail: int) -> Steps:
        """A node that has no place to break itself; its parts may have."""
        at, last = self.tokens.first(node), self.tokens.last(node)
        for part in ast.children(node):
            first, end = self.tokens.first(part), self.tokens.last(part)
            column += self.page.advance(at, first)
            rest = self.page.width(end, last) - self.page.width(end, end)
            column = yield self.node(part, column, base, rest + tail)
            at = end + 1
            if at <= last:
                column += self.page.spaces[at]
        return column + (self.page.width(at, last) if at <= last else 0)

    # --- signs ------------------------------------------------------------------------------

    def content(self, node: ast.Expr, indent: int) -> Steps:
        """An expression that has lines of its own; room is left for the signs that lead them."""
        column: int
        page, first = self.page, self.tokens.first(node)
        shift = 0 if page.node_fits(node, WIDTH - indent) else self._shift(node, indent)
        page.break_at(first, indent + shift)
        if shift and isinstance(node, ast.Chain):
            column = yield self._chain(node.steps, indent + shift, indent, 0)
        elif shift:
            column = yield self._joined(operands(node), indent + shift, indent, 0)
        else:
            column = yield self.node(node, indent, indent)
        return column

    def _shift(self, node: ast.Expr, indent: int) -> int:
        if isinstance(node, ast.Chain):
            return 0 if self._ends_with_bracket(node, indent) else _ARROW
        parts = operands(node)
        if len(parts) < 2:
            return 0
        return len(self.page.text(self.tokens.first(parts[1]) - 1)) + 1

    def _ends_with_bracket(self, node: ast.Chain, indent: int) -> bool:
        """Whether all steps follow the bracket that closes the first: no arrow leads a line."""
        page, opened = self.page, opener(node.steps[0])
        if opened is None or page.node_fits(node.steps[0], WIDTH - indent - _ARROW):
            return False
        return page.fits(self.tokens.last(opened), self.tokens.last(node), WIDTH - indent)

    def _chain(self, steps: Sequence[ast.Expr], column: int, signs: int, tail: int) -> Steps:
        page, tokens = self.page, self.tokens
        breaks = len(page.breaks)
        column = yield self.node(steps[0], column, column)
        phrases = _phrases(steps)
        for before, step, phrase in zip(steps, steps[1:], phrases[1:], strict=False):
            sign, last = tokens.first(step) - 1, tokens.last(step)
            after = tail if step is steps[-1] else 0
            room = WIDTH - column - 1 - (tail if phrase is steps[-1] else 0)
            # What follows the last line of a broken `if` would seem to belong to its `else`.
            ended = len(page.breaks) == breaks or opener(before) is not None
            if ended and not page.is_commented(sign) and page.fits(sign, tokens.last(phrase), room):
                column += 1 + page.width(sign, last)
                breaks = len(page.breaks)
                continue
            page.break_at(sign, signs)
            breaks = len(page.breaks)
            column = yield self.node(step, signs + _ARROW, signs + _ARROW, after)
        return column

    def _joined(self, parts: Sequence[ast.Expr], column: int, signs: int, tail: int) -> Steps:
        column = yield self.node(parts[0], column, column)
        for part in parts[1:]:
            sign = self.tokens.first(part) - 1
            self.page.break_at(sign, signs)
            column = signs + len(self.page.text(sign)) + 1
            column = yield self.node(part, column, column, tail if part is parts[-1] else 0)
        return column

    # --- brackets ---------------------------------------------------------------------------

    def _group(self, node: ast.Group, column: int, base: int) -> Steps:
        opening, closing = self.tokens.first(node), self.tokens.last(node)
        if column == base and not self.page.is_commented(opening + 1):
            self.page.spaces[opening + 1] = 1
            yield self._hugged(node.body, column)
        else:
            yield self.content(node.body, base + INDENT)
        self.page.break_at(closing, base)
        return base + 1

    def _hugged(self, body: ast.Expr, column: int) -> Steps:
        """Behind a bracket that starts its line: joining signs stand below the bracket."""
        parts = operands(body)
        if len(parts) > 1 and not isinstance(body, ast.Chain):
            return self._joined(parts, column + 2, column, 0)
        return self.node(body, column + 2, column + 2)

    def _call(self, node: ast.Call, column: int, base: int, tail: int) -> Steps:
        opening = self.tokens.first(node) + 1
        column += self.page.advance(opening - 1, opening)
        if node.args is not None:
            after = tail if node.wires is None else 1
            column = yield self.bracket(opening, node.args, column, base, after)
            opening = self.page.closing(opening, node.args) + 1
        if node.wires is not None:
            column = yield self.bracket(opening, node.wires, column, base, tail)
        return column

    def bracket(
        self, opening: int, items: Sequence[ast.Node], column: int, base: int, tail: int
    ) -> Steps:
        """Brackets around a list: on one line, or each item on its own."""
        page, closing = self.page, self.page.closing(opening, items)
        if page.fits(opening, closing, WIDTH - column - tail):
            return column + page.width(opening, closing)
        if items and (self._on_one_line(opening, closing, base) or all(map(_is_small, items))):
            page.break_at(self.tokens.first(items[0]), base + INDENT)
            yield self.fill(items, base + INDENT, base + INDENT)
        else:
            for item in items:
                page.break_at(self.tokens.first(item), base + INDENT)
                yield self.node(item, base + INDENT, base + INDENT, 1)
        page.break_at(closing, base)
        return base + 1

    def _on_one_line(self, opening: int, closing: int, base: int) -> bool:
        """Whether what the brackets hold fits on a line of its own."""
        return self.page.fits(opening + 1, closing - 1, WIDTH - base - INDENT)

    def fill(self, items: Sequence[ast.Node], column: int, indent: int, tail: int = 1) -> Steps:
        """Items and their commas, as many to a line as it holds; the first starts at column."""
        page, tokens = self.page, self.tokens
        column = yield self.node(items[0], column, indent, tail)
        for item in items[1:]:
            first, last = tokens.first(item), tokens.last(item)
            column += 2
            room = WIDTH - column - tail
            if page.is_commented(first) or not page.fits(first, last, room):
                page.break_at(first, indent)
                column = indent
            column = yield self.node(item, column, indent, tail)
        return column

    # --- words ------------------------------------------------------------------------------

    def _if(self, node: ast.If, column: int, base: int, tail: int) -> Steps:
        column += len("if ")
        column = yield self.node(node.condition, column, column, len(" then"))
        after = tail if node.orelse is None else 0
        column = yield self._attached(node.then, column + len(" then"), base, after)
        if node.orelse is None:
            return column
        word = self.tokens.first(node.orelse) - 1
        closed = opener(node.then) is not None and column == base + 1
        if not closed or self.page.is_commented(word):
            self.page.break_at(word, base)
            column = base - 1
        column = yield self._attached(node.orelse, column + len(" else"), base, tail)
        return column

    def _for(self, node: ast.For, column: int, base: int, tail: int) -> Steps:
        bounds = [node.start] if node.stop is None else [node.start, node.stop]
        at = self.tokens.first(node)
        for bound in bounds:
            first, last = self.tokens.first(bound), self.tokens.last(bound)
            column += self.page.advance(at, first)
            column = yield self.node(bound, column, base, len(".."))
            at = last + 1
            column += self.page.spaces[at]
        column = yield self._attached(node.body, column + len("do"), base, tail)
        return column

    def _attached(self, node: ast.Expr, column: int, base: int, tail: int) -> Steps:
        """What follows a word: behind it if it fits or opens a bracket there, else below."""
        page, first = self.page, self.tokens.first(node)
        whole = page.node_fits(node, WIDTH - column - 1 - tail)
        if not page.is_commented(first) and (whole or self.opens(node, column + 1)):
            column = yield self.node(node, column + 1, base, tail)
        else:
            page.break_at(first, base + INDENT)
            column = yield self.node(node, base + INDENT, base + INDENT, tail)
        return column

    def opens(self, node: ast.Expr, column: int) -> bool:
        """Whether a bracket of the node can open on this line and break there."""
        opened = opener(node)
        if opened is None:
            return False
        bracket = self.tokens.first(opened) + isinstance(opened, ast.Call)
        return self.page.fits(self.tokens.first(node), bracket, WIDTH - column)


def operands(node: ast.Expr) -> list[ast.Expr]:
    """What a node joins by signs of one strength, left to right."""
    if isinstance(node, ast.Compare):
        return [node.left, node.right]
    if isinstance(node, ast.Logic) and node.op != "not":
        return list(node.operands)
    if not isinstance(node, ast.Infix):
        return [node]
    parts: list[ast.Expr] = []
    left: ast.Expr = node
    while isinstance(left, ast.Infix) and _strength(left.op) == _strength(node.op):
        parts += reversed(left.operands[1:])
        left = left.operands[0]
    return [left, *reversed(parts)]


def opener(node: ast.Expr) -> ast.Group | ast.Call | ast.Items | None:
    """The part that can break inside its brackets while its start stays on the line."""
    while isinstance(node, ast.Labelled | ast.Emit | ast.Tap | ast.Ascribed | ast.Power):
        node = node.base if isinstance(node, ast.Power) else node.body
    if isinstance(node, ast.Call):
        return node if node.args or node.wires else None
    return node if isinstance(node, ast.Group | ast.Items) else None


def _phrases(steps: Sequence[ast.Expr]) -> list[ast.Expr]:
    """For each step the last one that should share its line.

    Words without brackets, as in `conv1: conv(64, 3) -> bn1: bn -> relu`, stay with the step
    before them; a phrase too long for a line breaks anywhere.
    """
    ends: list[ast.Expr] = []
    words_end: ast.Expr | None = None
    for step in reversed(steps):
        if _is_word(step):
            words_end = words_end or step
            ends.append(step)
        else:
            ends.append(words_end or step)
            words_end = None
    return ends[::-1]


def _is_word(step: ast.Expr) -> bool:
    while isinstance(step, ast.Labelled | ast.Tap):
        step = step.body
    return isinstance(step, ast.Name | ast.Constant)


def _strength(op: str) -> int:
    return {"+": 0, "-": 0, "|": 1}.get(op, 2)


def _is_small(node: ast.Node) -> bool:
    """Worth no line of its own in a list."""
    small = ast.Number | ast.Name | ast.Boolean | ast.Constant | ast.Identifier
    return isinstance(node, small)
