"""Tokens on lines of bounded width: what fits, and where lines were decided to break."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import accumulate
from typing import Any

from cnndsl.syntax import ast
from cnndsl.syntax.spacing import Tokens

WIDTH = 88
INDENT = 2
Steps = Generator[Any, Any, int]
"""Lays out one part and returns the column behind it; yields the layouts of its own parts."""


def run(steps: Steps) -> int:
    """Drives layouts with a stack of their own, so that no text can exhaust Python's."""
    waiting = [steps]
    column: int | None = None
    while True:
        try:
            waiting.append(waiting[-1].send(column))
            column = None
        except StopIteration as done:
            waiting.pop()
            column = int(done.value)
            if not waiting:
                return column


class Page:
    """``breaks``: the indentation of each token that starts a line, by the token's index.

    ``parts`` are the line starts before which an empty line may stay.
    """

    def __init__(self, tokens: Tokens, spaces: list[int], commented: Sequence[bool]) -> None:
        self.tokens = tokens
        self.spaces = spaces
        self.breaks: dict[int, int] = {}
        self.parts: set[int] = set()
        texts = [token.text for token in tokens.all]
        lengths = map(len, texts)
        # columns of starts and ends if the whole file were one line
        self._ends = list(accumulate(map(sum, zip(spaces, lengths, strict=True))))
        self._starts = [e - len(t) for e, t in zip(self._ends, texts, strict=True)]
        self._comments = list(accumulate(map(int, commented)))
        self._commented = commented

    def text(self, index: int) -> str:
        return self.tokens.all[index].text

    def break_at(self, index: int, indent: int) -> None:
        self.breaks[index] = indent

    def is_commented(self, index: int) -> bool:
        """Whether the gap before the token holds a comment, and so must break."""
        return self._commented[index]

    def width(self, first: int, last: int) -> int:
        """Columns from one token through another on one line."""
        return self._ends[last] - self._starts[first]

    def advance(self, first: int, to: int) -> int:
        """Columns from the start of one token to the start of another on one line."""
        return self._starts[to] - self._starts[first]

    def fits(self, first: int, last: int, room: int) -> bool:
        clean = self._comments[last] == self._comments[first]
        return clean and self.width(first, last) <= room

    def node_fits(self, node: ast.Node, room: int) -> bool:
        return self.fits(self.tokens.first(node), self.tokens.last(node), room)

    def node_width(self, node: ast.Node) -> int:
        return self.width(self.tokens.first(node), self.tokens.last(node))

    def closing(self, opening: int, items: Sequence[ast.Node]) -> int:
        """The index of the bracket that closes the one around the items."""
        after = self.tokens.last(items[-1]) + 1 if items else opening + 1
        return after + 1 if self.text(after) == "," else after
