"""What was exported, run in a process that cannot import cnndsl."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor


class Case(NamedTuple):
    """One network in its forms, and what to run them on.

    ``source`` has a class called ``name``, which takes ``state``; ``onnx`` is a model;
    ``program``, if there is one, is a ``.pt2`` file.
    """

    source: str
    name: str
    state: Mapping[str, Tensor]
    onnx: bytes
    inputs: Sequence[Tensor]
    program: bytes | memoryview = b""


def run_clean(cases: Sequence[Case], folder: Path) -> dict[str, list[list[Tensor]]]:
    """The outputs of each case, by the form that was run.

    The folder holds as much as was exported, and nothing afterwards.
    """
    try:
        for k, case in enumerate(cases):
            (folder / f"{k}.onnx").write_bytes(case.onnx)
            if case.program:
                (folder / f"{k}.pt2").write_bytes(case.program)
        given = [(c.source, c.name, dict(c.state), list(c.inputs)) for c in cases]
        torch.save(given, folder / "cases.pt")
        run = subprocess.run(
            [sys.executable, "-I", "-c", _CLEAN, str(folder)],
            capture_output=True, text=True, cwd=folder,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        found: dict[str, list[list[Tensor]]] = torch.load(folder / "found.pt", weights_only=True)
        return found
    finally:
        for file in folder.glob("*.*"):
            file.unlink()


_CLEAN = """
import sys
from pathlib import Path
sys.modules["cnndsl"] = None
import torch, onnxruntime
torch.set_num_threads(1)
torch.set_grad_enabled(False)
folder = Path(sys.argv[1])

def tensors(found):
    return [x for x in torch.utils._pytree.tree_leaves(found) if x is not None]

def python(source, name, state, inputs):
    space = {"__name__": "emitted"}
    exec(source, space)
    with torch.device("meta"):
        module = space[name]().eval()
    module.load_state_dict(state, assign=True)
    return tensors(module(*inputs))

def onnx(path, inputs):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = {value.name: x.numpy() for value, x in zip(session.get_inputs(), inputs)}
    return [torch.from_numpy(y) for y in session.run(None, given)]

def program(path, inputs):
    return tensors(torch.export.load(str(path)).module()(*inputs))

cases = torch.load(folder / "cases.pt", weights_only=True, mmap=True)
found = {"python": [python(*case) for case in cases]}
found["onnx"] = [onnx(folder / f"{k}.onnx", case[3]) for k, case in enumerate(cases)]
if (folder / "0.pt2").exists():
    found["torch.export"] = [program(folder / f"{k}.pt2", case[3]) for k, case in enumerate(cases)]
assert not [name for name in sys.modules if name.startswith("cnndsl.")]
torch.save(found, folder / "found.pt")
"""
