"""Every check of the project: `python -m tests`. Further arguments go to pytest."""

import os
import subprocess
import sys
from pathlib import Path

_CHECKS = (
    ("ruff", "check", "."),
    ("mypy",),
    ("pytest", "-n", "2", "--dist", "worksteal", *sys.argv[1:]),
)


def main() -> int:
    """Run all checks even if one fails, so that one run shows everything there is to mend."""
    # Two workers with one thread each: torch's own threads would fight over the same cores.
    environment = {"OMP_NUM_THREADS": "1"} | os.environ
    root = Path(__file__).parents[1]
    failed = False
    for check in _CHECKS:
        print("$", *check, flush=True)
        run = subprocess.run([sys.executable, "-m", *check], cwd=root, env=environment, check=False)
        failed |= run.returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
