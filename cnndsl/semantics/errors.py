"""What can be wrong with a text that reads well: names, parameters, sizes, budgets.

One constructor per diagnostic; rules of operators (``RuleError``) are translated here too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from cnndsl.diagnostics import Diagnostic, Edit, Fix, Label
from cnndsl.diagnostics.suggest import did_you_mean
from cnndsl.ops.base import RuleError
from cnndsl.ops.types import UNKNOWN, Type, Unknown, channels_of
from cnndsl.semantics.faults import ClaimFault, RuleFault
from cnndsl.source import Span

_RULE_CODES = {
    "value": "E0303", "missing": "E0302", "kind": "E0405", "channels": "E0402",
    "groups": "E0402", "small": "E0403", "symbolic": "E0404", "operands": "E0214",
    "large": "E0409", "complex": "E0410", "join": "E0401", "unknown": "E0301",
    "many": "E0304", "twice": "E0305", "input": "E0408",
}  # fmt: skip


def _one(code: str, message: str, span: Span, remark: str = "", help: str = "") -> Diagnostic:
    return Diagnostic(code, message, (Label(span, remark),), help=help)


def _typo(name: str, span: Span, candidates: Iterable[str]) -> tuple[str, tuple[Fix, ...]]:
    near = did_you_mean(name, candidates)
    if near is None:
        return "", ()
    return f", did you mean `{near}`?", (Fix(f"write `{near}`", (Edit(span, near),)),)


# --- names: E02xx ---------------------------------------------------------------------------


def unknown_name(
    places: Sequence[Span],
    name: str,
    what: str,
    near: str | None = None,
    notes: Iterable[str] = (),
) -> Diagnostic:
    tail = f", did you mean `{near}`?" if near else ""
    labels = tuple(Label(span, "and here" if i else "") for i, span in enumerate(places))
    fix = Fix(f"write `{near}`", tuple(Edit(span, near) for span in places)) if near else None
    message = f"unknown {what} `{name}`{tail}"
    return Diagnostic("E0201", message, labels, tuple(notes), fixes=(fix,) if fix else ())


def declared_twice(span: Span, first: Span, name: str) -> Diagnostic:
    labels = (Label(span, ""), Label(first, "first here"))
    return Diagnostic("E0202", f"`{name}` is declared twice", labels)


def shadows_operator(span: Span, name: str) -> Diagnostic:
    return _one("E0202", f"`{name}` is already a layer of the language", span)


def cannot_import(span: Span, path: str, why: str, near: str | None = None) -> Diagnostic:
    tail = f', did you mean "{near}"?' if near else ""
    fixes = (Fix(f'write "{near}"', (Edit(span, f'"{near}"'),)),) if near else ()
    message = f'cannot import "{path}": {why}{tail}'
    return Diagnostic("E0203", message, (Label(span, ""),), fixes=fixes)


def not_exported(span: Span, name: str, path: str, candidates: Iterable[str]) -> Diagnostic:
    tail, fixes = _typo(name, span, candidates)
    message = f'"{path}" declares no `{name}`{tail}'
    return Diagnostic("E0204", message, (Label(span, ""),), fixes=fixes)


def import_cycle(span: Span, chain: Iterable[str]) -> Diagnostic:
    return _one("E0205", "imports form a cycle: " + " -> ".join(chain), span)


def import_escapes(span: Span, path: str, why: str) -> Diagnostic:
    return _one("E0206", f'"{path}" may not be imported: {why}', span,
                help="imports are relative paths below the folder of the first file")  # fmt: skip


def no_such_module(span: Span, name: str, candidates: Iterable[str]) -> Diagnostic:
    tail, fixes = _typo(name, span, candidates)
    message = f"no step before this one is labelled `{name}`{tail}"
    return Diagnostic("E0207", message, (Label(span, ""),), fixes=fixes)


def shared_differs(span: Span, path: str, why: str) -> Diagnostic:
    return _one("E0207", f"`{path}` cannot be applied here: {why}", span)


def same_path(span: Span, first: Span | None, path: str) -> Diagnostic:
    labels = (Label(span, ""),) + ((Label(first, "first here"),) if first else ())
    return Diagnostic(
        "E0208",
        f"two steps have the path `{path}`",
        labels,
        help="give them different labels; in a repetition, leave the label out or write `for i` "
        "and `label{i}:`; to share weights, write `again label`",
    )


def no_such_net(name: str, nets: Iterable[str]) -> Diagnostic:
    near = did_you_mean(name, nets)
    tail = f", did you mean `{near}`?" if near else ""
    known = ", ".join(nets) or "none"
    return Diagnostic("E0209", f"no net `{name}`{tail}", notes=(f"nets of this file: {known}",))


def which_net(nets: Iterable[str]) -> Diagnostic:
    nets = tuple(nets)
    if not nets:
        return Diagnostic("E0209", "this file has no net", help="write `net Name: [3, H, W] = …`")
    return Diagnostic(
        "E0209", f"this file has {len(nets)} nets: say which, {', '.join(nets)}",
        help=f"`--net {nets[0]}` on the command line, `.net(\"{nets[0]}\")` in Python",
    )  # fmt: skip


def too_long(name: str, size: int, limit: int) -> Diagnostic:
    return Diagnostic("E0110", f"{name} has at least {size:,} bytes, the limit is {limit:,}")


def not_text(name: str, byte: int) -> Diagnostic:
    return Diagnostic("E0102", f"{name} is not UTF-8 text: byte {byte} begins no character")


def wrong_kind(span: Span, message: str, help: str = "") -> Diagnostic:
    return _one("E0210", message, span, help=help)


def call_depth(span: Span, name: str, limit: int) -> Diagnostic:
    return _one("E0211", f"calls of `{name}` go deeper than {limit}", span,
                help="a recursion needs an `if` that ends it")  # fmt: skip


def expansion_limit(span: Span, what: str, limit: int) -> Diagnostic:
    return _one("E0212", f"this network is too large: more than {limit:,} {what}", span)


def unknown_attribute(span: Span, name: str) -> Diagnostic:
    tail, fixes = _typo(name, span, ("channels", "height", "width"))
    message = f"a wire has channels, height and width, not `{name}`{tail}"
    return Diagnostic("E0213", message, (Label(span, ""),), fixes=fixes)


def wire_count(span: Span, message: str, help: str = "") -> Diagnostic:
    return _one("E0214", message, span, help=help)


def bad_label(span: Span, message: str) -> Diagnostic:
    return _one("E0215", message, span)


# --- parameters: E03xx ----------------------------------------------------------------------


def unknown_parameter(span: Span, owner: str, name: str, known: Iterable[str]) -> Diagnostic:
    known = tuple(known)
    tail, fixes = _typo(name, span, known)
    note = f"parameters of `{owner}`: {', '.join(known) or 'none'}"
    message = f"`{owner}` has no parameter `{name}`{tail}"
    return Diagnostic("E0301", message, (Label(span, ""),), notes=(note,), fixes=fixes)


def missing_parameter(span: Span, owner: str, names: Iterable[str], help: str = "") -> Diagnostic:
    listed = " and ".join(f"`{name}`" for name in names)
    return _one("E0302", f"`{owner}` needs {listed}", span, help=help)


def bad_value(span: Span, message: str, help: str = "") -> Diagnostic:
    return _one("E0303", message, span, help=help)


def too_many(span: Span, owner: str, given: int, most: int) -> Diagnostic:
    return _one("E0304", f"`{owner}` takes at most {most} parameters, got {given}", span)


def given_twice(span: Span, owner: str, name: str) -> Diagnostic:
    return _one("E0305", f"`{name}` of `{owner}` is given twice", span)


def not_whole(span: Span, message: str, division: Span | None) -> Diagnostic:
    labels: tuple[Label, ...] = (Label(division or span, "not whole here"),)
    if division is not None and division != span:
        labels += (Label(span, ""),)
    help = "use floor(…), ceil(…) or round(…), or other numbers"
    return Diagnostic("E0306", message, labels, help=help)


def arithmetic(span: Span, message: str) -> Diagnostic:
    return _one("E0307", message, span)


def symbolic(span: Span, message: str, help: str = "") -> Diagnostic:
    return _one("E0404", message, span, help=help)


def no_choice(span: Span, path: str, count: int) -> Diagnostic:
    return _one("E0308", f"this network leaves choices open, the first at `{path}`", span,
                f"{count} alternatives",
                f"choose with --choose {path}=0 (0 to {count - 1}), or --sample SEED")  # fmt: skip


# --- sizes: E04xx ---------------------------------------------------------------------------


def rule(fault: RuleFault) -> Diagnostic:
    """An operator's rule, at the parameter, operand or step that broke it."""
    error = fault.error
    notes = (error.note,) if error.note else ()
    labels = (Label(fault.place, ""), *_channels_from(fault))
    code = _RULE_CODES.get(error.rule, "E0303")
    return Diagnostic(code, error.message, labels, notes=notes, help=error.help, cause=fault)


def _channels_from(fault: RuleFault) -> Iterator[Label]:
    """Where the number of channels that does not fit was made."""
    steps = fault.before if fault.error.rule in ("channels", "groups") else ()
    for step, earlier in zip(reversed(steps), reversed(steps[:-1]), strict=False):
        made, before = (_channels(node.type) for node in (step, earlier))
        if made != before and step.span is not None and step.span != fault.span:
            yield Label(step.span, f"{made} channels come from here")
            return


def _channels(type: Type) -> object:
    return UNKNOWN if isinstance(type, Unknown) else channels_of(type)


def join_of_kinds(sign: str, labels: tuple[Label, ...], fault: object) -> Diagnostic:
    listed = " and ".join(label.text for label in labels[1:])
    message = f"`{sign}` joins values of one kind, and these are {listed}"
    help = "put `flatten` behind the join, or before it on every side"
    return Diagnostic("E0405", message, labels, help=help, cause=fault)


def join_rule(error: RuleError, labels: tuple[Label, ...], fault: object) -> Diagnostic:
    """A rule of a join that is not about the operands' sizes."""
    code = _RULE_CODES.get(error.rule, "E0401")
    notes = (error.note,) if error.note else ()
    return Diagnostic(code, error.message, labels, notes=notes, help=error.help, cause=fault)


def ascription(span: Span, dims: Span, claimed: str, note: str, fault: ClaimFault) -> Diagnostic:
    found = str(fault.before[-1].type)
    notes = (note,) if note else ()
    fix = Fix("say what it is", (Edit(dims, found),))
    message = f"this is {found}, not {claimed}"
    return Diagnostic("E0406", message, (Label(span, ""),), notes=notes, fixes=(fix,), cause=fault)


def bad_where(span: Span, message: str) -> Diagnostic:
    help = "conditions are `H % 32 == 0` and `H >= 64`, on a symbol of the input"
    return _one("E0407", message, span, help=help)


def bad_input(span: Span, message: str) -> Diagnostic:
    return _one("E0408", message, span, help="an input is [channels, height, width], as [3, H, W]")


def small_symbols(places: Sequence[Span]) -> Diagnostic:
    """``[3, h, w]``: sizes left open are capitals, so that a slip is no new symbol."""
    names = list(dict.fromkeys(place.text for place in places))
    listed = " and ".join(f"`{name}`" for name in names)
    capitals = ", ".join(name[0].upper() + name[1:] for name in names)
    message = f"{listed} {'are' if len(names) > 1 else 'is'} not known: open sizes are capitals"
    edits = tuple(Edit(place, place.text[0].upper() + place.text[1:]) for place in places)
    fix = Fix(f"write {capitals}", edits)
    return Diagnostic("E0408", message, tuple(Label(p, "") for p in places), fixes=(fix,))


# --- budgets and outputs: E05xx -------------------------------------------------------------


def over_budget(span: Span, message: str) -> Diagnostic:
    return _one("E0501", message, span)


def nothing_here(span: Span, message: str) -> Diagnostic:
    return _one("E0502", message, span,
                help="`none` is an absent branch: it can only be an operand of a join")  # fmt: skip


def bad_emit(span: Span, message: str) -> Diagnostic:
    return _one("E0503", message, span)


# --- lowering: E06xx ------------------------------------------------------------------------


def no_torch(name: str) -> Diagnostic:
    help = "install it: pip install 'torch>=2.11,<2.14'"
    return Diagnostic("E0601", f"a module needs the package `{name}`, which is missing", help=help)


# --- warnings -------------------------------------------------------------------------------


def unused(span: Span, what: str, name: str) -> Diagnostic:
    return Diagnostic(
        "W0201", f"{what} `{name}` is never used", (Label(span, ""),), severity="warning"
    )


def unlabelled_weights(span: Span) -> Diagnostic:
    return Diagnostic(
        "W0202",
        "weights inside a join have no label: their names depend on the order of the text",
        (Label(span, ""),),
        help="put a label before this step: `name: …`",
        severity="warning",
    )
