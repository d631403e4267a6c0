"""Emitted networks: the keys of the zoo, the numbers of random programs and of every operator."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

import cnndsl
from cnndsl.exporters.python import export_python
from tests.exporters.python.emitted import fill, made_from, same_keys, same_numbers
from tests.graph.cases import CASES
from tests.networks import random_network
from tests.ops.cases import INSTANCES

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples").glob("*.cnn"))
SMALL = {"LeNet5": 32, "PNet": 24, "RNet": 24, "ONet": 48, "ResNet20": 16, "SqueezeNet1_1": 33}
# Deeper ones of their kind say nothing new; they are among the slow tests.
DEEPER = set(
    """
    DenseNet161 DenseNet169 DenseNet201 PreActResNet101 PreActResNet152 ResNet101 ResNet110
    ResNet1202 ResNet152 ResNet32 ResNet34 ResNet44 ResNet56 SEResNet101 SEResNet152 VGG13
    VGG13_BN VGG16 VGG16_BN VGG19_BN WRN_28_10 WRN_40_4 WideResNet50_2
    """.split()  # noqa: SIM905 - a list would be longer
)


def emit(path: Path, wanted: Callable[[str], bool]) -> dict[str, tuple[cnndsl.Compilation, str]]:
    program = cnndsl.load(path)
    names = filter(wanted, program.nets)
    nets = {name: program.net(name, chooser=lambda path, count: 0) for name in names}
    return {name: (net, export_python(net)) for name, net in nets.items()}


@cache
def emitted(path: Path) -> dict[str, tuple[cnndsl.Compilation, str]]:
    return emit(path, lambda name: name not in DEEPER)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_keys_of_the_zoo(path: Path) -> None:
    for net, text in emitted(path).values():
        same_keys(net, text)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_numbers_of_small_networks(path: Path) -> None:
    for name in SMALL.keys() & emitted(path).keys():
        same_numbers(*emitted(path)[name], least=SMALL[name])


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_numbers_of_the_zoo(path: Path) -> None:
    for net, text in emit(path, lambda name: True).values():
        same_keys(net, text)
        same_numbers(net, text, least=33)


def test_the_zoo_is_written_as_ruff_would(tmp_path: Path) -> None:
    """Neither the linter nor the formatter, with their defaults, has anything to say."""
    for path in EXAMPLES:
        for name, (_, text) in emitted(path).items():
            (tmp_path / f"{name}.py").write_text(text, encoding="ascii")
    for words in (["check", "--select", "E4,E7,E9,F,I,B"], ["format", "--diff"]):
        run = subprocess.run(
            [sys.executable, "-m", "ruff", *words, "--isolated", "--no-cache", str(tmp_path)],
            capture_output=True, text=True,
        )  # fmt: skip
        assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]


LENGTHS = {"ResNet50": 70, "DenseNet121": 100, "GoogLeNet": 130, "VGG19": 70, "UNet": 95}


def test_files_are_short() -> None:
    found = {name: pair for path in EXAMPLES for name, pair in emitted(path).items()}
    for name, most in LENGTHS.items():
        code = found[name][1].rpartition("\n\n\n# cnndsl replaces")[0]
        assert 0 < len(code.splitlines()) <= most, name


@pytest.mark.parametrize("start", range(0, 60, 20))
def test_random_programs(start: int) -> None:
    for seed in range(start, start + 20):
        same_numbers(cnndsl.loads(random_network(seed, tiny=True)).net())


@pytest.mark.slow
def test_thousands_of_random_programs() -> None:
    for seed in range(1_000, 4_000):
        same_numbers(cnndsl.loads(random_network(seed, tiny=True)).net())


@pytest.mark.parametrize("name", CASES)
def test_what_a_graph_can_hold(name: str) -> None:
    same_numbers(cnndsl.loads(CASES[name]).net(chooser=lambda path, count: 0))


FORMS = {
    "alone": "net N: [12, 12, 16] = {op}",
    "in a sequence": "net N: [12, 12, 16] = s: (relu -> {op})",
    "beside another": "block B = ({op} | {op})\nnet N: [12, 12, 16] = a: B -> relu",
}
JOINS = {"add", "mul", "mean", "max", "concat", "join"}


@pytest.mark.parametrize("name", INSTANCES)
def test_every_operator(name: str) -> None:
    """As a step of a class, as a layer of a sequence, and in a class of its own."""
    if name == "split":
        return  # is its pieces: see "split" among what a graph can hold
    for op in INSTANCES[name]:
        if name in JOINS:
            op = f"{name}(relu, conv(12, 1), id{op[len(name) + 1 : -1].join([', ', ''])})"
        for form in FORMS.values():
            same_numbers(cnndsl.loads(form.format(op=op.replace(", )", ")"))).net())


def test_many_operands_take_many_statements() -> None:
    for join in ("add", "max", "mean", "concat"):
        net = cnndsl.loads(f"net N: [2, 4, 4] = {join}(for i in 1..60 do c{{i}}: conv(2, 1))").net()
        same_numbers(net)


def test_without_cnndsl(tmp_path: Path) -> None:
    """A process that cannot import cnndsl gives the same numbers."""
    net = cnndsl.load(ROOT / "examples" / "resnet_cifar.cnn").net("ResNet20")
    text = export_python(net)
    torch.manual_seed(3)
    plain = net.compile(optimize=0)
    fill(plain)
    x = torch.randn(2, 3, 16, 16)
    (tmp_path / "net.py").write_text(text, encoding="ascii")
    torch.save({"state": plain.state_dict(), "x": x}, tmp_path / "given.pt")
    program = (
        "import sys; sys.path[:] = [p for p in sys.path if p not in ('', sys.argv[1])]\n"
        "sys.path.insert(0, sys.argv[2]); sys.modules['cnndsl'] = None\n"
        "import torch, net\n"
        "given = torch.load(sys.argv[2] + '/given.pt')\n"
        "module = net.ResNet20(); module.load_state_dict(given['state']); module.eval()\n"
        "torch.save(module(given['x']).detach(), sys.argv[2] + '/y.pt')\n"
    )
    subprocess.run(
        [sys.executable, "-I", "-c", program, str(ROOT), str(tmp_path)], check=True, cwd=tmp_path
    )
    with torch.no_grad():
        assert torch.equal(plain.eval()(x), torch.load(tmp_path / "y.pt"))


def test_a_class_for_what_is_alike() -> None:
    """One class for all bottlenecks, with the text's own parameters."""
    _, text = emitted(ROOT / "examples" / "resnet.cnn")["ResNet50"]
    assert "def __init__(self, in_channels: int, c: int, stride: int = 1)" in text
    assert "if stride != 1 or in_channels != 4 * c:" in text
    assert "*(Bottleneck(1024, 256) for _ in range(5))," in text
    assert text.count("class ") == 2


def test_loops_for_numbered_labels() -> None:
    _, text = emitted(ROOT / "examples" / "densenet.cnn")["DenseNet121"]
    assert "for layer in self.children():\n            x = torch.cat([x, layer(x)], 1)" in text
    assert "self.denseblock3 = DenseBlock(256, 24)" in text


def test_rounds_that_read_other_values_are_no_loop() -> None:
    taps = "relu @a -> tanh @b -> sigmoid @c"
    rounds = " -> ".join(f"({tap} + u{i}: conv(4, 1))" for i, tap in enumerate("abc"))
    net = cnndsl.loads(f"net N: [4, H, W] = {taps} -> {rounds}").net()
    text = export_python(net)
    assert "for i in" not in text and "for layer in" not in text
    same_numbers(net, text)


SHARED = {
    "a factor": "net N: [4, H, W] = g: (0: scale -> relu) -> h: (again g.0 -> relu) -> again g.0",
    "a factor deep": "net N: [4, H, W] = g: (i: (0: scale)) -> a: (b: (again g.i.0 -> tanh))",
    "a layer": "net N: [4, H, W] = g: (0: conv(4, 1) -> relu) -> a: (b: (again g.0 -> tanh + id))",
    "a block": "block B = conv(4, 3) -> (bn + id)\nnet N: [4, H, W] = t: B -> a: (again t -> relu)",
    "a name of a parameter": "net N: [4, H, W] = x: conv(4, 3) -> a: (again x -> (relu + id))",
}


@pytest.mark.parametrize("name", SHARED)
def test_what_other_namespaces_use_again(name: str) -> None:
    same_numbers(cnndsl.loads(SHARED[name]).net())


def test_modules_that_are_shared_are_called_twice() -> None:
    net = cnndsl.loads(CASES["again from a group"]).net()
    module = made_from(export_python(net), net)
    assert len({id(p) for p in module.parameters()}) == len(net.compile().state_dict())
