"""A plan for people and for programs: every choice, what it costs, and what came second."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cnndsl.kernels.plan.choice import Chooser, Option, Piece
from cnndsl.kernels.plan.memory import memory
from cnndsl.kernels.plan.network import Plan, Planned, Region, Variant

RIVALS = 3
"""How many other ways are told of each choice."""


@dataclass(frozen=True)
class Row:
    """One part of one step."""

    paths: tuple[str, ...]
    piece: Piece
    region: Region
    runs: int
    rivals: tuple[Option, ...]

    @property
    def measured(self) -> bool:
        """Alone, or together with the steps around it."""
        return self.region.measured or self.piece.option.measured is not None


def rows(plan: Plan, chooser: Chooser) -> Iterator[Row]:
    """In the order in which they run."""
    for region in plan.regions:
        for planned in plan.steps[region.first : region.last]:
            paths = dict.fromkeys(node.path for node in planned.step.origins if node.path)
            for piece in planned.pieces:
                if piece.cost.kernels:
                    runs = plan.batch // region.chunk
                    yield Row(tuple(paths), piece, region, runs, _rivals(piece, chooser))


def _rivals(piece: Piece, chooser: Chooser) -> tuple[Option, ...]:
    """The best of each other maker."""
    found: dict[str, Option] = {}
    options = chooser.options(piece.segment.problem, piece.outside)
    for option in sorted(options, key=lambda option: option.seconds(chooser.device)):
        if option.way.maker is not piece.way.maker:
            found.setdefault(option.way.maker.name, option)
    return tuple(found.values())[:RIVALS]


def head(plan: Plan, chooser: Chooser) -> str:
    """The whole in one line."""
    device, found = plan.device, list(rows(plan, chooser))
    measured = sum(row.measured for row in found)
    by = "as measured" if measured == len(found) else "by the roofline"
    if 0 < measured < len(found):
        by = f"{measured} of {len(found)} parts as measured, the rest by the roofline"
    return (
        f"plan for {device.name} (cuda:{device.capability}), batch {plan.batch}, "
        f"{str(plan.dtype)[6:]}: {plan.kernels} kernels in {plan.launches} launches, "
        f"{_bytes(plan.bytes)}, {_time(plan.seconds)} {by}"
    )


def text(plan: Plan, chooser: Chooser) -> list[str]:
    """Lines; equal choices once, with their number."""
    device, lines = plan.device, [head(plan, chooser)]
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows(plan, chooser):
        groups.setdefault((str(row.piece.segment.problem), str(row.piece.way)), []).append(row)
    wide = max((len(way) for _, way in groups), default=0)
    for (problem, way), same in groups.items():
        first = same[0]
        lines.append(
            f"{len(same):>5} x {way:<{wide}}  {_time(first.piece.seconds(device)):>8}  "
            f"{problem}{_second(first, plan)}{_where(same)}"
        )
    lines += _together(plan)
    kept = memory(plan)
    lines.append(
        f"memory: {_bytes(kept.bytes)} for values, laid out before the first run; "
        f"{len(plan.buffers.views)} concatenations are slices, {kept.in_place} sums are in place"
    )
    return lines


def _second(row: Row, plan: Plan) -> str:
    if not row.rivals:
        return ""
    rival = row.rivals[0]
    return f"; {rival.way.maker.name} {_time(rival.seconds(plan.device))}"


def _where(same: list[Row]) -> str:
    firsts = [row.paths[0] for row in same if row.paths]
    return _between([*dict.fromkeys((*firsts[:1], *firsts[-1:]))])


def _between(ends: Sequence[str]) -> str:
    return f"  ({' … '.join(ends)})" if ends else ""


# --- steps that were chosen together --------------------------------------------------------------


def _together(plan: Plan) -> Iterator[str]:
    """Regions that were timed as one, or run in chunks; equal ones once, with their number."""
    groups: dict[tuple[str, float, int], list[Region]] = {}
    for region in plan.regions:
        if region.measured or region.chunk < plan.batch:
            name = _variant(region, plan).name
            groups.setdefault((name, region.seconds, len(region.rivals)), []).append(region)
    for same in groups.values():
        region = same[0]
        count = region.last - region.first
        by = "as one, measured" if region.measured else "by the roofline"
        samples = "" if region.chunk == plan.batch else f", {region.chunk} samples at a time"
        yield (
            f"{len(same):>5} x {count} steps {by}{samples}: {_time(region.seconds)}"
            f"{_runner_up(region, plan)}{_between(_ends(region, plan))}"
        )


def _variant(region: Region, plan: Plan) -> Variant:
    return Variant(region.chunk, plan.steps[region.first : region.last])


def _runner_up(region: Region, plan: Plan) -> str:
    """``; 61.0 µs with aten for gap``: what came second, and where it differs."""
    if not region.rivals:
        return ""
    rival, seconds = region.rivals[0]
    if rival.chunk != region.chunk:
        return f"; {_time(seconds)} for {rival.chunk} samples at a time"
    told = f"; {_time(seconds)} with "
    pairs = zip(rival.steps, plan.steps[region.first : region.last], strict=True)
    other = [
        f"{' and '.join(str(piece.way) for piece in theirs.pieces)} for {_chain(theirs)}"
        for theirs, ours in pairs
        if theirs.pieces != ours.pieces
    ]
    return told + "; ".join(dict.fromkeys(other))


def _chain(planned: Planned) -> str:
    return " -> ".join(piece.segment.problem.chain.text() for piece in planned.pieces)


def _ends(region: Region, plan: Plan) -> list[str]:
    """The paths of its first and its last step."""
    steps = [planned.step for planned in plan.steps[region.first : region.last]]
    paths = [node.path for step in steps for node in step.origins if node.path]
    return [*dict.fromkeys((*paths[:1], *paths[-1:]))]


def _region_json(region: Region, plan: Plan) -> dict[str, Any]:
    return {
        "paths": _ends(region, plan),
        "steps": region.last - region.first,
        "samples": region.chunk,
        "seconds": region.seconds,
        "measured": region.measured,
        "rivals": [{"samples": v.chunk, "seconds": seconds} for v, seconds in region.rivals],
    }


def to_json(plan: Plan, chooser: Chooser) -> dict[str, Any]:
    """As ``cnndsl/schemas/optimizer-1.json`` describes it under ``plan``."""
    device = plan.device
    kept = memory(plan)
    return {
        "device": device.name,
        "capability": device.capability,
        "batch": plan.batch,
        "dtype": str(plan.dtype)[6:],
        "kernels": plan.kernels,
        "launches": plan.launches,
        "bytes": plan.bytes,
        "seconds": plan.seconds,
        "memory": {
            "bytes": kept.bytes, "slices": len(plan.buffers.views), "in_place": kept.in_place,
        },
        "regions": [_region_json(region, plan) for region in plan.regions],
        "choices": [_choice_json(row, plan) for row in rows(plan, chooser)],
    }  # fmt: skip


def _choice_json(row: Row, plan: Plan) -> dict[str, Any]:
    piece, config = row.piece, row.piece.way.config
    return {
        "paths": list(row.paths),
        "problem": str(piece.segment.problem),
        "by": piece.way.maker.name,
        "config": None
        if config is None
        else {"tiles": dict(config.tiles), "warps": config.warps, "stages": config.stages},
        "kernels": piece.cost.kernels,
        "runs": row.runs,
        "bytes": piece.cost.bytes,
        "seconds": piece.seconds(plan.device),
        "measured": piece.option.measured is not None,
        "rivals": [
            {"by": rival.way.maker.name, "seconds": rival.seconds(plan.device)}
            for rival in row.rivals
        ],
    }


def _time(seconds: float) -> str:
    """``8.1 µs``, ``6.13 ms``."""
    return f"{1e6 * seconds:.1f} µs" if seconds < 1e-3 else f"{1e3 * seconds:.2f} ms"


def _bytes(count: int) -> str:
    """``12.3 GB``: powers of ten, as bandwidths have them."""
    for factor, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "KB")):
        if count >= factor:
            return f"{count / factor:.2f} {unit}"
    return f"{count} B"
