"""How the interpreter runs the kernels of these tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest


@pytest.fixture(scope="session", autouse=True)
def plain_integers(pytestconfig: pytest.Config) -> Iterator[None]:
    """The interpreter computes every sum and product of integers once more in 64 bits, to see an
    overflow: half of its time. No offset of the short form is near one; the long form looks.
    """
    from triton.runtime.interpreter import interpreter_builder

    checked = interpreter_builder.options
    if pytestconfig.option.markexpr != "slow":
        interpreter_builder.options = replace(checked, sanitize_overflow=False)
    yield
    interpreter_builder.options = checked
