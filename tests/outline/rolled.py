"""Cases of the corpus: a network, and the text that is made of its graph."""

from __future__ import annotations

from collections.abc import Mapping

import cnndsl
from cnndsl.outline.reroll import write_text
from tests.outline.equal import flattened


def rolled(text: str) -> Mapping[str, str]:
    """With its modules, and without any names as other formats hand it over."""
    graph = cnndsl.loads(text).net().graph
    kept, free = write_text(graph, keep=True), write_text(flattened(graph))
    return {"kept": kept.text, "free": free.text}
