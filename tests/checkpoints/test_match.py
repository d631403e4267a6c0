"""Names first, then the map, then structure; and nothing that is not clear."""

from __future__ import annotations

import re
import time

import pytest
import torch

import cnndsl
from cnndsl.checkpoints.bounds import Spec, WeightsError
from cnndsl.checkpoints.layout import layout
from cnndsl.checkpoints.match import match
from cnndsl.checkpoints.report import in_short, lines, proposed
from cnndsl.checkpoints.rules import Rules
from cnndsl.compiler import Compilation
from tests.checkpoints.flat import numbered, specs, without_counters
from tests.zoo.twins import example, shapes, without_weights

NET = """\
net Small(classes = 6): [3, H, W] =
     conv1: conv(4, 3, stride=2) -> bn1: bn -> relu -> conv2: conv(8, 3) -> bn2: bn -> relu
  -> emit[train] aux: (gap -> flatten -> linear(3)) -> gap -> flatten -> fc: linear(classes)
"""
SIDES = """\
net Sides: [3, H, W] =
  stem: conv(4, 1) -> (a: (conv: conv(8, 1)) | b: (conv: conv(8, 1) -> last: conv(8, 3)))
  -> fc: conv(2, 1)
"""


def small(**parameters: int) -> Compilation:
    return cnndsl.loads(NET).net(**parameters)


# --- what a network holds -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "net"),
    [("resnet", "ResNet18"), ("densenet", "DenseNet121"), ("googlenet", "GoogLeNet"),
     ("convnext", "ConvNeXtTiny"), ("unet", "UNet"), ("mtcnn", "ONet")],
)  # fmt: skip
def test_the_layout_is_the_module_s(file: str, net: str) -> None:
    """Without torch, and in the same order: ConvNeXt has bare weights before its blocks."""
    found = example(file).net(net)
    ours = [(key, slot.shape) for key, slot in layout(found.graph).items()]
    assert ours == shapes(without_weights(found))


def test_what_a_file_may_lack() -> None:
    slots = layout(small().graph)
    optional = {key for key, slot in slots.items() if slot.optional}
    assert optional == {
        "aux.2.weight", "aux.2.bias", "bn1.num_batches_tracked", "bn2.num_batches_tracked",
    }  # fmt: skip


# --- by name --------------------------------------------------------------------------------


def test_exact_names() -> None:
    graph = small().graph
    found = match(graph, specs(graph))
    assert found.fits
    assert found.sources == {key: key for key in layout(graph)}
    assert found.aligned is None
    assert lines(found) == ["16 of 16 tensors fit"]


def test_heads_and_counters_may_be_absent() -> None:
    graph = small().graph
    given = {k: s for k, s in specs(graph, counters=False).items() if "aux" not in k}
    found = match(graph, given)
    assert found.fits
    assert lines(found) == [
        "12 of 16 tensors fit",
        "not in the file, not needed: 2 num_batches_tracked",
        "not in the file, only for training: aux",
    ]


def test_other_classes() -> None:
    found = match(small(classes=6).graph, specs(small(classes=1000).graph))
    assert not found.fits
    assert lines(found) == [
        "14 of 16 tensors fit",
        "2 tensors of another shape:",
        "  fc.weight  [1000, 8] → [6, 8]",
        "  fc.bias    [1000]    → [6]",
        "  1000 → 6? `weights convert --reinit fc` begins there again",
        "  `--set classes=1000` makes the net as the file is",
    ]


def test_only_named_modules_begin_again() -> None:
    graph, given = small(classes=6).graph, specs(small(classes=1000).graph)
    found = match(graph, given, reinit=["fc"])
    assert found.fits
    assert found.fresh == ["fc.weight", "fc.bias"]
    assert "begins again: fc (2 tensors)" in lines(found)
    given["conv1.weight"] = Spec("float32", (9, 3, 3, 3))
    assert match(graph, given, reinit=["fc"]).differ == {"conv1.weight": "conv1.weight"}
    with pytest.raises(WeightsError, match="no module `conv_1`, did you mean `conv1`"):
        match(graph, given, reinit=["conv_1"])


def test_near_names_are_told_and_not_taken() -> None:
    graph = small().graph
    given = {k.replace("bn2.", "b_n2."): s for k, s in specs(graph).items()}
    del given["conv2.weight"]  # so that structure does not tell
    found = match(graph, given)
    text = "\n".join(lines(found))
    assert "bn2: weight, bias, running_mean, running_var; the file has `b_n2`" in text
    assert "conv2: weight\n" in text
    assert not found.fits
    assert not any(key.startswith("bn2") for key in found.sources)


def test_a_report_is_no_wall() -> None:
    big, other = example("resnet").net("ResNet18").graph, example("vgg").net("VGG11").graph
    found = match(big, specs(other))
    assert not found.fits
    assert len(lines(found)) < 30
    assert len(in_short(found)) < 600


# --- by structure ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "net"), [("resnet", "ResNet18"), ("resnet_cifar", "ResNet20"), ("vgg", "VGG11_BN"),
                      ("densenet", "DenseNet121"), ("mobilenet_v2", "MobileNetV2")],
)  # fmt: skip
def test_a_state_dict_of_numbered_modules(file: str, net: str) -> None:
    graph = example(file).net(net).graph
    flat, before = numbered(specs(graph))
    found = match(graph, flat)
    assert found.fits
    assert {key: before[name] for key, name in found.sources.items()} == {
        key: key for key in layout(graph)
    }
    assert any("by structure" in line for line in lines(found))
    renamed = match(graph, flat, Rules(proposed(found)), structure=False)
    assert renamed.sources == found.sources


@pytest.mark.parametrize("odd", [Spec("int64", (5,)), Spec("float32", ())])
def test_a_counter_that_is_none(odd: Spec) -> None:
    """It is left alone: a file may lack the counter."""
    graph = small().graph
    flat, before = numbered(specs(graph))
    counter = next(name for name, key in before.items() if key == "bn1.num_batches_tracked")
    found = match(graph, flat | {counter: odd})
    assert found.fits and found.sources["bn1.weight"]
    assert found.unused == [counter] and found.spared == ["bn1.num_batches_tracked"]


def test_many_leads() -> None:
    """Each is given up at the first module that it lacks: not leads times modules."""
    graph = cnndsl.loads("net T: [3, H, W] = conv(4, 3)^200\n").net().graph
    given = {f"a{n}.0.weight": Spec("float32", (9, 9)) for n in range(20_000)}
    start = time.process_time()
    assert match(graph, given).aligned is None
    assert time.process_time() - start < 2


def test_an_order_by_the_alphabet() -> None:
    """As the format's own library writes them: ``p10`` before ``p2``."""
    graph = example("resnet").net("ResNet18").graph
    flat, before = numbered(specs(graph))
    found = match(graph, dict(sorted(flat.items())))
    assert found.fits
    assert all(before[name] == key for key, name in found.sources.items())


def test_another_order_is_no_match() -> None:
    graph = example("resnet").net("ResNet18").graph
    flat, _ = numbered(dict(reversed(specs(graph).items())))
    found = match(graph, flat)
    assert found.aligned is None
    assert not found.sources


def test_a_shape_alone_tells_only_of_weights() -> None:
    """A convolution's shape says much; four numbers in a row may be anything."""
    graph = cnndsl.loads("net N: [3, H, W] = a: conv(4, 3) -> p: prelu(4) -> b: conv(5, 1)\n").net()
    own = specs(graph.graph)
    rest = {key: spec for key, spec in own.items() if not key.startswith("p.")}
    junk = {"ema.decay": Spec("float32", (4,)), "x.w": Spec("float32", (9,))}
    odd = {"odd.weight": Spec("float32", (4,))}
    assert match(graph.graph, {**rest, **odd, **junk}).missing == ["p.weight"]
    moved = {key.replace("b.", "c."): spec for key, spec in own.items()} | junk
    assert match(graph.graph, moved).sources["b.bias"] == "c.bias"


def test_what_runs_side_by_side_is_not_guessed() -> None:
    graph = cnndsl.loads(SIDES).net().graph
    flat, _ = numbered(specs(graph))
    found = match(graph, flat)
    assert not found.fits
    assert found.missing == ["a.conv.weight", "a.conv.bias", "b.conv.weight", "b.conv.bias"]
    assert "not clear: a.conv, b.conv run side by side and are of one shape, as p1, p2" in lines(
        found
    )
    assert found.sources["fc.weight"] == "p4.weight"
    told = match(graph, flat, _rules("p1 -> b.conv", "p2 -> a.conv"))
    assert told.fits
    assert told.sources["b.conv.bias"] == "p1.bias"


def test_names_tell_what_structure_does_not() -> None:
    graph = cnndsl.loads(SIDES).net().graph
    flat = {
        f"net.{key}" if key[:2] in ("a.", "b.") else f"other.{key}": spec
        for key, spec in specs(graph).items()
    }
    found = match(graph, flat)
    assert found.fits
    assert found.sources["a.conv.weight"] == "net.a.conv.weight"
    assert found.sources["fc.weight"] == "other.fc.weight"


def test_resnet50_has_one_open_pair() -> None:
    """The first block's last convolution and its shortcut take 64 channels to 256, both 1x1."""
    graph = example("resnet").net("ResNet50").graph
    flat, _ = numbered(specs(graph))
    found = match(graph, flat)
    assert {key.rpartition(".")[0] for key in found.missing} == {
        "layer1.0.conv3", "layer1.0.bn3", "layer1.0.downsample.0", "layer1.0.downsample.1",
    }  # fmt: skip


def test_other_classes_under_other_names() -> None:
    graph = small(classes=6).graph
    flat, _ = numbered(specs(small(classes=1000).graph))
    found = match(graph, flat)
    assert "  fc.weight  [1000, 8] → [6, 8]" in lines(found)
    assert found.missing == []
    assert match(graph, flat, reinit=["fc"]).fits
    headless = {name: spec for name, spec in flat.items() if 1000 not in spec.shape}
    assert match(graph, headless, reinit=["fc"]).fits


@pytest.mark.parametrize("lead", ["module.", "model.backbone."])
def test_a_beginning_of_all_names(lead: str) -> None:
    graph = example("googlenet").net().graph  # of which structure alone leaves much open
    own = specs(graph)
    found = match(graph, {lead + key: spec for key, spec in own.items()})
    assert found.fits
    assert all(name == lead + key for key, name in found.sources.items())
    assert [rule.text() for rule in proposed(found)] == [f"{lead}** -> **"]
    inner = cnndsl.loads("net N: [3, H, W] = body: (c: conv(4, 3) -> n: bn)").net().graph
    found = match(inner, {k.removeprefix("body."): s for k, s in specs(inner).items()})
    assert [rule.text() for rule in proposed(found)] == ["** -> body.**"]


def test_other_frameworks_norms() -> None:
    graph = small().graph
    words = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean",
             "running_var": "moving_variance"}  # fmt: skip
    given = {
        re.sub(r"(bn\d)\.(\w+)", lambda m: f"{m[1]}/n.{words.get(m[2], m[2])}", key): spec
        for key, spec in without_counters(specs(graph)).items()
    }
    found = match(graph, given)
    assert found.fits
    assert found.sources["bn2.running_var"] == "bn2/n.moving_variance"
    assert match(graph, given, Rules(proposed(found)), structure=False).sources == found.sources


# --- by a map -------------------------------------------------------------------------------


def _rules(*texts: str) -> Rules:
    from cnndsl.checkpoints.rules import parse

    return parse("\n".join(texts))


def test_the_old_names_of_densenet() -> None:
    """torchvision's published files say ``norm.1`` where its module says ``norm1``."""
    graph = example("densenet").net("DenseNet121").graph
    old = {
        re.sub(r"(denselayer\d+)\.(norm|conv)([12])\.", r"\1.\2.\3.", key): spec
        for key, spec in specs(graph, counters=False).items()
    }
    where = "features.denseblock{a}.denselayer{b}"
    texts = [f"{where}.{kind}.{{c}} -> {where}.{kind}{{c}}" for kind in ("norm", "conv")]
    found = match(graph, old)
    assert [rule.text() for rule in proposed(found)] == texts
    mapped = match(graph, old, _rules(*texts), structure=False)
    assert mapped.fits
    assert mapped.sources == found.sources
    assert lines(mapped) == [
        "606 of 727 tensors fit", "  26 by name", "  580 by the map",
        "not in the file, not needed: 121 num_batches_tracked",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "name", "new"),
    [
        ("a -> b", "a.weight", "b.weight"),
        ("a -> b", "aa.weight", "aa.weight"),
        ("a.weight -> b.bias", "a.weight", "b.bias"),
        ("a.b -> c", "a.b.c.weight", "c.c.weight"),
        ("x{i}.y -> {i}.z", "x12.y.weight", "12.z.weight"),
        ("x{i} -> y{i}", "x1y.weight", "x1y.weight"),
        ("{i}.{j} -> {j}.{i}", "1.2.w", "2.1.w"),
        ("*.w -> w.*", "one.w", "w.one"),
        ("*.w -> w.*", "one.two.w", "one.two.w"),
        ("** -> m.**", "a.b.w", "m.a.b.w"),
        ("m.** -> **", "m.a.b.w", "a.b.w"),
        ("a.+ -> b", "a.x.w", "a.x.w"),
        ("a -> x\na -> y", "a.w", "x.w"),
        ("# a -> b\n\n  c -> d  ", "c.w", "d.w"),
    ],
)
def test_rules(rule: str, name: str, new: str) -> None:
    assert _rules(rule).apply([name])[0] == {name: new}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a b", "line 1: a rule is `OLD -> NEW`, not `a b`"),
        ("\na -> ", "line 2: a rule is"),
        ("a -> {i}", "`{i}` is not on the left"),
        ("{i}{j} -> a", "two numbers need something between them"),
        ("a* -> b", "`*` stands for whole parts"),
        ("{i}.{i} -> a", "`{i}` stands twice"),
        ("*.* -> a", "`*` stands twice"),
        ("\x1b[2J -> a", "is no name"),
        ("a" * 600 + " -> a", "is no name"),
    ],
)
def test_rules_that_are_none(text: str, said: str) -> None:
    with pytest.raises(WeightsError) as caught:
        _rules(text)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


def test_dropped_and_idle_and_colliding() -> None:
    rules = _rules("head -> -", "gone -> x")
    names, idle = rules.apply(["head.w", "b.w"])
    assert names == {"b.w": "b.w"}
    assert [rule.line for rule in idle] == [2]
    graph = small().graph
    found = match(graph, specs(graph), _rules("gone -> x"))
    assert "line 1 of the map fits nothing: gone -> x" in lines(found)
    with pytest.raises(WeightsError, match=r"of two: `a\.w` and `b\.w`"):
        _rules("a -> b").apply(["a.w", "b.w"])


def test_a_map_comes_before_structure_and_behind_names() -> None:
    graph = small().graph
    given = {k.replace("fc.", "head."): s for k, s in specs(graph).items()}
    given["old.weight"], given["old.bias"] = given["head.weight"], given["head.bias"]
    found = match(graph, given, _rules("old -> fc"))
    assert found.sources["fc.weight"] == "old.weight"
    assert found.aligned is None


def test_a_pattern_is_proposed_only_where_it_is_true() -> None:
    from cnndsl.checkpoints.propose import propose

    texts = [rule.text() for rule in propose([("s1.b1", "t0.b1"), ("s2.b1", "t1.b1")])]
    assert texts == ["s1.b1 -> t0.b1", "s2.b1 -> t1.b1"]
    texts = [rule.text() for rule in propose([("s1.b2", "t2.c1"), ("s3.b4", "t4.c3")])]
    assert texts == ["s{b}.b{a} -> t{a}.c{b}"]
    texts = [rule.text() for rule in propose([("m.a", "a"), ("m.b", "b")], ["m.c"])]
    assert texts == ["m.a -> a", "m.b -> b"]  # `m.** -> **` would rename m.c
    # `s{a} -> t{a}` would rename s3 too, which is a network's own name
    texts = [rule.text() for rule in propose([("s1", "t1"), ("s2", "t2")], ["s3.weight"])]
    assert texts == ["s1 -> t1", "s2 -> t2"]


def test_nothing_needs_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.__import__

    def guarded(name: str, *rest: object, **more: object) -> object:
        assert name.partition(".")[0] != "torch", name
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", guarded)
    graph = small().graph
    assert match(graph, numbered(specs(graph))[0]).fits
    assert torch  # this process has it; the match did not ask
