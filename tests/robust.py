"""Damaged texts, and the promise that nothing but diagnostics comes of them.

``attack(function, seed, count)`` gives the function bytes as a file might hold them. Any
exception or a call of more than two seconds is a failure that names the seed and the text.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

from tests.generate import random_network, random_text

SECONDS = 2.0
_EXAMPLES = Path(__file__).parents[1] / "examples"
_TOKEN = re.compile(r"\s+|#[^\n]*|[A-Za-z_0-9.]+|\"[^\"\n]*\"|->|::|[=!<>]=|.", re.DOTALL)
_VOCABULARY = re.findall(
    r"\S+",
    """
    import block def net where assert with let or and not emit if then else for in do again
    yes no id none conv relu a b2 0 1 3.5 1e-9 26M "text" " #
    -> :: .. == != <= >= < > : , . = + - | * / % ^ @ ( ) [ ] { }
    """,
)
_JUNK = [
    "\0", "\x1b[31m", "\r", "\x7f", "\u202e", "\u200b", "\ufeff", "\u2028", "\ud800", "é", "→",
    "\u0430", "\uff11", "\ufb01", "\U0001d41c", "🙂", "e\u0301" * 5, "\f", "\x85", "# note\n",
    "$", "~", "`", "\\", "'", "!", "&",
]  # fmt: skip
_NESTING = [
    ("(", ")"), ("[", "]"), ("f(", ")"), ("x: (", ")"), ("a{", "}: b"), ("(a -> ", " + b)"),
    ("(", ""), ("- ", ""), ("if a then ", ""), ("for i in 1..2 do ", ""), ("emit ", ""),
]  # fmt: skip
_RUNS = [
    "9", "a", "_", " ", "\n", "#", "#\n", '"', ".", "1.", "e9", ", a", "[", ")", "^2", "G",
    "-> a ", "+ a ", "- a ", "/ a ", "or a ", "@t ", ":: [1] ", "== a ", "def ", "let a = b ",
]  # fmt: skip


@cache
def corpus() -> tuple[str, ...]:
    """Texts worth damaging: many short ones, some that mean something, every example."""
    texts = [random_text(seed) for seed in range(60)]
    texts += [random_network(seed).split("net ")[1] for seed in range(30)]
    texts += [random_network(seed) for seed in range(5)]
    texts += [path.read_text(encoding="utf-8") for path in sorted(_EXAMPLES.rglob("*.cnn"))]
    return tuple(texts)


def attack(
    function: Callable[[bytes], object], seed: int, count: int, texts: Sequence[str] = ()
) -> None:
    """Calls the function with ``count`` damaged texts, the same ones for the same seed.

    ``texts`` are what is damaged, instead of those of ``corpus``.
    """
    for number, data in enumerate(damaged(seed, count, texts)):
        started = time.process_time()
        try:
            function(data)
        except Exception as problem:
            raise AssertionError(f"seed {seed}, text {number}: {data!r}") from problem
        taken = time.process_time() - started
        assert taken < SECONDS, f"seed {seed}, text {number} took {taken:.1f} s: {data[:500]!r}"


def damaged(seed: int, count: int, texts: Sequence[str] = ()) -> Iterator[bytes]:
    rng = random.Random(seed)
    for _ in range(count):
        data = mutate(rng, rng.choice(texts or corpus())).encode("utf-8", "surrogatepass")
        yield _damage_bytes(rng, data) if rng.random() < 0.2 else data


def mutate(rng: random.Random, text: str) -> str:
    """The text with one to three kinds of damage."""
    for _ in range(rng.choice([1, 1, 2, 3])):
        text = rng.choice(_MUTATIONS)(rng, text)
    return text


# --- damage to tokens -----------------------------------------------------------------------------


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text) or [""]


def _delete(rng: random.Random, text: str) -> str:
    tokens = _tokens(text)
    start = rng.randrange(len(tokens))
    del tokens[start : start + rng.choice([1, 1, 2, 5, 50])]
    return "".join(tokens)


def _duplicate(rng: random.Random, text: str) -> str:
    tokens = _tokens(text)
    start = rng.randrange(len(tokens))
    part = tokens[start : start + rng.choice([1, 2, 5, 50])]
    return "".join([*tokens[:start], *part, *tokens[start:]])


def _swap(rng: random.Random, text: str) -> str:
    tokens = _tokens(text)
    one, two = rng.randrange(len(tokens)), rng.randrange(len(tokens))
    tokens[one], tokens[two] = tokens[two], tokens[one]
    return "".join(tokens)


def _replace(rng: random.Random, text: str) -> str:
    tokens = _tokens(text)
    tokens[rng.randrange(len(tokens))] = rng.choice(_VOCABULARY)
    return "".join(tokens)


def _insert(rng: random.Random, text: str) -> str:
    tokens = _tokens(text)
    tokens.insert(rng.randrange(len(tokens) + 1), f" {rng.choice(_VOCABULARY)} ")
    return "".join(tokens)


def _splice(rng: random.Random, text: str) -> str:
    other = rng.choice(corpus())
    return text[: rng.randrange(len(text) + 1)] + other[rng.randrange(len(other) + 1) :]


# --- damage to characters -------------------------------------------------------------------------


def _truncate(rng: random.Random, text: str) -> str:
    return text[: rng.randrange(len(text) + 1)]


def _junk(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(_JUNK) * rng.choice([1, 1, 3, 100]) + text[at:]


def _scramble(rng: random.Random, text: str) -> str:
    words = [rng.choice([*_VOCABULARY, *_JUNK]) for _ in range(rng.randrange(1, 60))]
    return rng.choice(["", " "]).join(words)


# --- too much of something ------------------------------------------------------------------------


def _deepen(rng: random.Random, text: str) -> str:
    """A token becomes deeply nested."""
    tokens, depth = _tokens(text), rng.choice([10, 60, 70, 300])
    at = rng.randrange(len(tokens))
    opening, closing = rng.choice(_NESTING)
    tokens[at] = opening * depth + tokens[at] + closing * depth
    return "".join(tokens)


def _lengthen(rng: random.Random, text: str) -> str:
    """A token grows, or a long run of something takes its place."""
    tokens, length = _tokens(text), rng.choice([65, 130, 1100])
    at = rng.randrange(len(tokens))
    tokens[at] += rng.choice(_RUNS) * length
    return "".join(tokens)


def _inflate(rng: random.Random, text: str) -> str:
    """A number becomes one that nobody can hold."""
    huge = ["9" * 12, "9" * 13, "9" * 400, "1e300", "1e301", "1e999999999999", "0." + "0" * 400]
    huge += ["999999999999G", "1e-300", "2147483648", "00000000000000", "1" + "0" * 11 + "M"]
    found = list(re.finditer(r"[0-9]+", text))
    if not found:
        return text + rng.choice(huge)
    match = rng.choice(found)
    return text[: match.start()] + rng.choice(huge) + text[match.end() :]


_MUTATIONS = [
    _delete, _delete, _duplicate, _swap, _swap, _replace, _replace, _insert, _insert, _splice,
    _truncate, _junk, _scramble, _deepen, _lengthen, _inflate,
]  # fmt: skip


# --- damage to bytes ------------------------------------------------------------------------------


def _damage_bytes(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(rng.choice([1, 2, 10])):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    if rng.random() < 0.3:
        del changed[rng.randrange(len(changed)) :]
    if rng.random() < 0.2:
        at = rng.randrange(len(changed) + 1)
        changed[at:at] = rng.randbytes(rng.choice([1, 4, 200]))
    return bytes(changed)
