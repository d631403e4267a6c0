"""``cnndsl compile``: from text to a module that has run, and to a file that others load."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from cnndsl.backends.torch.mark import WHAT, is_ours
from cnndsl.cli.app import OK
from cnndsl.cli.execution import Execution, execution_options
from cnndsl.cli.exporting import with_reasons, write
from cnndsl.cli.files import Failure
from cnndsl.cli.options import Wanted, network_options, source_options
from cnndsl.cli.outputs import STDOUT, claim_bytes
from cnndsl.cli.report import write_json
from cnndsl.cli.terminal import err, line
from cnndsl.cli.weights import carried, load_weights
from cnndsl.compiler import Compilation
from cnndsl.diagnostics.display import escape
from cnndsl.limits import Limits

if TYPE_CHECKING:
    from torch import Tensor

    from cnndsl.backends.torch.module import Network
    from cnndsl.cli.photograph import Photograph

_TOP = 5
_DRAWN, _NOTHING = "random", "none"


@click.command("compile")
@click.argument("file", type=click.Path(allow_dash=True))
@click.option(
    "--run", "picture", default=_DRAWN, metavar="IMAGE|random|none", show_default=True,
    help="What to run it on: a photograph, numbers drawn at random, or nothing.",
)  # fmt: skip
@click.option("--batch", type=click.IntRange(1, 65536), default=1, help="Samples per run.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, help="Of weights and input.")
@click.option("--weights", metavar="FILE", help="Trained ones; by default drawn at random.")
@click.option(
    "-o", "output", metavar="OUT.pt2",
    help="Write a torch.export program (-: stdout); with --target a folder of kernels.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace it even if something else wrote it.")
@click.option("--explain", is_flag=True, help="Say what the optimiser did, by source line.")
@click.option("--json", "as_json", is_flag=True, help="--explain for programs, on stdout.")
@execution_options
@network_options
@source_options
def command(
    file: str, picture: str, batch: int, seed: int, weights: str | None, output: str | None,
    force: bool, explain: bool, as_json: bool, execution: Execution, wanted: Wanted,
    root: str | None, limits: Limits,
) -> int:  # fmt: skip
    """Compile a net to a PyTorch module, run it, and say what came out and how long it took.

    Sizes left open are 224, or the next valid size; fix them with --at. -o also writes a
    program that PyTorch loads without cnndsl, for any batch: the plain module. With
    --explain --run none nothing is built or run.
    """
    _refuse(explain, as_json, execution, output, weights)
    net = wanted.network(file, root, limits)
    if execution.target is not None:
        from cnndsl.cli.target import compile_for

        only_plan = explain and picture == _NOTHING and output is None
        return compile_for(net, execution, batch, output, force, explain, as_json, only_plan)
    if output is not None:
        claim_bytes(output, force, WHAT, ".pt2", is_ours)
    # What goes to stdout must be the program, or the report for programs, alone.
    say = err if output == STDOUT or as_json else line
    from cnndsl.views.facts import facts_line

    say(facts_line(net.graph))
    weights = carried(net, file) if weights is None else weights
    session = _Session(net, batch, seed, say, execution)
    photograph = session.read(picture)
    if explain:
        session.explain(as_json)
        if picture == _NOTHING and output is None:
            return OK
    try:
        network = session.build(weights)
        inputs = session.inputs(photograph)
        if picture != _NOTHING:
            session.run(network, inputs, picture, photograph, weights is not None)
        if output is not None:
            session.write(network, output)
    except RuntimeError as problem:
        if "memory" not in str(problem):  # torch has no class for this on every device
            raise
        raise Failure("not enough memory: take a smaller --at or --batch") from problem
    return OK


def _refuse(
    explain: bool, as_json: bool, execution: Execution, output: str | None, weights: str | None
) -> None:
    """Options that do not go together."""
    if execution.target is not None and weights is not None:
        raise Failure("--target compiles kernels, which hold no weights: leave --weights out")
    if as_json and not explain:
        raise Failure("--json goes with --explain")
    if explain and not execution.optimize:
        raise Failure("--explain goes with --optimize 1: at 0 nothing is rewritten")
    if as_json and output == STDOUT:
        raise Failure("--json and -o - would both write to stdout")


@dataclass
class _Session:
    """One net on its way: what every step needs to know."""

    net: Compilation
    batch: int
    seed: int
    say: Callable[[str], None]
    execution: Execution

    def explain(self, as_json: bool) -> None:
        """What the optimiser does, in words or for programs."""
        self.execution.check()
        if self.execution.engine == "triton":
            from cnndsl.cli.target import explain_here

            if explain_here(self.net, self.execution, self.batch, as_json, self.say):
                return
        found = self.net.explain(engine=self.execution.engine)
        if as_json:
            write_json(found.to_json())
        else:
            self.say(found.text())

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of each input, with the batch, at the sizes that reports use."""
        from cnndsl.exporters.proof import input_shapes

        graph = self.net.graph
        shapes = with_reasons(input_shapes, self.net, graph.facts.reference(), self.batch)
        return {node.path: shape for node, shape in zip(graph.inputs, shapes, strict=True)}

    def read(self, picture: str) -> Photograph | None:
        if picture in (_DRAWN, _NOTHING):
            return None
        from cnndsl.cli.photograph import read_photograph

        shape = next(iter(self.shapes().values()))
        if len(shape) != 4:
            raise Failure("this net takes a vector, not a photograph: --run random")
        return read_photograph(picture, *shape[1:])

    def build(self, weights: str | None) -> Network:
        start = time.perf_counter()
        try:
            import torch
        except ImportError:
            return self.net.compile()  # which says what is missing
        imported = time.perf_counter()
        torch.manual_seed(self.seed)
        network = self.execution.compile(self.net).eval()
        built = time.perf_counter()
        said = f"random weights, seed {self.seed}"
        if weights is not None:
            said = load_weights(network, weights, self.net)
        self.say(
            f"built in {_seconds(built - imported)} after {_seconds(imported - start)} "
            f"of importing torch; {said}"
        )
        return network

    def inputs(self, photograph: Photograph | None) -> dict[str, Tensor]:
        import torch

        from cnndsl.backends.torch.trial import draw

        found = draw(self.shapes(), self.seed)
        if photograph is not None:
            values = torch.from_numpy(photograph.values)
            found[next(iter(found))] = torch.stack([values] * self.batch)
        return found

    def run(
        self, network: Network, inputs: dict[str, Tensor], picture: str,
        photograph: Photograph | None, trained: bool,
    ) -> None:  # fmt: skip
        from cnndsl.backends.torch.trial import run

        trial = run(network, inputs)
        shapes = ", ".join(str(list(x.shape)) for x in inputs.values())
        if photograph is None:
            source = f"numbers drawn with seed {self.seed}, {shapes}"
        else:
            width, height = photograph.size
            source = (
                f"{escape(picture)}, {width}x{height}, fitted to {shapes} "
                "and normalised as ImageNet"
            )
        self.say(f"ran on {source}")
        self.say(
            f"first run {_seconds(trial.first)}, then {_seconds(trial.later)} "
            f"(median of {trial.repeats}), computed by {trial.by}"
        )
        for name, value in trial.outputs.items():
            self.say(f"{name}: {_described(value)}")
        if trained:
            self._rank(trial.outputs)
        else:
            self.say("the weights are random: only shapes and times mean anything")

    def _rank(self, outputs: dict[str, Tensor]) -> None:
        """The highest classes of each sample, for what looks like a classifier."""
        first = next(iter(outputs.values()))
        if len(outputs) > 1 or first.dim() != 2:
            return
        values, indices = first[0].topk(min(_TOP, first.shape[1]))
        shown = zip(indices.tolist(), values.tolist(), strict=True)
        self.say("highest: " + ", ".join(f"{index} ({value:.3f})" for index, value in shown))

    def write(self, network: Network, output: str) -> None:
        from cnndsl.exporters.pt2 import export_pt2

        start = time.perf_counter()
        write(with_reasons(export_pt2, self.net, network), output, self.say)
        self.say(f"exported in {_seconds(time.perf_counter() - start)}")


def _described(value: Any) -> str:
    total = value.numel()
    broken = total - int(value.isfinite().sum())
    finite = "all finite" if not broken else f"{broken:,} of {total:,} numbers are not finite"
    return f"{list(value.shape)}, {finite}"


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.1f} ms"
