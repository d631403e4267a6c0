"""``compile --target``: a net's kernels for a GPU that need not be here, and its plan."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnndsl import files
from cnndsl.cli.app import OK
from cnndsl.cli.execution import Execution
from cnndsl.cli.files import Failure, words
from cnndsl.cli.outputs import STDOUT
from cnndsl.cli.report import write_json
from cnndsl.cli.terminal import err, line
from cnndsl.compiler import Compilation
from cnndsl.diagnostics.display import escape

if TYPE_CHECKING:
    from cnndsl.kernels.plan.choice import Chooser
    from cnndsl.kernels.plan.network import Plan
    from cnndsl.kernels.plan.target import Built, Cross

LISTING = "kernels.json"
_SCHEMA = "cnndsl.kernels/1"


def compile_for(
    net: Compilation, execution: Execution, batch: int, output: str | None, force: bool,
    explain: bool, as_json: bool, only_plan: bool,
) -> int:  # fmt: skip
    """Plans for the GPU of ``--target``, compiles, and writes a folder; the exit code.

    ``only_plan``: says what would be compiled, and compiles nothing.
    """
    claim_folder(output, force)
    say = err if as_json else line
    from cnndsl.views.facts import facts_line

    say(facts_line(net.graph))
    if only_plan:
        explain_plan(net, *_planned(net, execution, batch), as_json, say)
        return OK
    cross = _cross(net, execution, batch)
    if explain:
        explain_plan(net, cross.plan, cross.chooser, as_json, say)
    else:
        from cnndsl.kernels.plan.report import head

        say(head(cross.plan, cross.chooser))
    for text in _table(cross.built):
        say(text)
    if output is not None:
        size = _write(cross, net, output)
        say(f"wrote {escape(output)}: {len(cross.built)} kernels, {size:,} bytes, and {LISTING}")
    return OK


def explain_plan(
    net: Compilation, plan: Plan, chooser: Chooser, as_json: bool, say: Callable[[str], None]
) -> None:
    """What the optimiser did, and what computes each step that is left."""
    from cnndsl.kernels.plan import report

    found = net.explain(engine="triton")
    if as_json:
        write_json(found.to_json() | {"plan": report.to_json(plan, chooser)})
        return
    say(found.text())
    for text in report.text(plan, chooser):
        say(escape(text))


def explain_here(
    net: Compilation, execution: Execution, batch: int, as_json: bool, say: Callable[[str], None]
) -> bool:
    """``explain_plan`` for the GPU of this machine, with what was measured; False if none is."""
    from cnndsl.kernels.plan.choice import Chooser
    from cnndsl.kernels.plan.device import present
    from cnndsl.kernels.plan.store import Store

    try:
        store = Store.here()
        chooser = Chooser(present(), store, store.known)
    except ValueError:
        return False
    explain_plan(net, *_plan(net, execution, batch, chooser), as_json, say)
    return True


def _planned(net: Compilation, execution: Execution, batch: int) -> tuple[Plan, Chooser]:
    _need_triton()
    from cnndsl.kernels.plan.choice import Chooser
    from cnndsl.kernels.plan.device import device_of

    return _plan(net, execution, batch, Chooser(device_of(_capability(execution))))


def _plan(
    net: Compilation, execution: Execution, batch: int, chooser: Chooser
) -> tuple[Plan, Chooser]:
    from cnndsl.kernels.plan.planner import plan, rewritten
    from cnndsl.passes.flow import Flow

    graph = net.decided()
    flow = rewritten(Flow(graph), graph.facts.reference())
    return plan(flow, batch, execution.torch_dtype(), chooser), chooser


def _cross(net: Compilation, execution: Execution, batch: int) -> Cross:
    _need_triton()
    from cnndsl.kernels.plan.device import device_of
    from cnndsl.kernels.plan.planner import rewritten
    from cnndsl.kernels.plan.target import cross_compile
    from cnndsl.passes.flow import Flow

    graph = net.decided()
    device = device_of(_capability(execution))
    flow = rewritten(Flow(graph), graph.facts.reference())
    return cross_compile(flow, batch, execution.torch_dtype(), device)


def _need_triton() -> None:
    if find_spec("torch") is None or find_spec("triton") is None:
        raise Failure("--target needs triton, which is not installed: pip install triton")


def _capability(execution: Execution) -> int:
    """Raises Failure for what no kernel is compiled for."""
    from cnndsl.kernels.aot import SHARED_LIMIT

    known = {f"cuda:{capability}": capability for capability in SHARED_LIMIT}
    if execution.target not in known:
        raise Failure(f"--target {execution.target}: there are {', '.join(known)}")
    return known[execution.target]


# --- the table ----------------------------------------------------------------------------------


def _table(built: Sequence[Built]) -> Iterator[str]:
    if not built:
        yield "no kernel of ours is in the plan: PyTorch's libraries compute everything"
        return
    wide = max(len(str(one.way)) for one in built)
    yield f"{'kernel':<{wide}}  registers  spilled  shared memory  products    problem"
    for one in built:
        facts = one.compiled.facts
        yield escape(
            f"{one.way!s:<{wide}}  {facts.registers:>9}  {facts.spills:>7}  "
            f"{facts.shared:>13,}  {_products(one):<10}  {one.problem}"
        )


def _products(one: Built) -> str:
    facts = one.compiled.facts
    found = [(facts.wgmma, "wgmma"), (facts.mma, "mma")]
    return ", ".join(f"{count} {name}" for count, name in found if count) or "no units"


# --- the folder ---------------------------------------------------------------------------------


def claim_folder(output: str | None, force: bool) -> None:
    """Raises Failure unless a folder can be made there, or was written by us."""
    if output is None:
        return
    if output == STDOUT or not output:
        raise Failure("--target writes a folder of kernels: give -o a name")
    path = Path(output)
    if not path.exists():
        if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
            raise Failure(f"cannot write {output}: no folder to write it to")
        return
    if not path.is_dir():
        raise Failure(f"cannot write {output}: it is a file, not a folder")
    if any(path.iterdir()) and not force and _listed(path) is None:
        raise Failure(f"{output} holds what cnndsl did not write: --force writes into it")


def _listed(path: Path) -> list[str] | None:
    """The files of kernels that an earlier run wrote; None if there was none."""
    try:
        found = json.loads((path / LISTING).read_text(encoding="utf-8"))
        names = [str(entry["file"]) for entry in found["kernels"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    ours = found.get("schema") == _SCHEMA and all(Path(name).name == name for name in names)
    return names if ours else None


def _write(cross: Cross, net: Compilation, output: str) -> int:
    """The machine code, then the listing, so that a listing is there only with all it lists."""
    from cnndsl.kernels.plan import report

    path = Path(output)
    old = set(_listed(path) or ())
    listing = {
        "schema": _SCHEMA, "net": net.graph.name, "kernels": cross.to_json(),
        "plan": report.to_json(cross.plan, cross.chooser),
    }  # fmt: skip
    try:
        path.mkdir(exist_ok=True)
        (path / LISTING).unlink(missing_ok=True)
        for one in cross.built:
            files.replace(path / one.file, one.compiled.asm["cubin"])
        for name in old - {one.file for one in cross.built}:
            (path / name).unlink(missing_ok=True)
        files.replace(path / LISTING, _text(listing))
    except OSError as problem:
        raise Failure(f"cannot write {output}: {words(problem)}") from problem
    return sum(len(one.compiled.asm["cubin"]) for one in cross.built)


def _text(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
