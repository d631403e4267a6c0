"""Every case of the corpus gives what its file says. ``--update`` rewrites the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import corpus


@pytest.mark.parametrize("case", corpus.cases(), ids=lambda c: str(c.relative_to(corpus.FOLDER)))
def test_case(case: Path, request: pytest.FixtureRequest) -> None:
    outcome = corpus.render(corpus.outcome(case))
    if request.config.getoption("--update"):
        case.write_text(outcome, encoding="utf-8", newline="\n")
    assert case.read_text(encoding="utf-8") == outcome


def test_no_orphans() -> None:
    for case in corpus.cases():
        assert case.suffix == ".txt", f"{case} is not a case"
        assert case.relative_to(corpus.FOLDER).parts[0] in corpus.KINDS, f"{case} has no kind"
    assert {folder.name for folder in corpus.FOLDER.iterdir()} == set(corpus.KINDS)


def test_a_case_survives_rewriting(tmp_path: Path) -> None:
    case = tmp_path / "case.txt"
    sections = {"": "A remark.\n", "input": "x\n\n", "output": "", "notes": "--- \n---\n"}
    case.write_text(corpus.render(sections), encoding="utf-8")
    assert corpus.read(case) == sections
