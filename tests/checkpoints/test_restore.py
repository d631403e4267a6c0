"""A written file stands alone: text, net, parameters and numbers make the module again."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch

import cnndsl
from cnndsl.checkpoints import files
from cnndsl.checkpoints.bounds import WeightsError
from cnndsl.checkpoints.match import match
from cnndsl.checkpoints.origin import Origin
from cnndsl.checkpoints.report import lines
from cnndsl.checkpoints.save import converted
from cnndsl.compiler import Compilation
from tests.cli.runner import cnndsl as command
from tests.zoo.twins import example

TWO = """\
import "parts.cnn" (Unit)
net Other: [1, H, W] = relu
net Main(classes, width = 4, body = Unit): [3, H, W] =
  stem: conv(width, 3) -> body(width) -> gap -> flatten -> fc: linear(classes)
"""
PARTS = """\
import "deep/more.cnn" (Wide)
block Unit(c) = conv: conv(c, 3) -> bn: bn -> relu -> wide: Wide(c)
"""
MORE = "block Wide(c) = conv(2 * c, 1) -> prelu\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    (tmp_path / "main.cnn").write_text(TWO)
    (tmp_path / "parts.cnn").write_text(PARTS)
    (tmp_path / "deep" / "more.cnn").write_text(MORE)
    return tmp_path


def saved(net: Compilation, path: Path, seed: int = 1) -> torch.nn.Module:
    torch.manual_seed(seed)
    module = net.compile(optimize=0)
    net.save(path, module)
    return module


def same(one: torch.nn.Module, other: torch.nn.Module, *shape: int) -> None:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(one.eval()(x), other.eval()(x), rtol=1e-5, atol=1e-6)


def test_imports_net_and_parameters(folder: Path, tmp_path: Path) -> None:
    net = cnndsl.load(folder / "main.cnn").net("Main", classes=7, width=6)
    path = folder / "w.safetensors"
    module = saved(net, path)
    for name in ("main.cnn", "parts.cnn", "deep/more.cnn"):
        (folder / name).unlink()
    program = cnndsl.load(path)
    assert program.diagnostics == ()
    assert program.source.text == TWO  # as somebody wrote it
    again = program.net()
    assert (again.name, again.params) == ("Main", net.params)
    assert again.graph.signature() == net.graph.signature()
    assert program.net("Other").params == 0
    assert program.net("Main", classes=3).output_shapes(H=9, W=9) == {"out": (3,)}
    restored = cnndsl.restore(path)
    assert restored.training
    assert restored.state_dict().keys() == module.state_dict().keys()
    same(module, restored, 2, 3, 9, 9)
    same(module, cnndsl.restore(path, optimize=0), 2, 3, 9, 9)


def test_parameters_of_every_kind(tmp_path: Path) -> None:
    text = (
        "block A(c) = conv(c, 1)\nblock B(c) = conv(c, 3)\n"
        "net N(n = 1, r = 1, f = no, g = A, p = 0): [3, H, W] =\n"
        "  if f then (g(n * 3 * r)) else relu\n"
    )
    net = cnndsl.loads(text).net(n=2, r=Fraction(2, 3), f=True, g="B")
    path = tmp_path / "w.safetensors"
    saved(net, path)
    again = cnndsl.load(path).net()
    assert again.parameters == {"n": 2, "r": Fraction(2, 3), "f": True, "g": "B"}
    assert again.graph.signature() == net.graph.signature()


def test_fixed_sizes(tmp_path: Path) -> None:
    net = cnndsl.loads("net N: [3, H, W] = flatten -> linear(2)\n").net(at={"H": 4, "W": 5})
    module = saved(net, tmp_path / "w.safetensors")
    same(module, cnndsl.restore(tmp_path / "w.safetensors"), 2, 3, 4, 5)


def test_one_network_of_a_space(tmp_path: Path) -> None:
    """The text describes all of them: what is written is the one that was chosen."""
    program = cnndsl.loads("net N: [3, H, W] = a: oneof(conv(2, 1), conv(2, 3))\n")
    for seed in range(3):
        net = program.space().sample(seed)
        module = saved(net, tmp_path / "w.safetensors")
        restored = cnndsl.restore(tmp_path / "w.safetensors")
        assert restored.state_dict().keys() == module.state_dict().keys()
        same(module, restored, 1, 3, 9, 9)


def test_a_trained_network_of_the_zoo(tmp_path: Path) -> None:
    net = example("mtcnn").net("ONet")
    module = saved(net, tmp_path / "w.safetensors")
    same(module, cnndsl.restore(tmp_path / "w.safetensors"), 2, 3, 48, 48)
    assert cnndsl.load(tmp_path / "w.safetensors").net("PNet").params == 6_632


def test_heads_of_training_may_be_away(tmp_path: Path) -> None:
    net = cnndsl.loads(
        "net N: [3, H, W] = c: conv(4, 1) -> emit[train] aux: conv(2, 1) -> d: conv(2, 1)\n"
    ).net()
    module = net.compile(optimize=0)
    kept = {key: value for key, value in module.state_dict().items() if "aux" not in key}
    net.save(tmp_path / "w.safetensors", kept)
    same(module, cnndsl.restore(tmp_path / "w.safetensors"), 1, 3, 4, 4)


def test_other_weights_are_not_written(tmp_path: Path) -> None:
    net = cnndsl.loads("net N: [3, H, W] = c: conv(4, 1)\n").net()
    state = net.compile(optimize=0).state_dict()
    path = tmp_path / "w.safetensors"
    wrong = [
        {"c.weight": state["c.weight"]},
        {**state, "more": torch.ones(1)},
        {"c.weight": state["c.weight"][:2], "c.bias": state["c.bias"]},
        {f"x.{key}": value for key, value in state.items()},
        {key: value.int() for key, value in state.items()},
    ]
    for given in wrong:
        with pytest.raises(WeightsError, match="do not fit N"):
            net.save(path, given)
    assert not path.exists()


# --- what strangers wrote -------------------------------------------------------------------


def stored(path: Path, **metadata: str) -> Path:
    from cnndsl.checkpoints import header

    head, _ = header.encode({}, {f"cnndsl.{key}": value for key, value in metadata.items()})
    path.write_bytes(head)
    return path


def test_a_file_without_a_text(tmp_path: Path) -> None:
    files.write(tmp_path / "w.safetensors", {"a": torch.ones(1)})
    for function in (cnndsl.load, cnndsl.restore):
        with pytest.raises(WeightsError, match="carries no text"):
            function(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"version": "2"}, "another version"),
        ({"version": ""}, "another version"),
        ({"parameters": "[]"}, "parameters cannot be read"),
        ({"parameters": "{"}, "parameters cannot be read"),
        ({"parameters": '{"a": [1, 0]}'}, "parameters cannot be read"),
        ({"parameters": '{"a": {}}'}, "parameters cannot be read"),
        ({"parameters": '{"a": NaN}'}, "parameters cannot be read"),
        ({"parameters": '{"a": ' + "[" * 9_000}, "parameters cannot be read"),
        ({"at": '{"H": "x"}'}, "at cannot be read"),
        ({"at": '{"H": true}'}, "at cannot be read"),
        ({"imports": '{"a.cnn": 1}'}, "imports cannot be read"),
    ],
)
def test_metadata_that_are_damaged(changed: dict[str, str], said: str, tmp_path: Path) -> None:
    given = {"version": "1", "text": "net A: [3, H, W] = relu\n"} | changed
    with pytest.raises(WeightsError, match=said):
        cnndsl.load(stored(tmp_path / "w.safetensors", **given))


def test_a_bad_text_is_told_and_not_raised(tmp_path: Path) -> None:
    path = stored(tmp_path / "w.safetensors", version="1", text="net A: [3, H, W] = cnov(1)\n")
    assert [d.code for d in cnndsl.load(path).diagnostics] == ["E0201"]
    path = stored(tmp_path / "w.safetensors", version="1", text="x" * (2 << 20))
    assert [d.code for d in cnndsl.load(path).diagnostics] == ["E0110"]
    path = stored(tmp_path / "w.safetensors", version="1", text="net A: [3,H,W] = relu", net="B")
    with pytest.raises(cnndsl.CnnError, match="no net `B`"):
        cnndsl.load(path).net().graph  # noqa: B018


@pytest.mark.parametrize("way", ["parts.cnn", "../parts.cnn", "/etc/passwd", "a/../parts.cnn"])
def test_nothing_is_imported_from_outside(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger's weights must not make us read files beside them."""
    (tmp_path / "parts.cnn").write_text("block Unit(c) = conv(c, 3)\n")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    text = f'import "{way}" (Unit)\nnet A: [3, H, W] = Unit(4)\n'
    for folder in (tmp_path, tmp_path / "sub"):
        path = stored(folder / "w.safetensors", version="1", text=text)
        found = cnndsl.load(path).diagnostics
        assert [d.code for d in found if d.severity == "error"]
        assert "conv" not in str(found)


def test_paths_of_imports_are_only_names(tmp_path: Path) -> None:
    origin = Origin(
        'import "../../x.cnn" (U)\nnet A: [3, H, W] = U\n',
        imports={"../../x.cnn": "block U = relu"},
    )
    path = stored(tmp_path / "w.safetensors", **{
        key.removeprefix("cnndsl."): value for key, value in origin.to_metadata().items()
    })  # fmt: skip
    assert cnndsl.load(path).diagnostics == ()
    assert list(tmp_path.iterdir()) == [path]


def test_the_text_of_weights_is_not_written_back(tmp_path: Path) -> None:
    from tests.cli.runner import cnndsl as command

    net = cnndsl.loads("net N: [3,H,W]=c: conv(4,1)\n").net()
    path = tmp_path / "w.safetensors"
    saved(net, path)
    before = path.read_bytes()
    run = command("fmt", str(path))
    assert (run.code, "holds weights" in run.err) == (2, True)
    typo = stored(tmp_path / "typo.safetensors", version="1", text="net A: [3, H, W] = rleu\n")
    was = typo.read_bytes()
    run = command("check", "--fix", str(typo))
    assert (run.code, "holds weights" in run.err) == (2, True)
    assert (path.read_bytes(), typo.read_bytes()) == (before, was)


# --- numbers that are none ------------------------------------------------------------------

TINY = "net Tiny: [3, H, W] = conv: conv(2, 1) -> fc: scale"


def written(path: Path, **changed: torch.Tensor) -> Path:
    """Weights of the net above, some of them others."""
    state = {
        "conv.weight": torch.ones(2, 3, 1, 1),
        "conv.bias": torch.ones(2),
        "fc": torch.ones(2, 1, 1),
    }
    state |= {name.replace("_", "."): value for name, value in changed.items()}
    files.write(path, state, text=TINY)
    return path


def test_numbers_too_large_for_the_module(tmp_path: Path) -> None:
    path = written(
        tmp_path / "w.safetensors", conv_bias=torch.tensor([1.0, 1e39], dtype=torch.float64)
    )
    with pytest.raises(WeightsError, match=r"`conv.bias` does not fit into float32: too large"):
        cnndsl.restore(path)


def test_whole_numbers_are_no_weights(tmp_path: Path) -> None:
    path = written(tmp_path / "w.safetensors", conv_bias=torch.ones(2, dtype=torch.int64))
    told = "conv.bias int64 → floating-point"
    with pytest.raises(WeightsError, match=f"found; 1 of another kind of number: {told}$"):
        cnndsl.restore(path)
    found = match(cnndsl.loads(TINY).net().graph, files.read(path).contents.specs)
    assert lines(found)[1:] == ["1 tensor of another kind of number:", f"  {told}"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite(tmp_path: Path, value: float) -> None:
    path = written(tmp_path / "w.safetensors", conv_bias=torch.tensor([1.0, value]))
    said = r"1 hold what is no finite number: conv.bias \(1 of 2\)"
    with pytest.raises(WeightsError, match=said):
        cnndsl.restore(path)
    net, given = cnndsl.loads(TINY).net(), files.read(path)
    found = match(net.graph, given.contents.specs)
    with pytest.raises(WeightsError, match=said):
        converted(net.graph, found, given.tensors)
    assert lines(found)[1:] == [
        "1 tensor with what is no finite number:",
        "  conv.bias (1 of 2)",
    ]


def test_the_command_tells_of_numbers_that_are_not_finite(tmp_path: Path) -> None:
    nothing = torch.full((2, 3, 1, 1), float("nan"))
    path = str(written(tmp_path / "w.safetensors", conv_weight=nothing))
    (tmp_path / "tiny.cnn").write_text(TINY)
    run = command("weights", "check", path, str(tmp_path / "tiny.cnn"))
    assert run.code == 1
    assert "conv.weight (6 of 6)" in run.out and "does not fit Tiny" in run.out
    good = str(written(tmp_path / "good.safetensors"))
    assert command("weights", "check", good, str(tmp_path / "tiny.cnn")).code == 0
