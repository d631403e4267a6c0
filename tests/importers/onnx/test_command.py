"""``cnndsl import onnx``: two files or none, and one sentence when it fails."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import cnndsl
from cnndsl.cli import import_files, import_onnx
from cnndsl.importers.base import ImportProblem
from cnndsl.importers.onnx import model as reading
from cnndsl.importers.onnx import outside, read_onnx
from cnndsl.importers.onnx.model import array, read_model
from cnndsl.limits import DEFAULT_LIMITS
from tests.cli.runner import cnndsl as run
from tests.importers.onnx.models import Sketch, exported

NO_UTF8 = "not UTF-8"
DATA = bytes(range(250)) * 2
SHA1 = hashlib.sha1(DATA).hexdigest()
TEXT = "net Tiny: [3, H, W] = a: conv(4, 3) -> bn -> relu -> gap -> flatten -> fc: linear(2)"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(exported(TEXT))
    return path


def test_text_and_weights_are_written(model: Path) -> None:
    text = model.with_suffix(".cnn")
    found = run("import", "onnx", str(model), "-o", str(text))
    assert (found.code, found.err) == (0, "")
    assert "largest difference to onnxruntime" in found.out
    assert run("check", str(text)).code == 0
    alone = cnndsl.load(str(text.with_suffix(".safetensors")))
    assert alone.net().params == cnndsl.loads(TEXT).net().params
    assert sorted(os.listdir(model.parent)) == ["tiny.cnn", "tiny.onnx", "tiny.safetensors"]


def test_without_a_name_the_text_goes_to_stdout(model: Path) -> None:
    found = run("import", "onnx", str(model))
    assert found.code == 0 and cnndsl.loads(found.out).net().ok
    assert found.err.startswith("largest difference to onnxruntime: ")
    assert os.listdir(model.parent) == ["tiny.onnx"]


def test_stdin_and_a_name(model: Path) -> None:
    found = run("import", "onnx", "-", "--name", "Other", stdin=model.read_bytes())
    assert found.code == 0 and cnndsl.loads(found.out).nets == ("Other",)
    with pytest.raises(ImportProblem, match="`a b` cannot name a net"):
        read_onnx(model.read_bytes(), name="a b")


def test_notes_do_not_mix_with_a_text(tmp_path: Path) -> None:
    s = Sketch()
    path = tmp_path / "last.onnx"
    x = s.node("Transpose", "x", perm=[0, 3, 1, 2])
    path.write_bytes(s.bytes(s.node("Relu", x), {"x": ("N", 8, 8, 4)}))
    found = run("import", "onnx", str(path))
    assert found.out == "net Last: [4, 8, 8] = relu\n"
    assert found.err.startswith("note: the input 'x' has its channels first now")


def test_notes_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    import_files.Target(None, None, False).write("text\n", ["\x1b[2J\u202e"])
    assert capsys.readouterr() == ("text\n", "note: \\x1b[2J\\u{202e}\n")


def test_limits_hold(model: Path) -> None:
    found = run("import", "onnx", str(model), "--limit", "nodes=2")
    assert (found.code, found.err) == (2, f"error: {model}: more than 2 nodes\n")


def test_of_a_file_that_is_too_long_nothing_is_read(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_onnx, "PROTOBUF_BYTES", 10)
    name = str(model)
    for word, called, stdin in ((name, name, None), ("-", "<stdin>", model.read_bytes())):
        found = run("import", "onnx", word, stdin=stdin)
        assert (found.code, found.out) == (2, "")
        assert found.err == f"error: {called} has more than 10 bytes, which are all that is read\n"


def test_files_that_exist_stay(model: Path) -> None:
    weights = model.with_suffix(".safetensors")
    weights.write_text("mine")
    found = run("import", "onnx", str(model), "-o", str(model.with_suffix(".cnn")))
    assert found.code == 2 and "--force" in found.err
    assert weights.read_text() == "mine" and not model.with_suffix(".cnn").exists()


def test_one_that_cannot_be_written_leaves_the_other_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, weights = tmp_path / "a.cnn", tmp_path / "a.safetensors"
    replace = os.replace

    def failing(source: str, target: str) -> None:
        if str(target).endswith(".cnn"):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    for before in (None, b"old"):
        if before is not None:
            weights.write_bytes(before)
        with pytest.raises(import_files.Failure, match="no space left"):
            import_files.write_both(str(text), "new", str(weights), b"new", force=True)
        assert (weights.read_bytes() if weights.exists() else None) == before
        assert not text.exists() and len(os.listdir(tmp_path)) == (before is not None)


def test_what_is_refused_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "evil.onnx"
    s = Sketch()
    path.write_bytes(s.bytes(s.node("Softplus", "x", name="\x1b[2Jact\u202e")))
    found = run("import", "onnx", str(path), "-o", str(tmp_path / "net.cnn"))
    assert found.code == 2 and "Softplus" in found.err and found.err.count("\n") == 1
    assert "\x1b" not in found.err and "\u202e" not in found.err
    assert os.listdir(tmp_path) == ["evil.onnx"]


@pytest.mark.parametrize("data", [b"", b"hello", b"\x08\x08", exported(TEXT)[:-300]])
def test_what_is_no_model_is_told(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(data)
    found = run("import", "onnx", str(path))
    assert found.code == 2 and found.err.startswith("error: ") and not found.out


def test_weights_in_files_beside_the_model(model: Path, tmp_path: Path) -> None:
    """As PyTorch's exporter lays them down; but from stdin nobody knows where they are."""
    import onnx

    inside = tmp_path / "inside"
    inside.mkdir()
    path = inside / "tiny.onnx"
    onnx.save(
        onnx.load(model), path, save_as_external_data=True, location="tiny.data", size_threshold=0
    )
    whole, parts = (run("import", "onnx", str(p)) for p in (model, path))
    assert parts.code == 0 and parts.out == whole.out and cnndsl.loads(parts.out).net().ok
    alone = run("import", "onnx", "-", stdin=path.read_bytes())
    assert alone.code == 2 and "is kept in another file, which is not opened" in alone.err
    (inside / "tiny.data").unlink()
    lost = run("import", "onnx", str(path))
    assert lost.code == 2 and lost.err.endswith(": 'tiny.data' is not there\n")


def test_files_that_cannot_be_read(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("onnx.external_data_helper.load_external_data_for_tensor", failing)
    data = _parted(model, {"location": model.name}).SerializeToString()
    with pytest.raises(ImportProblem, match="Permission denied"):
        read_model(data, DEFAULT_LIMITS, tmp_path)


def test_without_a_folder_no_file_is_opened(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even by the runtime, which would look for it where the command was given."""
    monkeypatch.chdir(model.parent)
    Path("data").write_bytes(DATA)
    with pytest.raises(ImportProblem, match="which is not opened"):
        read_model(_parted(model, {"location": "data"}).SerializeToString(), DEFAULT_LIMITS)


def test_what_was_read_is_no_longer_in_another_file(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With onnx before 1.23 too, which fills in the bytes and leaves it at that."""

    def fill(tensor: Any, folder: str) -> None:
        tensor.raw_data = (Path(folder) / "data").read_bytes()[:432]

    monkeypatch.setattr("onnx.external_data_helper.load_external_data_for_tensor", fill)
    (tmp_path / "data").write_bytes(DATA)
    proto = _parted(model, {"location": "data"})
    _, kept = read_model(proto.SerializeToString(), DEFAULT_LIMITS, tmp_path)
    assert not any(map(outside.is_outside, kept.graph.initializer))


LIES = {
    "outside": {"location": "../secret"},
    "absolute": {"location": "/etc/passwd"},
    "by a link": {"location": "link"},
    "by a link of a folder": {"location": "up/secret"},
    "the folder": {"location": "."},
    "a folder": {"location": "folder"},
    "a pipe": {"location": "pipe"},
    "nothing": {"location": "nothing"},
    "no name": {},
    "an unreadable name": {"location": "a\nb"},
    "a name of other bytes": {"location": NO_UTF8},
    "a name that is too long": {"location": "é" * 300},
    "too short": {"location": "data", "offset": "400"},
    "a negative offset": {"location": "data", "offset": "-1"},
    "a long offset": {"location": "data", "offset": "9" * 5_000},
    "another length": {"location": "data", "length": "8"},
    "no length": {"location": "data", "length": "x"},
    "a key that nobody knows": {"location": "data", "basepath": "/"},
    "a key twice": {"location": "data", "location ": "data"},
    "another checksum": {"location": "data", "checksum": "0" * 40},
    "no checksum": {"location": "data", "checksum": ""},
}


@pytest.mark.parametrize("lie", LIES)
def test_other_files_are_not_opened(lie: str, model: Path, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret").write_bytes(bytes(1000))
    (inside / "data").write_bytes(bytes(500))
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "up").symlink_to(tmp_path)
    (inside / "folder").mkdir()
    (inside / "a\nb").mkdir()
    os.mkfifo(inside / "pipe")
    data = _parted(model, LIES[lie]).SerializeToString()
    data = data.replace(NO_UTF8.encode(), b"\xff" * len(NO_UTF8))
    (inside / "x.onnx").write_bytes(data)
    found = run("import", "onnx", str(inside / "x.onnx"), "-o", str(inside / "x.cnn"))
    assert found.code == 2 and "is kept in another file" in found.err
    assert found.err.count("\n") == 1 and not (inside / "x.cnn").exists()


@pytest.mark.parametrize("told", [{}, {"offset": "8"}, {"length": "432", "checksum": SHA1}])
def test_of_a_longer_file_the_tensors_part_is_read(
    told: dict[str, str], model: Path, tmp_path: Path
) -> None:
    proto = _parted(model, {"location": "data", **told})
    (tmp_path / "data").write_bytes(DATA)
    found, _ = read_model(proto.SerializeToString(), DEFAULT_LIMITS, tmp_path)
    start = int(told.get("offset", 0))
    tensor = found.constants[proto.graph.initializer[0].name]
    assert array(tensor).tobytes() == DATA[start : start + 432]


def test_a_file_of_another_checksum_is_named_and_summed_up_once(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums = [hashlib.sha1(), hashlib.sha1()]
    monkeypatch.setattr(outside, "_sha1", sums.pop)
    proto = _parted(model, {"location": "data", "checksum": SHA1.upper()})
    second = proto.graph.initializer[1]
    second.ClearField("raw_data")
    second.data_location = proto.graph.initializer[0].data_location
    second.external_data.add(key="location", value="./data")
    second.external_data.add(key="checksum", value=SHA1)
    (tmp_path / "data").write_bytes(DATA)
    read_model(proto.SerializeToString(), DEFAULT_LIMITS, tmp_path)
    assert len(sums) == 1
    (tmp_path / "data").write_bytes(DATA[:-1] + b"x")
    with pytest.raises(ImportProblem, match="the SHA-1 of 'data' is not its checksum"):
        read_model(proto.SerializeToString(), DEFAULT_LIMITS, tmp_path)


def test_other_files_count_as_bytes_of_the_model(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = _parted(model, {"location": "data"}).SerializeToString()
    (tmp_path / "data").write_bytes(bytes(500))
    monkeypatch.setattr(reading, "PROTOBUF_BYTES", len(data) + 432)
    read_model(data, DEFAULT_LIMITS, tmp_path)
    monkeypatch.setattr(reading, "PROTOBUF_BYTES", len(data) + 431)
    with pytest.raises(ImportProblem, match="bytes with its other files"):
        read_model(data, DEFAULT_LIMITS, tmp_path)


def test_of_a_kind_that_nobody_knows_nothing_is_opened(model: Path, tmp_path: Path) -> None:
    proto = _parted(model, {"location": "nothing"})
    proto.graph.initializer[0].data_type = 0
    with pytest.raises(ImportProblem, match="a kind that is not read"):
        read_model(proto.SerializeToString(), DEFAULT_LIMITS, tmp_path)


def _parted(model: Path, told: Mapping[str, str]) -> Any:
    """A model whose first weights, of 432 bytes, are kept where ``told`` says."""
    import onnx

    proto = onnx.load(model)
    tensor = proto.graph.initializer[0]
    assert len(tensor.raw_data) == 432
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in told.items():
        tensor.external_data.add(key=key.strip(), value=value)
    return proto
