"""The renderer for people: what it prints, to the letter."""

import re

from cnndsl.diagnostics import Diagnostic, Edit, Fix, Label
from cnndsl.diagnostics.text import render, render_all, render_concise
from cnndsl.source import Source, Span
from tests.diagnostics.places import at

RESNET = Source(
    "resnet.cnn",
    """\
block Bottleneck(c, stride = 1) =
  ( conv1: conv(c, 1) -> bn
    -> conv2: conv(c, 3, stride=2) -> bn
    -> conv3: conv(4*c, 1) -> bn
  + id
  ) -> relu


net ResNet: [3, H, W] = layer2: Bottleneck(128, stride=2)
""",
)


def shown(*rows: str) -> str:
    return "\n".join(rows)


def test_the_full_form() -> None:
    diagnostic = Diagnostic(
        "E0401",
        "the branches of `+` disagree",
        (
            Label(at(RESNET, "+"), "unchanged since layer1.2"),
            Label(at(RESNET, "stride=2"), "the paths part here: height halves"),
        ),
        notes=("channels: 512 vs 256;  height at H=224: 28 vs 56",),
        help="look at the stride",
        fixes=(
            Fix(
                "project the skip",
                (Edit(at(RESNET, "id", 2), "downsample: conv(4*c, 1, stride=stride)"),),
                checked=True,
            ),
            Fix("add instead", (Edit(at(RESNET, "bn"), "relu"),)),
        ),
        path="layer2.0",
        trace=("Bottleneck(128, stride=2), expanded from line 9", "in ResNet, line 9"),
        instances=3,
    )
    assert render(diagnostic) == shown(
        "error[E0401]: the branches of `+` disagree",
        "  --> resnet.cnn:5:3   in layer2.0 = Bottleneck(128, stride=2), expanded from line 9",
        "   |",
        " 3 |     -> conv2: conv(c, 3, stride=2) -> bn",
        "   |                          -------- the paths part here: height halves",
        " 4 |     -> conv3: conv(4*c, 1) -> bn",
        " 5 |   + id",
        "   |   ^ unchanged since layer1.2",
        "   = channels: 512 vs 256;  height at H=224: 28 vs 56",
        "   = in ResNet, line 9",
        "   = 1 definition, 3 instances",
        "help: look at the stride",
        "help (checked: the file compiles after it): project the skip",
        " 5 -   + id",
        " 5 +   + downsample: conv(4*c, 1, stride=stride)",
        "help: add instead",
        " 2 -   ( conv1: conv(c, 1) -> bn",
        " 2 +   ( conv1: conv(c, 1) -> relu",
    )


def test_several_labels_on_one_line_hang_from_right_to_left() -> None:
    labels = (
        Label(at(RESNET, "stride=2"), "the problem"),
        Label(at(RESNET, "conv2"), "the label"),
        Label(at(RESNET, "3,"), "the window"),
    )
    assert render(Diagnostic("E0303", "no", labels)) == shown(
        "error[E0303]: no",
        "  --> resnet.cnn:3:26",
        "   |",
        " 3 |     -> conv2: conv(c, 3, stride=2) -> bn",
        "   |        -----          -- ^^^^^^^^ the problem",
        "   |        |              |",
        "   |        |              the window",
        "   |        the label",
    )


def test_labels_that_overlap_keep_the_primary_visible() -> None:
    labels = (
        Label(at(RESNET, "c, 3"), "this"),
        Label(at(RESNET, "conv(c, 3, stride=2)"), "in here"),
    )
    assert render(Diagnostic("E0303", "no", labels)).splitlines()[3:] == [
        " 3 |     -> conv2: conv(c, 3, stride=2) -> bn",
        "   |               -----^^^^-----------",
        "   |               |    |",
        "   |               |    this",
        "   |               in here",
    ]


def test_two_remarks_at_one_place() -> None:
    labels = (Label(at(RESNET, "conv2"), "one"), Label(at(RESNET, "conv2"), "two"))
    assert render(Diagnostic("E0303", "no", labels)).splitlines()[4:] == [
        "   |        ^^^^^ one",
        "   |        |",
        "   |        two",
    ]


def test_distant_lines_are_separated() -> None:
    labels = (Label(at(RESNET, "Bottleneck", 1), "used"), Label(at(RESNET, "Bottleneck"), "here"))
    assert render(Diagnostic("E0202", "no", labels)).splitlines()[1:] == [
        "  --> resnet.cnn:9:33",
        "   |",
        " 1 | block Bottleneck(c, stride = 1) =",
        "   |       ---------- here",
        "...",
        " 9 | net ResNet: [3, H, W] = layer2: Bottleneck(128, stride=2)",
        "   |                                 ^^^^^^^^^^ used",
    ]


def test_a_label_of_several_lines_shows_its_first_and_its_last() -> None:
    whole = at(RESNET, "( conv1").to(at(RESNET, ") -> relu"))
    assert render(Diagnostic("E0401", "no", (Label(whole, "this group"),))).splitlines()[2:] == [
        "   |",
        " 2 |   ( conv1: conv(c, 1) -> bn",
        "   |   ^^^^^^^^^^^^^^^^^^^^^^^^^",
        "...",
        " 6 |   ) -> relu",
        "   |   ^^^^^^^^^ this group",
    ]


def test_a_label_that_ends_with_its_line_break_stays_on_its_line() -> None:
    span = Span(RESNET, RESNET.text.index("+ id"), RESNET.text.index("+ id") + 5)
    assert render(Diagnostic("E0401", "no", (Label(span, ""),))).splitlines()[3:] == [
        " 5 |   + id",
        "   |   ^^^^",
    ]


def test_labels_in_other_files_come_after_their_own_header() -> None:
    other = Source("blocks/unit.cnn", "\n" * 98 + "def Unit(c) = conv(c, 3)\ndef B() = id\n")
    labels = (
        Label(at(RESNET, "128"), "given here"),
        Label(at(other, "c"), "declared here"),
        Label(at(RESNET, "c,"), ""),
        Label(at(other, "B"), "and there"),
    )
    assert render(Diagnostic("E0303", "no", labels)) == shown(
        "error[E0303]: no",
        "    --> resnet.cnn:9:44",
        "     |",
        "   1 | block Bottleneck(c, stride = 1) =",
        "     |                  --",
        "...",
        "   9 | net ResNet: [3, H, W] = layer2: Bottleneck(128, stride=2)",
        "     |                                            ^^^ given here",
        "    ::: blocks/unit.cnn:99:10",
        "     |",
        "  99 | def Unit(c) = conv(c, 3)",
        "     |          - declared here",
        " 100 | def B() = id",
        "     |     - and there",
    )


def test_the_end_of_a_file_and_an_empty_file() -> None:
    source = Source("a.cnn", "net A: [3, H, W] =")
    span = Span(source, len(source.text), len(source.text))
    assert render(Diagnostic("E0101", "no", (Label(span, "more"),))).splitlines()[3:] == [
        " 1 | net A: [3, H, W] =",
        "   |                   ^ more",
    ]
    empty = Source("a.cnn", "")
    assert render(Diagnostic("E0101", "no", (Label(Span(empty, 0, 0), "here"),))) == shown(
        "error[E0101]: no", "  --> a.cnn:1:1", "   |", " 1 |", "   | ^ here"
    )


def test_without_a_place() -> None:
    diagnostic = Diagnostic("E0209", "no net `X`", notes=("nets of this file: none",))
    assert render(diagnostic) == "error[E0209]: no net `X`\n  = nets of this file: none".replace(
        "  =", "   ="
    )
    assert render_concise(diagnostic) == "error[E0209]: no net `X`"
    inside = Diagnostic("E0209", "no", path="layer1", trace=("a", "b"))
    assert render(inside) == shown("error[E0209]: no", "  --> in layer1 = a", "   = b")


def test_windows_line_breaks() -> None:
    source = Source("a.cnn", "net A: [3, H, W] =\r\n  conv(8)\r\n")
    assert render(Diagnostic("E0302", "no", (Label(at(source, "conv(8)\r"), ""),))).splitlines()[
        3:
    ] == [" 2 |   conv(8)", "   |   ^^^^^^^"]


def test_tabs_and_wide_letters_and_combining_marks_align() -> None:
    source = Source("a.cnn", "\tlabel:\tconv(8) # 漢字 e\u0301e\u0300 x\n")
    labels = (
        Label(at(source, "label"), "tab"),
        Label(at(source, "字"), "wide"),
        Label(at(source, "x"), "after"),
    )
    assert render(Diagnostic("E0101", "no", labels)).splitlines()[3:] == [
        " 1 |     label:  conv(8) # 漢字 e\u0301e\u0300 x",
        "   |     ^^^^^               --    - after",
        "   |     |                   |",
        "   |     |                   wide",
        "   |     tab",
    ]


LONG = Source("long.cnn", "net A: [3, H, W] = " + " -> ".join(f"conv({n}, 3)" for n in range(99)))


def test_a_long_line_is_cut_around_its_label() -> None:
    diagnostic = Diagnostic("E0303", "no", (Label(at(LONG, "conv(50, 3)"), "here"),))
    assert render(diagnostic, width=64).splitlines()[3:] == [
        " 1 | …3) -> conv(49, 3) -> conv(50, 3) -> conv(51, 3) -> conv…",
        "   |                       ^^^^^^^^^^^ here",
    ]


def test_a_long_line_is_cut_behind_a_label_at_its_start() -> None:
    diagnostic = Diagnostic("E0303", "no", (Label(at(LONG, "net"), "here"),))
    assert render(diagnostic, width=64).splitlines()[3:] == [
        " 1 | net A: [3, H, W] = conv(0, 3) -> conv(1, 3) -> conv(2, 3…",
        "   | ^^^ here",
    ]


def test_a_long_line_is_cut_before_a_label_at_its_end() -> None:
    diagnostic = Diagnostic("E0303", "no", (Label(at(LONG, "conv(98, 3)"), "here"),))
    assert render(diagnostic, width=64).splitlines()[3:5] == [
        " 1 | …conv(95, 3) -> conv(96, 3) -> conv(97, 3) -> conv(98, 3)",
        "   |                                               ^^^^^^^^^^^",
    ]


def test_a_long_line_is_not_moved_while_its_label_is_in_sight() -> None:
    diagnostic = Diagnostic("E0303", "no", (Label(at(LONG, "conv(1, 3)"), "here"),))
    assert render(diagnostic, width=64).splitlines()[3].startswith(" 1 | net A:")


def test_labels_too_far_apart_for_one_line_stay_at_its_edges() -> None:
    labels = (Label(at(LONG, "conv(50, 3)"), "here"), Label(at(LONG, "conv(1, 3)"), "and there"))
    assert render(Diagnostic("E0303", "no", labels), width=64).splitlines()[3:] == [
        " 1 | …8, 3) -> conv(49, 3) -> conv(50, 3) -> conv(51, 3) -> c…",
        "   | -                        ^^^^^^^^^^^ here",
        "   | |",
        "   | and there",
    ]


def test_a_remark_that_does_not_fit_hangs_and_wraps() -> None:
    remark = "the paths part here because the stride of this convolution halves the height"
    diagnostic = Diagnostic("E0401", "no", (Label(at(RESNET, "stride=2"), remark),))
    assert render(diagnostic, width=60).splitlines()[3:] == [
        " 3 |     -> conv2: conv(c, 3, stride=2) -> bn",
        "   |                          ^^^^^^^^",
        "   |                          |",
        "   |                          the paths part here because",
        "   |                          the stride of this convolution",
        "   |                          halves the height",
    ]


def test_long_messages_wrap() -> None:
    diagnostic = Diagnostic("E0401", "word " * 30, notes=("note " * 30,), help="x" * 200)
    rows = render(diagnostic, width=60).splitlines()
    assert max(map(len, rows)) <= 60
    assert rows[1].startswith("        word")
    assert "".join(rows).count("x") == 200
    spaced = render(Diagnostic("E0401", "   " + "x" * 200), width=60)
    assert spaced.count("x") == 200


def test_a_fix_of_several_files_names_the_other() -> None:
    other = Source("unit.cnn", "def Unit(c) =\n  conv(c, 3)\n")
    fix = Fix(
        "move it",
        (
            Edit(at(RESNET, "  + id\n"), ""),
            Edit(Span(other, 0, 0), "# first\n"),
            Edit(at(other, "3"), "5"),
        ),
    )
    assert render(
        Diagnostic("E0401", "no", (Label(at(RESNET, "id", 2)),), fixes=(fix,))
    ).splitlines()[5:] == [
        "help: move it",
        " 5 -   + id",
        "  ::: unit.cnn",
        " 1 - def Unit(c) =",
        " 2 -   conv(c, 3)",
        " 1 + # first",
        " 2 + def Unit(c) =",
        " 3 +   conv(c, 5)",
    ]


def test_a_fix_of_distant_lines_shows_only_those() -> None:
    edits = (Edit(at(RESNET, "+ id"), "| id"), Edit(at(RESNET, "bn"), "id"))
    rows = render(Diagnostic("E0401", "no", fixes=(Fix("both", edits),))).splitlines()
    assert [row[:3] for row in rows[3:]] == [" 2 ", " 2 ", " 5 ", " 5 "]


def test_a_fix_that_adds_a_line_shows_only_that() -> None:
    end = at(RESNET, "bn", 1).end
    for edit in (
        Edit(Span(RESNET, end, end), "\n    -> relu"),
        Edit(Span(RESNET, end + 1, end + 1), "    -> relu\n"),
    ):
        rows = render(Diagnostic("E0401", "no", fixes=(Fix("go on", (edit,)),))).splitlines()
        assert rows[3:] == [" 4 +     -> relu"]


def test_a_large_fix_is_shown_in_part_and_a_broken_one_not_at_all() -> None:
    big = Fix("rewrite", (Edit(Span(RESNET, 0, len(RESNET.text)), "\n".join("abcdefghij")),))
    rows = render(Diagnostic("E0401", "no", fixes=(big,))).splitlines()
    assert rows[-1] == "   + … 4 more lines" and len(rows) == 17
    broken = Fix("both", (Edit(Span(RESNET, 0, 5), "x"), Edit(Span(RESNET, 3, 8), "y")))
    assert render(Diagnostic("E0401", "no", fixes=(broken,))) == "error[E0401]: no\nhelp: both"


def test_colours_add_nothing_but_colours() -> None:
    labels = (Label(at(RESNET, "stride=2"), "a"), Label(at(RESNET, "conv2"), "b"))
    fix = Fix("f", (Edit(at(RESNET, "bn"), "relu"),), checked=True)
    for severity in ("error", "warning"):
        diagnostic = Diagnostic("E0303", "no", labels, ("n",), "h", (fix,), severity)
        coloured = render(diagnostic, color=True)
        assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render(diagnostic)
        assert coloured.count("\x1b[0m") * 2 == coloured.count("\x1b[")
        assert ("\x1b[1;31m" in coloured) == (severity == "error")


def test_what_would_bury_the_message_is_counted_instead() -> None:
    many = Diagnostic(
        "E0401", "no", tuple(Label(Span(RESNET, n, n + 1)) for n in range(20)),
        tuple(f"note {n}" for n in range(20)), "", (Fix("fix", ()),) * 20,
        path="p", trace=tuple(f"call {n}" for n in range(20)),
    )  # fmt: skip
    rows = render(many).splitlines()
    assert "^" + "-" * 11 in rows[4] and "-" * 12 not in rows[4]
    assert rows[5:] == [
        *(f"   = note {n}" for n in range(12)), "   = and 8 more places",
        *(f"   = call {n}" for n in range(1, 6)), "   = and 14 more calls",
        *["help: fix"] * 3,
    ]  # fmt: skip


# --- reports --------------------------------------------------------------------------------


def test_concise() -> None:
    found = Diagnostic("W0201", "unused", (Label(at(RESNET, "id", 2)),), severity="warning")
    assert render_concise(found) == "resnet.cnn:5:5: warning[W0201]: unused"


def report(errors: int, warnings: int, limit: int = 50) -> list[str]:
    found = [Diagnostic("W0201", f"w{n}", severity="warning") for n in range(warnings)]
    found += [Diagnostic("E0201", f"e{n}") for n in range(errors)]
    return render_all(found, limit=limit).splitlines()


def test_a_report_ends_with_its_count() -> None:
    assert report(0, 0) == []
    assert report(1, 0) == ["error[E0201]: e0", "", "1 error"]
    assert report(2, 1)[-1] == "2 errors, 1 warning"
    assert report(0, 1)[-1] == "1 warning"
    assert report(60, 2, 50)[-2:] == ["… and 12 more", "60 errors, 2 warnings"]
    assert report(1200, 0)[-2:] == ["… and 1,150 more", "1,200 errors"]


def test_a_full_report_leaves_out_warnings_before_errors() -> None:
    assert report(2, 2, 3) == [
        "warning[W0201]: w0", "", "error[E0201]: e0", "", "error[E0201]: e1", "",
        "… and 1 more", "2 errors, 2 warnings",
    ]  # fmt: skip


def test_a_concise_report() -> None:
    found = [Diagnostic("E0201", "a"), Diagnostic("E0201", "b")]
    assert render_all(found, concise=True) == "error[E0201]: a\nerror[E0201]: b\n2 errors"
