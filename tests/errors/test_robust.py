"""Damaged files through the whole checker: diagnostics come of it, and soon."""

from __future__ import annotations

from pathlib import Path

import pytest

import cnndsl
from cnndsl.diagnostics.explain import codes
from cnndsl.diagnostics.text import render_all
from tests.errors import reports
from tests.robust import attack

TEXTS, BATCH = 20_000, 2_000
EXAMPLES = Path(__file__).parents[2] / "examples"
SOURCES = [case.files[reports.MAIN] for _, case in reports.cases().values()] + [
    path.read_text(encoding="utf-8")
    for path in sorted(EXAMPLES.rglob("*.cnn"))
    if path.stem != "nas"  # counting that space takes a second; smaller ones are in the corpus
]
CODES = set(codes())


def check(data: bytes) -> None:
    """Everything a person would see is there, and every fix that is shown was checked."""
    program = cnndsl.loads(data, name="damaged.cnn", root=EXAMPLES)
    found = program.diagnostics
    assert bool(found) == bool(render_all(found))
    for diagnostic in found:
        assert diagnostic.code in CODES and diagnostic.message
        assert diagnostic.severity == "warning" or all(f.checked for f in diagnostic.fixes)
        for label in diagnostic.labels:
            assert 0 <= label.span.start <= label.span.end <= len(label.span.source.text)
    if not any(d.severity == "error" for d in found):
        for name in program.nets:
            net = program.net(name)
            assert program.requires(name) or net.ok


@pytest.mark.parametrize("seed", range(TEXTS // BATCH))
def test_damaged_files(seed: int) -> None:
    attack(check, seed, BATCH, SOURCES)


def test_a_claim_of_nothing() -> None:
    """Found by damaging: behind other errors an empty claim was looked into."""
    check(b'net Small: [3, H, W] = conv(8, 3) :: [)\n\nimport\t"" ( Stage\n)')
