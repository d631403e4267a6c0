"""Every check of the project: `python -m tests`. Further arguments go to pytest."""

import os
import subprocess
import sys
from pathlib import Path

_BESIDE = (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",))
"""These run beside the tests, as one of them would leave a core idle for its time."""
_TESTS = ("pytest", "-n", "2", "--dist", "worksteal")
_ROOT = Path(__file__).parents[1]


def main() -> int:
    """Run all checks even if one fails, so that one run shows everything there is to mend."""
    # Two workers with one thread each: torch's own threads would fight over the same cores.
    # Bytecode is kept: hundreds of processes would compile the same modules again.
    environment = {"OMP_NUM_THREADS": "1"} | os.environ | {"PYTHONDONTWRITEBYTECODE": ""}
    beside = [_start(check, environment, subprocess.PIPE) for check in _BESIDE]
    tests = _start((*_TESTS, *sys.argv[1:]), environment)
    failed = bool(tests.wait())
    for check, started in zip(_BESIDE, beside, strict=True):
        output, _ = started.communicate()
        print(f"$ {' '.join(check)}\n{output}", flush=True)
        failed |= started.returncode != 0
    return int(failed)


def _start(
    check: tuple[str, ...], environment: dict[str, str], output: int | None = None
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", *check]
    return subprocess.Popen(command, cwd=_ROOT, env=environment, stdout=output, text=True)


if __name__ == "__main__":
    sys.exit(main())
