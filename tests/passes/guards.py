"""For tests of guards: a network, a rewrite, and what becomes of it when a guard is away."""

from __future__ import annotations

from cnndsl.ops.base import RuleError
from cnndsl.passes.base import Rewrite, Trace
from cnndsl.passes.flow import Flow
from cnndsl.passes.pipeline import REWRITES
from tests.programs import graph_of


def flow_of(text: str, *names: str) -> Flow:
    """The flow of the only net of a text, after the rewrites of these names."""
    flow = Flow(graph_of(text))
    for name in names:
        rewrite(flow, name)
    return flow


def rewrite(flow: Flow, which: str | Rewrite) -> Trace:
    """Runs a rewrite, which is measured as all are; AssertionError if it changed the function."""
    trace = Trace()
    (REWRITES[which] if isinstance(which, str) else which).run(flow, trace)
    return trace


def fires(which: str | Rewrite, text: str, *names: str) -> bool:
    """Whether a rewrite finds something to do, after the rewrites of these names."""
    return bool(rewrite(flow_of(text, *names), which).fired)


def breaks(which: str | Rewrite, text: str, *names: str) -> bool:
    """Whether a rewrite gives another function, or a step that has no type."""
    flow = flow_of(text, *names)
    try:
        rewrite(flow, which)
    except (AssertionError, RuleError, ValueError):
        return True
    return False


def operators(flow: Flow) -> list[str]:
    """The operator of every step but the inputs, inputs first."""
    return [step.op.name for step in flow if step.inputs]
