"""Small modules come back as text that computes the same, under the same keys."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import cnndsl
from cnndsl.importers.base import ImportProblem
from cnndsl.importers.torch.network import import_module
from tests.importers.torch.modules import MODULES
from tests.references import fill
from tests.zoo.twins import ROUNDING, images


def filled(make: Any) -> nn.Module:
    module: nn.Module = fill(make())
    return module.double()


@pytest.mark.parametrize("name", MODULES)
def test_the_text_computes_what_the_module_does(name: str) -> None:
    make, example, parts = MODULES[name]
    module = filled(make)
    program = cnndsl.from_torch(module, [x.double() for x in example])
    assert program.diagnostics == ()
    assert module.training, "it is left in the mode that it was in"
    for part in parts.split(" | "):
        assert part.strip() in program.source.text, program.source.text
    ours = program.net().compile(optimize=0).double().eval()
    ours.load_state_dict(module.state_dict())
    xs = [_drawn(x.shape[1:], program, seed) for seed, x in enumerate(example)]
    with torch.no_grad():
        got, wanted = (torch.utils._pytree.tree_leaves(m(*xs)) for m in (ours, module.eval()))
    for a, b in zip([x for x in got if x is not None], wanted, strict=True):
        torch.testing.assert_close(a, b, **ROUNDING)


def _drawn(sizes: Any, program: cnndsl.Program, seed: int) -> torch.Tensor:
    """At sizes that the text allows and nothing was recorded at, where they are open."""
    facts = program.net().facts
    if not facts.symbols:
        return images(3, *sizes, seed=seed)
    free = [facts.allowed(symbol).next(wish) for symbol, wish in (("H", 35), ("W", 41))]
    return images(3, sizes[0], *free, seed=seed)


def test_heads_of_training_compute_the_same() -> None:
    make, example, _ = MODULES["heads"]
    module = filled(make)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    text = cnndsl.from_torch(module, example[0].double())
    assert not any("forward" in inner.__dict__ for inner in module.modules())
    for key, value in before.items():
        assert torch.equal(value, module.state_dict()[key])
    module.drop.drop_prob = 0.0  # type: ignore[union-attr]
    ours = text.net().compile(optimize=0).double()
    ours.load_state_dict(module.state_dict())
    for inner in ours.modules():
        if hasattr(inner, "p"):
            inner.p = 0.0
    x = images(2, 3, 12, 14)
    with torch.no_grad():
        got, (out, aux) = ours.train()(x), module.train()(x)
    torch.testing.assert_close(got.out, out, **ROUNDING)
    torch.testing.assert_close(got.aux, aux, **ROUNDING)


def test_sizes_that_are_fixed_are_told() -> None:
    make, example, _ = MODULES["turned"]
    written = import_module(filled(make).float(), example)
    assert written.notes[0].startswith("only for inputs of 8x10: torch.export cannot record it")


class Averaged(nn.Module):
    """Divides by its input's height."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.relu() / x.shape[2]


def test_numbers_that_depend_on_the_size_fix_it() -> None:
    written = import_module(Averaged(), torch.zeros(1, 3, 8, 10))
    assert "[3, 8, 10] = relu -> scale(" in written.text and "0.125" in written.text
    assert "div takes a `other` that depends on the size of the input" in written.notes[0]


class Parity(nn.Module):
    """Pads as TensorFlow's "same" does: at one side only where the size is even."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        high, wide = (max((-(-n // 2) - 1) * 2 + 3 - n, 0) for n in x.shape[2:])
        sides = (wide // 2, wide - wide // 2, high // 2, high - high // 2)
        return self.conv(nn.functional.pad(x, sides))  # type: ignore[no-any-return]


def test_a_module_that_asks_for_parity_is_for_one_size() -> None:
    written = import_module(Parity(), torch.zeros(1, 3, 8, 10))
    assert "[3, 8, 10] = pad((0, 1, 0, 1))" in written.text
    assert "that depends on the size of the input" in written.notes[0]


def test_a_module_that_takes_multiples_keeps_open_sizes() -> None:
    text = "net N: [3, H, W] = (maxpool(4) -> conv(3, 3) -> upsample(4) + id)"
    module = cnndsl.loads(text).net().compile(optimize=0)
    written = import_module(module, torch.zeros(1, 3, 16, 8))
    assert written.notes == () and "[3, H, W] = " in written.text


# --- what is not expressed ----------------------------------------------------------------------


class Wrong(nn.Module):
    """Does one thing with its input and a layer or two."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3))
        self.part = Inner(function)

    def forward(self, x: torch.Tensor) -> Any:
        return self.part(self.stem(x))


class Inner(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function
        self.extra = nn.Parameter(torch.ones(1, 4, 1, 1))
        self.layers = nn.ModuleList([nn.Conv2d(4, 4, 1)])

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self, self.layers[0](x))


def _on_a_view(m: Inner, x: torch.Tensor) -> torch.Tensor:
    x = x * 2
    x[:, :2].relu_()
    return x


def _standardised(m: Inner, x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.conv2d(x, m.layers[0].weight / 2)  # type: ignore[arg-type, operator]


WRONG: dict[str, tuple[Any, str]] = {
    "operator": (lambda m, x: x.cumsum(1), "`part` (Inner): cumsum has no counterpart"),
    "view": (_on_a_view, "`part` (Inner): relu changes a part of a tensor in place"),
    "weight": (_standardised, "`part` (Inner): conv2d has a weight that is computed"),
    "number": (lambda m, x: x + 1, "`part` (Inner): add of a number or a weight has no"),
    "axis": (lambda m, x: x.softmax(3), "softmax runs along another axis than the channels"),
    "learned": (lambda m, x: m.extra * x, "a learned factor `part.extra` of shape [1, 4, 1, 1]"),
    "unused": (lambda m, x: x, "`part.extra` is used by nothing that the module computes"),
    "five axes": (lambda m, x: torch.stack((x, x)), "is in an arrangement that has no text"),
    "reshape": (lambda m, x: x.flatten(2), "its result  is in an arrangement that has no text"),
    "data": (lambda m, x: x if x.sum() > 0 else -x, "torch.export cannot record it"),
    "exception": (lambda m, x: 1 / 0, "torch.export cannot record it: ZeroDivisionError"),
    "result": (lambda m, x: [[x]], "it returns tensors inside of lists"),
    "matrix": (lambda m, x: x @ x, "`part` (Inner): matmul has no counterpart"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_expressed_is_named(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """In the exception, and nowhere else: PyTorch would log and print what it could not record."""
    function, message = WRONG[name]
    with pytest.raises(ImportProblem) as caught:
        import_module(Wrong(function), torch.zeros(1, 3, 8, 8))
    assert message in str(caught.value)
    assert capfd.readouterr() == ("", "")


class Turns(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left = nn.ModuleDict({"a": nn.Conv2d(3, 3, 1), "b": nn.Conv2d(3, 3, 1)})
        self.right = nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> Any:
        return self.left["b"](self.right(self.left["a"](x)))


def test_a_namespace_stands_in_one_place() -> None:
    with pytest.raises(ImportProblem, match="modules of `left` run before and after others"):
        import_module(Turns(), torch.zeros(1, 3, 8, 8))


MIXED_UP: dict[str, tuple[Any, Any, str]] = {
    "no module": (3, torch.zeros(1, 3, 8, 8), "a torch.nn.Module becomes text, not 3"),
    "a class": (nn.ReLU, torch.zeros(1, 3, 8, 8), "not <class 'torch.nn.modules.act"),
    "a shape": (nn.ReLU(), (1, 3, 8, 8), r"an example is a tensor, or .* not \(1, 3, 8, 8\)"),
    "none": (nn.ReLU(), None, "an example is a tensor, or a list of several, not None"),
    "empty": (nn.ReLU(), [], r"not \[\]"),
}


@pytest.mark.parametrize("name", MIXED_UP)
def test_arguments_that_are_mixed_up(name: str) -> None:
    module, example, message = MIXED_UP[name]
    with pytest.raises(TypeError, match=message):
        cnndsl.from_torch(module, example)


def test_what_is_no_picture_is_refused() -> None:
    for example in (torch.zeros(1, 3, 8), torch.zeros(1, 3, 8, 8, dtype=torch.int64)):
        with pytest.raises(ImportProblem, match="an input is a feature map"):
            import_module(nn.Conv2d(3, 4, 3), example)
