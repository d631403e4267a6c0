"""Options that say how a network is to run, and what their values mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from cnndsl.cli.files import Failure
from cnndsl.compiler import Compilation

if TYPE_CHECKING:
    import torch

    from cnndsl.backends.torch.module import Network

Command = TypeVar("Command", bound=Callable[..., Any])
DEFAULT = "torch"


@dataclass(frozen=True)
class Execution:
    """How a network runs in eval mode; ``dtype`` None is that of the parameters.

    ``target``: the GPU, such as ``cuda:90``, that its kernels are compiled for; None: it runs.
    """

    optimize: int
    engine: str
    dtype: str | None
    target: str | None = None

    def check(self) -> None:
        """Raises Failure for an engine that is not there; the default one always is."""
        if self.engine == DEFAULT:
            return
        try:
            from cnndsl.engines.choose import chooser
        except ModuleNotFoundError:
            return  # compiling says that torch is missing
        try:
            chooser(self.engine)
        except ValueError as problem:
            raise self._refusal(problem) from None

    def compile(self, net: Compilation) -> Network:
        """The module; raises Failure for an engine that is not there."""
        dtype = None if self.dtype is None else self.torch_dtype()
        try:
            return net.compile(optimize=self.optimize, engine=self.engine, dtype=dtype)
        except ValueError as problem:
            raise self._refusal(problem) from None

    def torch_dtype(self) -> torch.dtype:
        """That of the computation; parameters are float32."""
        import torch

        found: torch.dtype = getattr(torch, self.dtype or "float32")
        return found

    def _refusal(self, problem: ValueError) -> Failure:
        said = str(problem).partition(": ")[2]
        return Failure(f"--engine {self.engine}: {said}")


def execution_options(command: Command) -> Command:
    """``--optimize --engine --dtype --target``, as one ``execution`` argument."""

    @wraps(command)
    def collected(
        optimize: int, engine: str | None, dtype: str | None, target: str | None, **rest: Any
    ) -> Any:
        if optimize not in (0, 1):
            raise Failure(f"--optimize {optimize}: the levels are 0 and 1")
        if not optimize and (engine or dtype):
            which = "--engine" if engine else "--dtype"
            raise Failure(f"{which} goes with --optimize 1: at 0 the plain PyTorch module runs")
        if target is not None and (not optimize or engine not in (None, "triton")):
            raise Failure("--target goes with --optimize 1 and with no other engine than triton")
        execution = Execution(optimize, engine or DEFAULT, dtype, target)
        return command(execution=execution, **rest)

    options = (
        click.option(
            "--optimize", type=int, default=1, show_default=True, metavar="LEVEL",
            help="1: rewritten, on an engine; 0: the plain PyTorch module.",
        ),
        click.option(
            "--engine", metavar="NAME",
            help="torch (default), inductor, onnxruntime, openvino, triton; with fewer products "
            "onnxruntime-winograd, onnxruntime-winograd-squares, openvino-winograd; auto: the "
            "fastest here.",
        ),
        click.option(
            "--dtype", type=click.Choice(["float32", "bfloat16"]),
            help="What the engine computes in; by default what the weights are.",
        ),
        click.option(
            "--target", metavar="cuda:80|cuda:90",
            help="Compile the kernels for this GPU instead of running; -o is a folder for them.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        option(collected)
    return cast(Command, collected)
