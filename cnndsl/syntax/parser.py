"""Text to syntax tree. How it is done does not leave this module and its neighbours."""

from __future__ import annotations

from functools import lru_cache

from cnndsl.diagnostics import Diagnostic
from cnndsl.diagnostics.suggest import did_you_mean, distance
from cnndsl.limits import DEFAULT_LIMITS, Limits, OutOfTime, Stopwatch, unhurried
from cnndsl.source import Source, Span
from cnndsl.syntax import ast, errors
from cnndsl.syntax.build import Builder, Misuse, TooDeep
from cnndsl.syntax.lalr import Machine, Unexpected
from cnndsl.syntax.scan import Scan, Token, scan
from cnndsl.syntax.tables import load
from cnndsl.syntax.words import describe_expected, describe_found, hint


@lru_cache(maxsize=1)
def _parser() -> tuple[Machine, Builder]:
    builder = Builder()
    return Machine(load(), builder), builder


def keywords() -> frozenset[str]:
    """The words that the grammar takes, which no name may be."""
    return _parser()[0].keywords


def parse(
    source: Source, limits: Limits = DEFAULT_LIMITS, watch: Stopwatch | None = None
) -> tuple[ast.Module, list[Diagnostic]]:
    """The tree of every declaration that reads well, and a diagnostic for each that does not.

    When the time is up, what is left of the text counts as declarations that do not.
    """
    return parse_scanned(source, scan(source, limits), limits, watch)


def parse_scanned(
    source: Source, scanned: Scan, limits: Limits, watch: Stopwatch | None = None
) -> tuple[ast.Module, list[Diagnostic]]:
    """``parse`` for a caller that has the tokens already."""
    watch = watch or unhurried()
    problems = list(scanned.problems)
    found: list[ast.Import | ast.Declaration] = []
    failed = list(scanned.unsound)
    late: Diagnostic | None = None
    machine, builder = _parser()
    builder.source, builder.nesting = source, limits.nesting
    for first, last in scanned.chunks:
        if late is not None:
            failed.append((first, last))
            continue
        try:
            found.append(machine.run(scanned.tokens[first:last], watch))
        except OutOfTime:
            failed.append((first, last))
            token = scanned.tokens[first]
            late = errors.out_of_time(watch.seconds, Span(source, token.start, token.end))
            problems.append(late)
        except (TooDeep, Misuse, Unexpected) as problem:
            failed.append((first, last))
            if len(problems) < limits.printed:
                problems.append(_explain(problem, source, scanned, (first, last), limits))
    problems.sort(key=lambda p: p.span.start if p.span else 0)
    return ast.Module(
        imports=tuple(d for d in found if isinstance(d, ast.Import)),
        declarations=tuple(d for d in found if isinstance(d, ast.Declaration)),
        broken=tuple(name for chunk in failed for name in _declared(scanned, chunk)),
        unread=frozenset(
            token.text
            for first, last in failed
            for token in scanned.tokens[first + 1 : last]
            if token.kind == "name" and scanned.tokens[first].text != "import"
        ),
        tokens=len(scanned.tokens),
    ), problems


def _declared(scanned: Scan, chunk: tuple[int, int]) -> list[str]:
    """The names that a declaration would have given, had it parsed."""
    keyword, *rest = scanned.tokens[chunk[0] : chunk[1]]
    names = [token.text for token in rest if token.kind == "name"]
    return names if keyword.text == "import" else names[:1]


def _explain(
    problem: TooDeep | Misuse | Unexpected,
    source: Source,
    scanned: Scan,
    chunk: tuple[int, int],
    limits: Limits,
) -> Diagnostic:
    if isinstance(problem, TooDeep):
        deepest = 3 * limits.nesting
        return errors.past_limit(problem.span, "levels of nesting", deepest + 1, deepest)
    if isinstance(problem, Misuse):
        return problem.problem
    at = chunk[0] + problem.place
    word = _misspelt(scanned.tokens[chunk[0] : chunk[1]], problem.place)
    if word is not None:
        token, meant = word
        return errors.misspelt(Span(source, token.start, token.end), meant)
    expected = describe_expected(_parser()[0].expected(scanned.tokens[chunk[0] : at]))
    if at == chunk[1]:
        return errors.unexpected(_end(source, scanned, at), _next(scanned, at), expected)
    token, before = scanned.tokens[at], scanned.tokens[at - 1].text[-1]
    found = describe_found(problem.terminal, token.text)
    span = Span(source, token.start, token.end)
    earlier = _juxtaposed(scanned.tokens[chunk[0] : at]) if token.kind == "name" else None
    start = Span(source, earlier.start, earlier.end) if earlier else None
    return errors.unexpected(span, found, expected, hint(problem.terminal, before), start)


def _misspelt(tokens: list[Token], at: int) -> tuple[Token, str] | None:
    """The word at ``at`` or shortly before it that was meant to be a keyword, and which."""
    machine = _parser()[0]
    for place in (at - 4, at - 1, at):  # as in `emitt[train] x`, `emitt x`, `relu wheer`
        if not 0 < place < len(tokens) or tokens[place].kind != "name":
            continue
        for meant in _near_keywords(tokens[place].text):
            word = tokens[place]
            replaced = Token(word.kind, word.start, word.end, meant)
            if machine.accepts([*tokens[:place], replaced, *tokens[place + 1 : at + 1]]):
                return tokens[place], meant
    return None


def _near_keywords(text: str) -> list[str]:
    known = sorted(keywords())
    if text in known or len(text) < 2:
        return []
    meant = did_you_mean(text, known)
    short = [word for word in known if len(word) == 2 and distance(text, word, 1) == 1]
    return [meant, *short] if meant else short


def _juxtaposed(tokens: list[Token]) -> Token | None:
    """The token behind the last `let` at which its value ends and a result starts.

    When more is to come, mostly a sign is missing there.
    """
    last = max((i for i, token in enumerate(tokens) if token.text == "let"), default=None)
    depth = 0
    for i in range(len(tokens) if last is None else last + 3, len(tokens)):
        before, token = tokens[i - 1], tokens[i]
        depth += (before.kind == "open") - (before.kind == "close")
        ends = before.kind in ("number", "close") or _is_atom(before)
        if not depth and ends and (token.kind in ("name", "number") or token.text == "("):
            called = before.kind == "name" and token.end == before.end + 1
            if not called and (token.kind != "name" or _is_atom(token)):
                return token
    return None


def _is_atom(token: Token) -> bool:
    return token.kind == "name" and (token.text in ("id", "none") or token.text not in keywords())


def _end(source: Source, scanned: Scan, last: int) -> Span:
    """Just behind the last token of the declaration that stopped too soon."""
    end = scanned.tokens[last - 1].end
    return Span(source, end, end)


def _next(scanned: Scan, last: int) -> str:
    if last == len(scanned.tokens):
        return "the end of the file"
    return f"`{scanned.tokens[last].text}`, which starts a declaration"
