"""What a kernel is. One subclass for each, one line in ``table``; all else follows from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from cnndsl.kernels.frame import Frame
from cnndsl.kernels.problem import Problem


@dataclass(frozen=True)
class Config:
    """How a kernel cuts up its work. ``tiles``: constants of the kernel by name."""

    tiles: tuple[tuple[str, int], ...]
    warps: int = 4
    stages: int = 3

    @staticmethod
    def of(warps: int = 4, stages: int = 3, **tiles: int) -> Config:
        return Config(tuple(tiles.items()), warps, stages)

    def __getitem__(self, name: str) -> int:
        return dict(self.tiles)[name]

    def __str__(self) -> str:
        tiles = " ".join(f"{name}{size}" for name, size in self.tiles)
        return f"{tiles} w{self.warps} s{self.stages}"


class Operands(NamedTuple):
    """The tensors of one call. ``inputs``: one for each input of the problem, ``[N, C, H, W]``
    or ``[N, C]``; ``packed``: what ``Kernel.pack`` gave; ``out`` is written, and may be a slice
    of the channels of a wider map."""

    inputs: Sequence[Tensor]
    packed: Mapping[str, Tensor]
    out: Tensor


class Launch(NamedTuple):
    """One launch in full. ``arguments``: all of ``function``'s by name, constants too."""

    function: Any
    grid: tuple[int, ...]
    arguments: Mapping[str, Any]
    config: Config


class Kernel(ABC):
    """Stateless. A capability is a number such as 80 or 90: that of the device times ten."""

    name: ClassVar[str]

    @abstractmethod
    def refuses(self, problem: Problem, capability: int) -> str | None:
        """Why it does not take this problem, as a clause for a report; None if it does."""

    @abstractmethod
    def configs(self, problem: Problem, capability: int) -> Sequence[Config]:
        """What may be tried, best guess first."""

    @abstractmethod
    def pack(self, problem: Problem, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights as the kernel reads them, made once for many calls."""

    @abstractmethod
    def launches(self, problem: Problem, config: Config, operands: Operands) -> Sequence[Launch]:
        """What writes ``operands.out``, one after another; nothing for an empty result."""

    def frame(self, problem: Problem) -> Frame | None:
        """How the first input must lie, if not as any other: ``[N, *frame.size]`` is then the
        first of ``Operands.inputs``. Only what comes from outside can be made to."""
        return None

    def bytes(self, problem: Problem, config: Config) -> int:
        """What it moves to and from memory at least, in bytes."""
        return problem.bytes

    def scratch(self, problem: Problem, config: Config) -> int:
        """Bytes that its launches write for each other, and read once."""
        return 0

    def reads(self, problem: Problem, config: Config) -> int:
        """What its programs read and write, what several of them read again and again."""
        return self.bytes(problem, config)

    def flops(self, problem: Problem, config: Config) -> int:
        """What it computes, a multiply-accumulate as two."""
        return 2 * problem.macs


def run(launches: Iterable[Launch]) -> None:
    """On the device of the tensors, or interpreted."""
    for function, grid, arguments, config in launches:
        function[grid](**arguments, num_warps=config.warps, num_stages=config.stages)


def laid(kernel: Kernel, problem: Problem, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
    """The inputs as the kernel wants them: the first in its frame, if it has one."""
    frame = kernel.frame(problem)
    return inputs if frame is None else [frame.around(inputs[0]), *inputs[1:]]
