from __future__ import annotations

import pytest

from cnndsl.backends.torch import training


@pytest.fixture
def every_map_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small maps are treated as large ones are."""
    monkeypatch.setattr(training, "_LARGE", 0)
