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
        self._settled: dict[tuple[int, str, str], tuple[int, int | None]] = {}

    def run(self, tokens: Sequence[Token], watch: Stopwatch | None = None) -> Any:
        """What the builder makes of the start rule; raises Unexpected or OutOfTime."""
        actions, spelled = self._tables.actions, self._tables.spelled
        states = [self._tables.start]
        values: list[Any] = []
        for place, token in enumerate(tokens):
            if watch is not None and not place % _HURRY:
                watch.check()
            terminal = spelled.get(token.text) or _KINDS[token.kind]
            if token.kind == "name" and terminal != "NAME":
                terminal = self._terminal(tokens, place, states[-1])
            action = actions[states[-1]].get(terminal)
            if action is not None and action < 0:
                action = self._reduce(action, terminal, states, values)
            if action is None:
                raise Unexpected(place, terminal)
            states.append(action)
            values.append(token)
        action = actions[states[-1]].get(END)
        if action is not None:
            self._reduce(action, END, states, values)
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

    def _reduce(
        self, action: int | None, terminal: str, states: list[int], values: list[Any]
    ) -> int | None:
        """Reduces every rule that ends before ``terminal``; the state that it leads to."""
        rules, settled = self._rules, self._settled
        while action is not None and action < 0:
            length, result, reduction = rules[-1 - action]
            children = values[-length:]
            del values[-length:], states[-length:]
            values.append(reduction(children))
            key = states[-1], result, terminal
            state, action = settled.get(key) or self._settle(*key)
            states.append(state)
        return action

    def _settle(self, below: int, result: str, terminal: str) -> tuple[int, int | None]:
        """Where ``result`` leads, and what to do there.

        Rules that pass their only child on follow, a dozen in a row for a plain name. All
        depends on the state below and the terminal alone, so it is remembered.
        """
        key = below, result, terminal
        state, action = self._go(*key)
        while action is not None and action < 0:
            _, result, reduction = self._rules[-1 - action]
            if reduction is not _only:
                break
            state, action = self._go(below, result, terminal)
        self._settled[key] = state, action
        return state, action

    def _go(self, below: int, result: str, terminal: str) -> tuple[int, int | None]:
        state = self._tables.gotos[below][result]
        return state, self._tables.actions[state].get(terminal)

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
        """``_reduce`` without values; the terminal's own state is pushed too."""
        rules, settled = self._rules, self._settled
        action = self._tables.actions[states[-1]].get(terminal)
        while action is not None and action < 0:
            length, result, _ = rules[-1 - action]
            del states[-length:]
            key = states[-1], result, terminal
            state, action = settled.get(key) or self._settle(*key)
            states.append(state)
        if action is not None:
            states.append(action)
        return action is not None or (terminal == END and states[-1] == self._tables.end)


def _reduction(rule: Rule, builder: object) -> Reduction:
    if rule.gathers:
        return _gathering(rule.runs)
    if not rule.call:
        return _only
    # A rule named like a word of Python has its method under that name and an underscore.
    method: Reduction = getattr(builder, rule.call, None) or getattr(builder, f"{rule.call}_")
    return _splicing(method, rule.runs) if rule.runs else method


def _only(children: list[Any]) -> Any:
    return children[0]


def _gathering(runs: list[int]) -> Reduction:
    """One more round of a repetition. The run so far grows in place: its cost is its length."""
    reduction = _grow if runs[:1] == [0] else _begin
    inner = [place for place in runs if place]
    return _splicing(reduction, inner) if inner else reduction


def _begin(children: list[Any]) -> list[Any]:
    return children


def _grow(children: list[Any]) -> list[Any]:
    run: list[Any] = children[0]
    run += children[1:]
    return run


def _splicing(method: Reduction, runs: list[int]) -> Reduction:
    backwards = runs[::-1]

    def spliced(children: list[Any]) -> Any:
        for place in backwards:
            children[place : place + 1] = children[place]
        return method(children)

    return spliced
