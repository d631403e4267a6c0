"""A network as a ``torch.export`` program that runs where cnndsl is not installed."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from cnndsl.backends.torch.mark import MARK, SCHEMA
from cnndsl.backends.torch.module import Network
from cnndsl.backends.torch.trial import named_outputs


class _Plain(Network):
    """Returns several outputs as a dictionary: a type of ours would be needed to load it."""

    def forward(self, *inputs: Tensor, **named: Tensor) -> Any:
        outputs = named_outputs(self, super().forward(*inputs, **named))
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))


def export(network: Network, inputs: Mapping[str, Tensor]) -> torch.export.ExportedProgram:
    """The eval-mode program for inputs of these sizes and any batch.

    Names in its ``state_dict`` are the network's own.
    """
    plain = copy.copy(network)
    plain.__class__ = _Plain
    plain.eval()
    # A batch of one would be taken for a constant.
    examples = tuple(torch.cat([x[:1], x[:1]]) for x in inputs.values())
    batch = torch.export.Dim("batch", min=1)
    sizes = {"inputs": tuple({0: batch} for _ in examples)}
    try:
        return torch.export.export(plain, examples, dynamic_shapes=sizes)
    finally:
        plain.train(network.training)


def to_bytes(program: torch.export.ExportedProgram, facts: Mapping[str, Any]) -> memoryview:
    """The content of a ``.pt2`` file; ``facts`` go into it as JSON, which marks it as ours."""
    file = io.BytesIO()
    said = json.dumps({"schema": SCHEMA, **facts})
    torch.export.save(program, file, extra_files={MARK: said})
    return file.getbuffer()
