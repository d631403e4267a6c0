"""A flow as text: one step a line, derived weights below it.

    s2 = conv(8, 3, bias=yes)[in]            # conv1, bn1
      weight = conv1.weight * (bn1.weight / sqrt(bn1.running_var + 1e-05))

A weight that is the step's own parameter, under its own name, is not written.
"""

from __future__ import annotations

from collections.abc import Iterator

from cnndsl.passes.flow import Flow, Step
from cnndsl.weights.expr import Expr


def show_flow(flow: Flow) -> str:
    """Every step, inputs first, then the results."""
    names = _names(flow)
    lines = [line for step in flow for line in _step(step, names)]
    results = (f"{o.name}: {names[s.id]}" for o, s in zip(flow.outputs, flow.results, strict=True))
    return "\n".join([*lines, f"-> {', '.join(results)}"]) + "\n"


def _names(flow: Flow) -> dict[int, str]:
    inputs = {step.id: node.path for step, node in zip(flow.inputs, flow.graph.inputs, strict=True)}
    rest = (step.id for step in flow if step.id not in inputs)
    return inputs | {i: f"s{number}" for number, i in enumerate(rest, 1)}


def _step(step: Step, names: dict[int, str]) -> Iterator[str]:
    if not step.inputs and not step.weights:
        yield f"{names[step.id]} :: {step.type}"
        return
    inputs = ", ".join(names[source.id] for source in step.inputs)
    paths = ", ".join(dict.fromkeys(origin.path for origin in step.origins if origin.path))
    head = f"{names[step.id]} = {step.op.text()}[{inputs}] :: {step.type}"
    yield f"{head}  # {paths}" if paths else head
    for name, expr in step.weights.items():
        if not _own(name, expr):
            yield f"  {name or 'weight'} = {expr!r}"


def _own(name: str, expr: Expr) -> bool:
    if expr.kind != "param":
        return False
    key: str = expr.options[0]
    return not name or key == name or key.endswith("." + name.rpartition(".")[2])
