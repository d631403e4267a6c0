"""`again` as PyTorch runs it: the same modules once more, wherever the text stands."""

from __future__ import annotations

import copy
import io
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import cnndsl

OUTSIDE = """
block Tail(f) = f -> relu
net N: [3, H, W] =
  t: conv(4, 3) -> c: conv(3, 1)
  -> b: (again t -> d: conv(3, 1) -> (id + in)) -> x: Tail(again t)
"""
TOWER = "tower: (c1: conv(4, 3) -> bn -> relu -> c2: conv(3, 1))"


def build(text: str) -> Any:
    torch.manual_seed(0)
    return cnndsl.loads(text).net().compile(optimize=0).eval()


def network(body: str) -> str:
    return f"net N: [3, H, W] = {body}\n"


def image() -> Tensor:
    return torch.randn(2, 3, 9, 8, generator=torch.Generator().manual_seed(1))


class Plain(nn.Module):
    """OUTSIDE by hand: one `t` for all three places."""

    def __init__(self) -> None:
        super().__init__()
        self.t, self.c = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 1)
        self.b = nn.ModuleDict({"d": nn.Conv2d(4, 3, 1)})

    def forward(self, x: Tensor) -> Tensor:
        inner = self.b["d"](self.t(self.c(self.t(x)))) + x
        return torch.relu(self.t(inner))


def calls(model: nn.Module, x: Tensor) -> Counter[str]:
    """How often the hooks of each module fire while the model runs."""
    count: Counter[str] = Counter()
    hooks = [
        module.register_forward_hook(lambda *_, name=name: count.update([name]))
        for name, module in model.named_modules()
    ]
    model(x)
    for hook in hooks:
        hook.remove()
    return count


# --- inside a block, of a module outside it -------------------------------------------------------


def saved(model: nn.Module) -> Any:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


FORMS: dict[str, Callable[[Any], Callable[[Tensor], Any]]] = {
    "plain": lambda model: model,
    "deepcopy": copy.deepcopy,
    "saved": saved,
    "exported": lambda model: torch.export.export(model, (image(),)).module(),
    "compiled": lambda model: torch.compile(model, backend="eager", fullgraph=True),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_computes_what_a_module_by_hand_does(form: str) -> None:
    model, plain = build(OUTSIDE), Plain().eval()
    plain.load_state_dict(model.state_dict())  # strict: each shared weight has one key
    assert torch.equal(FORMS[form](model)(image()), plain(image()))


def test_gradients_of_all_uses_add_up() -> None:
    model, plain = build(OUTSIDE), Plain()
    plain.load_state_dict(model.state_dict())
    for module in (model, plain):
        module.double()(image().double()).square().sum().backward()
    expected = dict(plain.named_parameters())
    assert expected.keys() == dict(model.named_parameters()).keys()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad)


def test_hooks_fire_once_for_a_block_and_at_every_use_of_what_it_repeats() -> None:
    once = ["", "c", "b", "b.d", "x", "x.0"]
    assert calls(build(OUTSIDE), image()) == {"t": 3, **dict.fromkeys(once, 1)}


@pytest.mark.parametrize("twin", [copy.deepcopy, saved])
def test_a_copy_repeats_its_own_module(twin: Callable[[Any], Any]) -> None:
    model = build(OUTSIDE)
    other, before = twin(model), model(image())
    inner, outer = model.b(model.c(model.t(image())), image()), other.b._network[0]
    assert outer is other and model.b._network[0] is model
    with torch.no_grad():
        other.t.weight.zero_()
        other.t.bias.zero_()
    assert torch.equal(model(image()), before)
    assert torch.equal(model.b(model.c(model.t(image())), image()), inner)
    assert not other(image()).any() and before.any()


def test_a_replaced_module_is_the_one_that_every_use_runs() -> None:
    model = build(OUTSIDE)
    model.t = nn.Conv2d(3, 4, 1, bias=False)
    nn.init.zeros_(model.t.weight)
    assert not model(image()).any()


# --- of a namespace -------------------------------------------------------------------------------

TOWERS: dict[str, tuple[str, dict[str, int]]] = {
    "chain": (f"{TOWER} -> again tower", {"tower": 2, "tower.c1": 2}),
    "for": (f"{TOWER} -> for i in 1..3 do again tower", {"tower": 4}),
    "power": (f"{TOWER} -> (again tower)^3", {"tower": 4, "tower.1": 4}),
    "in parallel": (f"{TOWER} -> (again tower + again tower)", {"tower": 3}),
    "at the end of a block": (f"{TOWER} -> b: (relu -> again tower)", {"tower": 2, "b": 1}),
    "alone in a block": (f"{TOWER} -> b: (again tower)", {"tower": 2, "b": 1}),
    "in nested blocks": (
        f"{TOWER} -> b: (d: (relu -> again tower) -> e: (again tower))",
        {"tower": 3, "b": 1, "b.d": 1, "b.e": 1},
    ),
    "of a block that ends so": (
        f"{TOWER} -> b: (relu -> again tower) -> again b", {"tower": 3, "b": 2},
    ),
    "of nested blocks": (
        "s: (u: (c: conv(3, 3) -> relu) -> relu) -> again s -> again s.u", {"s": 2, "s.u": 3},
    ),
    "of a block that begins so": (
        f"{TOWER} -> b: (again tower -> relu) -> again b", {"tower": 3, "b": 2, "b.0": 2},
    ),
    "of a layer, in a block that begins so": (
        "t: conv(3, 3) -> b: (again t -> relu) -> again b", {"t": 3, "b": 2, "b.0": 2},
    ),
    "of blocks that repeat others": (
        f"{TOWER} -> b: (again tower -> again tower -> relu) -> c: (again b -> relu -> again b)"
        " -> again c",
        {"tower": 11, "b": 5, "c": 2, "c.0": 2},
    ),
    "a join of a repetition": (
        f"{TOWER} -> b: (again tower -> (id + again tower)) -> again b", {"tower": 5, "b": 2},
    ),
    "a join first": ("tower: ((id + c1: conv(3, 3)) -> r: relu) -> again tower", {"tower": 2}),
    "a join last": ("tower: (relu -> (id + c1: conv(3, 3))) -> again tower", {"tower": 2}),
    "a concat": (
        "tower: ((id | c1: conv(3, 3)) -> c2: conv(3, 1)) -> b: (again tower -> tanh)",
        {"tower": 2, "b": 1},
    ),
    "a tap": ("tower: (c1: conv(3, 3) @v -> relu -> (id * v)) -> (again tower)^2", {"tower": 3}),
}  # fmt: skip


@pytest.mark.parametrize("what", TOWERS)
def test_a_namespace_is_called_again_also_after_printing(what: str) -> None:
    body, expected = TOWERS[what]
    net = cnndsl.loads(network(body)).net()
    read = cnndsl.loads(net.to_text()).net()
    assert read.graph.signature() == net.graph.signature()
    model, printed = build(network(body)), build(net.to_text())
    assert list(printed.state_dict()) == list(model.state_dict())
    count = calls(model, image())
    assert {name: count[name] for name in expected} == expected
    assert calls(printed, image()) == count
    printed.load_state_dict(model.state_dict())
    assert torch.equal(printed(image()), model(image()))


@pytest.mark.parametrize("unit", ["again u{} -> relu", "relu -> again u{}"])
def test_repetitions_of_repetitions_are_flat_where_they_are_deep(unit: str) -> None:
    """Units inside each other take frames of Python's stack, so no more than 32 are."""
    units = [f"u{i}: ({unit.format(i - 1)})" for i in range(1, 45)]
    model = build(network(" -> ".join(["u0: (relu -> conv(3, 1, bias=no))", *units])))
    count = calls(model, image())  # hooks take frames, too
    assert count["u0.1"] == count["u0"] == 45
    assert count["u30"] > 1 and count["u40"] == 1, "32 inside each other are calls of calls"


def test_a_unit_that_never_fits_costs_little() -> None:
    """Trying it at every place would take the square of the steps."""
    long = " -> ".join(["again t"] * 1000)
    net = cnndsl.loads(network(f"t: relu -> b: ({long} -> tanh) -> (again t)^3000")).net()
    started = time.process_time()
    net.compile(optimize=0)
    assert time.process_time() - started < 3


def test_the_numbers_of_towers_are_those_of_calls_by_hand() -> None:
    model = build(network(f"{TOWER} -> b: (d: (relu -> again tower) -> e: (again tower)) -> relu"))
    tower, x = model.tower, image()
    once = tower.c2(torch.relu(tower[1](tower.c1(x))))
    assert torch.equal(tower(x), once)
    inner = tower(tower(torch.relu(once)))
    assert torch.equal(model.b(once), inner) and torch.equal(model(x), torch.relu(inner))
    assert torch.equal(model.b.d(once), tower(torch.relu(once)))
    assert torch.equal(model.b.e(x), once)


def test_eval_and_train_of_a_tower_hold_at_both_calls() -> None:
    """One batch norm: in training each call moves its statistics."""
    model = build(network(f"{TOWER} -> again tower")).train()
    model(image())
    assert model.tower[1].num_batches_tracked == 2
    model.tower.eval()
    model(image())
    assert model.tower[1].num_batches_tracked == 2


# --- names ----------------------------------------------------------------------------------------


def test_a_path_may_be_built_of_numbers_and_holes() -> None:
    body = "7: (for i in 1..2 do s{i}-0: (1: conv(3, 3) -> c{i + 1}: relu))"
    uses = "for i in 1..2 do again 7.s{i}-0.c{i + 1} -> again 7.s{2}-0"
    count = calls(build(network(f"{body} -> {uses}")), image())
    assert {name: k for name, k in count.items() if k > 1} == {
        "7.s1-0.c2": 2, "7.s2-0.c3": 3, "7.s2-0.1": 2, "7.s2-0": 2,
    }  # fmt: skip


def test_a_block_may_have_children_named_like_parts_of_noise() -> None:
    text = network("x: (draw: droppath(0.5, mode=network) -> shares: relu) -> draw: conv(3, 1)")
    model = build(text).train()
    assert isinstance(model.draw, nn.Conv2d) and model.x.draw.draw is model._draw
    assert model(image()).shape == image().shape


IN_A_HEAD = """
net N: [3, H, W] =
  x: conv(3, 3) -> emit[train] a: (s: tanh -> y: (conv(3, 1) -> bn) -> z: conv(3, 1))
  -> again a.y -> again x
"""
PARTLY = """
net N: [3, H, W] =
  u: (a: conv(3, 3) @p -> b: conv(3, 1)) -> emit[train] e: (r: relu) -> p -> again u
"""


@pytest.mark.parametrize("text", [IN_A_HEAD, PARTLY], ids=["head", "partly"])
@pytest.mark.parametrize("train", [False, True])
def test_what_only_training_runs_may_run_again_in_eval_mode(text: str, train: bool) -> None:
    """Each step of the graph, called by hand with the module of its path, gives the results."""
    net = cnndsl.loads(text).net()
    assert net.ok, net.diagnostics
    model = net.compile(optimize=0).double().train(train)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.0
    values: dict[int, Any] = {}
    x = torch.randn(2, 3, 9, 9, dtype=torch.float64)
    for node in net.graph:
        given = [values[i] for i in node.inputs]
        values[node.id] = model.get_submodule(node.path)(*given) if given else x
    found = model(x)
    for output in net.graph.outputs:
        if train or not output.train:
            torch.testing.assert_close(getattr(found, output.name), values[output.node])
        else:
            assert getattr(found, output.name) is None
