"""Every application of a rewrite in every test is measured, unless a test measures by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cnndsl.passes.base import Rewrite, Trace
from cnndsl.passes.flow import Flow

_plain = Rewrite.run


def measured(self: Rewrite, flow: Flow, trace: Trace) -> bool:
    """``Rewrite.run``, and AssertionError unless before and after are the same function."""
    from tests.passes.oracle import assert_same  # torch, only where something is rewritten

    before = flow.copy()
    changed = _plain(self, flow, trace)
    if changed:
        assert_same(before, flow, exact=self.exact, spreads=self.spreads)
    return changed


@contextmanager
def measuring() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rewrite, "run", measured)
        yield


@contextmanager
def unmeasured() -> Iterator[None]:
    """For tests that compare the end of a pipeline themselves, or look at the clock."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rewrite, "run", _plain)
        yield
