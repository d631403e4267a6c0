"""Emitted text: hostile names, the fence, stable bytes, the command."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import cnndsl
from cnndsl.exporters.python import MARK, Unsupported, export_python, module
from cnndsl.exporters.python.allowed import NotAllowed, check
from cnndsl.exporters.python.docs import docstring
from cnndsl.exporters.python.names import class_name, identifier, literal
from tests.cli.runner import cnndsl as run
from tests.exporters.python.emitted import drawn, fill, made_from, run_file, same_numbers

ROOT = Path(__file__).parents[3]
TINY = "net Tiny: [3, H, W] = conv1: conv(4, 3) -> bn1: bn -> relu -> gap -> flatten -> linear(2)"

# Labels, parameters, inputs, outputs, blocks and nets called what Python, PyTorch or the
# emitted text call something.
NAMES = ["F", "nn", "Tensor", "x", "lambda", "range", "Draw", "fold", "draw", "super", "None_",
         "print", "exec", "in_channels", "class", "str", "torch", "layer", "i", "match", "_", "l",
         "items", "append", "keys", "NamedTuple", "isinstance", "pop"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_that_mean_something_elsewhere(name: str) -> None:
    for text in (
        f"net N: [3, H, W] = {name}: conv(4, 3) -> n: ({name}: (bn -> relu -> conv(4, 1)) + id)",
        f"net N: [3, H, W] {name}, [3, H, W] b = {name} -> relu, b -> c: conv(2, 1)",
        f"block {name}(c) = conv(c, 1) -> bn\nnet N: [3, H, W] = a: {name}(4) -> {name}(2)",
        f"block B({name}) = k: conv({name}, 1) -> slice(0, {name}/2)\n"
        "net N: [3, H, W] = a: B(4) -> B(8)",
        f"net N: [3, H, W] = relu -> emit {name}: conv(2, 1) -> emit[train] z: conv(2, 1)",
        f"net {name}: [3, H, W] = droppath(0.1, mode=network) -> {name}2: conv(4, 3)",
    ):
        net = cnndsl.loads(text).net()
        if "emit" in text and name in ("lambda", "class", "_"):
            assert not net.ok  # no field of a tuple can have such a name
        else:
            same_numbers(net)


COLLISIONS = {
    "a parameter like a block": "block K(c) = conv(c, 1) -> bn\n"
    "block B(K2, k) = a: K(K2) -> b: (K(k) -> relu + id)\n"
    "block C(K) = a: B(K, K) -> b: B(K, K)\nnet N: [4, H, W] = C(4) -> C(4)",
    "a parameter like another's class": "block K(c) = conv(c, 1) -> (bn + id)\n"
    "block B(K, c) = x: conv(K, 1) -> y: LIKE(c)\ndef LIKE(c) = z: Zed(c)\n"
    "block Zed(c) = conv(c, 1) -> (relu + id)\nnet N: [4, H, W] = B(4, 6) -> B(5, 7) -> K(3)",
    "the type of the outputs": "net N: [3, H, W] NOutput, [3, H, W] b = NOutput -> relu, b",
    "a label like that type": "net N: [3, H, W] = (NOutput: (conv(2, 1)) | b: (relu) | id), in",
    "the constants": "block FOLDED(c) = conv(c, 1) -> bn\n"
    "block HEADS = FOLDED(2) -> (FOLDED(2) + id)\nnet N: [3, H, W] = FOLDED(3) -> HEADS",
    "attributes that are kept": "block B(in_channels, training, append) = 0: conv(append, 1)\n"
    " -> slice(in_channels, training)\nnet N: [3, H, W] = B(1, 3, 4) -> B(2, 4, 5)",
    "a child like a parameter": "block B(c, d) = c: conv(d, 1) -> slice(0, c)\n"
    "net N: [3, H, W] = B(2, 4) -> B(3, 7)",
    "modules for noise": "block B(c) = drop_path: conv(c, 1) -> droppath(0.2) -> droppath(0.1)\n"
    " -> slice(0, c/2)\nnet N: [3, H, W] = draw: B(4) -> droppath(0.1, mode=network) -> B(6)",
}  # fmt: skip


@pytest.mark.parametrize("name", COLLISIONS)
def test_names_that_meet(name: str) -> None:
    same_numbers(cnndsl.loads(COLLISIONS[name]).net())


HOSTILE = ['"""\nimport os', "\r\nos.system('x')", "a\\", "x" * 5000, "é\u202eß", "'; import os #"]


@pytest.mark.parametrize("words", HOSTILE)
def test_words_of_the_text_stay_words(words: str) -> None:
    for lines in (docstring([words]), docstring([words, words], 0)):
        body = "\n".join(line[4:] if line.startswith("    ") else line for line in lines)
        (statement,) = ast.parse(body).body
        assert isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        assert body.isascii() and max(map(len, body.split("\n"))) <= 5000
    assert ast.literal_eval(literal(words)) == words
    for name in (identifier(words), class_name(words)):
        assert name.isidentifier() and name.isascii()


def test_comments_and_docstrings_come_along() -> None:
    text = """# Not this.

# Doubles \\ \"\"\" it, é.
block B(c) = conv(c, 1) -> conv(c, 3) -> (id + relu)
net N: [3, H, W] = "What it is." b: B(4) -> B(8)
"""
    found = export_python(cnndsl.loads(text).net())
    assert "\"\"\"Doubles / ''' it, ?." in found and '"""What it is.' in found
    assert "Not this" not in found


BAD = [
    "import os",
    "from torch import load",
    "x = torch.load('a')",
    "class A(nn.Module):\n    y = eval('1')",
    "class A(nn.Module):\n    def f(self):\n        return self.__class__",
    "class A(nn.Module):\n    def f(self):\n        return torch.hub",
    "class A(nn.Module):\n    def f(self):\n        return open('a')",
    "def f(a):\n    return later\n\n\ndef g(later):\n    return later",
    "def f():\n    global a",
    "@f\ndef f():\n    return 1",
    "print('x')",
    "lambda: 0",
]


@pytest.mark.parametrize("code", BAD)
def test_the_fence(code: str) -> None:
    with pytest.raises(NotAllowed):
        check(code)


def test_nothing_gets_past_the_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.ClassWriter, "write", lambda _: ["import os"])
    with pytest.raises(NotAllowed, match="import os"):
        export_python(cnndsl.loads(TINY).net())


def test_a_search_space_is_no_network() -> None:
    with pytest.raises(cnndsl.CnnError, match="leaves choices open"):
        export_python(cnndsl.loads("net N: [3, H, W] = oneof(relu, tanh)").net())


def test_the_same_bytes_under_every_hash_seed() -> None:
    program = (
        "import cnndsl, hashlib\nfrom cnndsl.exporters.python import export_python as e\n"
        "h = hashlib.sha256()\n"
        "for f in ('fractalnet', 'shufflenet_v2'):\n"
        "    p = cnndsl.load(f'examples/{f}.cnn')\n"
        "    for n in p.nets[:1]: h.update((e(p.net(n)) + e(p.net(n), fold=True)).encode())\n"
        "print(h.hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1", "99")
    }  # fmt: skip
    assert len(found) == 1


# --- the inference form -------------------------------------------------------------------------

FOLDED = {
    "vgg": ("net N: [3, 8, 8] = f: (conv(4, 3) -> bn -> relu -> maxpool(2)) -> flatten"
            " -> linear(4, bias=no) -> bn -> linear(2)", 0),
    "bias and affine": ("net N: [3, H, W] = conv(4, 3, bias=yes) -> bn(affine=no, eps=0.01)"
                        " -> relu -> conv(6, 3, groups=2) -> bn", 0),
    "read twice": ("net N: [3, H, W] = conv(4, 3) @t -> bn -> (id + t)", 1),
    "shared": ("net N: [3, H, W] = a: (conv(3, 3) -> bn) -> again a", 1),
    "returned": ("net N: [3, H, W] = let t = conv(4, 3) t, t -> bn", 1),
    "head": ("net N: [3, H, W] = conv(4, 3) -> bn -> emit[train] aux: (conv(2, 1) -> bn) -> relu"
             " -> emit mid: conv(2, 1)", 0),
    "residual": ("block B(c, s) = (conv(c, 3, stride=s) -> bn -> relu -> conv(c, 3) -> bn"
                 " + d: if s > 1 then (conv(c, 1, stride=s) -> bn)) -> relu\n"
                 "net N: [3, H, W] = stem: conv(4, 3) -> B(4, 1) -> B(8, 2) -> B(8, 1)", 0),
    "norm first": ("net N: [4, H, W] = bn -> relu -> conv_transpose(4, 2, stride=2) -> bn", 2),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDED)
def test_folded(name: str) -> None:
    """Equal within rounding, with a ``state_dict`` of the plain network; ``left``: norms kept."""
    text, left = FOLDED[name]
    net = cnndsl.loads(text).net()
    source = export_python(net, fold=True)
    assert source.count("nn.BatchNorm") == left, source
    torch.manual_seed(1)
    plain = net.compile(optimize=0).double()
    fill(plain)
    space = run_file(source)
    module = made_from(source, net).double().eval()
    before = {key: value.clone() for key, value in plain.state_dict().items()}
    module.load_state_dict(space["fold"](plain.state_dict()))
    inputs = drawn(net)
    with torch.no_grad():
        expected, found = plain.eval()(*inputs), module(*inputs)
    expected = [expected] if torch.is_tensor(expected) else [y for y in expected if y is not None]
    found = [found] if torch.is_tensor(found) else list(found)
    for one, two in zip(expected, found, strict=True):
        assert one.abs().max() > 1e-3
        torch.testing.assert_close(two, one, rtol=1e-9, atol=1e-11)
    assert all(torch.equal(value, before[key]) for key, value in plain.state_dict().items())


# --- the command --------------------------------------------------------------------------------


def test_the_command(tmp_path: Path) -> None:
    source, target = tmp_path / "tiny.cnn", tmp_path / "net.py"
    source.write_text(TINY)
    found = run("export", "python", str(source))
    assert found.code == 0 and MARK in found.out and "class Tiny(nn.Module):" in found.out
    assert run("export", "python", str(source), "-o", str(target)).code == 0
    assert target.read_text() == found.out
    again = run("export", "python", str(source), "-o", str(target), "--folded")
    assert again.code == 0 and "def fold(" in target.read_text()
    target.write_text("print('mine')\n")
    refused = run("export", "python", str(source), "-o", str(target))
    assert refused.code == 2 and "--force" in refused.err
    assert target.read_text() == "print('mine')\n"
    assert run("export", "python", str(source), "-o", str(target), "--force").code == 0
    assert target.read_text() == found.out


def test_what_the_command_refuses(tmp_path: Path) -> None:
    wrong, search = tmp_path / "wrong.cnn", tmp_path / "space.cnn"
    wrong.write_text("net N: [3, H, W] = conv(4)")
    search.write_text("net N: [3, H, W] = oneof(relu, tanh)")
    target = tmp_path / "net.py"
    for source, code in ((wrong, 1), (search, 1), (tmp_path / "none.cnn", 2)):
        found = run("export", "python", str(source), "-o", str(target))
        assert found.code == code and "Traceback" not in found.err and not target.exists()
    assert run("export", "python", str(search), "--choose", "0=1").code in (0, 2)
    (tmp_path / "tiny.cnn").write_text(TINY)
    tiny = str(tmp_path / "tiny.cnn")
    over = run("export", "python", tiny, "-o", tiny, "--force")
    assert over.code == 2 and "call it " in over.err, "the text is not written over"
    assert (tmp_path / "tiny.cnn").read_text() == TINY
    nowhere = run("export", "python", str(tmp_path / "tiny.cnn"), "-o", str(tmp_path / "a" / "b"))
    assert nowhere.code == 2 and len(nowhere.err.splitlines()) == 1


def test_an_operator_of_a_plug_in_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from cnndsl.exporters.python import layers

    monkeypatch.delitem(layers._PLAIN, "relu")
    with pytest.raises(Unsupported, match=r"`relu` at 2"):
        export_python(cnndsl.loads(TINY).net())
