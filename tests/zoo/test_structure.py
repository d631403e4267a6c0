"""Networks made by a rule: recursion, a search space, split-transform-merge."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import cnndsl
from cnndsl import CnnError
from tests.references import fill, settle
from tests.zoo.twins import assert_same, assert_same_training, example, images, shapes, twin

# --- FractalNet -------------------------------------------------------------------------------


class Fractal(nn.Module):
    """Larsson et al. 2016, section 3; columns are counted from the deepest."""

    def __init__(self, columns: int, before: int, c: int) -> None:
        super().__init__()
        self.columns = columns
        if columns == 1:
            self.conv = nn.Conv2d(before, c, 3, padding=1, bias=False)
            self.bn = nn.BatchNorm2d(c)
        else:
            self.first = Fractal(columns - 1, before, c)
            self.second = Fractal(columns - 1, c, c)
            self.short = Fractal(1, before, c)

    def ends(self, x: Tensor) -> list[Tensor]:
        """What every column ends in, before the last join."""
        if self.columns == 1:
            return [self.bn(self.conv(x)).relu()]
        return [*self.second.ends(self.first(x)), *self.short.ends(x)]

    def forward(self, x: Tensor, column: int | None = None) -> Tensor:
        """All columns joined, or one column alone."""
        if self.columns == 1 or column is None:
            return torch.stack(self.ends(x)).mean(0)
        if column == self.columns - 1:
            return self.short(x)
        return self.second(self.first(x, column), column)


class FractalNet(nn.Module):
    def __init__(self, columns: int) -> None:
        super().__init__()
        widths = (3, 64, 128, 256, 512, 512)
        for i in range(5):
            self.add_module(f"block{i + 1}", Fractal(columns, widths[i], widths[i + 1]))
        self.fc = nn.Linear(512, 10)

    def forward(self, x: Tensor, column: int | None = None) -> Tensor:
        for i in range(5):
            x = nn.functional.max_pool2d(getattr(self, f"block{i + 1}")(x, column), 2)
        return self.fc(x.mean((2, 3)))


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    return settle(fill(FractalNet(3)).double(), images(2, 3, 32, 32))


def test_the_expansion_rule(theirs: nn.Module) -> None:
    ours = twin(example("fractalnet").net(drop=0), theirs)
    assert shapes(ours) == shapes(theirs)
    x = images(2, 3, 32, 32)
    with torch.no_grad():
        assert_same(ours.eval()(x), theirs.eval()(x))
    for dropout in (m for m in ours.modules() if isinstance(m, nn.Dropout)):
        dropout.p = 0.0
    assert_same_training(ours, theirs, images(4, 3, 32, 32))


def test_global_drop_path_is_one_column(theirs: nn.Module) -> None:
    """Where training keeps a column, the whole network is that column."""
    ours: Any = twin(example("fractalnet").net(), theirs).train()
    for dropout in (m for m in ours.modules() if isinstance(m, nn.Dropout)):
        dropout.p = 0.0
    x, seen = images(4, 3, 32, 32), set()
    with torch.no_grad():
        for seed in _keeping_a_column(ours._draw, 12):
            torch.manual_seed(seed)
            y = ours(x)
            assert ours._draw.mode < 0.5
            column = int(ours._draw.column)
            seen.add(column)
            assert_same(y, theirs.train()(x, column))
    assert seen == {0, 1, 2}


def _keeping_a_column(draw: Any, seeds: int) -> list[int]:
    """The seeds for which the next forward keeps one column."""
    found = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        draw.start()
        if draw.mode < 0.5:
            found.append(seed)
    return found


@pytest.mark.parametrize(("columns", "joins"), [(2, [2]), (3, [2, 3]), (4, [2, 3, 2, 4])])
def test_joins_are_flat(columns: int, joins: list[int]) -> None:
    graph = example("fractalnet").net(columns=columns).graph
    found = [len(node.inputs) for node in graph if node.op.name == "join"]
    assert found == joins * 5
    assert all(node.op.values["drop"] == 0.15 for node in graph if node.op.name == "join")


@pytest.mark.parametrize(("columns", "layers"), [(1, 5), (3, 20), (4, 40)])
def test_depth(columns: int, layers: int) -> None:
    graph = example("fractalnet").net(columns=columns).graph
    depth: dict[int, int] = {}
    for node in graph:
        before = max((depth[i] for i in node.inputs), default=0)
        depth[node.id] = before + (node.op.name == "conv")
    assert max(depth.values()) == layers


# --- architecture search ----------------------------------------------------------------------


def test_the_space_is_counted() -> None:
    assert example("nas").space().size == 3 * 5**12


def test_a_space_is_no_network() -> None:
    with pytest.raises(CnnError, match="leaves choices open"):
        example("nas").net().compile(optimize=0)


def test_samples_run() -> None:
    space = example("nas").space()
    found = {seed: space.sample(seed) for seed in range(6)}
    assert len({net.graph.signature() for net in found.values()}) == 6
    for net in found.values():
        assert net.diagnostics == ()
        with torch.no_grad():
            y = fill(net.compile(optimize=0)).eval()(torch.randn(2, 3, 12, 17))
        assert y.shape == (2, 10) and y.isfinite().all()


def test_choices_are_made_by_name() -> None:
    space = example("nas").space().choose({"c": 24, "cell2.edge33.0": "id"})
    assert space.size == 5**11
    keys = dict(shapes(space.sample(0).compile(optimize=0)))
    assert keys["stem.0.weight"] == (72, 3, 3, 3)
    assert not [key for key in keys if key.startswith("cell2.edge33")]


# --- ResNeXt ----------------------------------------------------------------------------------

SPLIT = """
def Paths = add(for i in 0..31 do path{i}: (conv1: conv(4, 1) -> bn1: bn -> relu
                                         -> conv2: conv(4, 3) -> bn2: bn -> relu
                                         -> conv3: conv(256, 1, bias=no)))
def Groups = conv1: conv(128, 1) -> bn1: bn -> relu
          -> conv2: conv(128, 3, groups=32) -> bn2: bn -> relu -> conv3: conv(256, 1, bias=no)

net Split: [256, H, W] = (Paths + id) -> relu
net Grouped: [256, H, W] = (Groups + id) -> relu
"""


def test_split_transform_merge_equals_grouped_convolution() -> None:
    """Xie et al. 2016, figure 3: (a) and (c) are one function, of 70 thousand weights."""
    program = cnndsl.loads(SPLIT)
    assert program.diagnostics == ()
    split, grouped = program.net("Split"), program.net("Grouped")
    norms = 2 * 2 * 128
    assert split.params == grouped.params == 32 * (256 * 4 + 3 * 3 * 4 * 4 + 4 * 256) + norms
    assert split.macs(H=14, W=14) == grouped.macs(H=14, W=14)
    one = settle(fill(split.compile(optimize=0)).double(), images(2, 256, 7, 7)).eval()
    paths, state = one.state_dict(), {}
    for key, value in grouped.compile(optimize=0).state_dict().items():
        parts = [paths[f"path{i}.{key}"] for i in range(32)]
        axis = 1 if key == "conv3.weight" else 0
        state[key] = torch.cat(parts, axis) if value.dim() else parts[0]
    other = grouped.compile(optimize=0).double().eval()
    other.load_state_dict(state)
    x = images(2, 256, 7, 6)
    with torch.no_grad():
        assert_same(one(x), other(x))
