"""Which bracket was meant to be closed, where a declaration has one too many.

Brackets pair from the inside, so a missing `)` shows at the outermost opener, often lines away.
But a call such as ``conv(64, 3 -> relu`` gives itself away: a value cannot be a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cnndsl.syntax.scan import Token


@dataclass
class _Open:
    """An open bracket and what stands in it so far."""

    token: Token
    is_call: bool
    first: int
    """The index of the token that starts the current argument."""
    is_named: bool = False
    has_number: bool = False


def likely_unclosed(tokens: Sequence[Token]) -> Token | None:
    """The opener of the first call in which a value is followed by `->`."""
    opened: list[_Open] = []
    for index, token in enumerate(tokens):
        before = tokens[index - 1] if index else token
        if token.kind == "open":
            is_call = before.kind == "name" and before.end == token.start
            opened.append(_Open(token, is_call, index + 1))
        elif not opened:
            continue
        elif token.kind == "close":
            opened.pop()
        elif token.text == ",":
            opened[-1].first, opened[-1].is_named = index + 1, False
        elif token.text == "=":
            opened[-1].is_named = True
        elif token.text == "->" and opened[-1].is_call and _ends_a_value(opened[-1], tokens, index):
            return opened[-1].token
        elif token.kind == "number":
            opened[-1].has_number = True
    return None


def _ends_a_value(call: _Open, tokens: Sequence[Token], arrow: int) -> bool:
    first, last = tokens[call.first], tokens[arrow - 1]
    if last.kind == "number" or last.text in ("yes", "no") or call.is_named:
        return True
    alone = call.first == arrow - 1
    return (alone and last.kind == "name" and call.has_number) or first.text == "("
