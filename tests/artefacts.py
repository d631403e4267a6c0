"""Everything that cnndsl writes about a few texts without torch, as digests by name."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import cnndsl
from tests.cli.runner import cnndsl as run
from tests.errors import reports

FILES = {"mixed": "Mixed", "nas": "Cells"}
"""Nets by file: of the texts below, and of `examples`."""
EACH = 4
"""Wrong programs of a topic."""

TEXTS = {
    "mixed": """\
import "blocks/common.cnn" (ConvBnAct)

block Cell(c)[a, b] =
  let s = (a -> left: conv(c, 3, bias=no)) + (b -> right: conv(c, 1))
  s, s -> down: conv(2*c, 3, stride=2)

net Mixed(classes = 10): [3, H, W] image, [1, H, W] mask =
  let fine, coarse = cell: Cell(8)[image, mask]
  let first, second = coarse -> split(2)
  let x = (first + second) -> stem: ConvBnAct(8, 3)^2 @t -> (id | maxpool(3, stride=1, padding=1))
  x -> emit[train] aux: (gap -> flatten -> linear(classes))
    -> se: (id * (gap -> fc: conv(16, 1) -> sigmoid)) -> bn -> relu
    -> upsample(2) -> emit small: conv(1, 1) -> for c in [8, 16] do conv(c, 3)
    -> gap -> flatten -> fc: linear(classes),
  fine -> conv(8, 3) -> again stem
  where H % 4 == 0, W % 4 == 0, H >= 8
""",
    "wrong": """\
net A(b = 2, b = 3): [3, H, W] = cnov(8, 3) -> (conv(8, 3) + conv(9, 3)) -> zz -> yy
net B: [3, H, W] = x: conv(8, 3, stirde=2) -> x: bn -> (relu | maxpool(2)) -> linear(7/2)
""",
}


def lay_out(examples: Path, folder: Path) -> None:
    """Puts the files into a folder."""
    for path in (*examples.glob("*.cnn"), *examples.glob("blocks/*.cnn")):
        if path.stem in FILES or path.parent != examples:
            copy = folder / path.relative_to(examples)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes())
    for name, text in TEXTS.items():
        (folder / f"{name}.cnn").write_text(text, encoding="utf-8")


def commands() -> Iterator[str]:
    yield from ("ops", "ops --json", "ops --format markdown", "explain E0401")
    for kind in ("json", "github", "sarif"):
        yield f"check wrong.cnn --format {kind}"
    yield "check nas.cnn --json"
    yield "check nas.cnn --sample 3"
    yield "summary nas.cnn --sample 3 --depth 1"
    for file, net in FILES.items():
        if file == "nas":
            continue
        yield f"check {file}.cnn"
        yield f"check {file}.cnn --json"
        yield f"fmt {file}.cnn --diff --explicit"
        for style in ("default", "cs231n", "eecs498"):
            yield f"summary {file}.cnn --net {net} --style {style} --formulas"
        for kind in ("markdown", "csv", "latex", "json"):
            yield f"summary {file}.cnn --net {net} --format {kind}"
        yield f"export json {file}.cnn --net {net}"
        yield f"compile {file}.cnn --net {net} --run none --explain --json"


def artefacts() -> Iterator[tuple[str, str]]:
    """What the command line and the API give in this folder, by name."""
    for command in commands():
        ran = run(*command.split())
        assert ran.code == 0 or "wrong.cnn" in command or command.startswith("fmt"), ran.err
        yield command, f"{ran.code}\n{ran.out}\n{ran.err}"
    for file, net in FILES.items():
        yield from _values(file, net)
    for name, case in _some().items():
        yield name, reports.rendered(case)


def _some() -> dict[str, reports.Case]:
    """A few cases of every topic, those with several files and several errors among them."""
    topics: dict[str, dict[str, reports.Case]] = {}
    for name, (_, case) in reports.cases().items():
        topics.setdefault(name.split("/")[0], {})[name] = case
    chosen = (list(topic)[:: max(1, len(topic) // EACH)] for topic in topics.values())
    return {name: topics[name.split("/")[0]][name] for names in chosen for name in names}


def _values(file: str, name: str) -> Iterator[tuple[str, str]]:
    program = cnndsl.load(f"{file}.cnn")
    net = program.net(name) if file != "nas" else program.space(name).sample(3)
    yield f"{file}: text", net.to_text()
    yield f"{file}: JSON", json.dumps(net.to_json())
    yield f"{file}: signature", repr(net.graph.signature())
    yield f"{file}: explanation", net.explain().text()
    yield f"{file}: facts", repr((net.facts, net.min_size, net.params, net.output_shapes()))


def main() -> None:
    """Prints a digest of each artefact, as JSON."""
    found = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in artefacts()}
    assert "torch" not in sys.modules
    print(json.dumps(found))
