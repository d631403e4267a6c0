"""`fmt --explicit`: the same networks, with nothing left to look up."""

from __future__ import annotations

from pathlib import Path

import pytest

import cnndsl
from cnndsl.ops import catalogue
from cnndsl.source import Source
from cnndsl.syntax.formatter import format_source
from cnndsl.views.explicit import made_explicit
from tests.cli.runner import ROOT

# nas.cnn is a search space: its defaults depend on the choices (corpus: cli/fmt/explicit_space)
FILES = sorted(p for p in (ROOT / "examples").glob("*.cnn") if p.stem != "nas")


def explicit(program: cnndsl.Program) -> str:
    graphs = [program.net(name).graph for name in program.nets]
    return made_explicit(program.source, program.library.module, graphs)


@pytest.mark.parametrize("file", FILES, ids=lambda p: p.stem)
def test_examples_stay_the_same_networks(file: Path) -> None:
    program = cnndsl.load(file)
    text, problems = format_source(Source(file.name, explicit(program)))
    assert text is not None, problems
    again = cnndsl.loads(text, name=str(file), root=file.parent)
    assert not again.diagnostics
    for name in program.nets:
        assert again.net(name).graph.signature() == program.net(name).graph.signature()
    assert format_source(Source(file.name, explicit(again)))[0] == text


def test_every_operator_can_be_written_out() -> None:
    """Each operator's own spelling of its defaults reads back."""
    given = {
        "conv": "conv(8, 3)", "conv_transpose": "conv_transpose(8, 3)", "linear": "linear(8)",
        "group_norm": "group_norm(2)", "lrn": "lrn(5)", "maxpool": "maxpool(2)",
        "avgpool": "avgpool(2)", "lppool": "lppool(2, 2)", "crop": "crop(1)", "pad": "pad(1)",
        "adaptive_avgpool": "adaptive_avgpool(2)", "adaptive_maxpool": "adaptive_maxpool(2)",
        "upsample": "upsample(2)", "pixel_shuffle": "pixel_shuffle(2)",
        "channel_shuffle": "channel_shuffle(2)", "pad_channels": "pad_channels(9)",
        "slice": "slice(0, 4)", "droppath": "droppath(0.1)",
    }  # fmt: skip
    for name, op in catalogue().items():
        if name == "split" or not name.islower() or op.__module__.split(".")[0] != "cnndsl":
            continue
        step = f"{name}(relu, id)" if op.join else given.get(name, name)
        program = cnndsl.loads(f"net A: [8, 16, 16] = {step}\n")
        assert not program.diagnostics, name
        text = explicit(program)
        again = cnndsl.loads(text)
        assert not again.diagnostics, text
        assert again.net().graph.signature() == program.net().graph.signature(), text
        unsaid = [p.name for p in op.params.values() if not p.required and f"{p.name}=" not in text]
        assert not unsaid, text


def test_values_that_differ_between_uses_stay_unsaid() -> None:
    text = "def F(k) = conv(8, k)\nnet A: [8, H, W] = F(3) -> bn -> F(5)\ndef Unused = conv(8, 3)\n"
    assert explicit(cnndsl.loads(text)).splitlines() == [
        "def F(k) = conv(8, k, stride=1, dilation=1, groups=1)",
        "net A: [8, H, W] = F(3) -> bn(eps=1e-05, momentum=0.1, affine=yes) -> F(5)",
        "def Unused = conv(8, 3)",
    ]


def test_defaults_of_a_scope_are_written_where_they_act() -> None:
    text = "net A: [8, H, W] = with conv(bias=no), bn(eps=1e-3): conv(8, 1) -> relu -> bn()\n"
    assert "bias=no) -> relu -> bn(eps=0.001, momentum" in explicit(cnndsl.loads(text))


def test_a_parameter_that_stands_for_an_operator_is_left_alone() -> None:
    text = "block U(act) = act -> conv(8, 1)\nnet A: [8, H, W] = U(gelu) -> U(leaky_relu)\n"
    shown = explicit(cnndsl.loads(text))
    assert "act -> conv(8, 1, stride=1" in shown
    assert "U(gelu) -> U(leaky_relu)" in shown
