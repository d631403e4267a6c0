"""Why the operands of a join disagree."""

from __future__ import annotations

from collections.abc import Sequence

from cnndsl.diagnostics import Diagnostic, Label
from cnndsl.graph.infer import JoinError
from cnndsl.graph.model import Frame
from cnndsl.semantics.state import State
from cnndsl.source import Span


def explain_join(
    state: State,
    error: JoinError,
    ids: Sequence[int],
    operands: Sequence[Span],
    span: Span,
    path: str,
    frame: Frame | None,
) -> Diagnostic:
    labels = [Label(span, "")]
    labels += [Label(s, str(state.nodes[i].type)) for s, i in zip(operands, ids, strict=False)]
    left, right = error.sizes
    note = f"{error.axis}: {left} vs {right}"
    return Diagnostic("E0401", "the operands of the join disagree", tuple(labels), notes=(note,), path=path)
