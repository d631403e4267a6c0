"""What is computed twice is computed once."""

from __future__ import annotations

from dataclasses import dataclass

from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.flow import Flow, Step
from cnndsl.weights.expr import Expr


@dataclass(frozen=True)
class CommonSubexpressions(Rewrite):
    """Equal operators with equal weights on the same values become one step.

            / relu -> conv a                      / conv a
        x -<                     becomes  x -> relu
            \\ relu -> conv b                      \\ conv b

    Always pays: the same numbers are computed once. Guard: operator, operands in their order
    and weight expressions are all equal; a module that the text uses twice (`again`) has equal
    expressions, two modules never have. A flow is eval mode: no step draws random numbers.

    Seen from the first value that they read, so that every step is compared by one look-up.
    There is nothing to fold besides: the language has no constants, so every step depends on
    an input.
    """

    name = "cse"

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        found: dict[object, Step] = {}
        merged: list[str] = []
        for user in [user for user in step.users.values() if user.inputs[0] is step]:
            kept = found.setdefault(_key(user), user)
            if kept is not user and kept.type == user.type:
                kept.origins = tuple(dict.fromkeys((*kept.origins, *user.origins)))
                flow.replace(user, kept)
                merged.append(f"`{kept.op.text()}`")
        if not merged:
            return None
        return Fired(f"{', '.join(merged)} not computed again")


def _key(step: Step) -> object:
    """Equal exactly for steps that give equal values."""
    return step.op, _operands(step), _weights(step)


def _operands(step: Step) -> tuple[int, ...]:
    return tuple(source.id for source in step.inputs)


def _weights(step: Step) -> tuple[tuple[str, Expr], ...]:
    return tuple(sorted(step.weights.items(), key=lambda entry: entry[0]))
