"""Random networks through every pipeline, and through rewrites in any number and order.

Rewrites are not measured one by one here: the pipeline's end is compared with the network as
it was, and only if that differs the rewrites are taken one by one to find the network's part.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest
import torch

from cnndsl.passes import pipeline
from cnndsl.passes.base import Pipeline, Rewrite, Trace
from cnndsl.passes.flow import Flow
from cnndsl.passes.winograd import F4X1, F4X4, Tile, Winograd
from tests.networks import random_network
from tests.passes.hook import unmeasured
from tests.passes.oracle import Comparison, Options
from tests.passes.reduce import reduced, report
from tests.programs import graph_of

GRAPHS, STRUCTURAL, SUBSETS, TILED = 2_000, 1_000, 300, 60
PARTS = 10
EACH = GRAPHS // PARTS
ENDS = [pipeline.FUSION, pipeline.GPU]
"""What may follow ``ALGEBRA``."""
COPIES = 2
"""A rewrite may meet what another one, or itself, made of the network."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The tensors are tiny."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with unmeasured():
        yield
    torch.set_num_threads(threads)


def network(seed: int) -> str:
    """Every second one is exact on whole numbers, and serves both comparisons."""
    return random_network(seed, tiny=True, whole=seed % 2 == 1)


def pipelines(flow: Flow) -> list[tuple[str, Flow, Trace]]:
    """The flow after all rewrites, by the pipeline that came last."""
    middle = flow.copy()
    trace = pipeline.ALGEBRA.run(middle)
    found = []
    for end in ENDS:
        twin = middle.copy()
        trace.events += end.run(twin).events
        found.append((", ".join(r.name for r in (*pipeline.ALGEBRA, *end)), twin, trace))
    return found


def tiled(flow: Flow, sizes: Mapping[str, int], tile: Tile) -> tuple[Flow, Trace]:
    """The flow for one size, as engines that compile for one get it, and by Winograd's tiles."""
    found = flow.copy()
    pipeline.ALGEBRA.run(found)
    found = found.at(sizes)
    return found, Pipeline([*pipeline.ALGEBRA, Winograd((tile,), always=True)]).run(found)


@pytest.mark.parametrize("part", range(PARTS))
def test_all_rewrites(part: int) -> None:
    """The same values, and the same bits wherever sums are exact."""
    compared = 0
    for seed in range(part * EACH, (part + 1) * EACH):
        text = network(seed)
        flow = Flow(graph_of(text))
        comparison = Comparison(flow, seed)
        for names, found, _ in pipelines(flow):
            compared += _check(comparison, found, text, names, bits=seed % 2 == 1)
    assert compared >= STRUCTURAL / PARTS


def test_tiles_at_one_size() -> None:
    tiles: Counter[str] = Counter()
    for seed in range(TILED):
        flow = Flow(graph_of(text := network(seed)))
        comparison = Comparison(flow, seed)
        for index, sizes in enumerate(comparison.sizes):
            tile = (F4X4, F4X1)[(seed + index) % 2]
            found, trace = tiled(flow, sizes, tile)
            try:
                comparison.close(found, index)
            except AssertionError as problem:
                raise AssertionError(f"{problem} at {sizes}\n{text}") from None
            tiles[tile.size] += sum(event.rewrite == Winograd.name for event in trace.fired)
    assert min(tiles.values()) >= TILED / 2


@pytest.mark.parametrize("part", range(PARTS))
def test_rewrites_in_any_number_and_order(part: int) -> None:
    """``after`` is about what pays; no rewrite may need another to be right."""
    for seed in range(part, SUBSETS, PARTS):
        rng = random.Random(seed)
        rewrites = [r for r in pipeline.REWRITES.values() for _ in range(COPIES)]
        chosen = rng.sample(rewrites, rng.randint(1, len(rewrites)))
        text = network(GRAPHS + seed)
        flow = Flow(graph_of(text))
        found = flow.copy()
        run(chosen, found)
        names = ", ".join(rewrite.name for rewrite in chosen)
        thirds = Winograd.name in names  # its filters have thirds, which no float has
        _check(Comparison(flow, seed), found, text, names, bits=seed % 2 == 1 and not thirds)


def test_every_rewrite_fires() -> None:
    """In the first networks of the run already, so that all of it covers each many times."""
    fired: Counter[str] = Counter()
    for seed in range(GRAPHS // 3):
        flow = Flow(graph_of(network(seed)))
        traces = [trace for _, _, trace in pipelines(flow)] + [tiled(flow, flow.sizes, F4X1)[1]]
        fired.update(event.rewrite for trace in traces for event in trace.fired)
        if set(pipeline.REWRITES) <= set(fired):
            return
    assert not set(pipeline.REWRITES) - set(fired)


def run(rewrites: Sequence[Rewrite], flow: Flow) -> None:
    """Any order: ``Pipeline`` would insist on ``after``."""
    trace = Trace()
    for rewrite in rewrites:
        rewrite.run(flow, trace)


def _check(comparison: Comparison, found: Flow, text: str, names: str, bits: bool) -> int:
    options = Options(spreads=any(rewrite.spreads for rewrite in pipeline.REWRITES.values()))
    try:
        comparison.check(found, options)
        return comparison.bits(found, options) if bits else 0
    except AssertionError as problem:
        raise AssertionError(explained(text, str(problem), names)) from None


# --- what failed, made small ----------------------------------------------------------------------


def explained(text: str, problem: str, names: str) -> str:
    """The smallest network and the fewest rewrites that show it."""
    rewrites = [pipeline.REWRITES[name] for name in names.split(", ")]
    for rewrite in list(rewrites):
        fewer = [r for r in rewrites if r is not rewrite]
        if _wrong(fewer)(text):
            rewrites = fewer
    if not _wrong(rewrites)(text):  # only in this run's drawn numbers
        return report(text, problem, names)
    small = reduced(text, _wrong(rewrites))
    return report(small, problem, ", ".join(r.name for r in rewrites))


def _wrong(rewrites: Sequence[Rewrite]) -> Callable[[str], bool]:
    def wrong(text: str) -> bool:
        flow = Flow(graph_of(text))
        after = flow.copy()
        try:
            run(rewrites, after)
            comparison = Comparison(flow)
            comparison.check(after, Options(spreads=any(r.spreads for r in rewrites)))
            comparison.bits(after, Options())
        except AssertionError:
            return True
        return False

    return wrong


def test_a_wrong_rewrite_is_reduced() -> None:
    """The message has a network of one or two steps and the one rewrite that is to blame."""
    from tests.passes.planted import Broken

    text = network(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(pipeline.REWRITES, "broken", Broken())
        flow = Flow(graph_of(text))
        found = flow.copy()
        names = ", ".join(["cse", "broken", "remove-identity"])
        run([pipeline.REWRITES[name] for name in names.split(", ")], found)
        with pytest.raises(AssertionError) as error:
            _check(Comparison(flow), found, text, names, bits=False)
    message = str(error.value)
    assert "# rewrites: broken\n" in message
    assert message.count("->") <= 1, message


def test_the_pipelines_are_what_is_tested() -> None:
    """A new pipeline is added to ``ENDS``, or has a test of its own, as tiles have."""
    known = {id(value) for value in vars(pipeline).values() if isinstance(value, Pipeline)}
    assert known == set(map(id, (pipeline.ALGEBRA, *pipeline.WINOGRAD, *ENDS)))
