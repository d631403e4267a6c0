"""The corpus of rewrites: a network, the rewrites that its first line names, what comes out."""

from __future__ import annotations

import re
from collections.abc import Mapping

import cnndsl
from cnndsl.passes.base import Pipeline, Trace
from cnndsl.passes.flow import Flow
from cnndsl.passes.pipeline import REWRITES
from cnndsl.passes.text import show_flow

_NAMES = re.compile(r"# rewrites: (.+)\n")


def rewritten(text: str) -> Mapping[str, str]:
    """``# rewrites: a, b`` in the first line, then an ordinary ``.cnn`` with one net."""
    match = _NAMES.match(text)
    if match is None:
        raise ValueError("the first line of the input names the rewrites: `# rewrites: a, b`")
    pipeline = Pipeline([REWRITES[name] for name in match[1].split(", ")])
    flow = Flow(cnndsl.loads(text).net().graph)
    before = show_flow(flow)
    trace = pipeline.run(flow)
    return {"before": before, "after": show_flow(flow), "report": _report(trace)}


def _report(trace: Trace) -> str:
    lines = []
    for event in (*trace.fired, *trace.missed):
        paths = ", ".join(dict.fromkeys(o.path for o in event.origins if o.path))
        saved = f" (saves {event.macs:,} MACs, {event.bytes:,} bytes, {event.kernels} steps)"
        lines.append(
            f"{event.rewrite}: {paths}: {event.text}{saved if event.fired else ''}\n"
            if event.fired
            else f"{event.rewrite} did not: {paths}: {event.text}\n"
        )
    return "".join(lines) or "nothing\n"
