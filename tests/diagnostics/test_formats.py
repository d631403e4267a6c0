"""Diagnostics for programs: json, github, sarif."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import cnndsl
from cnndsl.diagnostics import Diagnostic, Edit, Fix, Label
from cnndsl.diagnostics.as_json import to_json
from cnndsl.diagnostics.github import render_github
from cnndsl.diagnostics.sarif import to_sarif
from cnndsl.source import Source, Span
from tests.diagnostics.places import at

SOURCE = Source("nets/a b.cnn", "# 🎉 é\nnet A: [3, H, W] =\n  cnov(8, 3)\n")
UNIT = Source("unit.cnn", "def Unit(c) = id\n")
FULL = Diagnostic(
    "E0201",
    "unknown layer `cnov`, did you mean `conv`?",
    (
        Label(at(SOURCE, "cnov"), "here"),
        Label(at(UNIT, "Unit"), ""),
        Label(at(SOURCE, "A"), "in {A}"),
    ),
    notes=("a note",),
    help="some help",
    fixes=(
        Fix(
            "write `conv`", (Edit(at(SOURCE, "cnov"), "conv"), Edit(Span(UNIT, 0, 0), "#\n")), True
        ),
        Fix("nothing", ()),
    ),
    path="layer1.0",
    trace=("expanded from line 2",),
    instances=3,
)
WARNING = Diagnostic(
    "W0201",
    "`c` is never used",
    (
        Label(
            at(UNIT, "c"),
        ),
    ),
    severity="warning",
)
NOWHERE = Diagnostic("E0209", "no net `X`")
SAMPLES = [[], [FULL], [FULL, WARNING, NOWHERE]]


def schema() -> Any:
    path = Path(cnndsl.__file__).parent / "schemas" / "diagnostics-1.json"
    return json.loads(path.read_text(encoding="utf-8"))


def valid(document: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(schema()).is_valid(document))


# --- json -----------------------------------------------------------------------------------


def test_the_shipped_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("found", SAMPLES)
def test_json_follows_its_schema(found: list[Diagnostic]) -> None:
    assert valid(json.loads(json.dumps(to_json(found))))


def test_the_schema_refuses_what_is_not_ours() -> None:
    for spoil in (
        lambda d: d.update(schema="cnndsl.diagnostics/2"),
        lambda d: d["diagnostics"][0].update(code="boom"),
        lambda d: d["diagnostics"][0].pop("labels"),
        lambda d: d["diagnostics"][0]["labels"][0]["span"]["start"].update(line=0),
        lambda d: d["diagnostics"][0]["fixes"][0]["edits"][0].pop("text"),
    ):
        document = to_json([FULL])
        spoil(document)
        assert not valid(document)


def test_json_says_everything() -> None:
    document = to_json([FULL, WARNING])
    assert (document["schema"], document["errors"], document["warnings"]) == (
        "cnndsl.diagnostics/1", 1, 1,
    )  # fmt: skip
    first = document["diagnostics"][0]
    kept = ("code", "severity", "notes", "help", "path", "trace", "instances")
    assert {key: first[key] for key in kept} == {
        "code": "E0201", "severity": "error", "notes": ["a note"], "help": "some help",
        "path": "layer1.0", "trace": ["expanded from line 2"], "instances": 3,
    }  # fmt: skip
    span = {
        "file": "nets/a b.cnn",
        "start": {"line": 3, "column": 3, "offset": 27},
        "end": {"line": 3, "column": 7, "offset": 31},
    }
    assert first["labels"][0] == {"primary": True, "text": "here", "span": span}
    assert [label["primary"] for label in first["labels"]] == [True, False, False]
    assert first["fixes"][0]["edits"][0] == {"span": span, "text": "conv"}
    assert first["fixes"][0]["checked"] is True
    text = SOURCE.text[span["start"]["offset"] : span["end"]["offset"]]  # type: ignore[index]
    assert text == "cnov"


# --- github ---------------------------------------------------------------------------------


def test_github_commands() -> None:
    assert render_github([FULL, WARNING, NOWHERE]).splitlines() == [
        "::error file=nets/a b.cnn,line=3,endLine=3,col=3,endColumn=7,title=E0201::"
        "unknown layer `cnov`, did you mean `conv`?%0A= a note%0Ahelp: some help"
        "%0Ahelp: write `conv`%0Ahelp: nothing",
        "::warning file=unit.cnn,line=1,endLine=1,col=10,endColumn=11,title=W0201::"
        "`c` is never used",
        "::error title=E0209::no net `X`",
    ]


def test_github_columns_only_within_a_line() -> None:
    whole = Diagnostic("E0401", "no", (Label(Span(SOURCE, 0, 12)),))
    assert render_github([whole]) == "::error file=nets/a b.cnn,line=1,endLine=2,title=E0401::no"


def test_github_cannot_be_given_another_command() -> None:
    evil = "x\n::set-output name=a::b\r%0A::error::,c:\x1b[2J\u202e"
    source = Source(evil, "net")
    found = Diagnostic(
        evil, evil, (Label(Span(source, 0, 3), evil),), (evil,), evil, (Fix(evil, ()),)
    )
    (line,) = render_github([found]).splitlines()
    head, _, _ = line.removeprefix("::error ").partition("::")
    assert head.count(",") == 5 and head.isprintable() and line.isprintable()
    assert (
        "%250A" in head
        and "%250A" in line.removeprefix(head)
        and not re.search(r"%(?!25|0A|3A|2C)", line)
    )


# --- sarif ----------------------------------------------------------------------------------


def run_of(found: list[Diagnostic]) -> Any:
    log = json.loads(json.dumps(to_sarif(found, "0.1.0")))
    assert log["version"] == "2.1.0" and len(log["runs"]) == 1
    return log["runs"][0]


def test_sarif_results() -> None:
    run = run_of([FULL, WARNING, NOWHERE])
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == ["E0201", "E0209", "W0201"] and run["columnKind"] == "unicodeCodePoints"
    assert run["tool"]["driver"]["rules"][0]["shortDescription"]["text"] == "an unknown name"
    full, warning, nowhere = run["results"]
    assert [rules[r["ruleIndex"]] for r in run["results"]] == ["E0201", "W0201", "E0209"]
    assert (full["level"], warning["level"], full["occurrenceCount"]) == ("error", "warning", 3)
    (location,) = full["locations"]
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": "nets/a%20b.cnn"},
        "region": {
            "startLine": 3, "startColumn": 3, "endLine": 3, "endColumn": 7,
            "charOffset": 27, "charLength": 4,
        },
    }  # fmt: skip
    assert location["logicalLocations"] == [{"fullyQualifiedName": "layer1.0"}]
    assert [r["id"] for r in full["relatedLocations"]] == [1, 2]
    assert full["relatedLocations"][1]["message"]["text"] == "in {{A}}"
    assert "locations" not in nowhere and "fixes" not in warning


def test_sarif_fixes() -> None:
    (fix,) = run_of([FULL])["results"][0]["fixes"]  # a fix without edits is none
    assert fix["description"]["text"] == "write `conv`"
    assert [c["artifactLocation"]["uri"] for c in fix["artifactChanges"]] == [
        "nets/a%20b.cnn", "unit.cnn",
    ]  # fmt: skip
    (replacement,) = fix["artifactChanges"][0]["replacements"]
    assert replacement["insertedContent"] == {"text": "conv"}
    assert replacement["deletedRegion"]["charOffset"] == 27


def test_sarif_file_names_are_uris() -> None:
    for name in ("a\nb<c>.cnn", "x\udc80\ud800.cnn", "nets\\a.cnn", "<text>"):
        found = Diagnostic("E0101", "no", (Label(Span(Source(name, "x"), 0, 1)),))
        place = run_of([found])["results"][0]["locations"][0]["physicalLocation"]
        assert re.fullmatch(r"[A-Za-z0-9/._~%-]+", place["artifactLocation"]["uri"])
