"""The random networks reach the guards: without one of them a random network goes wrong."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import pytest

from cnndsl.ops.base import RuleError
from cnndsl.passes import pipeline
from cnndsl.passes.base import Trace
from cnndsl.passes.flow import Flow
from tests.passes.hook import unmeasured
from tests.passes.oracle import Comparison, Options
from tests.passes.test_random import network
from tests.programs import graph_of

NETWORKS = 500
GUARDS = [
    "activation_into_concat.ActivationIntoConcat.is_uniform",
    "average_exchange.AverageExchange.keeps_bias",
    "compose_convolutions.ComposeConvolutions.is_dense",
    "compose_convolutions.ComposeConvolutions.sees_bias",
    "dead_pixels.DeadPixels.is_positionwise",
    "exchange_relu_maxpool.never_falls",
    "flatten_permutation.has_one_position",
    "fold_affine_forward.summand_is_constant",
    "hoist_gate.averages_alike",
    "maxpool_past_affine.MaxpoolPastAffine.is_rising",
    "merge_siblings.MergeSiblings.is_dense",
    "remove_identity.keeps_type",
    "sink_affine.averages_map_only",
    "split_transform_merge.SplitTransformMerge.is_in_order",
]


def owner(path: str) -> tuple[Any, str]:
    module, *names, name = path.split(".")
    found: Any = importlib.import_module(f"cnndsl.passes.{module}")
    for inner in names:
        found = getattr(found, inner)
    return found, name


@cache
def flow_of(seed: int) -> Flow:
    return Flow(graph_of(network(seed)))


@cache
def measured(seed: int) -> Comparison:
    return Comparison(flow_of(seed), seed)


def goes_wrong(seed: int) -> bool:
    """Whether a rewrite gives another function, or one that has no types."""
    flow = flow_of(seed).copy()
    trace = Trace()
    for rewrite in (*pipeline.ALGEBRA, *pipeline.GPU):
        try:
            rewrite.run(flow, trace)
        except (RuleError, ValueError, AssertionError, TypeError):
            return True
    try:
        measured(seed).check(flow, Options())
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("path", GUARDS)
def test_a_network_needs_the_guard(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with unmeasured():
        monkeypatch.setattr(*owner(path), lambda *_: True)
        for seed in range(NETWORKS):
            if goes_wrong(seed):
                return
    pytest.fail(f"{NETWORKS} random networks are right without `{path}`")
