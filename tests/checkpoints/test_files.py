"""Files of weights, in and out: the numbers stay, and other programs read them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from cnndsl.checkpoints import bounds, files
from cnndsl.checkpoints.bounds import WeightsError
from cnndsl.checkpoints.origin import Origin
from tests.cli.runner import ROOT

KINDS = [getattr(torch, name) for name in bounds.DTYPES.values()]


def tensors() -> dict[str, Tensor]:
    """Every kind of number, every rank, odd names, in no order."""
    torch.manual_seed(0)
    found = {f"z.{kind}"[8:]: (torch.randn(3, 5) * 9).to(kind) for kind in KINDS}
    found |= {f"rank.{n}": torch.randn([2] * n) for n in range(9)}
    found["a"] = torch.randn(4, 6).t()  # lies across the memory
    found["empty"] = torch.empty(0, 3)
    found["größe.µ weight"] = torch.ones(1)
    return found


def test_every_kind_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    state = tensors()
    files.write(path, state)
    found = files.read(path)
    assert list(found.tensors) == list(state)
    for loaded in (found.tensors, load_file(path)):
        for name, value in state.items():
            assert loaded[name].dtype == value.dtype
            assert loaded[name].shape == value.shape
            assert torch.equal(loaded[name], value), name
    assert {n: s.shape for n, s in files.inspect(path).specs.items()} == {
        n: tuple(t.shape) for n, t in state.items()
    }
    found.tensors["a"].add_(1)  # the numbers are the reader's own


def test_files_of_the_format_s_own_library(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    state = {name: value.contiguous() for name, value in tensors().items()}
    save_file(state, path, {"by": "others"})
    found = files.read(path)
    assert found.metadata == {"by": "others"}
    assert found.contents.origin is None
    assert found.tensors.keys() == state.keys()
    assert all(torch.equal(found.tensors[name], value) for name, value in state.items())


def test_numbers_lie_where_machines_read_them_best(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    files.write(path, {"odd": torch.ones(3, dtype=torch.uint8), "b": torch.ones(3),
                       "c": torch.ones(1, dtype=torch.float64)})  # fmt: skip
    data = path.read_bytes()
    told = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + told])
    for name, size in (("odd", 1), ("b", 4), ("c", 8)):
        assert (8 + told + header[name]["data_offsets"][0]) % size == 0


def test_arrays(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    array.setflags(write=False)
    files.write(path, {"a": array})
    assert torch.equal(files.read(path).tensors["a"], torch.arange(6.0).reshape(2, 3))


def test_the_same_weights_are_the_same_bytes() -> None:
    """The format's own library writes metadata in an order that changes from run to run."""
    state = {name: torch.ones(3) for name in ("a.weight", "bb", "c")}
    one = Origin("net A: [3, H, W] = relu", "A", {"b": 2, "a": 1}, {"H": 3}, {"x": "y", "w": "z"})
    other = Origin("net A: [3, H, W] = relu", "A", {"a": 1, "b": 2}, {"H": 3}, {"w": "z", "x": "y"})
    data = files.to_bytes(state, one)
    assert data == files.to_bytes(state, other)
    assert data.index(b"cnndsl.at") < data.index(b"cnndsl.imports") < data.index(b'"format"')


@pytest.mark.parametrize("old", [True, False])
def test_files_of_pytorch(old: bool, tmp_path: Path) -> None:
    path = tmp_path / "w.any"
    own = {name: value for name, value in tensors().items() if name != "empty"}
    own["view"] = torch.arange(12.0)[3:9].reshape(2, 3)
    own["parameter"] = torch.nn.Parameter(torch.ones(2))
    for document in (own, {"epoch": 3, "state_dict": own, "optimizer": {"lr": 0.1}}):
        torch.save(document, path, _use_new_zipfile_serialization=not old)
        found = files.read(path)
        assert list(found.tensors) == list(own)
        assert all(torch.equal(found.tensors[name], value) for name, value in own.items())
        assert not any(value.requires_grad for value in found.tensors.values())
        assert files.inspect(path).specs["view"].shape == (2, 3)


@pytest.mark.parametrize("old", [False, True])
def test_many_names_of_one_piece_take_it_once(
    old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, piece = tmp_path / "w.pt", torch.arange(6.0)
    state = {f"a{n}": piece[n:] for n in range(4)} | {"turned": piece.reshape(2, 3).t()}
    torch.save(state, path, _use_new_zipfile_serialization=not old)
    found = files.read(path).tensors
    assert all(torch.equal(found[name], value) for name, value in state.items())
    assert len({value.untyped_storage().data_ptr() for value in found.values()}) == 1
    for kind in (Tensor, torch.UntypedStorage):
        monkeypatch.setattr(kind, "clone", None)
    assert list(files.inspect(path).specs) == list(state)  # copies nothing at all


def test_what_is_taken_out_of_a_pickle_is_not_the_file_s(tmp_path: Path) -> None:
    """A file is mapped while it is read; what is read must not change with it."""
    path = tmp_path / "w.pt"
    torch.save({"a": torch.ones(2_000)}, path)
    found = files.read(path).tensors["a"]
    with open(path, "r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert torch.equal(found, torch.ones(2_000))


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"a\n": torch.ones(1)}, "cannot be printed"),
        ({"__metadata__": torch.ones(1)}, "cannot be printed"),
        ({"a": torch.ones([1] * 9)}, "9 dimensions"),
        ({"a": torch.ones(1, dtype=torch.complex64)}, "complex64"),
    ],
)
def test_what_cannot_be_read_is_not_written(
    state: dict[str, Tensor], said: str, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=said):
        files.write(tmp_path / "w", state)
    assert not list(tmp_path.iterdir())


def test_looking_into_a_file_needs_no_torch(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    files.write(path, {"a.weight": torch.ones(2)}, text="net A: [3, H, W] = relu\n")
    program = (
        "import sys; from cnndsl.cli import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit as end: assert end.code == 0, end\n"
        "assert 'torch' not in sys.modules\n"
    )
    for words in (["weights", "show", str(path)], ["check", str(path)]):
        run = subprocess.run(
            [sys.executable, "-c", program, *words], capture_output=True, text=True, cwd=ROOT
        )
        assert run.returncode == 0, run.stderr


def test_the_bounds_in_the_documentation() -> None:
    text = (ROOT / "docs" / "weights.md").read_text(encoding="utf-8")
    for value in (bounds.HEADER_BYTES, bounds.TENSORS, bounds.NAME, bounds.RANK, bounds.ELEMENTS):
        assert f"{value:,}" in text
