"""What can be wrong with a text before it means anything: E01xx."""

from __future__ import annotations

from cnndsl.diagnostics import Diagnostic, Edit, Fix, Label
from cnndsl.diagnostics.suggest import did_you_mean
from cnndsl.source import Span

_OPENERS = {")": "(", "]": "[", "}": "{"}


def unexpected(
    span: Span, found: str, expected: str, help: str = "", early: Span | None = None
) -> Diagnostic:
    """``early``: where a result starts although more is to come."""
    nothing = f"this cannot be followed by {found}"
    message = f"expected {expected}, found {found}" if expected else nothing
    labels: tuple[Label, ...] = (Label(span, ""),)
    if early is not None:
        labels += (Label(early, "a result starts here: is a sign missing before it?"),)
        help = "a `let` stands before all results"
    return Diagnostic("E0101", message, labels, help=help)


def misspelt(span: Span, meant: str) -> Diagnostic:
    message = f"`{span.text}` has no meaning here, did you mean `{meant}`?"
    fix = Fix(f"write `{meant}`", (Edit(span, meant),))
    return Diagnostic("E0101", message, (Label(span, ""),), fixes=(fix,))


def out_of_time(seconds: float, span: Span | None = None) -> Diagnostic:
    """Where a span is known, it is what was being looked at."""
    labels = (Label(span, ""),) if span else ()
    unit = "second" if seconds == 1 else "seconds"
    return Diagnostic(
        "E0216", f"this takes too long: it was given up after {seconds:,g} {unit}", labels,
        help="`--limit seconds=…`, or `Limits(seconds=…)` in Python, gives it more time",
    )  # fmt: skip


def bad_character(span: Span) -> Diagnostic:
    char = span.text[0]
    shown = char if char.isprintable() and char.isascii() else f"U+{ord(char):04X}"
    return Diagnostic("E0102", f"`{shown}` has no meaning here", (Label(span, ""),))


def unclosed_string(span: Span) -> Diagnostic:
    return Diagnostic("E0103", 'this text has no closing `"` on its line', (Label(span, ""),))


def unclosed_bracket(span: Span) -> Diagnostic:
    return Diagnostic("E0104", f"this `{span.text}` is never closed", (Label(span, ""),))


def stray_bracket(span: Span, opened: Span | None) -> Diagnostic:
    if opened is None:
        labels: tuple[Label, ...] = (Label(span, f"no `{_OPENERS[span.text]}` before it"),)
        fix = Fix(f"remove this `{span.text}`", (Edit(span, ""),))
        return Diagnostic("E0104", f"this `{span.text}` closes nothing", labels, fixes=(fix,))
    labels = (Label(span, ""), Label(opened, "opened here"))
    return Diagnostic("E0104", f"`{span.text}` does not close `{opened.text}`", labels)


def outside(span: Span) -> Diagnostic:
    message = "a file is a list of declarations: import, block, def and net"
    labels = (Label(span, "this belongs to none"),)
    meant = did_you_mean(span.text, ("import", "block", "def", "net"))
    if meant is None:
        return Diagnostic(
            "E0105", message, labels, help="write `net Name: [3, H, W] = …` around it"
        )
    fix = Fix(f"write `{meant}`", (Edit(span, meant),))
    return Diagnostic("E0105", f"{message}; did you mean `{meant}`?", labels, fixes=(fix,))


def past_limit(span: Span, what: str, found: int, limit: int) -> Diagnostic:
    return Diagnostic("E0110", f"{what}: {found:,}, the limit is {limit:,}", (Label(span, ""),))


def hidden_character(span: Span) -> Diagnostic:
    code = f"U+{ord(span.text[0]):04X}"
    return Diagnostic(
        "E0111",
        f"a string or comment holds the hidden character {code}",
        (Label(span, ""),),
        help="remove it: control and direction-changing characters can disguise a text",
    )


def template_in_name(span: Span) -> Diagnostic:
    return Diagnostic("E0101", f"`{span.text}` cannot continue a label", (Label(span, ""),))


def hyphen_in_label(span: Span, meant: str) -> Diagnostic:
    fix = Fix(f"write `{meant}`", (Edit(span, meant),))
    message = f"a label has no `-`, did you mean `{meant}`?"
    return Diagnostic("E0101", message, (Label(span, ""),), fixes=(fix,))
