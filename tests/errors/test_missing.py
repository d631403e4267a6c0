"""Compiling without torch is a diagnostic; checking does not miss it."""

import subprocess
import sys

PROGRAM = """
import sys
sys.modules["torch"] = None
import cnndsl
net = cnndsl.loads("net N: [3, H, W] = conv(8, 3)").net()
assert net.params == 224 and not net.diagnostics
try:
    net.compile()
except cnndsl.CnnError as error:
    print([d.code for d in error.diagnostics])
"""


def test_without_torch() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert run.stdout.strip() == "['E0601']", run.stderr
