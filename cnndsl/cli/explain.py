"""``cnndsl explain``: the page behind a code."""

from __future__ import annotations

import click

from cnndsl.cli.app import OK
from cnndsl.cli.files import Failure
from cnndsl.cli.terminal import line, out


@click.command("explain")
@click.argument("code", required=False)
def command(code: str | None) -> int:
    """Explain a code such as E0401, with a failing and a mended example.

    Without CODE, every code is listed.
    """
    from cnndsl.diagnostics.explain import codes, explanation, suggest_codes, title

    if code is None:
        for known in codes():
            line(f"{known}  {title(known)}")
        return OK
    page = explanation(code)
    if page is None:
        near = " or ".join(", ".join(suggest_codes(code)).rsplit(", ", 1))
        tail = f", did you mean {near}?" if near else "; `cnndsl explain` lists them all"
        raise Failure(f"no code `{code}`{tail}")
    out(page)
    return OK
