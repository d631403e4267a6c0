"""What might mend an error, likeliest first. Nothing here is believed before it is checked."""

from __future__ import annotations

from collections.abc import Iterator

from cnndsl.diagnostics import Diagnostic
from cnndsl.repair.claims import mend_claim
from cnndsl.repair.joins import mend_join
from cnndsl.repair.offers import Offer
from cnndsl.repair.places import Places
from cnndsl.repair.rules import mend_rule
from cnndsl.repair.texts import mend_syntax
from cnndsl.repair.words import mend_words
from cnndsl.semantics.faults import ClaimFault, RuleFault
from cnndsl.semantics.joins import JoinFault


def candidates(diagnostic: Diagnostic, places: Places) -> Iterator[Offer]:
    """The fixes that the diagnostic brings, then those that follow from its cause."""
    yield from diagnostic.fixes
    cause = diagnostic.cause
    if isinstance(cause, JoinFault):
        yield from mend_join(cause, places)
    elif isinstance(cause, RuleFault):
        yield from mend_rule(cause, places)
    elif isinstance(cause, ClaimFault):
        yield from mend_claim(cause, places)
    elif diagnostic.code.startswith("E01"):
        yield from mend_syntax(diagnostic)
    else:
        yield from mend_words(diagnostic, places)
