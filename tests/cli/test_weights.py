"""``weights show|check|convert|map``, and ``compile --weights``: what a person reads."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

import cnndsl as package
from cnndsl.checkpoints import files, header
from cnndsl.cli import app
from tests.cli.runner import ROOT, Run, cnndsl
from tests.cli.test_hostile import HOSTILE, visible
from tests.references import mtcnn

NET = """\
net Small(classes = 6): [3, H, W] =
     conv1: conv(4, 3, stride=2) -> bn1: bn -> relu
  -> emit[train] aux: (gap -> flatten -> linear(3)) -> gap -> flatten -> fc: linear(classes)
"""
SIDES = """\
net Sides: [3, H, W] = (a: (c: conv(8, 1)) | b: (c: conv(8, 1))) -> fc: conv(2, 1)
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.cnn").write_text(NET)


def state(**parameters: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(4)
    module = package.load("net.cnn").net(**parameters).compile(optimize=0)
    return dict(module.state_dict())


def weights(*words: str) -> Run:
    return cnndsl("weights", *words)


# --- show -----------------------------------------------------------------------------------


def test_show() -> None:
    files.write("w.safetensors", state(), text=NET, net="Small")
    run = weights("show", "w.safetensors")
    assert (run.code, run.err) == (0, "")
    assert run.out == (
        "w.safetensors: 10 tensors, 170 numbers, 9 float32, 1 int64\n"
        "carries the text: net Small of 3 lines\n"
        "  conv1   1 tensor  108  weight [4, 3, 3, 3]\n"
        "  bn1    5 tensors   17  weight [4], bias [4], running_mean [4], running_var [4], …\n"
        "  aux    2 tensors   15  2.weight [3, 4], 2.bias [3]\n"
        "  fc     2 tensors   30  weight [6, 4], bias [6]\n"
    )


def test_show_opens_levels() -> None:
    flat = {f"module.a.{i}.{j}.w": torch.ones(1) for i in range(40) for j in range(3)}
    torch.save(flat, "w.pt")
    assert weights("show", "w.pt").out.count("\n") == 41
    assert "  module.a.7   3 tensors  3  0.w [1], 1.w [1], 2.w [1]\n" in weights("show", "w.pt").out
    deep = weights("show", "w.pt", "--depth", "4").out
    assert deep.count("\n") == 62
    assert "  and 60 more\n" in deep


# --- check ----------------------------------------------------------------------------------


def test_check() -> None:
    torch.save(state(), "w.pt")
    run = weights("check", "w.pt", "net.cnn")
    assert (run.code, run.err) == (0, "")
    assert run.out == "w.pt fits Small\n  10 of 10 tensors fit\n"
    run = weights("check", "w.pt", "net.cnn", "--set", "classes=9")
    assert run.code == 1
    assert "fc.weight  [6, 4] → [9, 4]\n" in run.out
    assert "6 → 9? `weights convert --reinit fc` begins there again" in run.out
    run = weights("check", "w.pt", "net.cnn", "--set", "classes=9", "--reinit", "fc")
    assert run.code == 0


def test_check_a_text_that_is_wrong_or_a_space() -> None:
    torch.save(state(), "w.pt")
    Path("bad.cnn").write_text("net A: [3, H, W] = cnov(1)\n")
    run = weights("check", "w.pt", "bad.cnn")
    assert (run.code, run.out) == (1, "")
    assert "E0201" in run.err
    Path("space.cnn").write_text("net A: [3, H, W] = oneof(conv(1, 1), conv(2, 1))\n")
    run = weights("check", "w.pt", "space.cnn")
    assert run.code == 1
    assert "--choose" in run.err or "--sample" in run.err
    assert weights("check", "w.pt", "nowhere.cnn").code == 2


# --- convert --------------------------------------------------------------------------------


def test_convert_and_restore() -> None:
    torch.save({"state_dict": {f"module.{k}": v for k, v in state().items()}}, "w.pth")
    run = weights("convert", "w.pth", "net.cnn", "-o", "out.safetensors")
    assert (run.code, run.err) == (0, "")
    assert "    module.** -> **\n" in run.out
    size = Path("out.safetensors").stat().st_size
    assert run.out.endswith(f"wrote out.safetensors, {size:,} bytes, with the text of Small\n")
    found = files.read("out.safetensors").tensors
    assert list(found) == list(state())
    assert all(torch.equal(found[key], value) for key, value in state().items())
    Path("net.cnn").unlink()
    restored = package.restore("out.safetensors").state_dict()
    assert all(torch.equal(restored[key], found[key]) for key in restored)
    run = cnndsl("compile", "out.safetensors", "--at", "H=9,W=9")
    assert "10 tensors from out.safetensors" in run.out
    assert "random" not in run.out


def test_the_other_nets_of_a_text_have_no_weights() -> None:
    net = package.loads(f"{NET}net Other: [1, H, W] = conv(2, 1)\n").net("Small")
    net.save("out.safetensors", net.compile(optimize=0))
    small = ["compile", "out.safetensors", "--at", "H=9,W=9"]
    assert "10 tensors from out.safetensors" in cnndsl(*small).out
    run = cnndsl(*small, "--net", "Other")
    assert run.code == 0
    assert "random weights" in run.out


def test_a_changed_class_count_is_a_choice() -> None:
    torch.save(state(classes=1000), "w.pt")
    words = ["convert", "w.pt", "net.cnn", "-o", "out.safetensors"]
    run = weights(*words)
    assert (run.code, run.out) == (2, "")
    assert "w.pt does not fit Small; nothing was written\n" in run.err
    assert "1000 → 6? `weights convert --reinit fc` begins there again" in run.err
    assert not Path("out.safetensors").exists()
    drawn = []
    for seed in ("1", "1", "2"):
        assert weights(*words, "--reinit", "fc", "--seed", seed).code == 0
        drawn.append(files.read("out.safetensors").tensors)
    assert torch.equal(drawn[0]["fc.weight"], drawn[1]["fc.weight"])
    assert not torch.equal(drawn[0]["fc.weight"], drawn[2]["fc.weight"])
    trained = state(classes=1000)
    assert all(torch.equal(drawn[2][k], trained[k]) for k in trained if not k.startswith("fc"))
    run = weights(*words, "--reinit", "cf")
    assert run.code == 2
    assert "no module `cf`" in run.err


def test_convert_to_another_kind_of_number() -> None:
    torch.save(state(), "w.pt")
    for kind in ("float16", "bfloat16", "float64"):
        words = ["convert", "w.pt", "net.cnn", "-o", "out.safetensors", "--dtype", kind]
        assert weights(*words).code == 0
        found = files.read("out.safetensors").tensors
        assert found["fc.weight"].dtype == getattr(torch, kind)
        assert found["bn1.num_batches_tracked"].dtype == torch.int64
        assert torch.equal(found["fc.weight"], state()["fc.weight"].to(getattr(torch, kind)))
    huge = state() | {"fc.bias": torch.full((6,), 1e6)}
    torch.save(huge, "w.pt")
    run = weights("convert", "w.pt", "net.cnn", "-o", "x.safetensors", "--dtype", "float16")
    assert run.code == 2
    assert "`fc.bias` does not fit into float16" in run.err
    assert not Path("x.safetensors").exists()


def test_counters_that_are_absent_are_zero() -> None:
    kept = {k: v for k, v in state().items() if "num_batches" not in k and "aux" not in k}
    torch.save(kept, "w.pt")
    assert weights("convert", "w.pt", "net.cnn", "-o", "out.safetensors").code == 0
    found = files.read("out.safetensors").tensors
    assert int(found["bn1.num_batches_tracked"]) == 0
    assert not any(key.startswith("aux") for key in found)
    assert weights("check", "out.safetensors", "out.safetensors").code == 0


def test_what_is_not_ours_is_kept() -> None:
    torch.save(state(), "w.pt")
    files.write("out.safetensors", {"mine": torch.ones(1)})
    before = Path("out.safetensors").read_bytes()
    words = ["convert", "w.pt", "net.cnn", "-o"]
    run = weights(*words, "out.safetensors")
    assert (run.code, "--force" in run.err) == (2, True)
    assert Path("out.safetensors").read_bytes() == before
    assert weights(*words, "out.safetensors", "--force").code == 0
    assert weights(*words, "out.safetensors").code == 0  # what we wrote, we replace
    for name, said in [("x.pt", "call it x.safetensors"), ("no/x.safetensors", "no such folder"),
                       (".", "is a directory")]:  # fmt: skip
        run = weights(*words, name)
        assert (run.code, said in run.err) == (2, True), run.err


# --- map ------------------------------------------------------------------------------------


def test_map_then_convert() -> None:
    own = {k.replace("conv1.", "features.0.").replace("bn1.", "features.1."): v
           for k, v in state().items() if "aux" not in k}  # fmt: skip
    torch.save(own, "w.pt")
    run = weights("map", "w.pt", "net.cnn", "-o", "w.map")
    assert (run.code, run.out) == (0, "")
    assert Path("w.map").read_text() == (
        "# cnndsl weights map 1\nfeatures.0 -> conv1\nfeatures.1 -> bn1\n"
    )
    run = weights("convert", "w.pt", "net.cnn", "--map", "w.map", "-o", "out.safetensors")
    assert run.code == 0
    assert "  6 by the map\n" in run.out
    assert "structure" not in run.out
    assert weights("map", "w.pt", "net.cnn", "-o", "w.map").code == 0  # it is ours
    Path("w.map").write_text("mine\n")
    assert weights("map", "w.pt", "net.cnn", "-o", "w.map").code == 2
    run = weights("check", "w.pt", "net.cnn", "--map", "w.map")
    assert run.code == 2
    assert "w.map: line 1: a rule is `OLD -> NEW`, not `mine`" in run.err


def test_map_leaves_open_what_it_cannot_know() -> None:
    Path("net.cnn").write_text(SIDES)
    own = {k.replace("a.c", "x").replace("b.c", "y").replace("fc", "z"): v
           for k, v in state().items()}  # fmt: skip
    torch.save(own, "w.pt")
    run = weights("map", "w.pt", "net.cnn")
    assert run.code == 1
    assert run.out == (
        "# cnndsl weights map 1\nz -> fc\n\n"
        "# side by side and of one shape: look which is which, then take away `#? `\n"
        "#? x -> a.c\n#? y -> b.c\n"
    )
    assert "not clear: a.c, b.c run side by side and are of one shape, as x, y" in run.err
    assert weights("convert", "w.pt", "net.cnn", "-o", "o.safetensors").code == 2
    Path("w.map").write_text(run.out.replace("#? ", ""))
    assert weights("convert", "w.pt", "net.cnn", "--map", "w.map", "-o", "o.safetensors").code == 0


def test_map_of_something_else() -> None:
    torch.save({"a": torch.ones(3)}, "w.pt")
    run = weights("map", "w.pt", "net.cnn", "-o", "w.map")
    assert run.code == 1
    assert "no map: w.pt and Small differ in order or shapes" in run.err
    assert not Path("w.map").exists()


# --- a trained network ----------------------------------------------------------------------


@pytest.mark.parametrize(("number", "name"), list(enumerate(("PNet", "RNet", "ONet"))))
def test_a_trained_face_detector(number: int, name: str) -> None:
    theirs = mtcnn()[number].eval()
    package_file = find_spec("facenet_pytorch").origin  # type: ignore[union-attr]
    file = str(Path(str(package_file)).parent / "data" / f"{name.lower()}.pt")
    text = str(ROOT / "examples" / "mtcnn.cnn")
    run = weights("check", file, text, "--net", name)
    assert (run.code, run.err) == (0, "")
    assert weights("convert", file, text, "--net", name, "-o", "n.safetensors").code == 0
    ours = package.restore("n.safetensors").eval()
    x = torch.randn(2, 3, 24 * number or 13, 24 * number or 13)
    with torch.inference_mode():
        for mine, other in zip(ours(x), theirs(x), strict=True):
            torch.testing.assert_close(mine, other, rtol=0, atol=1e-5)
    other = "RNet" if name != "RNet" else "ONet"
    assert weights("check", file, text, "--net", other).code == 1


# --- files that fail ------------------------------------------------------------------------

WRITES: dict[str, tuple[list[str], str]] = {
    "convert": (["convert", "w.pt", "net.cnn", "-o", "out.safetensors"], "out.safetensors"),
    "map": (["map", "w.pt", "net.cnn", "-o", "w.map"], "w.map"),
}
CALLS = ["open", "fdopen", "chmod", "fsync", "replace", "stat", "fstat"]


class Fails:
    """Lets the first ``k`` calls of anything that it stands for pass, and no further."""

    def __init__(self, k: int) -> None:
        self.left, self.failed = k, False

    def wrap(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **more: Any) -> Any:
            if self.left <= 0:
                self.failed = True
                raise OSError(errno.EIO, "Input/output error")
            self.left -= 1
            return real(*words, **more)

        return call


@pytest.mark.parametrize("old", [True, False], ids=["replacing", "making"])
@pytest.mark.parametrize("name", WRITES)
def test_every_kth_call_fails(name: str, old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every artefact is the old one or the new one, whole; and nothing is left lying about."""
    words, output = WRITES[name]
    torch.save({f"m.{k}": v for k, v in state().items()}, "w.pt")
    assert weights(*words).code == 0
    new = Path(output).read_bytes()
    before = new.replace(b"weights map 1", b"weights map 1 (old)") if name == "map" else new
    if name == "convert":
        files.write(output, {"a": torch.ones(1)}, text="net Old: [3, H, W] = relu\n")
        before = Path(output).read_bytes()
        words = [*words, "--force"]
    known = sorted({p.name for p in Path().iterdir()} - {output})
    outcomes = set()
    for k in range(200):
        Path(output).write_bytes(before) if old else Path(output).unlink(missing_ok=True)
        fails = Fails(k)
        with monkeypatch.context() as patch:
            for call in CALLS:
                patch.setattr(os, call, fails.wrap(getattr(os, call)))
            run = weights(*words, *(["--force"] if name == "map" else []))
        assert "bug" not in run.err, run.err
        held = Path(output).read_bytes() if Path(output).exists() else None
        assert held in ((before if old else None), new)
        assert run.code == 0 or fails.failed
        assert held == new if run.code == 0 else True
        outcomes.add(run.code)
        assert sorted({p.name for p in Path().iterdir()} - {output}) == known
        if not fails.failed:
            break
    else:
        raise AssertionError("it never ends")
    assert outcomes == {0, 2}


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(state(), "w.pt")
    words, output = WRITES["convert"]
    assert weights(*words).code == 0
    before = Path(output).read_bytes()
    monkeypatch.setattr(os, "fsync", Fails(0).wrap(os.fsync))
    run = weights(*words, "--dtype", "float16")
    assert run.code == 2
    assert Path(output).read_bytes() == before


def test_a_link_keeps_pointing() -> None:
    torch.save(state(), "w.pt")
    Path("real").mkdir()
    Path("out.safetensors").symlink_to("real/there.safetensors")
    words, output = WRITES["convert"]
    assert weights(*words).code == 0
    assert Path(output).is_symlink()
    assert Path("real/there.safetensors").is_file()
    shutil.rmtree("real")
    assert weights(*words).code == 2
    assert os.readlink(output) == "real/there.safetensors"


def test_to_stdout_goes_the_file_alone() -> None:
    torch.save(state(), "w.pt")
    words = ["weights", "convert", "w.pt", "net.cnn", "-o", "-"]
    result = CliRunner().invoke(app, words, prog_name="cnndsl")
    assert result.exit_code == 0, result.stderr
    Path("got.safetensors").write_bytes(result.stdout_bytes)
    assert package.load("got.safetensors").nets == ("Small",)
    assert "wrote -" in result.stderr


# --- words of strangers ---------------------------------------------------------------------


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_words_of_strangers(text: str) -> None:
    torch.save(state(), "w.pt")
    Path("hostile.map").write_text(f"{text} -> {text}\nabsent -> x\n", errors="surrogateescape")
    attempts = [
        ["show", text], ["check", text, "net.cnn"], ["check", "w.pt", text],
        ["check", "w.pt", "net.cnn", "--map", text], ["check", "w.pt", "net.cnn", "--reinit", text],
        ["check", "w.pt", "net.cnn", "--map", "hostile.map", "--set", "classes=7"],
        ["convert", "w.pt", "net.cnn", "-o", text], ["map", "w.pt", "net.cnn", "-o", f"no/{text}"],
        ["convert", "w.pt", "net.cnn", "-o", f"{text}/x.safetensors"],
    ]  # fmt: skip
    for words in attempts:
        run = weights(*words)
        assert run.code in (1, 2), words
        assert visible(run.out + run.err), words
    metadata = {"cnndsl.version": "1", "cnndsl.text": text, "cnndsl.net": text}
    Path("w.safetensors").write_bytes(header.encode({}, metadata)[0])
    for command in (["weights", "show"], ["check"], ["compile"], ["summary"]):
        run = cnndsl(*command, "w.safetensors")
        assert visible(run.out + run.err), command
        assert "bug" not in run.err
