"""The parser's terminals in a person's words."""

from __future__ import annotations

from collections.abc import Set

_WORDS = {
    "NAME": "a name", "NUMBER": "a number", "STRING": "a text in quotes", "$END": "the end",
}  # fmt: skip
_SIGNS = {
    "ARROW": "->", "DCOLON": "::", "RANGE": "..", "COLON": ":", "COMMA": ",", "DOT": ".",
    "EQUAL": "=", "PLUS": "+", "MINUS": "-", "BAR": "|", "STAR": "*", "SLASH": "/",
    "PERCENT": "%", "HAT": "^", "AT": "@", "LPAR": "(", "RPAR": ")", "LSQB": "[", "RSQB": "]",
    "LBRACE": "{", "RBRACE": "}",
}  # fmt: skip
_STARTS_TERM = {"NAME", "NUMBER", "LPAR"}
_GOES_ON = {"ARROW", "PLUS", "BAR"}


def describe_expected(expected: Set[str]) -> str:
    """The few words that help, instead of every terminal the automaton would take."""
    if expected >= _STARTS_TERM:
        return "a layer or a number"
    if expected >= _GOES_ON:
        rest = expected & {"RPAR", "RSQB", "RBRACE", "COMMA", "THEN", "DO", "ELSE", "RANGE"}
        ends = [_spell(name) for name in sorted(rest)]
        return " or ".join(["`->` or another sign", *ends])
    return " or ".join(_spell(name) for name in sorted(expected)[:5])


def describe_found(kind: str, text: str) -> str:
    return "the end" if kind == "$END" else f"`{text}`"


def hint(kind: str, before: str) -> str:
    """Advice for the mistakes people make most."""
    if kind == "ELSE":
        return "put a branch of several steps in parentheses: `if c then (f -> g) else h`"
    if kind == "EQUAL":
        return "`=` follows a declaration's head or a parameter's name; comparison is `==`"
    if kind in ("NAME", "NUMBER", "LPAR") and before.isalnum():
        return "two steps need a sign between them: `f -> g`, `f + g`, `f | g`, `f * g`"
    if kind == "STRING":
        return "quotes are for files and descriptions; a value is bare: `padding=same_upper`"
    if kind in ("ID", "NONE", "IN", "NET", "DEF", "BLOCK", "DO", "THEN", "WITH", "LET", "FOR"):
        return "this word belongs to the language and cannot be a name"
    return ""


def _spell(name: str) -> str:
    if name in _WORDS:
        return _WORDS[name]
    return f"`{_SIGNS[name]}`" if name in _SIGNS else f"`{name.lower()}`"
