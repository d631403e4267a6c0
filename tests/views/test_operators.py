"""The operator reference is the catalogue, and the page in docs is current."""

from __future__ import annotations

from cnndsl.ops import catalogue
from cnndsl.ops.base import _CATALOGUE, Op, param
from cnndsl.views import operators
from tests.cli.runner import ROOT, cnndsl


def test_the_page_in_docs_is_current() -> None:
    page = (ROOT / "docs" / "operators.md").read_text(encoding="utf-8")
    assert page == operators.reference(), "run: cnndsl ops --format markdown > docs/operators.md"


def test_every_operator_is_listed_and_described() -> None:
    listing = cnndsl("ops").out
    for name, op in catalogue().items():
        assert f"\n  {name} " in listing
        assert operators.first_line(op).endswith("."), name
        shown = cnndsl("ops", name).out
        assert operators.first_line(op) in shown
        for p in op.params.values():
            assert p.doc in shown
            assert p.required == (f"  {p.name}" in shown and "required" in _line(shown, p.name))


def _line(shown: str, name: str) -> str:
    return next(line for line in shown.splitlines() if line.startswith(f"  {name} "))


def test_operators_of_other_packages_are_shown_but_not_in_the_page() -> None:
    try:

        class Foreign(Op, name="foreign"):
            """Does | nothing. ``[C] -> [C]``."""

            amount: int = param(default=1, doc="how much")

        assert "From tests.views.test_operators\n  foreign" in operators.listing()
        assert "foreign" not in operators.reference()
        assert Foreign in operators.families()["From tests.views.test_operators"]
    finally:
        del _CATALOGUE["foreign"]
