"""The table of a net that is wrong: what is known is shown, and nothing else breaks."""

from __future__ import annotations

import pytest

import cnndsl
from cnndsl.views.partial import partial_table
from cnndsl.views.table import to_text
from tests.cli.runner import cnndsl as command
from tests.errors import reports

CASES = reports.cases()
TEXT = """
block B(c) = conv1: conv(c, 3) -> bn1: bn -> relu
net N(classes = 10): [3, H, W] =
  stem: B(8) -> (a: conv(16, 1) + b: conv(8, 1)) -> c: conv(4, 3) -> fc: linear(classes)
"""


def cells(text: str, **at: int) -> list[tuple[str, ...]]:
    net = cnndsl.loads(text).net(at=at)
    assert not net.ok and net.expansion.partial is not None
    return [line.cells for line in partial_table(net.expansion.partial).lines]


def test_what_is_known_and_what_is_not() -> None:
    assert cells(TEXT, H=8) == [
        ("in", "input", "[3, 8, 224]", "0", "0"),
        ("stem.conv1", "conv(8, 3, bias=no)", "[8, 8, 224]", "216", "387,072"),
        ("stem.bn1", "bn", "[8, 8, 224]", "16", "0"),
        ("stem.2", "relu", "[8, 8, 224]", "0", "0"),
        ("a", "conv(16, 1, bias=yes)", "[16, 8, 224]", "144", "229,376"),
        ("b", "conv(8, 1, bias=yes)", "[8, 8, 224]", "72", "114,688"),
        ("?", "a: conv(16, 1) + b: conv(8, 1)", "?", "?", "?"),
        ("c", "conv(4, 3, bias=yes)", "?", "?", "?"),
        ("fc", "linear(10, bias=yes)", "?", "?", "?"),
    ]


def test_a_believed_claim_is_known_behind_it() -> None:
    found = cells("net N: [3, 8, 8] = a: conv(4, 1) :: [5, 8, 8] -> b: conv(2, 1)")
    assert [row[2:4] for row in found] == [
        ("[3, 8, 8]", "0"), ("[4, 8, 8]", "16"), ("[5, 8, 8]", "?"), ("[2, 8, 8]", "12"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_no_wrong_text_breaks_it(name: str) -> None:
    _, case = CASES[name]
    with reports.opened(case) as program:
        for net in program.nets:
            partial = program.net(net).expansion.partial
            if partial is not None:
                assert to_text(partial_table(partial))


@pytest.mark.parametrize("kind", ["text", "markdown", "latex", "csv"])
def test_the_command_shows_it_and_fails(kind: str) -> None:
    run = command("summary", "-", "--format", kind, stdin=TEXT)
    assert run.code == 1
    assert "stem.conv1" in run.out.replace("\\", "") and "E0401" in run.err


def test_no_table_where_nothing_is_known() -> None:
    run = command("summary", "-", stdin="net N: [3, H, W] = (\n")
    assert run.code == 1 and not run.out and "error[" in run.err


def test_a_limit_shows_no_hundred_thousand_rows() -> None:
    net = cnndsl.loads("net N: [3, H, W] = relu^9000 -> (relu^9900)^10").net()
    assert not net.ok and net.expansion.partial is None
