"""The pages behind the codes: one for each, and what they claim is run."""

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import cnndsl
from cnndsl import Limits
from cnndsl.diagnostics import CnnError, Diagnostic
from cnndsl.diagnostics.explain import (
    Example,
    codes,
    example,
    explanation,
    suggest_code,
    suggest_codes,
    title,
)

PACKAGE = Path(cnndsl.__file__).parent
COMMAND = "import sys; from cnndsl.cli import main; sys.exit(main())"


def found_in(shown: Example, folder: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The codes met when the example is checked and asked what its fence says."""
    main = folder / "main.cnn"
    for name, text in {**shown.files, main.name: shown.text}.items():
        (folder / name).write_text(text, encoding="utf-8")
    seconds = float(shown.ask.get("seconds", Limits().seconds))
    program = cnndsl.load(main, limits=Limits(seconds=seconds))
    found = codes_of(program.diagnostics)
    if "without" in shown.ask:
        monkeypatch.setitem(sys.modules, shown.ask["without"], None)
    if "net" in shown.ask:
        found |= codes_of(program.net(shown.ask["net"]).diagnostics)
    if "compile" in shown.ask:
        try:
            program.net().compile()
        except CnnError as error:
            found |= codes_of(error.diagnostics)
    if "command" in shown.ask:
        found |= codes_printed(shown.ask["command"], main)
    return found


def codes_of(diagnostics: Iterable[Diagnostic]) -> set[str]:
    return {diagnostic.code for diagnostic in diagnostics}


def codes_printed(command: str, file: Path) -> set[str]:
    """Those of a command line; a command that ends with 2 or above was not understood."""
    run = subprocess.run(
        [sys.executable, "-c", COMMAND, command, str(file)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode in (0, 1) and "Traceback" not in run.stderr, run.stderr
    return set(re.findall(r"(?:error|warning)\[([EW]\d{4})\]", run.stderr))


def shown(code: str, kind: str) -> Example:
    one = example(code, kind)
    assert one is not None, f"{code} has no example that is {kind}"
    return one


@pytest.mark.parametrize("code", codes())
def test_the_failing_example_fails_with_this_code_alone(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found_in(shown(code, "fails"), tmp_path, monkeypatch) == {code}


@pytest.mark.parametrize("code", codes())
def test_the_fixed_example_is_clean(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found_in(shown(code, "fixed"), tmp_path, monkeypatch) == set()


@pytest.mark.parametrize("code", codes())
def test_the_form_of_a_page(code: str) -> None:
    page = explanation(code) or ""
    lines = page.splitlines()
    assert re.fullmatch(rf"# {code}: \S.*[^.]", lines[0]) and lines[1] == ""
    assert 8 <= len(lines) <= 40 and max(map(len, lines)) <= 100
    assert page.endswith("```\n") or page.endswith(".\n")
    assert all(line == line.rstrip() for line in lines)
    assert all(char == "\n" or char.isprintable() for char in page)
    assert (
        shown(code, "fails").text != shown(code, "fixed").text
        or code == "E0601"
        or (shown(code, "fails").files != shown(code, "fixed").files)
    )


def test_titles_differ() -> None:
    assert len({title(code) for code in codes()}) == len(codes())


def test_every_code_that_is_raised_has_its_page() -> None:
    raised: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        raised |= set(re.findall(r'"([EW]\d{4})"', path.read_text(encoding="utf-8")))
    assert raised - set(codes()) == set()


def test_pages_are_found_by_code_alone() -> None:
    assert (explanation("e0401") or "").startswith("# E0401: ")
    for code in ("E9999", "", "../E0401", "E0401.md", "E0401/../E0402", "\x00"):
        assert explanation(code) is None
    assert example("E9999", "fails") is None and title("E9999") == ""


def test_examples_read_their_fences() -> None:
    assert "\u202e" in shown("E0111", "fails").text
    assert shown("E0203", "fails").files == {} and "unit.cnn" in shown("E0203", "fixed").files
    cycle, mended = shown("E0205", "fails"), shown("E0205", "fixed")
    assert "import" in cycle.files["unit.cnn"] and "import" not in mended.files["unit.cnn"]
    assert shown("E0209", "fails").ask == {"net": "Tiny"}
    assert shown("E0601", "fails").ask == {"compile": "", "without": "torch"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("E401", "E0401"), ("e401", "E0401"), ("401", "E0401"), ("0401", "E0401"),
        ("W202", "W0202"), ("E4001", "E0401"), ("E00401", "E0401"), ("EO401", "E0401"),
        ("E0411", None), ("banana", None), ("E9999", None), ("", None),
    ],
)  # fmt: skip
def test_codes_are_suggested(written: str, meant: str | None) -> None:
    assert suggest_code(written) == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("e401", ("E0401",)), ("E41", ("E0401", "E0410")), ("W21", ("W0201",)),
        ("11", ("E0101", "E0110", "E0111")), ("banana", ()), ("", ()), ("E99", ()),
    ],
)  # fmt: skip
def test_several_codes_are_suggested(written: str, meant: tuple[str, ...]) -> None:
    assert suggest_codes(written) == meant
