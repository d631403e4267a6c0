"""Commands that only read text must not load what only running needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.runner import ROOT

_HEAVY = "torch triton networkx lark numpy PIL onnx rich safetensors jsonschema"
_PROGRAM = """
import sys
from cnndsl.cli import app
try:
    app.main(sys.argv[1:], prog_name="cnndsl")
except SystemExit as end:
    print(end.code, *sorted({"%s"} & set(sys.modules)), file=sys.stderr)
""".replace("%s", '", "'.join(_HEAVY.split()))

RESNET = str(ROOT / "examples" / "resnet.cnn")


@pytest.mark.parametrize(
    "words",
    [
        ["check", RESNET],
        ["check", RESNET, "--json"],
        ["fmt", "--check", RESNET],
        ["fmt", "--diff", "--explicit", RESNET],
        ["summary", RESNET, "--net", "ResNet50"],
        ["summary", RESNET, "--net", "ResNet50", "--json"],
        ["explain", "E0401"],
        ["ops"],
        ["--help"],
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_loaded(words: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", _PROGRAM, *words]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    said = run.stderr.strip().splitlines()[-1]
    assert said in ("0", "1"), said  # 1: `fmt --diff` has something to show


def test_a_command_is_loaded_only_when_used() -> None:
    program = _PROGRAM.replace("except SystemExit as end:", "finally:").replace(
        "    print(end.code", "    print(*[m for m in sys.modules if m.startswith('cnndsl.cli')], 0"
    )
    command = [sys.executable, "-c", program, "explain", "E0401"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert "cnndsl.cli.explain" in run.stderr
    assert "cnndsl.cli.compile" not in run.stderr
    assert "cnndsl.cli.summary" not in run.stderr
