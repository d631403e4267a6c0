"""What a program has to show before it is written: the plain module's numbers, at several sizes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from cnndsl.compilation import Compilation
from cnndsl.graph import cost

if TYPE_CHECKING:
    from torch import Tensor

    from cnndsl.backends.torch.module import Network

BATCHES = (1, 3)
SPREADS = (10.0, 1000.0)
"""Times the usual inputs, where those leave an output at 0."""
# Sizes to run on: large enough to have an inside, and odd where that is valid.
_FROM, _STEP = 33, 14
_LARGEST = 2**28  # numbers of one input: a gigabyte of float32
_SLACK, _FLOOR = 8, 64
"""An error may be this many times PyTorch's own plus so many units of rounding of the result.

Libraries sum in other orders: a mean over 2,000 pixels that adds them up one after the other is
wrong by some 20 units, where PyTorch's is right. A wrong ``eps`` or a shifted border is a thousand
times more.
"""


class ExportError(RuntimeError):
    """A net has no such form, or a program does not compute the same; one sentence."""


class Exported(NamedTuple):
    """The bytes of a file that was proven, and what is to be said of it, line by line."""

    data: bytes | memoryview
    notes: tuple[str, ...]
    proof: Proof


class Proof(NamedTuple):
    """What was run, and how it differed from PyTorch's float32."""

    by: str
    difference: float
    """The largest."""
    magnitude: float
    """The largest value that came out."""
    shapes: tuple[str, ...]
    silent: tuple[str, ...] = ()
    """Outputs that were 0 everywhere, of which nothing is known."""

    def text(self) -> str:
        """``onnxruntime 1.26.0 on [1, 3, 33, 34], …: values up to 0.31 differ by 2.4e-07``."""
        silent = " and ".join(f"`{name}`" for name in self.silent)
        return (
            f"{self.by} on {', '.join(self.shapes)}: "
            f"values up to {self.magnitude:.2g} differ from PyTorch's by at most "
            f"{self.difference:.2g}"
            f"{f'; {silent} was 0 everywhere, which proves little' if silent else ''}"
        )


@dataclass(frozen=True)
class Judge:
    """Runs programs on drawn inputs and compares them with a network's plain module."""

    net: Compilation
    network: Network
    held: Mapping[str, int] = field(default_factory=dict)
    """Sizes of the input that the program knows no others of."""
    batches: tuple[int, ...] = BATCHES

    def sizes(self) -> list[dict[str, int]]:
        """Up to two valid values for each symbol."""
        facts = self.net.facts
        first = {s: facts.allowed(s).next(_FROM) for s in facts.symbols}
        # Height and width differ where they may: what mixes them up is seen.
        small = {s: facts.allowed(s).next(v + i) for i, (s, v) in enumerate(first.items())}
        large = {s: facts.allowed(s).next(value + _STEP) for s, value in small.items()}
        found = [{**small, **self.held}, {**large, **self.held}]
        return found if found[0] != found[1] else found[:1]

    def inputs(self, sizes: dict[str, int], batch: int) -> list[Tensor]:
        """Numbers drawn with a fixed seed, one tensor ``[batch, …]`` for each input."""
        import torch

        generator = torch.Generator().manual_seed(batch)
        shapes = input_shapes(self.net, sizes, batch)
        return [torch.randn(shape, generator=generator) for shape in shapes]

    def prove(self, program: Callable[..., Sequence[Any]], by: str) -> Proof:
        """Raises ExportError unless the results are right but for rounding.

        ``program`` takes one tensor per input and gives one per output of eval mode.
        """
        worst, magnitude, shapes = 0.0, 0.0, []
        silent = dict.fromkeys(self._names())
        for inputs, exact, usual in self._runs(silent):
            shown = " and ".join(str(list(x.shape)) for x in inputs)
            for name, got, plain, true in zip(
                self._names(), program(*inputs), usual, exact, strict=True
            ):
                difference = compared(got, plain, true)
                if difference is None:
                    said = f"{by} computes `{name}` differently from PyTorch for {shown}"
                    raise ExportError(f"{said}: {_described(got, plain)}; nothing was written")
                worst = max(worst, difference)
                magnitude = max(magnitude, float(true.nan_to_num(0, 0, 0).abs().max()))
                if true.any():
                    silent.pop(name, None)
            shapes.append(shown)
        return Proof(by, worst, magnitude, tuple(dict.fromkeys(shapes)), tuple(silent))

    def _names(self) -> list[str]:
        return [output.name for output in self.net.graph.outputs if not output.train]

    def _runs(
        self, silent: Collection[str]
    ) -> Iterator[tuple[list[Tensor], list[Tensor], list[Tensor]]]:
        """Inputs, the results in float64, and those in float32.

        Larger inputs too, as long as there are outputs that were 0 in all runs before.
        """
        import torch

        from cnndsl.engines.apply import Plain
        from cnndsl.passes.flow import Flow

        flow, parameters = Flow(self.net.graph), self.network.state_dict()
        exact = Plain(flow, parameters, torch.float64)
        usual = Plain(flow, parameters, torch.float32)
        usually = [(1.0, sizes, batch) for sizes in self.sizes() for batch in self.batches]
        louder = [(spread, self.sizes()[0], self.batches[-1]) for spread in SPREADS]
        for spread, sizes, batch in [*usually, *louder]:
            if spread == 1 or silent:
                inputs = [spread * x for x in self.inputs(sizes, batch)]
                yield inputs, exact(*(x.double() for x in inputs)), usual(*inputs)


def input_shapes(net: Compilation, sizes: dict[str, int], batch: int) -> list[tuple[int, ...]]:
    """Of each input, batch first; ExportError where one is too large to be run."""
    shapes = [(batch, *cost.shape(cost.concrete(node.type, sizes))) for node in net.graph.inputs]
    for shape in shapes:
        numbers = 1
        for size in shape:
            numbers *= size
        if numbers > _LARGEST:
            raise ExportError(f"an input of {list(shape)} is too large to be run: use --at")
    return shapes


def compared(got: Any, plain: Tensor, true: Tensor) -> float | None:
    """The largest difference from ``plain``; None where ``got`` is not right.

    Numbers that are not finite have to be the same.
    """
    import torch

    from cnndsl.engines.accuracy import error

    if got.shape != plain.shape or got.dtype != torch.float32:
        return None
    usual = plain.isfinite() & true.isfinite()
    if not usual.any() or not torch.equal(got[~usual].nan_to_num(), plain[~usual].nan_to_num()):
        return None
    got, plain, true = got[usual], plain[usual], true[usual]
    unit = float(torch.finfo(torch.float32).eps * true.abs().max())
    if not error(got, true) <= _SLACK * error(plain, true) + _FLOOR * unit:
        return None  # also where a number of ``got`` is not finite
    return float((got - plain).abs().max())


def _described(got: Any, plain: Tensor) -> str:
    if got.shape != plain.shape:
        return f"shape {list(got.shape)}, not {list(plain.shape)}"
    if not plain.isfinite().any():
        return "PyTorch's own numbers are not finite"
    return f"up to {float((got - plain).abs().max()):.2g}"
