"""What the engines with Winograd's tiles share."""

from __future__ import annotations

from typing import ClassVar

from cnndsl.engines.base import Engine, Job
from cnndsl.passes.winograd import Tile, Winograd


class ByTiles(Engine):
    """Before an engine that convolves directly: runs networks that gain from its ``tile``."""

    tile: ClassVar[Tile]

    def refuses(self, job: Job) -> str | None:
        reason = super().refuses(job)
        if reason is not None or self.fusion is None:
            return reason
        (rewrite,) = self.fusion
        assert isinstance(rewrite, Winograd)
        if self.tile.size in rewrite.tiles_that_pay(job.flow.at(job.sizes)):
            return None
        return (
            "no convolution of this network and size gains from Winograd's tiles of "
            f"{self.tile.size}"
        )
