"""Operators of other packages: found when needed, and unable to break or replace anything.

Each is used by a process of its own: a catalogue belongs to a process.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ops.packages import install, install_example, python


def _run(folder: Path, code: str) -> str:
    run = python(folder, f"from cnndsl.ops import *\nimport sys\n{code}")
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_an_installed_operator_is_found_on_a_miss(tmp_path: Path) -> None:
    install_example(tmp_path)
    output = _run(
        tmp_path,
        "assert find_op('conv') and 'square' not in catalogue()\n"
        "assert 'cnndsl_test_ops' not in sys.modules, 'a known name loads nothing'\n"
        "op = find_op('square')(factor=2)\n"
        "assert catalogue()['square'] is type(op) and load_plugins() == ()\n"
        "print(op.text(), op.torch()(3.0), find_op('cube'))",
    )
    assert output == "square(factor=2.0) 18.0 None"


DECLARE = "from cnndsl.ops.base import Op\nclass {}(Op, name='{}'):\n    '''.'''\n"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise RuntimeError('no GPU here')", "RuntimeError: no GPU here"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named"),
        ("def (", "SyntaxError"),
        (DECLARE.format("Conv", "conv"), "operator `conv` exists (cnndsl.ops.conv.Conv)"),
        (DECLARE.format("Odd", "two words"), "`two words` is not a name"),
        (
            "from cnndsl.ops.base import Op, param\n"
            "class Odd(Op, name='odd'):\n    size: list = param(doc='sizes')\n",
            "no coercion for `<class 'list'>`",
        ),
    ],
)
def test_a_broken_package_is_a_problem_and_leaves_nothing(
    tmp_path: Path, code: str, message: str
) -> None:
    half = DECLARE.format("Half", "half") + code
    whole = DECLARE.format("Whole", "whole")
    install(tmp_path, {"broken": "broken", "good": "good"}, broken=half, good=whole)
    output = _run(
        tmp_path,
        "from cnndsl.ops.conv import Conv\n"
        "assert find_op('half') is None and find_op('whole') and find_op('conv') is Conv\n"
        "(problem,) = load_plugins()\nprint(problem)",
    )
    assert output.startswith("operators of `broken` (broken) are not available: ")
    assert message in output


def test_the_first_package_keeps_a_name_that_two_declare(tmp_path: Path) -> None:
    one, two = DECLARE.format("One", "twice"), DECLARE.format("Two", "twice")
    install(tmp_path, {"a": "one", "b": "two"}, one=one, two=two)
    output = _run(tmp_path, "print(find_op('twice').__module__, load_plugins()[0].plugin)")
    assert output == "one `b` (two)"
