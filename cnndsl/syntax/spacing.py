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
    sign = right.text
    if left.text in _CLOSE_AFTER or sign in _CLOSE_BEFORE:
        return 0
    if sign not in ("(", "["):
        return 1
    called = left.kind == "name" and left.text not in words
    return int(not called and (sign == "(" or left.text != ")"))


def _apart(tokens: list[Token]) -> Iterator[int]:
    """Dots between two numbers of a module path, which would read as one number."""
    for index, token in enumerate(tokens):
        if token.text == "." and tokens[index - 1].kind == tokens[index + 1].kind == "number":
            yield index


# --- what only the tree knows -----------------------------------------------------------------


class _Place(NamedTuple):
    """Where a node stands.

    ``number``: among values, where a product of names is arithmetic.
    ``tight``: in an exponent, a range or a label, where even a sum is close.
    """

    number: bool = False
    tight: bool = False


_ANYWHERE, _NUMBER, _TIGHT = _Place(), _Place(number=True), _Place(number=True, tight=True)
_ATOMS = frozenset([ast.Name, ast.Identifier, ast.Constant, ast.Boolean])
_PLACES = {
    **dict.fromkeys((ast.Argument, ast.Items, ast.Param, ast.Clause), _NUMBER),
    ast.LabelText: _TIGHT,
}
_CLEAR = frozenset([ast.Infix, ast.Negative, ast.Group, ast.Compare, ast.Logic])
"""What stands in these stands where they do."""
_MIXED = frozenset([ast.Power, ast.If, ast.For])


def _close(tokens: Tokens, roots: list[ast.Node]) -> Iterator[int]:
    """The tokens that stand close to the one before, against the rule of their pair."""
    waiting: list[tuple[ast.Node, _Place]] = [(root, _ANYWHERE) for root in roots]
    products = _Products()
    while waiting:
        node, place = waiting.pop()
        if type(node) in _ATOMS:
            continue
        if isinstance(node, ast.Number):  # `-1` is one node
            yield from range(tokens.first(node) + 1, tokens.last(node) + 1)
            continue
        waiting += _inside(node, place)
        if isinstance(node, ast.LabelText):
            yield from _between(node, tokens)
        elif isinstance(node, ast.Argument) and node.name:
            sign = tokens.last(node.name) + 1
            yield from (sign, sign + 1)
        elif isinstance(node, ast.Emit) and node.mode:
            yield tokens.first(node.mode) - 1
        elif isinstance(node, ast.Negative):
            yield tokens.first(node) + 1
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


def _inside(node: ast.Node, place: _Place) -> list[tuple[ast.Node, _Place]]:
    """The parts of a node, and where each stands."""
    kind, parts = type(node), ast.children(node)
    if kind in _MIXED:
        return [(part, _place_in(node, part)) for part in parts]
    inside = place if kind in _CLEAR else _PLACES.get(kind, _ANYWHERE)
    return [(part, inside) for part in parts]


def _place_in(node: ast.Node, part: ast.Node) -> _Place:
    if isinstance(node, ast.If):
        return _NUMBER if part is node.condition else _ANYWHERE
    if isinstance(node, ast.Power):
        return _TIGHT if part is node.exponent else _ANYWHERE
    ends = (node.start, node.stop) if isinstance(node, ast.For) and node.stop else ()
    return _TIGHT if any(part is end for end in ends) else _ANYWHERE


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
