"""Which neighbours on one line have a space between them.

Most pairs of tokens decide it themselves. The tree decides where one sign has two meanings:
``4*c`` is arithmetic and close, ``id * gate`` joins layers and is wide.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from itertools import pairwise
from typing import NamedTuple

from cnndsl.syntax import ast
from cnndsl.syntax.parser import keywords
from cnndsl.syntax.scan import Token

_CLOSE_AFTER = frozenset(["(", "[", "{", "}", ".", "..", "@", "^"])
_CLOSE_BEFORE = frozenset([")", "]", "{", "}", ",", ".", "..", ":", "^"])


class Tokens:
    """The tokens of a file, found by the place where a node starts or ends."""

    def __init__(self, tokens: list[Token]) -> None:
        self.all = tokens
        self._starts = {token.start: i for i, token in enumerate(tokens)}
        self._ends = {token.end: i for i, token in enumerate(tokens)}

    def first(self, node: ast.Node) -> int:
        return self._starts[node.span.start]

    def last(self, node: ast.Node) -> int:
        return self._ends[node.span.end]


def spaces(tokens: Tokens, roots: list[ast.Node]) -> list[int]:
    """For each token, 1 if a space stands before it on one line, else 0."""
    words = keywords()
    pairs = pairwise([Token("start", 0, 0, ""), *tokens.all])
    found = [_lexical(left, right, words) for left, right in pairs]
    for index in _close(tokens, roots):
        found[index] = 0
    for index in _apart(tokens.all):
        found[index] = 1
    return found


def _lexical(left: Token, right: Token, words: Set[str]) -> int:
    if left.text in _CLOSE_AFTER or right.text in _CLOSE_BEFORE:
        return 0
    called = left.kind == "name" and left.text not in words
    if right.text == "(":
        return int(not called)
    if right.text == "[":
        return int(not called and left.text != ")")
    return 1


def _apart(tokens: list[Token]) -> Iterator[int]:
    """Dots between two numbers of a module path, which would read as one number."""
    for index in range(1, len(tokens) - 1):
        if tokens[index].text == ".":
            around = (tokens[index - 1].kind, tokens[index + 1].kind)
            if around == ("number", "number"):
                yield index


# --- what only the tree knows -----------------------------------------------------------------


class _Place(NamedTuple):
    """A node and where it stands.

    ``number``: among values, where a product of names is arithmetic.
    ``tight``: in an exponent, a range or a label, where even a sum is close.
    """

    node: ast.Node
    number: bool = False
    tight: bool = False


def _close(tokens: Tokens, roots: list[ast.Node]) -> Iterator[int]:
    """The tokens that stand close to the one before, against the rule of their pair."""
    waiting = [_Place(root) for root in roots]
    products = _Products()
    while waiting:
        place = waiting.pop()
        waiting += _inside(place)
        node = place.node
        if isinstance(node, ast.LabelText):
            yield from _between(node, tokens)
        elif isinstance(node, ast.Argument) and node.name:
            sign = tokens.last(node.name) + 1
            yield from (sign, sign + 1)
        elif isinstance(node, ast.Emit) and node.mode:
            yield tokens.first(node.mode) - 1
        elif isinstance(node, ast.Negative):
            yield tokens.first(node) + 1
        elif isinstance(node, ast.Number):  # `-1` is one node
            yield from range(tokens.first(node) + 1, tokens.last(node) + 1)
        elif isinstance(node, ast.Infix) and (
            place.tight or products.are_numbers(node, place.number)
        ):
            for operand in node.operands[1:]:
                first = tokens.first(operand)
                yield from (first - 1, first)


def _between(label: ast.LabelText, tokens: Tokens) -> Iterator[int]:
    """The tokens of a label that are not inside its expressions."""
    at = tokens.first(label) + 1
    for part in ast.children(label):
        yield from range(at, tokens.first(part) + 1)
        at = tokens.last(part) + 1
    yield from range(at, tokens.last(label) + 1)


def _inside(place: _Place) -> Iterator[_Place]:
    node = place.node
    for child in ast.children(node):
        if isinstance(node, ast.Argument | ast.Items | ast.Param | ast.Clause):
            yield _Place(child, number=True)
        elif _is_tight(node, child):
            yield _Place(child, number=True, tight=True)
        elif isinstance(node, ast.If) and child is node.condition:
            yield _Place(child, number=True)
        elif isinstance(node, ast.Infix | ast.Negative | ast.Group | ast.Compare | ast.Logic):
            yield _Place(child, place.number, place.tight)
        else:
            yield _Place(child)


def _is_tight(node: ast.Node, child: ast.Node) -> bool:
    if isinstance(node, ast.Power):
        return child is node.exponent
    if isinstance(node, ast.For):
        return node.stop is not None and (child is node.start or child is node.stop)
    return isinstance(node, ast.LabelText)


class _Products:
    """Which products are of numbers, as far as the text alone can tell."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[bool, bool]] = {}

    def are_numbers(self, node: ast.Infix, number: bool) -> bool:
        plain, sure = self._factors(node)
        return plain and (sure or number)

    def _factors(self, node: ast.Expr) -> tuple[bool, bool]:
        """Whether all factors are plain, and whether one can be nothing but a number."""
        spine: list[ast.Infix] = []
        while isinstance(node, ast.Infix) and node.op in ("*", "/") and id(node) not in self._known:
            spine.append(node)
            node = node.operands[0]
        plain, sure = self._known.get(id(node), (_is_atom(node), _is_number(node)))
        for product in reversed(spine):
            factors = product.operands[1:]
            plain = plain and all(map(_is_atom, factors))
            sure = sure or product.op == "/" or any(map(_is_number, factors))
            self._known[id(product)] = plain, sure
        return plain, sure


def _is_number(node: ast.Expr) -> bool:
    return isinstance(node, ast.Number | ast.Attribute)


def _is_atom(node: ast.Expr) -> bool:
    return isinstance(node, ast.Number | ast.Name | ast.Attribute)
