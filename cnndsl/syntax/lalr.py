"""Runs the grammar's tables over tokens; each reduction calls the builder, so no tree walk.

The stack is explicit: no input can make it recurse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cnndsl.limits import Stopwatch
from cnndsl.syntax.scan import Token, is_label
from cnndsl.syntax.tables import Rule, Tables

END = "$END"
_HURRY = 1024  # tokens from one look at the clock to the next
_KINDS = {"name": "NAME", "number": "NUMBER", "string": "STRING", "sign": "COMPARE"}
Reduction = Callable[[list[Any]], Any]


class Unexpected(Exception):
    """No rule goes on with the token at ``place``, which may be the end."""

    def __init__(self, place: int, terminal: str) -> None:
        super().__init__(terminal)
        self.place = place
        self.terminal = terminal


class Machine:
    """The tables joined to the methods of ``builder`` that bear the rules' names."""

    def __init__(self, tables: Tables, builder: object) -> None:
        self._tables = tables
        self._rules = [(r.length, r.result, _reduction(r, builder)) for r in tables.rules]
        self.keywords = frozenset(text for text in tables.spelled if text.isalpha())
        self._passes: dict[tuple[int, int, str], tuple[int, int | None]] = {}

    def run(self, tokens: Sequence[Token], watch: Stopwatch | None = None) -> Any:
        """What the builder makes of the start rule; raises Unexpected or OutOfTime."""
        states = [self._tables.start]
        values: list[Any] = []
        for place in range(len(tokens)):
            if watch is not None and not place % _HURRY:
                watch.check()
            token, terminal = tokens[place], self._terminal(tokens, place, states[-1])
            state = self._advance(terminal, states, values)
            if state is None:
                raise Unexpected(place, terminal)
            states.append(state)
            values.append(token)
        self._advance(END, states, values)
        if states[-1] != self._tables.end:
            raise Unexpected(len(tokens), END)
        return values[0]

    def _terminal(self, tokens: Sequence[Token], place: int, state: int) -> str:
        """What a token is to the grammar; published module paths make labels of our own words."""
        token = tokens[place]
        terminal = self._tables.spelled.get(token.text)
        if terminal is None:
            return _KINDS[token.kind]
        label = token.kind == "name" and is_label(tokens, place)
        return "NAME" if label and "NAME" in self._tables.actions[state] else terminal

    def _advance(self, terminal: str, states: list[int], values: list[Any]) -> int | None:
        """The state after ``terminal``, once every rule that ends before it is reduced."""
        actions, gotos, rules = self._tables.actions, self._tables.gotos, self._rules
        action = actions[states[-1]].get(terminal)
        while action is not None and action < 0:
            length, result, reduction = rules[-1 - action]
            if reduction is None:
                action = self._pass_on(terminal, states)
                continue
            values[-length:] = [reduction(values[-length:])]
            del states[-length:]
            state = gotos[states[-1]][result]
            states.append(state)
            action = actions[state].get(terminal)
        return action

    def _pass_on(self, terminal: str, states: list[int]) -> int | None:
        """Reduces by rules that pass their only child on: a dozen in a row for a plain name.

        What they lead to depends on two states and the terminal, so it is remembered.
        """
        key = (states[-2], states[-1], terminal)
        known = self._passes.get(key)
        if known is None:
            known = self._passes[key] = self._find_pass(*key)
        states[-1], action = known
        return action

    def _find_pass(self, below: int, state: int, terminal: str) -> tuple[int, int | None]:
        action = self._tables.actions[state].get(terminal)
        while action is not None and action < 0:
            _, result, reduction = self._rules[-1 - action]
            if reduction is not None:
                break
            state = self._tables.gotos[below][result]
            action = self._tables.actions[state].get(terminal)
        return state, action

    def expected(self, tokens: Sequence[Token]) -> set[str]:
        """The terminals that can follow ``tokens``.

        The state that rejected a token is no guide: by then rules that the token seemed to
        end are reduced. So the tokens are read once more, and each terminal is tried.
        """
        states = [self._tables.start]
        for place in range(len(tokens)):
            self._try(self._terminal(tokens, place, states[-1]), states)
        return {t for t in self._tables.actions[states[-1]] if self._try(t, list(states))}

    def accepts(self, tokens: Sequence[Token]) -> bool:
        """Whether a declaration can begin so."""
        states = [self._tables.start]
        return all(
            self._try(self._terminal(tokens, place, states[-1]), states)
            for place in range(len(tokens))
        )

    def _try(self, terminal: str, states: list[int]) -> bool:
        """``_advance`` without values; the terminal's own state is pushed too."""
        action = self._tables.actions[states[-1]].get(terminal)
        while action is not None and action < 0:
            rule = self._tables.rules[-1 - action]
            del states[-rule.length :]
            states.append(self._tables.gotos[states[-1]][rule.result])
            action = self._tables.actions[states[-1]].get(terminal)
        if action is not None:
            states.append(action)
        return action is not None or (terminal == END and states[-1] == self._tables.end)


def _reduction(rule: Rule, builder: object) -> Reduction | None:
    if rule.gathers:
        return _gathering(rule.runs)
    if not rule.call:
        return None
    # A rule named like a word of Python has its method under that name and an underscore.
    method: Reduction = getattr(builder, rule.call, None) or getattr(builder, f"{rule.call}_")
    return _splicing(method, rule.runs) if rule.runs else method


def _gathering(runs: list[int]) -> Reduction:
    """One more round of a repetition. The run so far grows in place: its cost is its length."""
    grows = runs[:1] == [0]
    splice = _splicing(list, runs[1:] if grows else runs)

    def gathered(children: list[Any]) -> list[Any]:
        children = splice(children)
        if not grows:
            return children
        run: list[Any] = children[0]
        run += children[1:]
        return run

    return gathered


def _splicing(method: Reduction, runs: list[int]) -> Reduction:
    def spliced(children: list[Any]) -> Any:
        for place in reversed(runs):
            children[place : place + 1] = children[place]
        return method(children)

    return spliced
