"""What ``save`` writes over, and how ``load`` and ``restore`` call a file that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import cnndsl
from cnndsl.checkpoints import files
from cnndsl.checkpoints.bounds import WeightsError

TEXT = "net N: [3, H, W] = c: conv(4, 1)\n"
NET = cnndsl.loads(TEXT).net()


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    return dict(NET.compile(optimize=0).state_dict())


def test_what_was_saved_is_saved_again(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "last.safetensors"
    NET.save(path, state)
    NET.save(path, {key: value + 1 for key, value in state.items()})
    assert torch.equal(files.read(path).tensors["c.bias"], state["c.bias"] + 1)


@pytest.mark.parametrize("theirs", ["a text", "weights without a text", "a link to nothing"])
def test_what_others_wrote_is_kept(
    theirs: str, tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "w.safetensors"
    if theirs == "a text":
        path.write_text(TEXT)
    elif theirs == "a link to nothing":
        path.symlink_to("nowhere.safetensors")
    else:
        files.write(path, state)
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(FileExistsError, match=r"not written by cnndsl.*w\.safetensors"):
        NET.save(path, state)
    assert (path.read_bytes() if path.exists() else None) == before
    NET.save(path, state, force=True)
    assert cnndsl.load(path).nets == ("N",)


@pytest.mark.parametrize("name", ["net.cnn", "w.pt", "w", ".safetensors"])
def test_a_name_that_load_would_not_know(
    name: str, tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    (tmp_path / "net.cnn").write_text(TEXT)
    with pytest.raises(ValueError, match=r"ends in \.safetensors"):
        NET.save(tmp_path / name, state, force=True)
    assert [p.name for p in tmp_path.iterdir()] == ["net.cnn"]
    assert (tmp_path / "net.cnn").read_text() == TEXT


def test_files_that_are_wrong_are_named(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "w.safetensors"
    files.write(path, state)
    path.write_bytes(path.read_bytes()[:-1])
    short = {"c.weight": state["c.weight"]}
    cases = [("load", None), ("load", state), ("restore", state), ("restore", short)]
    for function, given in cases:
        if given is not None:
            files.write(path, given, text=TEXT if given is short else None)
        with pytest.raises(WeightsError) as caught:
            getattr(cnndsl, function)(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert str(caught.value).count(str(path)) == 1
