"""What PyTorch users expect of a module, of the modules that `compile` gives."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import cnndsl
from cnndsl.graph.cost import weights_of
from tests.backends.ddp import assert_runs_in_a_group

BLOCK = """
block Residual(c, stride = 1) =
  ( conv1: conv(c, 3, stride=stride) -> bn1: bn -> relu -> conv2: conv(c, 3) -> bn2: bn
  + downsample: if stride > 1 or in.channels != c then (conv(c, 1, stride=stride) -> bn)
  ) -> relu
"""
SMALL = (
    BLOCK
    + """
net Small(classes = 5): [3, H, W] =
  conv1: conv(8, 3) -> bn1: bn -> relu -> layer1: Residual(8)^2 -> layer2: (Residual(16, stride=2))
  -> gap -> flatten -> fc: linear(classes)
"""
)
HEADS = """
block Side[x] =
  x -> conv: conv(4, 1) -> relu -> emit[train] inner: (gap -> flatten -> linear(2))
net Heads: [3, H, W] image, [1, H, W] mask =
  let u = image -> stem: conv(6, 3) -> relu @early
  let v = mask -> m: conv(6, 1)
  (u + v) -> emit[train] aux: (gap -> flatten -> linear(3)) -> emit features: relu
  -> side: Side[early] -> gap -> flatten -> fc: linear(5)
"""


def build(text: str = SMALL, **parameters: Any) -> Any:
    torch.manual_seed(0)
    return cnndsl.loads(text).net(**parameters).compile()


def image(size: int = 16, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 3, size, size + 1, generator=generator)


def same(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> bool:
    return torch.allclose(a, b, rtol=tolerance, atol=tolerance)


def test_state_dict_is_what_the_graph_says() -> None:
    compiled = cnndsl.loads(SMALL).net()
    graph = compiled.graph
    said = {
        f"{node.path}.{weight.name}": weight.shape
        for node in graph
        for weight in weights_of(graph, node)
    }
    state = compiled.compile().state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == said
    assert list(state) == list(said)


@pytest.mark.parametrize("compiled", [False, True])
def test_deepcopy_is_independent(compiled: bool) -> None:
    model = build().eval()
    if compiled:
        model.compile(backend="eager")
    twin = copy.deepcopy(model)
    before = model(image())
    assert torch.equal(twin(image()), before)
    with torch.no_grad():
        twin.fc.bias += 1
    assert torch.equal(model(image()), before)
    assert not torch.equal(twin(image()), before)


def test_state_dict_round_trip() -> None:
    model, other = build().eval(), build().eval()
    nn.init.normal_(model.conv1.weight)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(model(image()), other(image()))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_torch_compile(backend: str) -> None:
    model = build().eval()
    torch._dynamo.reset()
    fast = torch.compile(model, backend=backend, fullgraph=True)
    assert same(fast(image()), model(image()))
    model.train()
    assert same(fast(image()), model(image()), 1e-4)


def test_torch_export_with_a_dynamic_batch(tmp_path: Path) -> None:
    model = build().eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (image(),), dynamic_shapes=(({0: batch},),))
    torch.export.save(program, tmp_path / "small.pt2")
    loaded = torch.export.load(tmp_path / "small.pt2").module()
    assert same(loaded(image(batch=5)), model(image(batch=5)))


def test_export_keeps_named_outputs() -> None:
    model = build(HEADS).eval()
    mask = torch.ones(2, 1, 16, 17)
    program = torch.export.export(model, (image(), mask))
    found = program.module()(image(), mask)
    assert same(found.features, model(image(), mask).features)
    assert found.aux is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_to_dtype_and_channels_last(dtype: torch.dtype) -> None:
    model = build().eval()
    reference = model(image())
    model = model.to(dtype=dtype, memory_format=torch.channels_last)
    assert model.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    found = model(image().to(dtype).to(memory_format=torch.channels_last))
    assert found.dtype == dtype and same(found.float(), reference, 0.1)


def test_hooks_on_blocks_fire() -> None:
    model = build().eval()
    seen: dict[str, tuple[int, ...]] = {}
    for name in ("layer1", "layer1.1", "layer2.0", "layer2.0.downsample"):
        module = model.get_submodule(name)
        module.register_forward_hook(
            lambda _m, _i, output, name=name: seen.update({name: tuple(output.shape)})
        )
    model(image())
    assert seen == {
        "layer1": (2, 8, 16, 17),
        "layer1.1": (2, 8, 16, 17),
        "layer2.0": (2, 16, 8, 9),
        "layer2.0.downsample": (2, 16, 8, 9),
    }
    assert model.layer1[-1] is model.layer1[1] is model.get_submodule("layer1.1")
    assert len(model.layer1) == 2 and list(model.layer1) == [model.layer1[0], model.layer1[1]]


def test_blocks_run_by_themselves() -> None:
    model = build().eval()
    x = torch.randn(1, 8, 6, 6)
    assert model.layer1(x).shape == (1, 8, 6, 6)
    assert torch.equal(model.layer1(x), model.layer1[1](model.layer1[0](x)))


def test_a_replaced_child_is_the_one_that_runs() -> None:
    model = build().eval()
    model.fc = nn.Linear(16, 2)
    assert model(image()).shape == (2, 2)
    model.layer1[0].conv1 = nn.Identity()
    assert model(image()).shape == (2, 2)


def test_every_parameter_gets_a_gradient() -> None:
    model = build(HEADS).train()
    outputs = model(image(), torch.ones(2, 1, 16, 17))
    sum(output.sum() for output in outputs).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_outputs_by_name_and_absent_heads() -> None:
    model = build(HEADS).train()
    mask = torch.ones(2, 1, 16, 17)
    trained = model(image(), mask)
    assert trained._fields == ("out", "aux", "features", "inner")
    assert trained.aux.shape == (2, 3) and trained.inner.shape == (2, 2)
    evaluated = model.eval()(image=image(), mask=mask)
    assert evaluated.aux is None and evaluated.inner is None
    assert torch.equal(evaluated.out, model(image(), mask=mask).out)
    assert torch.equal(evaluated.features, trained.features)


@pytest.mark.parametrize("inputs", [(), (1, 2, 3)])
def test_wrong_number_of_inputs(inputs: tuple[int, ...]) -> None:
    with pytest.raises(TypeError, match="2 inputs are needed"):
        build(HEADS)(*inputs)
    with pytest.raises(TypeError, match="image, mask"):
        build(HEADS)(image=image(), msk=image())


def test_eval_leaves_training_heads_and_their_values_out() -> None:
    """A value read last by a head that does not run is dropped all the same."""
    model = build(HEADS).eval()
    alive: list[weakref.ref[Tensor]] = []
    model.stem.register_forward_hook(lambda _m, _i, out: alive.append(weakref.ref(out)))
    states: list[bool] = []
    model.fc.register_forward_pre_hook(
        lambda *_: states.append(gc.collect() >= 0 and alive[0]() is not None)
    )
    with torch.no_grad():
        model(image(), torch.ones(2, 1, 16, 17))
    assert states == [False]


def test_a_block_frozen_inside_a_training_model() -> None:
    model = build().train()
    model.layer1.eval()
    before = model.layer1[0].bn1.running_mean.clone()
    model(image())
    assert torch.equal(model.layer1[0].bn1.running_mean, before)
    assert not torch.equal(model.bn1.running_mean, torch.zeros(8))


def test_again_shares_one_parameter() -> None:
    text = "net N: [3, H, W] = a: (c: conv(3, 3, bias=no) -> relu) -> b: relu -> again a\n"
    model = build(text).double()
    x = image().double().requires_grad_()
    expected = model.a.c(torch.relu(model.a.c(x)).relu()).relu()
    assert torch.equal(model(x), expected)
    assert len(list(model.parameters())) == 1
    assert torch.autograd.gradcheck(model, torch.randn(1, 3, 3, 3).double().requires_grad_())


def test_siamese_towers() -> None:
    text = """
    block Tower = c1: conv(4, 3) -> bn -> relu -> gap -> flatten
    net Siamese: [3, H, W] left, [3, H, W] right =
      let a = left -> tower: Tower
      let b = right -> again tower
      a | b
    """
    model = build(text).eval()
    a, b = image(), image(12)[:, :, :12, :12]
    found = model(a, b)
    assert torch.equal(found[:, :4], model.tower(a)) and torch.equal(found[:, 4:], model.tower(b))
    calls: list[int] = []
    model.tower.register_forward_hook(lambda *_: calls.append(1))
    model(a, b)
    assert len(calls) == 2
    assert sum(1 for key in model.state_dict() if key.endswith("c1.weight")) == 1


def test_taps_cross_blocks_and_blocks_give_several_wires() -> None:
    text = """
    block Pair(c)[s] = conv(c, 1) @p -> relu, p + s
    net N: [3, H, W] =
      let a = one: (conv(4, 3) @t -> relu)
      let u, v = a -> two: Pair(4)[t]
      let w, z = u -> Pair(4)[v]
      w | z | t
    """
    model = build(text).double()
    x = image().double()
    t = model.one[0](x)
    u, v = model.two(torch.relu(t), t)
    w, z = model.get_submodule("2")(u, v)
    assert torch.equal(model(x), torch.cat([w, z, t], 1))


def test_noise_is_repeatable_and_inert_in_eval() -> None:
    text = """
    net N: [8, H, W] = with join(drop=0.4):
      (id + a: (conv(8, 1) -> droppath(0.5)))
      -> (id + b: (conv(8, 1) -> droppath(0.5, mode=network)))
      -> join(c: conv(8, 1), d: conv(8, 3), e: relu) -> dropout(0.5)
    """
    model = build(text)
    x = torch.randn(4, 8, 5, 5)

    def run(seed: int) -> Tensor:
        torch.manual_seed(seed)
        found: Tensor = model(x)
        return found

    assert torch.equal(run(1), run(1)) and not torch.equal(run(1), run(2))
    model.eval()
    assert torch.equal(run(1), run(2))
    assert len({id(m.draw) for m in model.modules() if getattr(m, "shares", False)}) == 1
    twin = copy.deepcopy(model)
    draws = {id(m.draw) for m in twin.modules() if getattr(m, "shares", False)}
    assert draws == {id(twin._draw)} and twin._draw is not model._draw


def test_noise_that_nobody_shares_is_not_drawn() -> None:
    """Else every training forward would take random numbers, and break compiled graphs."""
    model = build("net N: [8, H, W] = (id + (conv(8, 1) -> droppath(0.5))) -> join(id, relu)")
    assert model._draw is None
    torch.compile(model, backend="eager", fullgraph=True)(torch.randn(2, 8, 5, 5))


def test_several_outputs_in_one_graph() -> None:
    model = build("net S: [3, H, W] = conv(8, 3) -> emit feat: relu -> gap -> flatten").eval()
    x = torch.randn(2, 3, 8, 8)
    found = torch.compile(model, backend="eager", fullgraph=True)(x)
    assert found._fields == ("out", "feat") and torch.equal(found.feat, model(x).feat)
    with torch.no_grad():
        again = pickle.loads(pickle.dumps(model(x)))
    assert type(again) is type(found) and torch.allclose(again.out, found.out, atol=1e-5)
    assert type(pickle.loads(pickle.dumps(model))(x)) is type(found)


def test_parameters_may_have_our_names() -> None:
    text = "net N(name = 4, at = 3, chooser = 2, self = 1): [3, H, W] =\n"
    program = cnndsl.loads(text + "  conv(name + at + chooser + self, 1, bias=no)")
    widths = [program.net("N", **{key: 7}).params // 3 for key in ("name", "at", "chooser", "self")]
    assert widths == [13, 14, 15, 16]
    assert program.net(name="N").params == program.net("N").params == 30


def wrapped_by_ddp() -> None:
    model = build(HEADS)
    wrapped = nn.parallel.DistributedDataParallel(model)
    outputs = wrapped(image(), torch.ones(2, 1, 16, 17))
    sum(output.sum() for output in outputs).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_ddp_wraps_it(tmp_path: Path) -> None:
    assert_runs_in_a_group("tests.backends.test_contract", "wrapped_by_ddp", tmp_path)


def test_forward_changes_no_key() -> None:
    model = build()
    before = list(model.state_dict())
    model(image())
    model.eval()(image())
    assert list(model.state_dict()) == before


def test_a_net_that_does_nothing() -> None:
    x = image()
    assert build("net N: [3, H, W] = id\n")(x) is x


def test_there_are_two_levels() -> None:
    with pytest.raises(ValueError, match="the levels are 0 and 1"):
        cnndsl.loads(SMALL).net().compile(optimize=3)
