"""The report of the optimiser: complete, consistent, short, and the same every time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import cnndsl
from cnndsl.engines.choose import AUTO, ENGINES
from cnndsl.passes.kinds import CONVOLUTIONS
from cnndsl.views import optimizer
from cnndsl.views.optimizer import FUSIONS, Explanation
from tests.passes.hook import unmeasured

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def _reports_alone() -> Iterator[None]:
    """That rewrites are right is another test's business; here it would cost minutes."""
    with unmeasured():
        yield


ZOO = [
    "alexnet:AlexNet", "densenet:DenseNet121", "fractalnet:", "googlenet:GoogLeNet",
    "inception_v4:InceptionV4", "mobilenet_v2:", "mtcnn:ONet", "resnet:ResNet50",
    "resnet_preact:", "se_resnet:SEResNet50", "squeezenet:SqueezeNet1_0", "unet:UNet",
]  # fmt: skip


def net(name: str) -> cnndsl.Compilation:
    file, _, title = name.partition(":")
    program = cnndsl.load(EXAMPLES / f"{file}.cnn")
    return program.net(title or program.nets[0])


def of(text: str) -> Explanation:
    return cnndsl.loads(text).net().explain()


@pytest.mark.parametrize("name", ZOO)
def test_the_sums_are_those_of_the_events(name: str) -> None:
    found = net(name).explain()
    assert found.before.macs == net(name).macs()
    assert found.saved.macs == found.before.macs - found.after.macs
    assert found.saved.kernels == found.before.kernels - found.after.kernels
    assert sum(found.counts.values()) == sum(event.fired for event in found.events)


@pytest.mark.parametrize("name", ZOO)
def test_every_convolution_is_fused_or_has_a_reason(name: str) -> None:
    """Each of the text's is in a kernel with more in it, or is listed with why it is not."""
    found = net(name).explain()
    assert found.alone is not None
    assert all(one.why != "nothing that follows can join it" for one in found.alone)
    fused = {o for e in found.events if e.rewrite.startswith("fuse-") for o in e.origins}
    listed = {o for one in found.alone for o in one.origins}
    graph = net(name).graph
    convolutions = {n.path for n in graph if isinstance(n.op, CONVOLUTIONS)}
    assert convolutions - {n.path for n in fused | listed} <= _in_training_heads(name)


def _in_training_heads(name: str) -> set[str]:
    graph = net(name).graph
    running = graph.reaching(o.node for o in graph.outputs if not o.train)
    return {node.path for node in graph if node.id not in running}


@pytest.mark.parametrize("name", ZOO)
def test_it_is_short_and_the_same_every_time(name: str) -> None:
    text = net(name).explain().text()
    assert len(text.splitlines()) <= 60
    assert net(name).explain().text() == text


def test_the_fusions_are_those_of_the_engines() -> None:
    assert {n: e.fusion for n, e in ENGINES.items() if e.fusion is not None} == dict(FUSIONS)


def test_engines_that_fuse_for_themselves_are_not_spoken_for() -> None:
    tiles = ("onnxruntime-winograd", "onnxruntime-winograd-squares", "openvino-winograd")
    for engine in (AUTO, "onnxruntime", *tiles, "openvino", "inductor"):
        found = net("resnet:ResNet18").explain(engine=engine)
        assert found.alone is None
        assert not any(name.startswith("fuse-") for name in found.counts)
        assert "run alone" not in found.text()


@pytest.mark.parametrize(
    ("engine", "tile"),
    [
        ("onnxruntime-winograd", "4x1"),
        ("onnxruntime-winograd-squares", "4x4"),
        ("openvino-winograd", "4x1"),
    ],
)
def test_tiles_are_told_for_the_engine_that_has_them(engine: str, tile: str) -> None:
    text = "net N: [3, H, W] = a: conv(256, 3) -> maxpool(4) -> b: conv(256, 3) -> c: conv(8, 3)"
    found = cnndsl.loads(text).net().explain(engine=engine)
    events = [event for event in found.events if event.rewrite == "winograd"]
    assert [event.fired for event in events] == [True, False, False]
    assert tile in str(events[0])
    assert found.saved.macs > 0


def test_what_a_rewrite_costs_is_not_called_saved() -> None:
    shown = {str(optimizer.Saved(0, 0, 0)), str(optimizer.Saved(5, -2048, 1)),
             str(optimizer.Saved(-1, 0, 2))}  # fmt: skip
    assert shown == {
        "", "saves 5 MAC, 1 kernel; costs 2.0 KB", "saves 2 kernels; costs 1 MAC"
    }  # fmt: skip


def test_equal_events_are_told_once_with_the_first_and_last_place() -> None:
    text = of("block B = conv(4, 1) -> bn -> relu\nnet A: [4, 8, 8] = B -> B -> B\n").text()
    row = next(line for line in text.splitlines() if "fold-affine" in line)
    said = "3 x fold-affine folded into the weights before it; saves 6.0 KB, 3 kernels (0.0 … 2.0)"
    assert " ".join(row.split()) == said


def test_a_convolution_is_named_and_not_what_was_moved_before_it() -> None:
    found = of("net A: [8, H, W] = c: conv(4, 1) -> avgpool(2) -> maxpool(2)\n")
    assert "average-exchange" in found.counts
    (one,) = found.alone or ()
    assert [node.path for node in one.origins] == ["c"]
    assert "A:1" not in found.text()
    assert found.text().count("(c)") == 1
