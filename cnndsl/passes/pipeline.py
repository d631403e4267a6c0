"""Which rewrites run, in which order. A new rewrite is one line here."""

from __future__ import annotations

from cnndsl.passes.activation_into_concat import ActivationIntoConcat
from cnndsl.passes.average_exchange import AverageExchange
from cnndsl.passes.base import Pipeline, Rewrite
from cnndsl.passes.compose_convolutions import ComposeConvolutions
from cnndsl.passes.cse import CommonSubexpressions
from cnndsl.passes.dead_pixels import DeadPixels
from cnndsl.passes.exchange_relu_maxpool import ExchangeReluMaxpool
from cnndsl.passes.flatten_concat import FlattenConcat
from cnndsl.passes.flatten_first import FlattenFirst
from cnndsl.passes.flatten_permutation import FlattenPermutation
from cnndsl.passes.fold_affine import FoldAffine
from cnndsl.passes.fold_affine_forward import FoldAffineForward
from cnndsl.passes.fuse_elementwise import FuseElementwise
from cnndsl.passes.fuse_epilogue import FuseEpilogue
from cnndsl.passes.group_conv_pool import GroupConvPool
from cnndsl.passes.hoist_gate import HoistGate
from cnndsl.passes.maxpool_past_affine import MaxpoolPastAffine
from cnndsl.passes.mean_to_sum import MeanToSum
from cnndsl.passes.merge_affines import MergeAffines
from cnndsl.passes.merge_siblings import MergeSiblings
from cnndsl.passes.normalization import NormToAffine
from cnndsl.passes.pool_forms import PoolForms
from cnndsl.passes.prologue import Prologue
from cnndsl.passes.remove_identity import RemoveIdentity
from cnndsl.passes.scale_to_affine import ScaleToAffine
from cnndsl.passes.sink_affine import SinkAffine
from cnndsl.passes.split_transform_merge import SplitTransformMerge
from cnndsl.passes.squeeze import Squeeze
from cnndsl.passes.two_k import TwoK
from cnndsl.passes.winograd import F4X1, F4X1_APART, Winograd

ALGEBRA = Pipeline(
    [
        RemoveIdentity(),
        PoolForms(),
        CommonSubexpressions(),
        FlattenConcat(),
        FlattenPermutation(),
        NormToAffine(),
        ScaleToAffine(),
        MaxpoolPastAffine(),
        FoldAffine(),
        SinkAffine(),
        MergeAffines(),
        FoldAffineForward(),
        MeanToSum(),
        FlattenFirst(),
        HoistGate(),
        SplitTransformMerge(),
        AverageExchange(),
        DeadPixels(),
        ComposeConvolutions(),
        MergeSiblings(slices=False),  # cutting them apart again costs more on CPU engines
        ActivationIntoConcat(),
        ExchangeReluMaxpool(),
    ]
)
"""The same function with fewer operations; every engine gains from these."""

FUSION = Pipeline([FuseEpilogue(), FuseElementwise(concats=False)])
"""Steps that run as one kernel, for the engine that does not fuse itself; it lays what is
concatenated into ``buffers``."""

GPU = Pipeline(
    [
        MergeSiblings(),
        TwoK(pays=True),
        FuseEpilogue(),
        GroupConvPool(),
        Prologue(),
        Squeeze(),
        FuseElementwise(concats=False),
    ]
)
"""The same for kernels of our own: they take prologues, pool, and write into ``buffers``."""

TILES = Pipeline([Winograd()])
"""For an engine that computes convolutions directly."""

TILES_4X1 = Pipeline([Winograd(tiles=(F4X1,))])
"""The same by the more exact tiles alone."""

TILES_APART = Pipeline([Winograd(tiles=(F4X1_APART,))])
"""And for an engine that holds every fourth row by itself."""

WINOGRAD = (TILES, TILES_4X1, TILES_APART)
"""For engines that fuse for themselves."""

REWRITES: dict[str, Rewrite] = {
    rewrite.name: rewrite
    for rewrite in (*ALGEBRA, *GPU, *FUSION, FuseElementwise(), Winograd(always=True))
}
"""Each by its name, with all that it can do."""
