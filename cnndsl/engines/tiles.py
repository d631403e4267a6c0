"""What the engines with Winograd's tiles share."""

from __future__ import annotations

from cnndsl.engines.base import Job
from cnndsl.passes.base import Pipeline
from cnndsl.passes.winograd import Tile, Winograd


def gains_nothing(fusion: Pipeline, tile: Tile, job: Job) -> str | None:
    """Why an engine with these tiles has nothing to do; None where a convolution gains from
    ``tile``."""
    (rewrite,) = fusion
    assert isinstance(rewrite, Winograd)
    if tile.size in rewrite.tiles_that_pay(job.flow.at(job.sizes)):
        return None
    return f"no convolution of this network and size gains from Winograd's tiles of {tile.size}"
