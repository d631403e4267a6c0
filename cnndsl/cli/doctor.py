"""``cnndsl doctor``: what this installation has, and what is wrong with it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import Any

import click

import cnndsl
from cnndsl.cli.app import OK, WRONG
from cnndsl.cli.report import write_json
from cnndsl.cli.terminal import line
from cnndsl.diagnostics.display import escape
from cnndsl.limits import DEFAULT_LIMITS

SCHEMA = "cnndsl.doctor/1"
_NEEDED = ("click", "lark", "networkx", "numpy", "pillow", "safetensors", "torch")
_OPTIONAL = ("triton", "onnx", "onnxruntime", "openvino")


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(as_json: bool) -> int:
    """Say what is installed, which devices there are, and what is wrong.

    Exits with 1 when something that cnndsl needs is missing or broken.
    """
    found = examine()
    if as_json:
        write_json(found)
    else:
        for text in _lines(found):
            line(text)
    return WRONG if found["problems"] else OK


def examine() -> dict[str, Any]:
    """Everything that is told; ``problems`` are sentences."""
    from cnndsl.ops import built_in, catalogue
    from cnndsl.ops.plugins import GROUP, load_plugins

    problems = [f"{name} is missing" for name in _NEEDED if _version(name) is None]
    devices, trouble = _devices()
    problems += trouble
    problems += [str(problem) for problem in load_plugins()]
    own = sum(map(built_in, catalogue()))
    return {
        "schema": SCHEMA,
        "cnndsl": cnndsl.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "packages": {name: _version(name) for name in (*_NEEDED, *_OPTIONAL)},
        "devices": devices,
        "engines": _engines(),
        "plugins": sorted(f"{e.name} ({e.value})" for e in entry_points(group=GROUP)),
        "operators": {"own": own, "from_plugins": len(catalogue()) - own},
        "limits": asdict(DEFAULT_LIMITS),
        "cache": _cache(),
        "problems": problems,
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _devices() -> tuple[list[str], list[str]]:
    """What torch can compute on, and why it cannot."""
    try:
        import torch
    except Exception as problem:  # a broken installation may raise anything
        return [], [f"torch cannot be imported: {type(problem).__name__}: {problem}"]
    devices = [f"cpu, {torch.get_num_threads()} threads"]
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        devices += [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(count)]
    return devices, []


def _engines() -> dict[str, str | None]:
    """Why each engine cannot run, None where it can; nothing runs without torch."""
    try:
        from cnndsl.engines.choose import ENGINES
    except Exception:  # told as a problem already
        return {}
    return {name: engine.absent() for name, engine in ENGINES.items()}


def _cache() -> str | None:
    """The folder where ``engine="auto"`` notes what was fastest; None without one."""
    from cnndsl.engines.memory import folder

    try:
        return str(folder())
    except RuntimeError:  # this user has no home
        return None


def _lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"cnndsl    {found['cnndsl']}, Python {found['python']}, {escape(found['system'])}"
    packages = (f"{name} {known or 'not installed'}" for name, known in found["packages"].items())
    yield f"packages  {', '.join(packages)}"
    yield f"devices   {escape('; '.join(found['devices'])) or 'none'}"
    there = [name for name, absent in found["engines"].items() if absent is None]
    yield f"engines   {', '.join(there) or 'none'}"
    for name, absent in found["engines"].items():
        if absent is not None:
            yield f"          not {name}: {absent}"
    operators = found["operators"]
    yield f"operators {operators['own']} own, {operators['from_plugins']} from plug-ins"
    yield f"plug-ins  {escape(', '.join(found['plugins'])) or 'none'}"
    yield f"limits    {', '.join(f'{name} {value:,}' for name, value in found['limits'].items())}"
    cache = found["cache"]
    yield f"cache     {escape(cache)}, written by engine=auto alone" if cache else "cache     none"
    for problem in found["problems"]:
        yield f"problem   {escape(problem)}"
    if not found["problems"]:
        yield "no problems found"
