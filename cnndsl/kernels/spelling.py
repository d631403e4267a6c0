"""A problem as a text that is read back as the same problem, in another process too."""

from __future__ import annotations

import json
from typing import Any

import torch

from cnndsl.kernels.problem import Problem
from cnndsl.ops import find_op
from cnndsl.ops.base import Op
from cnndsl.ops.types import FeatureMap, Type, Vector
from cnndsl.ops.values import Value
from cnndsl.passes.ops import Affine, Chain, Link


def spelled(problem: Problem) -> str:
    """JSON on one line; equal problems have equal texts."""
    return json.dumps(
        {
            "links": [[_op_to_json(link.op), list(link.slots)] for link in problem.links],
            "inputs": [_type_to_json(type) for type in problem.inputs],
            "batch": problem.batch,
            "dtype": str(problem.dtype).removeprefix("torch."),
        }
    )


def read(text: str) -> Problem:
    """The problem of this text; ValueError, KeyError or TypeError if it is none."""
    data = json.loads(text)
    links = tuple(Link(_op_from_json(op), tuple(slots)) for op, slots in data["links"])
    inputs = tuple(_type_from_json(sizes) for sizes in data["inputs"])
    return Problem(Chain(links), inputs, data["batch"], getattr(torch, data["dtype"]))


def _op_to_json(op: Op) -> dict[str, Any]:
    return {"op": op.name, **op.values}


def _op_from_json(data: dict[str, Any]) -> Op:
    given = {key: _value(value) for key, value in data.items() if key != "op"}
    kind = Affine if data["op"] == Affine.name else find_op(data["op"])
    if kind is None:
        raise ValueError(f"there is no operator `{data['op']}`")
    return kind(**given)


def _value(value: Any) -> Value:
    return tuple(map(_value, value)) if isinstance(value, list) else value


def _type_to_json(type: Type) -> list[Any]:
    if isinstance(type, FeatureMap):
        return [type.channels, type.height, type.width]
    assert isinstance(type, Vector)
    return [type.features]


def _type_from_json(sizes: list[int]) -> Type:
    return FeatureMap(*sizes) if len(sizes) == 3 else Vector(*sizes)
