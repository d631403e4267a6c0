"""Labels and restrictions of a graph as the language writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from cnndsl.graph.facts import Facts
from cnndsl.ops import catalogue
from cnndsl.ops.congruence import Valid
from cnndsl.ops.sizes import prime_factors

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+([eE][0-9]+)?[KMG]?")
_RUNS = re.compile(r"0|[1-9][0-9]{0,11}|[A-Za-z_]+|-")
LARGEST_MODULUS = 65536
"""What a text may write."""


def label(name: str) -> str:
    """One part of a module path. ``block1-0`` is written with numbers around the sign."""
    if _PLAIN.fullmatch(name):
        return name
    runs = _RUNS.findall(name)
    written = [f"{{{run}}}" if run[0].isdigit() else run for run in runs]
    for place, run in enumerate(runs[:-1]):
        if runs[place + 1] == "-" and not run[0].isdigit():
            written[place] = _ending_in_a_word(run)
    return "".join(written)


def _ending_in_a_word(text: str) -> str:
    """Only what `{…}` gave can stand before a sign: a number, or one of the language's words."""
    places = [i for i in range(len(text)) if text[i:] in _words()]
    return f"{text[: places[0]]}{{{text[places[0] :]}}}" if places else text


@cache
def _words() -> frozenset[str]:
    params = (param for op in catalogue().values() for param in op.params.values())
    return frozenset(word for param in params for word in param.choices)


def restrictions(facts: Facts) -> Iterator[str]:
    """What the text's own `where` said of each symbol."""
    for symbol, valid in sorted(facts.declared.items()):
        yield from _conditions(symbol, valid)


def _conditions(symbol: str, valid: Valid) -> Iterator[str]:
    for modulus, residue in congruences(valid):
        yield f"{symbol} % {modulus} == {residue}"
    if valid.minimum > 1:
        yield f"{symbol} >= {valid.minimum}"


def congruences(valid: Valid) -> Iterator[tuple[int, int]]:
    """Modulus and remainder; several where one modulus is past what a text may write."""
    (residue,) = valid.residues
    moduli = [valid.modulus]
    if valid.modulus > LARGEST_MODULUS:
        moduli = [_power_in(valid.modulus, prime) for prime in prime_factors(valid.modulus)]
    yield from ((modulus, residue % modulus) for modulus in moduli if modulus > 1)


def _power_in(number: int, prime: int) -> int:
    """The largest power of a prime that divides a number."""
    power = prime
    while number % (power * prime) == 0:
        power *= prime
    return power
