"""The pages behind the codes: why it is an error, a file that fails, and the file mended.

A page is ``explain/E0401.md``. Its fenced blocks are complete files. The words after ``cnn`` say
what each is, ``fails`` or ``fixed``, and for the tests that run them: ``file=NAME`` (a file beside
it), ``escapes`` (``\\u{202e}`` stands for that character), and what to do beyond checking:
``net=NAME``, ``compile``, ``without=MODULE``, ``command=NAME``, ``seconds=NUMBER``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from cnndsl.diagnostics.suggest import distance

_MANY = 5
_PAGES = Path(__file__).resolve().parent / "explain"
_FENCE = re.compile(r"^```cnn ([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ESCAPE = re.compile(r"\\u\{([0-9a-f]{1,6})\}")


class Example(NamedTuple):
    """A file, the files beside it, and what else its fence says."""

    text: str
    files: Mapping[str, str]
    ask: Mapping[str, str]


def explanation(code: str) -> str | None:
    """The page of a code in Markdown; None for a code that does not exist."""
    code = code.strip().upper()
    if code not in codes():
        return None
    return (_PAGES / f"{code}.md").read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def codes() -> tuple[str, ...]:
    """Every code that has a page, sorted."""
    return tuple(sorted(path.stem for path in _PAGES.glob("[EW][0-9][0-9][0-9][0-9].md")))


def suggest_codes(code: str) -> tuple[str, ...]:
    """Codes that were perhaps meant: the likeliest alone, or those of ``E41``: E0401, E0410."""
    meant = suggest_code(code)
    if meant:
        return (meant,)
    word = code.strip().upper()
    letter, digits = word[:1], word.lstrip("EW").lstrip("0")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 3:
        return ()
    spread = re.compile(f"{letter if letter in ('E', 'W') else '.'}0*{'0*'.join(digits)}")
    return tuple(known for known in codes() if spread.match(known))[:_MANY]


def suggest_code(code: str) -> str | None:
    """The code that was probably meant: ``e401`` is ``E0401``."""
    code = code.strip().upper()
    digits = code.lstrip("EW")
    if digits.isascii() and digits.isdigit() and len(digits) <= 4:
        padded = digits.zfill(4)
        letters = code[: len(code) - len(digits)] or "EW"
        for letter in letters[:2]:
            if letter + padded in codes():
                return letter + padded
    near = [known for known in codes() if distance(code, known, 1) == 1]
    return near[0] if len(near) == 1 else None


def title(code: str) -> str:
    """What a code says in a few words, from its page's first line."""
    page = explanation(code) or ""
    return page.partition("\n")[0].partition(": ")[2]


def example(code: str, kind: str) -> Example | None:
    """The ``fails`` or ``fixed`` example of a page."""
    text: str | None = None
    files: dict[str, str] = {}
    ask: dict[str, str] = {}
    for words, body in _FENCE.findall(explanation(code) or ""):
        said = {key: value for key, _, value in (word.partition("=") for word in words.split())}
        if "escapes" in said:
            body = _ESCAPE.sub(lambda m: chr(int(m[1], 16)), body)
        if kind not in said and ("fails" in said or "fixed" in said):
            continue
        if "file" in said:
            files[said["file"]] = body
        else:
            text, ask = body, {k: v for k, v in said.items() if k not in (kind, "escapes")}
    return None if text is None else Example(text, files, ask)
