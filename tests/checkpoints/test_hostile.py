"""Weights of strangers: one clear sentence, and nothing of theirs is run."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from cnndsl.checkpoints import files
from cnndsl.checkpoints.bounds import WeightsError
from tests.checkpoints import hostile
from tests.cli.runner import cnndsl
from tests.cli.test_hostile import visible

HEADERS = dict(hostile.damaged_safetensors())
PICKLES = [name for name, _ in hostile.pickles(Path("canary"))]
NET = "net A: [3, H, W] = a: conv(2, 1, bias=no)\n"


def refused(path: Path, folder: Path) -> str:
    """What is said of a file that must not be read, by the library and by the commands."""
    with pytest.raises(WeightsError) as caught:
        files.read(path)
    with pytest.raises(WeightsError):
        files.inspect(path)
    said = str(caught.value)
    assert 5 < len(said) < 300
    assert visible(said)
    assert "weights_only" not in said  # never the advice to load it without care
    run = cnndsl("weights", "show", str(path))
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith("error: ")
    assert visible(run.err)
    assert "bug" not in run.err
    net, out = folder / "net.cnn", folder / "out.safetensors"
    net.write_text(NET)
    run = cnndsl("weights", "convert", str(path), str(net), "-o", str(out))
    assert run.code == 2
    assert not out.exists()
    return said


@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_lie(name: str, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(HEADERS[name])
    refused(path, tmp_path)


def test_what_holds_code_is_told_apart_from_what_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(dict(hostile.pickles(tmp_path / "canary"))["os.system"])
    assert "it holds `posix.system`, which is no weight" in refused(path, tmp_path)
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), path)
    assert "it is a TorchScript program, not weights" in refused(path, tmp_path)


@pytest.mark.parametrize("name", PICKLES)
def test_programs_in_pickles(name: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    path = tmp_path / "w.pt"
    path.write_bytes(dict(hostile.pickles(canary))[name])
    refused(path, tmp_path)
    assert not canary.exists()


def test_there_are_enough_of_them() -> None:
    assert len(HEADERS) + len(PICKLES) >= 40


def test_the_canary_can_sing(tmp_path: Path) -> None:
    """The files do what they claim where somebody runs them: the tests above can fail."""
    canary = tmp_path / "canary"
    path = tmp_path / "w.pt"
    for name in ("os.system", "eval", "exec", "open, in an archive"):
        path.write_bytes(dict(hostile.pickles(canary))[name])
        torch.load(path, weights_only=False)
        assert canary.exists(), name
        canary.unlink()


def test_the_good_neighbours_are_read(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(hostile.safetensors(hostile.GOOD))
    assert files.read(path).tensors["a.weight"].shape == (2, 2)
    path.write_bytes(hostile.archive({"a.weight": torch.ones(2)}))
    assert torch.equal(files.read(path).tensors["a.weight"], torch.ones(2))
    path.write_bytes(hostile.legacy(torch.ones(2)))
    assert torch.equal(files.read(path).tensors["a.weight"], torch.ones(2))


def test_more_tensors_than_any_network_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnndsl.checkpoints.bounds.TENSORS", 2)
    state = {name: torch.ones(1) for name in "abc"}
    for name, data in (("w.safetensors", save(state)), ("w.pt", hostile.archive(state))):
        path = tmp_path / name
        path.write_bytes(data)
        assert "3 tensors: at most 2" in refused(path, tmp_path)


def test_what_is_no_file(tmp_path: Path) -> None:
    """A pipe would be waited for, a device read for ever; a link to a file is a file."""
    pipe, loop, link = tmp_path / "pipe", tmp_path / "loop", tmp_path / "link"
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    link.symlink_to("/dev/zero")
    for path in (pipe, link, tmp_path):
        with pytest.raises(WeightsError, match="regular"):
            files.read(path)
    for path in (loop, tmp_path / "nothing"):
        with pytest.raises(OSError):
            files.read(path)
        assert cnndsl("weights", "show", str(path)).code == 2
    good = tmp_path / "w"
    good.write_bytes(hostile.safetensors(hostile.GOOD))
    link.unlink()
    link.symlink_to(good)
    assert files.read(link).tensors


# --- damage by chance -----------------------------------------------------------------------


def damaged(data: bytes, rng: random.Random) -> bytes:
    """One to three changes, mostly in the header."""
    new = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        end = len(new) if rng.random() < 0.2 else min(len(new), 600)
        place = rng.randrange(max(1, end))
        kind = rng.randrange(5)
        if kind == 0:
            new[place : place + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            del new[place : place + rng.randint(1, 9)]
        elif kind == 2:
            new[place:place] = rng.choice([b"9", b"-", b'"', b"[", b"]", b"{", b"e9", b"\\u001b"])
        elif kind == 3:
            new[place : place + 8] = new[rng.randint(0, len(new)) :][:8]
        else:
            del new[rng.randint(0, len(new)) :]
    return bytes(new)


def sweep(folder: Path, count: int, seed: int) -> int:
    """How many of ``count`` damaged files could still be read; the others must be refused."""
    rng = random.Random(seed)
    state = {f"layer{i}.{own}": torch.ones(i + 1, 2) for i in range(3) for own in ("weight", "b")}
    data = files.to_bytes(state)
    path, intact = folder / "w.safetensors", 0
    for _ in range(count):
        path.write_bytes(damaged(data, rng))
        try:
            found = files.read(path)
        except WeightsError as problem:
            assert visible(str(problem))
            continue
        intact += 1
        assert all(visible(name) and name for name in found.tensors)
        assert sum(t.nbytes for t in found.tensors.values()) <= path.stat().st_size
    return intact


def test_damaged_files(tmp_path: Path) -> None:
    assert 0 < sweep(tmp_path, 400, seed=1) < 200


@pytest.mark.slow
def test_many_damaged_files(tmp_path: Path) -> None:
    assert sweep(tmp_path, 20_000, seed=2)


def test_damaged_pickles(tmp_path: Path) -> None:
    rng = random.Random(3)
    path = tmp_path / "w.pt"
    for data in (hostile.archive({"a.weight": torch.ones(3)}), hostile.legacy(torch.ones(3))):
        for _ in range(60):
            path.write_bytes(data[:2] + damaged(data[2:], rng))
            try:
                files.read(path)
            except WeightsError as problem:
                assert visible(str(problem))
