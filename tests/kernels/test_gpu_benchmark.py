"""``python -m benchmarks.gpu`` where there is no GPU: what is to be done, and how it goes on."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu import Driver, Task, arguments, tasks
from benchmarks.gpu_rows import KINDS, MACHINE, STATUS, Table
from benchmarks.networks import FILES
from tests.cli.runner import ROOT

HERE = dict.fromkeys(MACHINE, "x")
ROOFS = KINDS["roofs"]
CHILD = """
import json, sys, time, os
sys.path.insert(0, {root!r})
from pathlib import Path
from benchmarks.gpu_rows import KINDS, MACHINE, Table
task = json.loads(sys.argv[1])
done = Table(KINDS["roofs"], Path(task["folder"]), dict.fromkeys(MACHINE, "x")).done()
def say(**what): print(json.dumps(what), flush=True)
for roof in {roofs!r}:
    if (roof,) in done: continue
    say(begin=dict(roof=roof))
    print("a library prints")
    if roof == "crashes": os._exit(3)
    if roof == "hangs": time.sleep(60)
    say(row=dict(roof=roof, status="ok", value="1", unit="s"))
    say(end={{}})
"""


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(ROOFS, tmp_path, HERE)


def driver(folder: Path, *roofs: str, seconds: float = 60.0, item: float = 30.0) -> Driver:
    program = CHILD.format(root=str(ROOT), roofs=roofs)
    return Driver(folder, HERE, time.monotonic() + seconds, (sys.executable, "-c", program), item)


# --- tables -------------------------------------------------------------------------------------


def test_rows_are_appended_under_one_header(table: Table) -> None:
    table.add({"roof": "copy", STATUS: "ok", "value": "3.0", "unit": "TB/s"})
    table.add({"roof": 'a, "b"', STATUS: "ok"})
    lines = table.path.read_text().splitlines()
    assert lines[0].split(",") == list(ROOFS.columns) and len(lines) == 3
    assert [row["roof"] for row in table.rows()] == ["copy", 'a, "b"']
    assert table.done() == {("copy",), ('a, "b"',)}


def test_a_row_that_was_cut_off_is_no_row(table: Table) -> None:
    table.add({"roof": "copy", STATUS: "ok"})
    whole = table.path.read_bytes()
    table.path.write_bytes(whole + b"interval,ok,1.5")
    assert table.done() == {("copy",)}
    table.add({"roof": "interval", STATUS: "ok"})
    assert [(row["roof"], row["value"]) for row in table.rows()] == [("copy", ""), ("interval", "")]
    assert table.path.read_bytes().startswith(whole)


def test_rows_of_other_machines_and_versions_are_not_ours(table: Table) -> None:
    table.add({"roof": "copy", STATUS: "ok"})
    for name in MACHINE:
        assert not Table(ROOFS, table.folder, {**HERE, name: "other"}).done()


def test_other_columns_are_refused(table: Table) -> None:
    table.path.write_text("roof,value\ncopy,1\n")
    with pytest.raises(ValueError, match="other columns"):
        table.done()
    with pytest.raises(ValueError, match="no columns"):
        Table(ROOFS, table.folder / "new", HERE).add({"rooof": "copy"})


@pytest.mark.parametrize("kind", KINDS)
def test_columns(kind: str) -> None:
    """Device and versions are on every row, and what the report of a network needs."""
    columns = KINDS[kind].columns
    assert len(set(columns)) == len(columns) and set(MACHINE) < set(columns)
    if kind == "nets":
        assert {"share_of_roofline", "kernels", "peak_mb", "error", "top1_agreement"} < set(columns)


# --- driving ------------------------------------------------------------------------------------


def test_what_is_finished_is_skipped(tmp_path: Path, table: Table) -> None:
    assert driver(tmp_path, "copy").run(Task("roofs"))
    assert driver(tmp_path, "copy", "interval").run(Task("roofs"))
    assert [row["roof"] for row in table.rows()] == ["copy", "interval"]


def test_a_crash_costs_one_item(tmp_path: Path, table: Table) -> None:
    assert driver(tmp_path, "copy", "crashes", "interval").run(Task("roofs"))
    found = {row["roof"]: row[STATUS] for row in table.rows()}
    assert found == {"copy": "ok", "crashes": "crashed, exit 3", "interval": "ok"}


def test_an_item_that_takes_too_long_is_given_up(tmp_path: Path, table: Table) -> None:
    assert driver(tmp_path, "hangs", "copy", item=1.5).run(Task("roofs"))
    assert {row["roof"]: row[STATUS] for row in table.rows()} == {
        "hangs": "took too long", "copy": "ok",
    }  # fmt: skip


def test_the_end_of_the_time_is_no_failure(tmp_path: Path, table: Table) -> None:
    """What was cut off is done again: nothing is said of it."""
    started = time.monotonic()
    assert not driver(tmp_path, "copy", "hangs", seconds=2.0).run(Task("roofs"))
    assert time.monotonic() - started < 20
    assert "hangs" not in [row["roof"] for row in table.rows()]


# --- what is to be done ---------------------------------------------------------------------------


def test_tasks() -> None:
    everything = list(tasks(arguments([])))
    assert everything[0] == Task("roofs")
    assert list(dict.fromkeys(task.kind for task in everything)) == list(KINDS)
    nets = {(t.net, t.batch, t.dtype) for t in everything if t.kind == "nets"}
    assert {batch for _, batch, _ in nets} == {1, 8, 32, 128, 256}
    assert {dtype for _, _, dtype in nets} == {"bfloat16", "float16"}
    assert {t.batch for t in everything if t.kind == "training"} == {64, 256}
    assert {t.net for t in everything if t.kind == "layers"} == {"ResNet50", "DenseNet121"}
    words = ["--only", "nets", "--nets", "VGG16", "--batch", "8", "--dtype", "float16"]
    few = list(tasks(arguments(words)))
    assert few == [Task("nets", "VGG16", 8, "float16")]


def test_every_network_is_there() -> None:
    import cnndsl

    for net in gpu.NETS:
        assert net in cnndsl.load(ROOT / "examples" / f"{FILES[net]}.cnn").nets


def test_it_needs_a_gpu_and_says_so() -> None:
    """Also where lark is not installed."""
    if torch.cuda.is_available():
        pytest.skip("there is one")
    program = (
        "import sys; sys.modules['lark'] = None\n"
        "import cnndsl\n"
        "cnndsl.load('examples/lenet.cnn').net().graph\n"
        "from benchmarks.gpu import main\n"
        "sys.exit(main([]))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT
    )  # fmt: skip
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == "error: there is no GPU here, and these benchmarks measure one\n"


# --- what a process of tasks says -----------------------------------------------------------------


def test_configurations_are_tried_with_4_and_8_warps() -> None:
    from benchmarks.gpu_tasks import WARPS, with_warps
    from cnndsl.kernels.table import taking
    from tests.kernels.oracle import problem_of

    problem = problem_of("[64, 14, 14] = conv(64, 3) -> relu", 8, torch.half)
    for kernel in taking(problem, 90):
        ways = with_warps(kernel, problem, 90)
        configs = {(way.config.tiles, way.config.stages) for way in ways if way.config}
        assert len(ways) == len(set(ways)) == len(WARPS) * len(configs)


def test_what_goes_wrong_inside_an_item_is_a_row(
    table: Table, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.gpu_tasks import Said

    said = Said(table, set())
    with said.item("copy") as row:
        row(value="1")
        raise RuntimeError("no memory\nleft")
    with pytest.raises(RuntimeError), said.item("product"):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        {"begin": {"roof": "copy"}},
        {"row": {"roof": "copy", STATUS: "ok", "value": "1"}},
        {"row": {"roof": "copy", STATUS: "no memory left"}},
        {"end": {}},
        {"begin": {"roof": "product"}},
    ]
    assert said.has("copy") and not said.has("product")


def test_the_roofline_of_a_network() -> None:
    """No plan is faster: it moves everything at least once, and launches."""
    from benchmarks.gpu_nets import least_seconds
    from tests.kernels.planning import H100, flow_from, planned

    flow = flow_from("[16, 12, 12] = conv(32, 3) -> relu -> (id | conv(8, 1)) -> maxpool(2)")
    least = least_seconds(flow, 256, torch.half, H100)
    found = planned(flow, 256, torch.half, chunks=())
    assert 0 < least < found.seconds
    x = torch.randn(4, 7)
    from benchmarks.gpu_nets import _agreement, _error

    assert _error(x, x) == 0 and _agreement(x, x) == 1 and _agreement(x, -x) == 0
    assert _error(1.1 * x, x) == pytest.approx(0.1, rel=1e-3)
