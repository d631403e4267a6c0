"""Random programs, each a function of its seed.

``random_text`` reaches every rule of the grammar and means nothing. ``random_network`` is
small, and correct by construction.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.networks import random_network

__all__ = ["random_network", "random_text"]

_NAMES = ["a", "b2", "conv", "relu", "Stage", "H", "_x", "if1", "inner", "E", "K", "stride"]
_NUMBERS = ["0", "1", "32", "1.5", "1e-5", "26M", "4.2G", "2K", "0.1", "12E+2"]
_TEXTS = ['"a text"', '""', '"# no comment -> (["', '"é ✓"']
_COMMENTS = ["#", "# why", "#: -> ( [ net", "# 'quoted\" é", "#\ttab", "# wide  gap   "]
_COMPARES = ["==", "!=", "<=", ">=", "<", ">"]
Rule = Callable[[], list[str]]


def random_text(seed: int) -> str:
    """A text that parses, with white space and comments wherever tokens allow them."""
    rng = random.Random(seed)
    words = _Words(rng).file()
    return join(words, rng, comments=rng.choice([0, 0.01, 0.05, 0.2]))


def join(words: list[str], rng: random.Random, comments: float = 0.0) -> str:
    """The words with random space between; ``comments`` is their share of the gaps."""
    pieces = [_gap(rng, "", words[0], comments)]
    for left, right in zip(words, [*words[1:], ""], strict=True):
        pieces += [left, _gap(rng, left, right, comments)]
    return "".join(pieces)


def _gap(rng: random.Random, left: str, right: str, comments: float) -> str:
    if rng.random() < comments:
        before = rng.choice(["", " ", "\n", "\n\n\n", "\r\n", "  \n\t"])
        again = _gap(rng, left, right, comments)
        return before + rng.choice(_COMMENTS) + rng.choice(["\n", "\r\n"]) + again
    space = rng.choice(["", "", " ", " ", " ", "\n", "\n\n", "\r\n", "\t", "   "])
    return space or (" " if _merge(left, right) else "")


def _merge(left: str, right: str) -> bool:
    """Whether two words would read as one; ``3.1`` is a number and ``3. 1`` a path."""
    if left == ".":
        return right[:1].isdigit()
    return (left[-1:] + right[:1]).replace("_", "a").isalnum() and bool(left and right)


class _Words:
    """One method per rule of the grammar, each giving the words of one choice."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.budget = 0

    # --- choices ------------------------------------------------------------------------------

    def name(self) -> list[str]:
        return [self.rng.choice(_NAMES)]

    def maybe(self, rule: Rule, chance: float = 0.4) -> list[str]:
        return rule() if self.rng.random() < chance else []

    def some(self, rule: Rule, most: int = 3, trailing: bool = False) -> list[str]:
        words = rule()
        for _ in range(self.rng.randrange(most)):
            words += [",", *rule()]
        return words + ([","] if trailing and self.rng.random() < 0.2 else [])

    def one(self, *rules: Rule) -> list[str]:
        return self.rng.choice(rules)()

    def runs(self, rule: Rule, signs: list[str], chance: float) -> list[str]:
        words = rule()
        while self.rng.random() < chance and self.budget > 0:
            words += [self.rng.choice(signs), *rule()]
        return words

    # --- declarations -------------------------------------------------------------------------

    def file(self) -> list[str]:
        words: list[str] = []
        for _ in range(self.rng.randint(1, 4)):
            self.budget = self.rng.choice([5, 20, 60])
            words += self.one(self.import_, self.block, self.def_, self.net)
        return words

    def import_(self) -> list[str]:
        text = self.rng.choice(_TEXTS)
        return ["import", text, "(", *self.some(self.name, trailing=True), ")"]

    def block(self) -> list[str]:
        return ["block", *self.head(), "=", *self.body()]

    def def_(self) -> list[str]:
        return ["def", *self.head(), "=", *self.body()]

    def net(self) -> list[str]:
        head = ["net", *self.name(), *self.maybe(self.params)]
        words = [*head, ":", *self.some(self.input, 2), "=", *self.body()]
        for _ in range(self.rng.randrange(3)):
            words += [self.rng.choice(["where", "assert"]), *self.some(self.expr, 2)]
        return words

    def head(self) -> list[str]:
        return [*self.name(), *self.maybe(self.params), *self.maybe(self.wires, 0.2)]

    def params(self) -> list[str]:
        inner = self.maybe(lambda: self.some(self.param, 4, trailing=True), 0.9)
        return ["(", *inner, ")"]

    def param(self) -> list[str]:
        return [*self.name(), *self.maybe(lambda: ["=", *self.expr()])]

    def wires(self) -> list[str]:
        return ["[", *self.some(self.name, trailing=True), "]"]

    def input(self) -> list[str]:
        return [*self.list_(), *self.maybe(self.name)]

    def body(self) -> list[str]:
        words = self.maybe(lambda: [self.rng.choice(_TEXTS)], 0.2)
        words += self.maybe(lambda: ["with", *self.some(self.call, 2), ":"], 0.2)
        lets: list[str] = []
        for _ in range(self.rng.choice([0, 0, 0, 1, 3])):
            lets += ["let", *self.some(self.name, 2), "=", *self.expr()]
            if lets[-1] == "}":  # the next word would continue the path of `again`
                lets += ["->", "relu"]
        results = self.some(self.expr, 2)
        while lets and results[0] in ("(", "[", "-"):  # these would continue the let before
            results = ["x", ":", *results]
        return [*words, *lets, *results]

    # --- expressions --------------------------------------------------------------------------

    def expr(self) -> list[str]:
        self.budget -= 1
        return self.runs(self.conjunction, ["or"], 0.08)

    def conjunction(self) -> list[str]:
        return self.runs(self.negation, ["and"], 0.08)

    def negation(self) -> list[str]:
        return [*self.maybe(lambda: ["not"], 0.05), *self.comparison()]

    def comparison(self) -> list[str]:
        sign = self.rng.choice(_COMPARES)
        return [*self.sum(), *self.maybe(lambda: [sign, *self.sum()], 0.08)]

    def sum(self) -> list[str]:
        return self.runs(self.concat, ["+", "+", "-"], 0.2)

    def concat(self) -> list[str]:
        return self.runs(self.product, ["|"], 0.15)

    def product(self) -> list[str]:
        return self.runs(self.chain, ["*", "/", "%"], 0.15)

    def chain(self) -> list[str]:
        return self.runs(self.step, ["->"], 0.35)

    def step(self) -> list[str]:
        if self.budget <= 0 or self.rng.random() < 0.6:
            return self.postfix()
        self.budget -= 1
        return self.one(self.labelled, self.emit, self.if_, self.for_, self.again)

    def labelled(self) -> list[str]:
        keyword = self.rng.choice(["block", "in", "no", "for"])
        label = self.one(self.label, self.label, self.label, lambda: ["17"], lambda: [keyword])
        return [*label, ":", *self.step()]

    def label(self) -> list[str]:
        return [*self.name(), *self.holes()]

    def holes(self) -> list[str]:
        words: list[str] = []
        while self.rng.random() < 0.2:
            tail = self.maybe(lambda: self.one(self.name, lambda: ["2"]))
            words += ["{", *self.expr(), "}", *self.maybe(lambda: ["-"], 0.2), *tail]
        return words

    def emit(self) -> list[str]:
        body = self.step()
        if body[0] == "[":  # `emit [x]` is the mode x
            body = ["head", ":", *body]
        return ["emit", *self.maybe(lambda: ["[", *self.name(), "]"]), *body]

    def if_(self) -> list[str]:
        orelse = self.maybe(lambda: ["else", *self.step()], 0.6)
        return ["if", *self.expr(), "then", *self.step(), *orelse]

    def for_(self) -> list[str]:
        stop = self.maybe(lambda: ["..", *self.expr()], 0.7)
        return ["for", *self.name(), "in", *self.expr(), *stop, "do", *self.step()]

    def again(self) -> list[str]:
        part = lambda: self.one(self.label, self.label, lambda: ["3"])  # noqa: E731
        return ["again", *self.runs(part, ["."], 0.3)]

    def postfix(self) -> list[str]:
        words = self.prefix()
        while self.rng.random() < 0.12:
            words += self.one(lambda: ["@", *self.name()], lambda: ["::", *self.list_()])
        return words

    def prefix(self) -> list[str]:
        signs = ["-"] * self.rng.choice([0] * 12 + [1, 1, 2])
        return [*signs, *self.atom(), *self.maybe(lambda: ["^", *self.atom()], 0.12)]

    def atom(self) -> list[str]:
        plain = [self.number, self.word, self.name, self.attribute]
        if self.budget <= 0:
            return self.one(*plain)
        self.budget -= 1
        return self.one(*plain, self.group, self.tuple_, self.call, self.call, self.list_)

    def number(self) -> list[str]:
        return [self.rng.choice(_NUMBERS)]

    def word(self) -> list[str]:
        return [self.rng.choice(["yes", "no", "id", "none", "in"])]

    def attribute(self) -> list[str]:
        return [*self.one(self.name, lambda: ["in"]), ".", *self.name()]

    def group(self) -> list[str]:
        return ["(", *self.expr(), ")"]

    def tuple_(self) -> list[str]:
        return ["(", *self.expr(), ",", *self.some(self.expr, trailing=True), ")"]

    def list_(self) -> list[str]:
        inner = self.maybe(lambda: self.some(self.expr, 4, trailing=True), 0.9)
        return ["[", *inner, "]"]

    def call(self) -> list[str]:
        wires = ["[", *self.arguments(), "]"]
        if self.rng.random() < 0.1:
            return [*self.name(), *wires]
        args = self.maybe(self.arguments, 0.9)
        return [*self.name(), "(", *args, ")", *(wires if self.rng.random() < 0.1 else [])]

    def arguments(self) -> list[str]:
        return self.some(self.argument, 4, trailing=True)

    def argument(self) -> list[str]:
        return [*self.maybe(lambda: [*self.name(), "="]), *self.expr()]
