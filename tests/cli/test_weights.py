"""``weights show|check|convert|map``, and ``compile --weights``: what a person reads."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import cnndsl as package
from cnndsl.checkpoints import files, header
from cnndsl.cli import app
from cnndsl.files import sealed
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


def test_weights_of_a_net_with_other_steps() -> None:
    """Names and shapes would not tell: the numbers mean something else under another stride."""
    net = package.load("net.cnn").net()
    net.save("w.safetensors", net.compile(optimize=0))
    Path("other.cnn").write_text(NET.replace("stride=2", "stride=1"))
    Path("same.cnn").write_text(f"# a remark\n{NET}")
    note = (
        "note: w.safetensors was written for a net with other steps: "
        "`conv(4, 3, stride=2, bias=no)` there, `conv(4, 3, bias=no)` here\n"
    )
    for words in (
        ["weights", "check", "w.safetensors", "{}"],
        ["weights", "convert", "w.safetensors", "{}", "-o", "out.safetensors", "--force"],
        ["compile", "{}", "--weights", "w.safetensors", "--at", "H=9,W=9"],
    ):
        told = [cnndsl(*(w.format(name) for w in words)) for name in ("other.cnn", "same.cnn")]
        assert [run.code for run in told] == [0, 0]
        assert note in told[0].out and "note: " not in told[1].out
    run = cnndsl("compile", "w.safetensors", "--at", "H=9,W=9")
    assert run.code == 0 and "note: " not in run.out
    fewer = ["weights", "check", "w.safetensors", "net.cnn", "--set", "classes=4"]
    run = cnndsl(*fewer, "--reinit", "fc")
    assert run.code == 0 and "note: " not in run.out, "fc takes nothing from the file"
    old = Path("w.safetensors").read_bytes()
    head, _ = header.encode(files.inspect("w.safetensors").specs, {"cnndsl.text": "net"})
    Path("w.safetensors").write_bytes(head + old[8 + int.from_bytes(old[:8], "little") :])
    run = weights("check", "w.safetensors", "other.cnn")
    assert (run.code, run.err) == (0, ""), "its text is damaged, its numbers are not"


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
        assert weights(*words, "--reinit", "fc", "--seed", seed, "--force").code == 0
        drawn.append(files.read("out.safetensors").tensors)
    assert torch.equal(drawn[0]["fc.weight"], drawn[1]["fc.weight"])
    assert not torch.equal(drawn[0]["fc.weight"], drawn[2]["fc.weight"])
    trained = state(classes=1000)
    assert all(torch.equal(drawn[2][k], trained[k]) for k in trained if not k.startswith("fc"))
    run = weights(*words, "--reinit", "cf", "--force")
    assert run.code == 2
    assert run.err.startswith("error: --reinit: the network has no module `cf`")


def test_convert_to_another_kind_of_number() -> None:
    torch.save(state(), "w.pt")
    for kind in ("float16", "bfloat16", "float64"):
        words = ["convert", "w.pt", "net.cnn", "-o", "out.safetensors", "--dtype", kind]
        assert weights(*words, "--force").code == 0
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


def test_weights_that_are_there_are_kept() -> None:
    """Ours may have been trained for a week: they are kept too."""
    torch.save(state(), "w.pt")
    net = package.load("net.cnn").net()
    net.save("ours.safetensors", net.compile(optimize=0))
    files.write("theirs.safetensors", {"mine": torch.ones(1)})
    words = ["convert", "w.pt", "net.cnn", "-o"]
    for name in ("ours.safetensors", "theirs.safetensors"):
        before = Path(name).read_bytes()
        run = weights(*words, name)
        assert (run.code, run.err) == (2, f"error: {name} exists already: --force replaces it\n")
        assert Path(name).read_bytes() == before
        assert weights(*words, name, "--force").code == 0
        assert Path(name).read_bytes() != before
    for name, said in [("x.pt", "call it x.safetensors"), ("no/x.safetensors", "no such folder"),
                       (".", "give it a name, such as net.safetensors")]:  # fmt: skip
        run = weights(*words, name)
        assert (run.code, said in run.err) == (2, True), run.err


# --- map ------------------------------------------------------------------------------------


def test_map_then_convert() -> None:
    own = {k.replace("conv1.", "features.0.").replace("bn1.", "features.1."): v
           for k, v in state().items() if "aux" not in k}  # fmt: skip
    torch.save(own, "w.pt")
    run = weights("map", "w.pt", "net.cnn", "-o", "w.map")
    assert (run.code, run.out) == (0, "")
    text = Path("w.map").read_text()
    assert text == sealed("# cnndsl weights map 1\nfeatures.0 -> conv1\nfeatures.1 -> bn1\n")
    run = weights("convert", "w.pt", "net.cnn", "--map", "w.map", "-o", "out.safetensors")
    assert run.code == 0
    assert "  6 by the map\n" in run.out
    known = weights("map", "w.pt", "net.cnn", "--map", "w.map")
    assert known.out == text, "what is known is kept, as the new map may take the old one's place"
    assert "structure" not in run.out
    assert weights("map", "w.pt", "net.cnn", "-o", "w.map").code == 0  # it is ours
    Path("w.map").write_text(text.replace("bn1", "bn2"))
    run = weights("map", "w.pt", "net.cnn", "-o", "w.map")
    assert run.code == 2, "what a person decided in it is kept"
    assert run.err == "error: w.map exists and is not as cnndsl wrote it: --force replaces it\n"
    assert weights("map", "w.pt", "net.cnn", "-o", "w.map", "--force").code == 0
    assert Path("w.map").read_text() == text
    run = weights("map", "w.pt", "net.cnn", "-o", "net.cnn", "--force")
    assert (run.code, run.err) == (2, "error: -o writes a map: call it net.map\n")
    Path("w.map").write_text("mine\n")
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
    assert run.out == sealed(
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


# --- stdout ---------------------------------------------------------------------------------


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
