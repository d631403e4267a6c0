"""Text to syntax tree. Lark does not leave this module and its neighbours."""

from __future__ import annotations

from functools import lru_cache

from lark import Lark, TextSlice, UnexpectedInput, UnexpectedToken

from cnndsl.diagnostics import Diagnostic
from cnndsl.limits import DEFAULT_LIMITS, Limits
from cnndsl.source import Source, Span
from cnndsl.syntax import ast, errors
from cnndsl.syntax.build import Builder, Misuse, TooDeep
from cnndsl.syntax.scan import Scan, scan
from cnndsl.syntax.tables import load
from cnndsl.syntax.words import describe_expected, describe_found, hint


@lru_cache(maxsize=1)
def _parser() -> tuple[Lark, Builder]:
    builder = Builder()
    return load(builder), builder


def parse(
    source: Source, limits: Limits = DEFAULT_LIMITS
) -> tuple[ast.Module, list[Diagnostic]]:
    """The tree of every declaration that reads well, and a diagnostic for each that does not."""
    scanned = scan(source, limits)
    problems = list(scanned.problems)
    found: list[ast.Import | ast.Declaration] = []
    for first, last in scanned.chunks:
        part = _declaration(source, scanned, first, last, limits)
        if isinstance(part, Diagnostic):
            problems.append(part)
        else:
            found.append(part)
    problems.sort(key=lambda p: p.span.start if p.span else 0)
    return ast.Module(
        imports=tuple(d for d in found if isinstance(d, ast.Import)),
        declarations=tuple(d for d in found if isinstance(d, ast.Declaration)),
    ), problems


def _declaration(
    source: Source, scanned: Scan, first: int, last: int, limits: Limits
) -> ast.Import | ast.Declaration | Diagnostic:
    parser, builder = _parser()
    builder.source, builder.nesting = source, limits.nesting
    start, end = scanned.tokens[first].start, scanned.tokens[last - 1].end
    try:
        tree: ast.Import | ast.Declaration = parser.parse(TextSlice(source.text, start, end))
        return tree
    except TooDeep as deep:
        return errors.past_limit(
            deep.span, "levels of nesting", 3 * limits.nesting + 1, 3 * limits.nesting
        )
    except Misuse as misuse:
        return errors.template_in_name(misuse.span, misuse.span.text)
    except UnexpectedInput as problem:
        return _translate(source, problem, scanned, last)


def _translate(source: Source, problem: UnexpectedInput, scanned: Scan, last: int) -> Diagnostic:
    expected = set(getattr(problem, "expected", None) or ())
    token = problem.token if isinstance(problem, UnexpectedToken) else None
    if token is None or token.type == "$END":
        span = _end(source, scanned, last)
        return errors.unexpected(span, _next(source, scanned, last), describe_expected(expected))
    start = int(token.start_pos or 0)
    span = Span(source, start, start + len(token))
    before = source.text[:start].rstrip()[-1:]
    found = describe_found(token.type, str(token))
    return errors.unexpected(span, found, describe_expected(expected), hint(token.type, before))


def _end(source: Source, scanned: Scan, last: int) -> Span:
    """Just behind the last token of the declaration that stopped too soon."""
    end = scanned.tokens[last - 1].end
    return Span(source, end, end)


def _next(source: Source, scanned: Scan, last: int) -> str:
    if last == len(scanned.tokens):
        return "the end of the file"
    following = scanned.tokens[last]
    return f"`{source.text[following.start : following.end]}`, which starts a declaration"
