"""Damaged texts give diagnostics: never an exception, never a wait."""

from __future__ import annotations

import pytest

from cnndsl.limits import DEFAULT_LIMITS
from cnndsl.source import Source
from cnndsl.syntax.formatter import format_parsed, format_source
from cnndsl.syntax.parser import parse, parse_scanned
from cnndsl.syntax.scan import scan
from tests.robust import attack, damaged

TEXTS, BATCH = 20_000, 2_500


def read(data: bytes) -> None:
    """What a file's bytes go through; the loader refuses what is not UTF-8 before this."""
    source = Source("text", data.decode("utf-8", "surrogateescape"))
    scanned = scan(source, DEFAULT_LIMITS)
    module, problems = parse_scanned(source, scanned, DEFAULT_LIMITS)
    if not problems:
        formatted, _ = format_parsed(source, scanned, module)
        assert formatted is not None
        names = {part.name.text for part in module.declarations}
        assert names or module.imports or not formatted or formatted.startswith("#")
    for problem in problems:
        assert problem.message and problem.span
        assert 0 <= problem.span.start <= problem.span.end <= len(source.text)


@pytest.mark.parametrize("seed", range(TEXTS // BATCH))
def test_damaged_texts(seed: int) -> None:
    attack(read, seed, BATCH)


def test_what_does_not_parse_is_not_laid_out() -> None:
    for data in damaged(0, 200):
        source = Source("text", data.decode("utf-8", "surrogateescape"))
        _, problems = parse(source)
        formatted, refused = format_source(source)
        assert problems == refused
        assert (formatted is None) == bool(problems)


def test_the_same_seed_gives_the_same_texts() -> None:
    assert list(damaged(1, 50)) == list(damaged(1, 50))
    assert list(damaged(1, 50)) != list(damaged(2, 50))


def test_an_attack_notices() -> None:
    def fail(data: bytes) -> None:
        raise RecursionError

    with pytest.raises(AssertionError, match="seed 3, text 0"):
        attack(fail, 3, 1)
