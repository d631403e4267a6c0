"""A text computes what its operator is defined to compute, and a wrong definition is seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

import cnndsl
from tests.ops.cases import built_in
from tests.ops.grid import ABSENT, CASES, Case, computed
from tests.ops.references import REFERENCES, Reference
from tests.ops.wrong import WRONG

ABOUT: dict[str, list[Case]] = {name: [c for c in CASES if c.name == name] for name in REFERENCES}
TRAINING = {
    ("bn", "momentum"), ("dropout", "p"), ("dropout2d", "p"), ("droppath", "p"),
    ("droppath", "mode"), ("join", "drop"), ("join", "share"),
}  # fmt: skip
"""Parameters without effect in evaluation: tests/backends/test_numbers.py has them."""
START = {("prelu", "init"), ("scale", "init")}


def differs(case: Case, reference: Reference, params: Mapping[str, Any]) -> bool:
    """Whether the network's output is another than the reference's; so it is if that fails."""
    weights, inputs, output = computed(case)
    try:
        wanted = reference(weights, *inputs, **params)
        torch.testing.assert_close(output, wanted, rtol=1e-9, atol=1e-9)
    except (AssertionError, KeyError, RuntimeError, TypeError, ValueError):
        return True
    return False


def test_every_operator_has_a_reference_and_every_parameter_its_values() -> None:
    assert set(REFERENCES) == set(built_in())
    for name, op in built_in().items():
        for key in op.params:
            values = {dict(case.params).get(key, ABSENT) for case in ABOUT[name]}
            assert len(values) > 1, f"{name} is never tried with another {key}"


@pytest.mark.parametrize("name", ABOUT)
def test_a_text_computes_its_definition(name: str) -> None:
    for case in ABOUT[name]:
        weights, inputs, output = computed(case)
        wanted = REFERENCES[name](weights, *inputs, **dict(case.params))
        torch.testing.assert_close(
            output, wanted, rtol=1e-9, atol=1e-9, msg=lambda words, case=case: f"{case.id}: {words}"
        )


@pytest.mark.parametrize("name", ABOUT)
def test_every_parameter_is_seen(name: str) -> None:
    """A reference that takes one parameter's value from another case is noticed."""
    for key in built_in()[name].params:
        assert _seen(name, key) is ((name, key) not in TRAINING | START), key


def _seen(name: str, key: str) -> bool:
    deaf = dict(ABOUT[name][0].params).get(key, ABSENT)
    for case in ABOUT[name]:
        params = {**dict(case.params), key: deaf}
        if differs(case, REFERENCES[name], {k: v for k, v in params.items() if v is not ABSENT}):
            return True
    return False


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_definition_is_seen(mistake: str) -> None:
    name, wrong = WRONG[mistake]
    assert any(differs(case, wrong, dict(case.params)) for case in ABOUT[name])
    assert not any(differs(case, REFERENCES[name], dict(case.params)) for case in ABOUT[name])


@pytest.mark.parametrize(("name", "key"), sorted(START))
def test_a_learned_factor_starts_where_the_text_says(name: str, key: str) -> None:
    module = cnndsl.loads(f"net N: [4, H, W] = {name}({key}=0.375)").net().compile(optimize=0)
    (start,) = module.parameters()
    assert set(start.flatten().tolist()) == {0.375}
