"""Operators of another package in a text, from `check` to the optimised module."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.ops.packages import install_example, python


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Everything that one process saw; a second package beside the good one is broken."""
    folder = tmp_path_factory.mktemp("packages")
    broken = "raise RuntimeError('no \\x1b[31mGPU')"
    install_example(folder, {"broken": "broken_ops"}, broken_ops=broken)
    code = f"import os; os.chdir({str(folder)!r}); from tests.ops.plugin_use import main; main()"
    run = python(folder, code)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)  # type: ignore[no-any-return]


def _output(seen: dict[str, Any], command: str, code: int = 0) -> str:
    """What it wrote; the report of a text goes to the second stream."""
    got, out, err = seen["commands"][command]
    assert got == code, (out, err)
    return str(out or err)


# --- a right text ---------------------------------------------------------------------------

PARAMETERS = 3 * 9 * 8 + 2 * 8 + 16 * 33 + 1 + 10 * 17


def test_check_says_what_follows(seen: dict[str, Any]) -> None:
    line = _output(seen, "check right.cnn")
    assert f"valid for H, W >= 2 · output [10] · stride 2 · {PARAMETERS} parameters" in line


def test_facts_without_a_module(seen: dict[str, Any]) -> None:
    facts = seen["facts"]
    assert facts["params"] == PARAMETERS
    assert facts["macs"] == 32 * 32 * 3 * 9 * 8 + 16 * 16 * 32 * 16 + 160
    assert facts["min"] == {"H": 2, "W": 2}
    assert facts["shapes"] == {"out": [10]}
    assert facts["reads back"]


def test_the_summary_counts_them(seen: dict[str, Any]) -> None:
    table = _output(seen, "summary right.cnn")
    rows = {row.split()[0]: row.split() for row in table.splitlines() if "[" in row}
    assert rows["2"][1:5] == ["square(factor=0.5)", "[8,", "224,", "224]"]
    assert rows["t"][1:5] == ["tiles(2)", "[32,", "112,", "112]"]
    assert rows["pool"][1:6] == ["gem", "[16,", "1,", "1]", "1"]  # one parameter


def test_explicit_text_has_their_defaults(seen: dict[str, Any]) -> None:
    change = _output(seen, "fmt right.cnn --explicit --diff", 1)
    assert "tiles(2, most=256)" in change and "gem(p=3.0)" in change


def test_names_and_shapes_of_the_state(seen: dict[str, Any]) -> None:
    state = seen["modules"]["state"]
    assert set(state) == {
        "stem.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var",
        "bn.num_batches_tracked", "mix.weight", "mix.bias", "pool", "fc.weight", "fc.bias",
    }  # fmt: skip
    assert state["mix.weight"] == [16, 32, 1, 1] and state["pool"] == [1]
    assert seen["modules"]["start"] == [3.0]


def test_plain_and_optimised_modules_compute_the_definition(seen: dict[str, Any]) -> None:
    found = seen["modules"]
    assert found["size"] > 0.1
    assert max(found["errors"]) < 1e-4 * found["size"]
    assert found["rewrites"]["fold-affine"] == 1  # rewrites go on around a stranger
    assert found["gradient"]


def test_they_are_listed(seen: dict[str, Any]) -> None:
    listing = _output(seen, "ops").partition("From cnndsl_test_ops\n")[2]
    assert [line.split()[0] for line in listing.splitlines()] == ["gem", "square", "tiles"]
    assert _output(seen, "ops gem").startswith("gem(p=3.0)\n")


# --- a wrong one ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "place", "words"),
    [
        ("E0402", (3, 12), "8 * 16^2 = 2048 channels, most=256"),
        ("E0306", (4, 26), "`size` needs a whole number, got 5/2"),
        ("E0301", (5, 24), "`gem` has no parameter `power`"),
        ("E0201", (5, 36), "unknown layer `squre`, did you mean `square`?"),
        ("E0405", (6, 15), "`gem` needs a feature map [C, H, W], got a vector [12]"),
        ("E0201", (7, 33), "unknown layer `half`"),
        ("E0303", (8, 24), "`p` is above 0, got -1.0"),
        ("E0403", (9, 20), "`tiles` leaves no height: floor((1 + 2*0 - 1*(2-1) - 1)/2) + 1 = 0"),
    ],
)
def test_mistakes_are_reported_at_their_place(
    seen: dict[str, Any], code: str, place: tuple[int, int], words: str
) -> None:
    document = json.loads(_output(seen, "check wrong.cnn --json", 1))
    found = {}
    for problem in document["diagnostics"]:
        start = problem["labels"][0]["span"]["start"]
        found[problem["code"], (start["line"], start["column"])] = problem["message"]
    assert len(found) == document["errors"] == 8
    assert found[code, place] == words


def test_a_broken_package_is_told_where_a_layer_is_unknown(seen: dict[str, Any]) -> None:
    report = _output(seen, "check wrong.cnn", 1)
    assert report.count("operators of `broken` (broken_ops) are not available") == 1
    after = report.partition("unknown layer `half`")[2].partition("error[")[0]
    assert "\n   = operators of `broken` (broken_ops) are not available:" in after
    assert "RuntimeError: no" in after and "\x1b" not in report


def test_doctor_names_it(seen: dict[str, Any]) -> None:
    report = _output(seen, "doctor", 1)
    assert "3 from plug-ins\nplug-ins  broken (broken_ops), square (cnndsl_test_ops)\n" in report
    assert "problem   operators of `broken` (broken_ops) are not available: RuntimeError" in report
