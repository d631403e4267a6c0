"""Options of the test suite, and what holds for every graph that any test makes."""

import gc
from collections.abc import Iterator

import pytest

from cnndsl.graph.model import Graph
from cnndsl.graph.verify import verify
from cnndsl.semantics.net import Net


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update", action="store_true", help="rewrite the corpus to what comes out now"
    )


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: looking through it for garbage again and
    again took a sixth of the time of the tests that make many objects; looking seldom saves
    another 6 %.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)


@pytest.fixture(scope="session", autouse=True)
def every_graph_is_verified() -> Iterator[None]:
    make = Net._graph

    def verified(self: Net) -> Graph:
        graph = make(self)
        verify(graph, self.state.limits)
        return graph

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Net, "_graph", verified)
        yield


@pytest.fixture(scope="session", autouse=True)
def every_rewrite_is_measured() -> Iterator[None]:
    """Before and after are the same function, for every application in every test."""
    from tests.passes.hook import measuring

    with measuring():
        yield
