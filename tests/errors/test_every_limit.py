"""Every limit that docs/limits.md names fires, with its code, in less than 50 ms."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

import cnndsl
from cnndsl import Limits
from cnndsl.diagnostics.text import render_all

SECONDS = 0.05
NET = "net N: [3, H, W] = "
IMPORTS = 'import "a.cnn" (A)\nimport "b.cnn" (B)\n' + NET + "A -> B\n"
FIBONACCI = "def f(n) = if n < 2 then n else (f(n-1) + f(n-2))\n"
PAST: dict[str, tuple[str, dict[str, float], str]] = {
    "file_bytes": (NET + "relu\n#" + " \n#" * (1 << 19), {}, "E0110"),
    "total_bytes": (IMPORTS, {"total_bytes": 80}, "E0203"),
    "tokens": (IMPORTS, {"tokens": 20}, "E0203"),
    "files": (IMPORTS, {"files": 2}, "E0203"),
    "nesting": (NET + "(" * 65 + "relu" + ")" * 65, {}, "E0110"),
    "identifier": (NET + f"{'x' * 65}: relu", {}, "E0110"),
    "text": (NET + "relu #" + "x" * 1025, {}, "E0110"),
    "digits": (NET + "conv(1234567890123, 1)", {}, "E0110"),
    "dimension": ("net N: [3, 2147483647, 1] = upsample((2, 1))", {}, "E0409"),
    "elements": ("net N: [3, 1000000, 1000000] = conv(2, 1)", {}, "E0409"),
    "repeat": (NET + "relu^10001", {}, "E0212"),
    "call_depth": ("def A(n) = relu -> A(n + 1)\n" + NET + "A(0)", {}, "E0211"),
    "path": (NET + "a: (" * 33 + "relu" + ")" * 33, {}, "E0212"),
    "steps": (NET + "((id -> id)^10000)^10000", {}, "E0212"),
    # By default it is twenty times as many: about 0.2 s.
    "idle_steps": (FIBONACCI + NET + "conv(f(60), 1)", {"idle_steps": 1_000}, "E0212"),
    "nodes": (NET + "(relu^10000)^10000", {}, "E0212"),
    "fan_in": (NET + "add(for i in 1..4097 do relu)", {}, "E0212"),
    "seconds": (NET + "relu^10", {"seconds": 0}, "E0216"),
}
ELSEWHERE = {
    "printed": "test_a_thousand_problems_are_cut",
    "memory": "tests/cli/test_bounds.py",  # of the process of a command
}


@pytest.fixture(scope="module", autouse=True)
def warm() -> Iterator[None]:
    """What is loaded once per process, or is garbage of other tests, is no cost of a limit."""
    assert cnndsl.loads(NET + "rleu").diagnostics[0].fixes
    gc.disable()
    yield
    gc.enable()


def test_no_limit_is_forgotten() -> None:
    page = (Path(__file__).parents[2] / "docs" / "limits.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([0-9,]+) \|", page, re.MULTILINE)
    documented = {name: int(number.replace(",", "")) for name, number in rows}
    assert documented == {field.name: getattr(Limits(), field.name) for field in fields(Limits)}
    assert documented.keys() == {*PAST, *ELSEWHERE}


@pytest.mark.parametrize("name", PAST)
def test_it_fires_at_once(name: str, tmp_path: Path) -> None:
    text, small, code = PAST[name]
    (tmp_path / "a.cnn").write_text("def A = relu -> relu -> relu\n", encoding="utf-8")
    (tmp_path / "b.cnn").write_text("def B = relu -> silu -> relu\n", encoding="utf-8")
    changed: dict[str, Any] = small
    started = time.process_time()
    found = cnndsl.loads(text, root=tmp_path, limits=replace(Limits(), **changed)).diagnostics
    taken = time.process_time() - started
    assert {d.code for d in found if d.severity == "error"} == {code}
    assert taken < SECONDS


def test_a_thousand_problems_are_cut() -> None:
    text = "".join(f"net N{i}: [3, H, W] = conv({i}x)\n" for i in range(1000))
    found = cnndsl.loads(text).diagnostics
    started = time.process_time()
    shown = render_all(found, limit=Limits().printed)
    assert time.process_time() - started < SECONDS
    assert shown.count("error[") <= 50
