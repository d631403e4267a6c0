"""How long re-rolled networks of the zoo are: ``python -m tests.outline.lengths`` writes the table.

Lines of the hand-written text (of what the one net needs, without comments), of the text that
keeps all paths, and of the text from a graph without names.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cnndsl
from cnndsl.graph.model import Graph
from cnndsl.outline.reroll import Rolled, write_text
from tests.outline.equal import flattened
from tests.outline.handwritten import EXAMPLES, lines, needed

TABLE = Path(__file__).with_name("lengths.txt")
# Deeper siblings of nets that are there, and a search space, which is no network.
LEFT_OUT = {
    "densenet.cnn": "DenseNet161 DenseNet169 DenseNet201",
    "nas.cnn": "Cells",
    "regnet.cnn": "RegNet_X_400MF",
    "resnet.cnn": "ResNet34 ResNet101 ResNet152 WideResNet50_2 ResNeXt50_32x4d",
    "resnet_cifar.cnn": "ResNet32 ResNet44 ResNet56 ResNet110 ResNet1202",
    "resnet_preact.cnn": "PreActResNet101 PreActResNet152",
    "se_resnet.cnn": "SEResNet101 SEResNet152",
    "vgg.cnn": "VGG11 VGG13 VGG16 VGG11_BN VGG13_BN VGG16_BN",
    "wide_resnet_cifar.cnn": "WRN_28_10 WRN_40_4",
}


class Case(NamedTuple):
    file: Path
    net: str
    graph: Graph

    @property
    def hand(self) -> str:
        return needed(self.file, self.net)


def nets() -> list[tuple[str, str]]:
    """File and net of every case."""
    programs = {path: cnndsl.load(str(path)) for path in sorted(EXAMPLES.glob("*.cnn"))}
    return [
        (path.name, net)
        for path, program in programs.items()
        for net in program.nets
        if net not in LEFT_OUT.get(path.name, "").split()
    ]


def deeper() -> list[tuple[str, str]]:
    """File and net of those that the table leaves out."""
    return [
        (file, net) for file, left in LEFT_OUT.items() for net in left.split() if net != "Cells"
    ]


@cache
def case(file: str, net: str) -> Case:
    path = EXAMPLES / file
    return Case(path, net, cnndsl.load(str(path)).net(net).graph)


@cache
def kept(file: str, net: str) -> Rolled:
    return write_text(case(file, net).graph, keep=True)


@cache
def free(file: str, net: str) -> Rolled:
    return write_text(flattened(case(file, net).graph))


def rows() -> Iterator[str]:
    yield "net hand kept free"
    for file, net in nets():
        texts = (case(file, net).hand, kept(file, net).text, free(file, net).text)
        yield " ".join([net, *(str(lines(text)) for text in texts)])


def read() -> dict[str, tuple[int, int, int]]:
    found = {}
    for row in TABLE.read_text(encoding="utf-8").splitlines()[1:]:
        net, hand, with_paths, without = row.split()
        found[net] = (int(hand), int(with_paths), int(without))
    return found


if __name__ == "__main__":
    TABLE.write_text("\n".join(rows()) + "\n", encoding="utf-8")
