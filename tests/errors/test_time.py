"""Work on a text ends when its time is up, wherever it is, and says so once.

The clock is ours: it goes on by ``step`` at every look, so that nothing here takes long, and
a loop that never looks would be found as one that never ends.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import cnndsl
from cnndsl import CnnError, Limits, Program
from cnndsl.compiler import Space
from cnndsl.limits import OutOfTime, Stopwatch, unhurried
from cnndsl.semantics.values import Scope
from cnndsl.source import Source
from cnndsl.syntax.formatter import format_source
from cnndsl.syntax.parser import parse

NET = "net N: [3, H, W] = "
FIBONACCI = "def f(n) = if n < 2 then 1 else (f(n - 1) + f(n - 2))\n"


class Clock:
    """Shows ``now``, which goes on by ``step`` whenever somebody looks."""

    def __init__(self) -> None:
        self.now, self.step = 0.0, 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("cnndsl.limits.monotonic", made)
    return made


def codes(program: Program) -> list[str]:
    return [d.code for d in program.diagnostics]


# --- the watch -------------------------------------------------------------------------------


def test_a_stopwatch(clock: Clock) -> None:
    watch = Stopwatch(10)
    with watch:
        clock.now += 6
        with watch:  # no second time
            clock.now += 3
    clock.now += 100
    assert not watch.over
    with (other := watch.fork()):
        clock.now += 2
        assert other.over and not watch.over
    with watch:
        assert not watch.over
        clock.now += 2
    assert watch.over
    with pytest.raises(OutOfTime):
        watch.check()


def test_no_limit(clock: Clock) -> None:
    with (watch := unhurried()):
        clock.now += 1e12
        watch.check()


def test_waiting_costs_nothing(clock: Clock) -> None:
    """A program that is kept for hours pays for what is computed, not for the hours."""
    program = cnndsl.loads("net N(n = 4): [3, H, W] = oneof(relu, conv(n, 3))\n")
    clock.now += 1000
    assert not program.diagnostics
    for _ in range(3):
        clock.now += 1000
        assert program.net("N", n=8).ok
        assert program.space("N").size == 2


def test_every_network_has_its_own_time(clock: Clock) -> None:
    """Each has what reading left, however many were asked for before."""
    program = cnndsl.loads("net N(n = 4): [3, H, W] = conv(n, 3) -> relu^20\n")
    assert not program.problems
    clock.step = 1
    for n in range(1, 11):
        assert program.net("N", n=n).ok
    assert clock.now > 200


# --- reading ---------------------------------------------------------------------------------


def test_a_long_text(clock: Clock) -> None:
    """What was not read is no unknown name and no missing net."""
    nets = "".join(f"net N{i}: [3, H, W] = P -> Q{i}\n" for i in range(200))
    clock.step = 1
    program = cnndsl.loads(nets + "block P = relu\n")
    (late,) = program.diagnostics
    assert late.code == "E0216" and late.span is not None and late.span.text == "net"
    assert late.message == "this takes too long: it was given up after 60 seconds"
    assert "--limit seconds=" in (late.help or "")
    assert clock.now < 70


def test_a_long_declaration(clock: Clock) -> None:
    source = Source("<text>", NET + " -> ".join(["relu"] * 50_000) + "\n")
    clock.step = 1
    with (watch := Stopwatch(20)):
        module, (late,) = parse(source, watch=watch)
    assert late.code == "E0216" and module.broken == ("N",)
    assert clock.now < 25


def test_formatting(clock: Clock) -> None:
    source = Source("<text>", "".join(f"net N{i}: [3, H, W] = relu\n" for i in range(100)))
    assert format_source(source)[0] is not None
    clock.step = 1
    text, (late,) = format_source(source)
    assert text is None and late.code == "E0216"


def test_files_are_read_in_time(clock: Clock, tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / f"f{number}.cnn").write_text(f"def F{number} = relu\n", encoding="utf-8")
    names = [f"F{number}" for number in range(60)]
    text = "".join(f'import "{name.lower()}.cnn" ({name})\n' for name in names)
    text += NET + " -> ".join(names) + "\n"
    assert not cnndsl.loads(text, root=tmp_path).diagnostics
    clock.step = 1
    program = cnndsl.loads(text, root=tmp_path)
    assert codes(program) == ["E0216"]
    assert len(program.library.scopes) == 1, "files were read after the time was up"


def test_names_are_checked_in_time(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    looked_at = []

    def slow(scope: Scope, *_: object) -> None:
        looked_at.append(scope)
        clock.now += 100

    (tmp_path / "f.cnn").write_text("def F = relu\n", encoding="utf-8")
    monkeypatch.setattr("cnndsl.program.resolve", slow)
    assert codes(cnndsl.loads('import "f.cnn" (F)\n' + NET + "F\n", root=tmp_path)) == ["E0216"]
    assert len(looked_at) == 1


# --- expanding -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        FIBONACCI + NET + "conv(f(12), 3)",
        NET + "relu -> " + " -> ".join(["conv(3, 3)"] * 200),
        NET + "for i in 1..200 do conv(i, 3)",
        NET + "add(for i in 1..200 do avgpool(3, stride=1, padding=1))",
        "block A(n) = if n > 0 then (relu -> A(n - 1))\n" + NET + "A(20)^5",
    ],
    ids=["numbers", "layers", "loop", "join", "calls"],
)
def test_a_net_is_expanded_in_time(clock: Clock, text: str) -> None:
    assert not cnndsl.loads(text).diagnostics
    program = cnndsl.loads(text)
    assert not program.problems
    clock.step = 1
    (late,) = program.diagnostics
    assert late.code == "E0216" and late.span is not None
    assert clock.now < 75, "what is left was expanded all the same"


def test_many_nets(clock: Clock) -> None:
    """The nets of a file share its time, and one sentence says that it is up."""
    text = "".join(f"net N{i}: [3, H, W] = relu^20 -> conv({i + 1}, 3)\n" for i in range(20))
    program = cnndsl.loads(text)
    assert not program.problems
    clock.step = 1
    assert codes(program) == ["E0216"]
    assert clock.now < 75


def test_time_that_ends_between_two_nets_is_told(clock: Clock) -> None:
    """Else the rest, which nobody looked at, would pass for checked."""
    text = "".join(f"net N{i}: [3, H, W] = relu -> conv({i + 1}, 3)\n" for i in range(100))
    program = cnndsl.loads(text)
    assert not program.problems
    clock.step = 1
    assert codes(program) == ["E0216"]


def test_a_space_is_counted_in_time(clock: Clock) -> None:
    text = NET + " -> ".join(f"oneof(conv(3, {k}), relu, bn)" for k in range(1, 14, 2)) + "\n"
    assert cnndsl.loads(text).space("N").size == 3**7
    program = cnndsl.loads(text)
    assert program.net("N").ok
    clock.step = 1
    space = Space(program, "N", {}, {})
    (late,) = space.diagnostics
    assert late.code == "E0216"
    with pytest.raises(CnnError, match="takes too long"):
        _ = space.size
    assert clock.now < 80


def test_facts_in_time(clock: Clock) -> None:
    """Sizes in eval mode are looked at once more, where heads for training were left out."""
    text = NET + "conv(4, 3)^80 -> emit[train] aux: gap -> relu\n"
    net = cnndsl.loads(text).net("N", at={"H": 32})
    assert net.ok
    clock.step = 1
    with pytest.raises(CnnError) as raised:
        _ = net.facts
    assert [d.code for d in raised.value.diagnostics] == ["E0216"]


# --- fixes -----------------------------------------------------------------------------------


def test_no_time_for_fixes(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mistakes are told all the same, without changes that nobody could try."""
    text = "net A: [3, H, W] = cnov(8, 3)\nnet B: [3, H, W] = rleu\n"
    fixed = cnndsl.loads(text).diagnostics
    assert all(d.fixes for d in fixed)
    again, tried = Program.with_texts, []

    def slow(self: Program, *given: Any) -> Program:
        clock.now += 100
        tried.append(given)
        return again(self, *given)

    monkeypatch.setattr(Program, "with_texts", slow)
    late = cnndsl.loads(text).diagnostics
    assert [d.message for d in late] == [d.message for d in fixed]
    assert not any(d.fixes for d in late)
    assert len(tried) == 1, "fixes were tried although the time was up"


def test_the_time_is_the_callers(clock: Clock) -> None:
    text = NET + " -> ".join(["conv(3, 3)"] * 200) + "\n"
    clock.step = 1
    (late,) = cnndsl.loads(text, limits=Limits(seconds=1)).diagnostics
    assert late.message.endswith("it was given up after 1 second")
    assert not cnndsl.loads(text, limits=Limits(seconds=2_000)).diagnostics
