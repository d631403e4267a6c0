"""The house rules, held: which way data flows, how large a thing may grow, what has its case."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cnndsl"

# A module may import what stands in its own row or in a row above it. `ops` and `syntax`
# share a row and do not know each other.
LAYERS = [
    {"source", "limits", "files"},
    {"diagnostics"},
    {"ops", "syntax"},
    {"graph"},
    {"semantics"},
    {"repair"},
    {"outline"},
    {"weights"},
    {"passes"},
    {"engines", "kernels"},
    {"backends", "views"},
    {"checkpoints"},
    {"compilation", "space", "program", "compiler"},
    {"exporters", "importers"},
    {"__init__"},
    {"cli", "__main__"},
]
STRANGERS = [("ops", "syntax"), ("syntax", "ops"), ("views", "backends"), ("backends", "views")]
TORCH_HOMES = {
    "backends/torch", "engines/", "exporters/python/helpers.py", "importers/", "kernels/",
    "ops/modules.py", "weights/evaluate.py",
}  # fmt: skip

MODULES = sorted(PACKAGE.rglob("*.py"))
PYTHON = sorted(p for p in ROOT.rglob("*.py") if not {".venv", ".venv-ci"} & set(p.parts))


def _room(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def _row(room: str) -> int:
    return next(i for i, row in enumerate(LAYERS) if room in row)


@cache
def _imports(path: Path) -> tuple[set[str], set[str]]:
    """Full names of the modules that a file imports, not counting those for typing alone: all
    of them, and those that are imported with the file.
    """
    found: set[str] = set()
    at_once: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    waiting: list[tuple[ast.AST, bool]] = [(tree, True)]
    while waiting:
        node, top = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting.extend((inner, top) for inner in node.orelse)
            continue
        top = top and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        names = set(_named(node))
        found |= names
        at_once |= names if top else set()
        waiting.extend((inner, top) for inner in ast.iter_child_nodes(node))
    return found, at_once


def _named(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield node.module or ""
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_data_flows_one_way(path: Path) -> None:
    here = _room(path)
    for name in _imports(path)[0]:
        parts = name.split(".")
        if parts[0] != "cnndsl" or len(parts) < 2:
            continue
        if not ((PACKAGE / parts[1]).is_dir() or (PACKAGE / f"{parts[1]}.py").is_file()):
            continue  # a name that the package itself exports
        assert _row(parts[1]) <= _row(here), f"{here} looks ahead to {name}"
        assert (here, parts[1]) not in STRANGERS, f"{here} knows {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_libraries_stay_at_home(path: Path) -> None:
    relative = path.relative_to(PACKAGE).as_posix()
    every, top = ({name.split(".")[0] for name in names} for names in _imports(path))
    if not any(relative.startswith(home) for home in TORCH_HOMES):
        assert not top & {"torch", "triton", "onnx", "numpy", "PIL", "safetensors"}
    assert not top & {"networkx", "lark"}, "loaded when asked for: they cost more than a check"
    if relative != "graph/model.py":
        assert "networkx" not in every


@pytest.mark.parametrize("path", PYTHON, ids=lambda p: str(p.relative_to(ROOT)))
def test_bounds(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = len(text.splitlines())
    assert lines <= 400, f"{lines} lines: a second idea has moved in"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 50, f"{node.name} has {length} lines"


def test_checking_leaves_heavy_libraries_out() -> None:
    program = (
        "import sys, cnndsl\n"
        "p = cnndsl.load(sys.argv[1])\n"
        "assert not p.diagnostics, p.diagnostics\n"
        "net = p.net('ResNet50'); net.params, net.macs(), net.min_size\n"
        "heavy = {'torch', 'triton', 'networkx', 'lark', 'numpy', 'onnx', 'rich'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    resnet = ROOT / "examples" / "resnet.cnn"
    run = subprocess.run(
        [sys.executable, "-c", program, str(resnet)], capture_output=True, text=True, cwd=ROOT
    )
    assert run.returncode == 0, run.stderr


# --- nothing without its case ----------------------------------------------------------------


def _codes() -> set[str]:
    """Every code that the code can report."""
    found: set[str] = set()
    for path in MODULES:
        found.update(re.findall(r'"([EW]0\d{3})"', path.read_text(encoding="utf-8")))
    return found


def test_every_code_has_its_page() -> None:
    pages = {page.stem for page in (PACKAGE / "diagnostics" / "explain").glob("*.md")}
    assert _codes() == pages


def test_every_code_has_its_case() -> None:
    cases = "\n".join(
        path.read_text(encoding="utf-8", errors="replace")
        for folder in ("corpus", "errors", "syntax", "semantics")
        for path in (ROOT / "tests" / folder).rglob("*")
        if path.is_file() and path.suffix in (".txt", ".py", ".cnn")
    )
    assert not {code for code in _codes() if code not in cases}


def test_every_example_is_tested() -> None:
    zoo = "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "zoo").glob("*.py")
    )
    examples = {path.name for path in (ROOT / "examples").glob("*.cnn")}
    assert examples
    assert not {name for name in examples if name not in zoo and name[:-4] not in zoo}


def test_examples_are_formatted() -> None:
    from cnndsl.source import Source
    from cnndsl.syntax.formatter import format_source

    for path in (ROOT / "examples").rglob("*.cnn"):
        text = path.read_text(encoding="utf-8")
        assert format_source(Source(path.name, text))[0] == text, path.name


def test_the_public_names() -> None:
    import cnndsl

    assert set(cnndsl.__all__) == {
        "CnnError", "Compilation", "Diagnostic", "Limits", "Program", "WeightsError", "compile",
        "from_torch", "load", "loads", "restore",
    }  # fmt: skip
    assert all(getattr(cnndsl, name).__doc__ for name in cnndsl.__all__)
