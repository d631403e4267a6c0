"""What each construct means: keys, shapes and values that follow from the text by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

import cnndsl
from cnndsl.graph.cost import weights_of
from cnndsl.semantics import calls


def net(text: str, **parameters: object) -> cnndsl.Compilation:
    compiled = cnndsl.loads(text).net(**parameters)  # type: ignore[arg-type]
    assert not [d for d in compiled.diagnostics if d.severity == "error"], compiled.diagnostics
    return compiled


def keys(compiled: cnndsl.Compilation, *, buffers: bool = False) -> list[str]:
    graph = compiled.graph
    return [
        f"{node.path}.{weight.name}".rstrip(".")
        for node in graph
        for weight in weights_of(graph, node)
        if buffers or not weight.buffer
    ]


def ops(compiled: cnndsl.Compilation) -> list[str]:
    return [node.op.text() for node in compiled.graph if node.inputs]


def codes(text: str) -> list[str]:
    return [d.code for d in cnndsl.loads(text).diagnostics if d.severity == "error"]


def body(term: str, declarations: str = "", size: str = "[3, H, W]") -> str:
    return f"{declarations}\nnet N: {size} = {term}\n"


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        # rule 1: a label names; on a group, def call, if, power or for it opens a namespace
        ("a: linear(2)", ["a.weight", "a.bias"]),
        ("a: (linear(2))", ["a.0.weight", "a.0.bias"]),
        ("a: D", ["a.0.weight", "a.0.bias"]),
        ("a: if yes then linear(2)", ["a.0.weight", "a.0.bias"]),
        ("a: linear(3, bias=no)^2", ["a.0.weight", "a.1.weight"]),
        ("a: for i in 1..2 do x{i}: linear(3, bias=no)", ["a.x1.weight", "a.x2.weight"]),
        ("a: b: linear(2, bias=no)", ["a.b.weight"]),
        ("for i in 1..2 do y{i}_{i+1}z: linear(3, bias=no)", ["y1_2z.weight", "y2_3z.weight"]),
        # rule 2: an unlabelled step is named by its position, every step counted
        ("relu -> linear(2, bias=no)", ["1.weight"]),
        ("a: relu -> linear(2, bias=no)", ["1.weight"]),
        ("id -> linear(2, bias=no)", ["0.weight"]),
        ("(relu -> relu) -> linear(2, bias=no)", ["2.weight"]),
        ("relu^2 -> D", ["2.weight", "2.bias"]),
        ("3: linear(2, bias=no)", ["3.weight"]),
        ("(x: linear(3, bias=no) + y: linear(3, bias=no)) -> linear(2, bias=no)",
         ["x.weight", "y.weight", "2.weight"]),
        # rule 3: a block is a module at its label or position; inside, counting restarts
        ("relu -> B", ["1.1.weight"]),
        ("b: B -> B", ["b.1.weight", "1.1.weight"]),
        ("P(B) -> P(linear(2, bias=no))", ["0.1.weight", "1.weight"]),
        ("g: P(linear(2, bias=no))", ["g.0.weight"]),
    ],
)  # fmt: skip
def test_names(term: str, expected: list[str]) -> None:
    declarations = "def D = linear(2)\nblock B = relu -> linear(3, bias=no)\ndef P(f) = f\n"
    assert keys(net(body(term, declarations, "[3]"))) == expected


@pytest.mark.parametrize(
    ("term", "biases"),
    [
        ("conv(8, 3) -> relu", [True]),
        ("conv(8, 3) -> bn", [False]),
        ("conv(8, 3) -> n: group_norm(2)", [False]),
        ("(conv(8, 3)) -> bn", [False]),
        ("a: conv(8, 3) @t -> (b: bn -> relu)", [False]),
        ("C(8) -> bn", [False]),
        ("if yes then conv(8, 3) -> bn", [False]),
        ("conv(3, 3)^2 -> bn", [True, False]),
        ("K(8) -> bn", [True]),
        ("conv(8, 3) -> K(8)", [True, True]),
        ("conv(8, 3) -> (bn + n2: bn)", [True]),
        ("(a: conv(3, 3) + id) -> bn", [True]),
        ("conv(8, 3, bias=yes) -> bn", [True]),
        ("conv(8, 3) -> relu -> bn", [True]),
        ("conv(8, 3) -> id -> bn", [False]),
        ("gap -> flatten -> linear(4)", [True]),
    ],
)
def test_bias_follows_the_next_step(term: str, biases: list[bool]) -> None:
    declarations = "def C(c) = conv(c, 3)\nblock K(c) = conv(c, 3)\n"
    graph = net(body(term, declarations)).graph
    assert [n.op.bias for n in graph if n.op.auto_bias] == biases  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("term", "shape"),
    [
        ("a: conv(4, 1) | b: conv(5, 1)", (9, 20, 20)),
        ("a: conv(4, 1) + b: conv(4, 1)", (4, 20, 20)),
        ("id * (gap -> sigmoid)", (3, 20, 20)),
        ("conv(7, 3)^0", (3, 20, 20)),
        ("id + none", (3, 20, 20)),
        ("none | id", (3, 20, 20)),
        ("(id | none | id)", (6, 20, 20)),
        ("add(for i in 1..3 do b{i}: conv(4, 1), c: conv(4, 3))", (4, 20, 20)),
        ("for c in [4, 6, 9] do conv(c, 3, stride=2)", (9, 3, 3)),
        ("conv(2*in.channels, 1) -> conv(in.channels, 1)", (3, 20, 20)),
        ("if in.channels == 3 and not in.height == 3 then conv(8, 1) else id", (8, 20, 20)),
        ("conv(half(10) + round8(13), 1)", (21, 20, 20)),
        ("conv(if 1 > 2 then 5 else 6, 1)", (6, 20, 20)),
        ("conv(2^3, (1, 3))", (8, 20, 20)),
        ("conv(4, 3, padding=(0, 1, 2, 0))", (4, 19, 20)),
        ("id @t -> maxpool(2) -> upsample(2) -> (id | t)", (6, 20, 20)),
        ("conv(8, 3) :: [8, 20, 20] -> maxpool(2) :: [8, 10, 10]", (8, 10, 10)),
        ("max(id, r: relu)", (3, 20, 20)),
        ("concat(id, id) -> max(2, 3)", None),
        ("Pair[id, conv(5, 1)]", (8, 20, 20)),
    ],
)
def test_terms(term: str, shape: tuple[int, ...] | None) -> None:
    declarations = (
        "def half(v) = v/2\ndef round8(v) = floor((v + 4)/8)*8\nblock Pair[a, b] = a | b\n"
    )
    text = body(term, declarations, "[3, 20, 20]")
    if shape is None:
        assert codes(text) == ["E0210"]
    else:
        assert net(text).output_shapes() == {"out": shape}


def test_several_wires_and_inputs() -> None:
    text = """
    block Two(c)[a, b] = "two results"
      let p = a -> pa: conv(c, 1)
      let q = b -> pb: conv(c, 1)
      p | q, p + q
    net N: [3, H, W] image, [1, H, W] mask =
      let u, v = two: Two(8)[b=mask, a=image]
      let s, t = u -> split(2)
      u -> head: conv(2, 1), v, s + t
    """
    compiled = net(text)
    shapes = compiled.output_shapes(H=9, W=7)
    assert shapes == {"head": (2, 9, 7), "v": (8, 9, 7), "out2": (8, 9, 7)}
    assert keys(compiled)[:3] == ["two.pa.weight", "two.pa.bias", "two.pb.weight"]
    assert [n.path for n in compiled.graph.inputs] == ["image", "mask"]


def test_again_shares_weights() -> None:
    text = "net N: [3, H, W] = x: (conv(3, 3) -> bn) -> relu -> again x -> fc: conv(2, 1)\n"
    compiled = net(text)
    assert keys(compiled) == ["x.0.weight", "x.1.weight", "x.1.bias", "fc.weight", "fc.bias"]
    model = compiled.compile()
    assert sum(p.numel() for p in model.parameters()) == compiled.params == 81 + 6 + 8


def test_with_scopes_defaults_over_all_that_is_expanded_below() -> None:
    text = """
    block A = conv(4, 3) -> bn
    block B = with bn(eps=1e-3): conv(4, 3) -> bn -> A
    net N: [3, H, W] = with conv(bias=no), bn(momentum=0.2): conv(3, 1) -> B -> A -> bn(eps=0.5)
    """
    found = [t for t in ops(net(text)) if t.startswith("bn") or "bias=yes" in t]
    assert found == [
        "bn(eps=0.001, momentum=0.2)",
        "bn(eps=0.001, momentum=0.2)",
        "bn(momentum=0.2)",
        "bn(eps=0.5, momentum=0.2)",
    ]


def test_recursion_and_join() -> None:
    text = """
    def F(C, c) = if C == 1 then conv(c, 3)
      else join(a: (l: F(C-1, c) -> r: F(C-1, c)), b: conv(c, 3))
    net N: [3, H, W] = F(3, 4)
    """
    compiled = net(text)
    joins = [node for node in compiled.graph if node.op.name == "join"]
    # one flat mean over the columns that end together: 3 at the end, 2 in the middle
    assert [len(node.inputs) for node in joins] == [2, 3]


def test_parameters_can_be_layers_blocks_and_numbers() -> None:
    text = """
    block K(c, stride = 1) = conv(c, 3, stride=stride) -> bn -> relu
    def Stage(B, c, n, act = relu) = B(c, stride=2) -> B(c)^(n-1) -> act
    net N(B = K, width = 8): [3, H, W] = Stage(B, width, 2, act=silu) -> Stage(K, 2*width, 1)
    """
    assert net(text).output_shapes(H=16, W=16) == {"out": (16, 4, 4)}
    assert net(text, width=4).output_shapes(H=16, W=16) == {"out": (8, 4, 4)}
    assert ops(net(text)).count("silu") == 1


def test_net_in_a_net_is_a_module() -> None:
    text = "net A(k = 4): [3, H, W] = c: conv(k, 3)\nnet B: [3, H, W] = a: A(5) -> d: conv(2, 1)\n"
    assert keys(net_named(text, "B"))[0] == "a.c.weight"


def net_named(text: str, name: str) -> cnndsl.Compilation:
    compiled = cnndsl.loads(text).net(name)
    assert compiled.ok, compiled.diagnostics
    return compiled


def test_emit_passes_the_value_through() -> None:
    text = """
    net N: [3, H, W] = conv(4, 3) -> emit[train] aux: (gap -> flatten -> linear(2))
      -> emit feature: relu -> gap -> flatten -> fc: linear(5)
    """
    compiled = net(text)
    assert compiled.output_shapes(H=8, W=8) == {"out": (5,), "aux": (2,), "feature": (4, 8, 8)}
    assert compiled.params - compiled.inference_params == 4 * 2 + 2
    assert "aux.2.weight" in keys(compiled)


@pytest.mark.parametrize(
    ("condition", "minimum", "shown"),
    [
        ("H % 4 == 2", {"H": 2, "W": 1}, "H % 4 == 2"),
        ("H >= 64, W > 9", {"H": 64, "W": 10}, "H >= 64"),
        ("64 <= H, H % 10 == 0", {"H": 70, "W": 1}, "H % 10 == 0, H >= 70"),
    ],
)
def test_where(condition: str, minimum: dict[str, int], shown: str) -> None:
    compiled = net(f"net N: [3, H, W] = conv(4, 3)\n  where {condition}\n")
    assert compiled.min_size == minimum
    assert str(compiled.graph.facts.allowed("H")).startswith(shown.split(",")[0])


@pytest.mark.parametrize(
    ("clause", "holds"),
    [
        ("params <= 112", True),
        ("params < 112", False),
        ("macs <= 108*224*224", True),
        ("macs(H=2, W=2) == 432", True),
        ("macs(H=2, W=3) == 432", False),
        ("params <= 0.1K or macs <= 6M", True),
    ],
)
def test_budgets(clause: str, holds: bool) -> None:
    text = f"net N: [3, H, W] = conv(4, 3)\n  assert {clause}\n"
    assert codes(text) == ([] if holds else ["E0501"])


def test_unet_is_valid_exactly_at_multiples() -> None:
    text = """
    def Double(c) = conv(c, 3) -> relu
    def U(n, c) = if n == 0 then Double(c)
      else (a: Double(c) @skip -> maxpool(2) -> d: U(n-1, 2*c) -> upsample(2)
        -> (id | skip) -> b: Double(c))
    net N: [3, H, W] = u: U(4, 4)
    """
    compiled = net(text)
    assert str(compiled.graph.facts.allowed("H")) == "H % 16 == 0"
    assert compiled.min_size == {"H": 16, "W": 16}


def test_fixed_sizes() -> None:
    text = "net N: [3, H, W] = conv(4, 3, stride=2) -> flatten -> linear(7)\n"
    assert codes(text) == ["E0404"]
    compiled = cnndsl.loads(text).net(at={"H": 32, "W": 16})
    assert compiled.ok and compiled.output_shapes() == {"out": (7,)}
    assert not cnndsl.loads(text).net(at={"H": 32}).ok
    assert not cnndsl.loads(text).net(at={"Q": 32}).ok


def test_imports(tmp_path: Path) -> None:
    (tmp_path / "blocks").mkdir()
    (tmp_path / "blocks/a.cnn").write_text("block A(c) = conv(c, 3) -> bn\n")
    (tmp_path / "blocks/b.cnn").write_text(
        'import "blocks/a.cnn" (A)\nblock B(c) = a: A(c) -> relu\n'
    )
    (tmp_path / "n.cnn").write_text('import "blocks/b.cnn" (B)\nnet N: [3, H, W] = b: B(4)\n')
    compiled = cnndsl.load(tmp_path / "n.cnn").net()
    assert keys(compiled)[0] == "b.a.0.weight"


def test_spaces() -> None:
    text = """
    def Op(c) = oneof(conv(c, 3), conv(c, 5), maxpool(3, stride=1, padding=1))
    net N: [8, H, W] = a: Op(8) -> b: Op(8) -> conv(oneof(4, 8), 1) -> w: relu
    """
    program = cnndsl.loads(text)
    assert not program.diagnostics
    space = program.space()
    assert space.size == 3 * 3 * 2
    assert [c.path for c in space.choices] == ["a.0", "b.0", "2.out"]
    with pytest.raises(cnndsl.CnnError) as error:
        program.net().compile()
    assert error.value.diagnostics[0].code == "E0308"
    part = space.choose({"a.0": "conv(c, 5)", "2.out": 1})
    assert part.size == 3
    assert part.sample(1).graph.signature() == part.sample(1).graph.signature()
    assert len({part.sample(seed).params for seed in range(20)}) == 3
    assert space.sample(7).compile() is not None


def test_a_space_whose_alternatives_open_choices() -> None:
    text = """
    net N: [3, 8, 8] =
      a: oneof(conv(8, 3), (b: oneof(conv(8, 1), conv(8, 3)) -> relu), oneof(relu, conv(3, 5)))
      -> c: oneof(relu, silu)
    """
    assert cnndsl.loads(text).space().size == (1 + 2 + 2) * 2


def test_every_network_of_a_space_is_checked() -> None:
    text = "net N: [3, 8, 8] = id + a: oneof(conv(3, 3), conv(4, 3))\n"
    assert codes(text) == ["E0401"]


def test_operators_are_kept_in_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[object, object] = {}
    monkeypatch.setattr(calls, "_MADE", kept)
    monkeypatch.setattr(calls, "_MOST_MADE", 4)
    for width in range(1, 20):
        net(f"net N: [3, H, W] = conv({width}, 3)")
        assert 0 < len(kept) <= 4
