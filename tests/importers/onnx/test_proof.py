"""The proof sees what is wrong: an import that computes something else is not written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from cnndsl.importers.base import Imported, ImportProblem, Reference, roll_and_prove
from cnndsl.importers.onnx.model import read_model
from cnndsl.importers.onnx.recognise import recognise
from cnndsl.importers.onnx.reference import reference
from cnndsl.limits import DEFAULT_LIMITS
from tests.importers.onnx.models import exported

TEXT = "net Tiny: [3, H, W] = a: conv(8, 3) -> b: bn -> silu -> c: conv(4, 3, stride=2)"


def _pair() -> tuple[Imported, Reference]:
    model, proto = read_model(exported(TEXT), DEFAULT_LIMITS)
    found = recognise(model, "Tiny", DEFAULT_LIMITS)
    return found.imported, reference(proto, found)


def test_what_is_equal_is_written() -> None:
    written = roll_and_prove(*_pair())
    assert written.difference.runs == 4 and written.difference.scale > 0
    assert written.difference.largest < 1e-5


Change = Callable[[torch.Tensor], torch.Tensor]
WRONG: dict[str, tuple[str, Change]] = {
    "one weight": ("a.weight", lambda w: w + 1e-3 * (torch.arange(w.numel()) == 5).view(w.shape)),
    "a variance as with another eps": ("b.running_var", lambda v: v + 1e-3),
    "turned filters": ("c.weight", lambda w: w.transpose(2, 3)),
    "not finite": ("c.bias", lambda b: b * float("nan")),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_differs_is_refused(name: str) -> None:
    key, change = WRONG[name]
    imported, original = _pair()
    state = {k: torch.as_tensor(v.copy()) for k, v in imported.state.items()}
    wrong = replace(imported, state=state | {key: change(state[key]).contiguous()})
    with pytest.raises(ImportProblem, match="computes another network"):
        roll_and_prove(wrong, original)


def test_another_shape_is_refused() -> None:
    imported, original = _pair()

    def cropped(inputs: object) -> dict[str, torch.Tensor]:
        return {name: y[:, :, 1:] for name, y in original(inputs).items()}  # type: ignore[arg-type]

    with pytest.raises(ImportProblem, match="has shape"):
        roll_and_prove(imported, cropped)


def test_missing_weights_are_told() -> None:
    imported, original = _pair()
    state = {key: value for key, value in imported.state.items() if key != "a.weight"}
    with pytest.raises(ImportProblem, match=r"no weights for a\.weight"):
        roll_and_prove(replace(imported, state=state), original)
