"""``cnndsl ops``: the operators of the language and of installed packages."""

from __future__ import annotations

import click

from cnndsl.cli.app import OK
from cnndsl.cli.files import Failure
from cnndsl.cli.report import write_json
from cnndsl.cli.terminal import err, out
from cnndsl.diagnostics.display import escape


@click.command("ops")
@click.argument("name", required=False)
@click.option(
    "--format", "kind", type=click.Choice(("text", "json", "markdown")), default="text",
    help="markdown: the reference page of the language's own operators.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Short for --format json.")
def command(name: str | None, kind: str, as_json: bool) -> int:
    """List the operators, or show the parameters, shapes and source of one."""
    from cnndsl.ops import catalogue, load_plugins
    from cnndsl.views import operators

    for problem in load_plugins():
        err(f"warning: {escape(str(problem))}")
    if name is not None and name not in catalogue():
        from cnndsl.diagnostics.suggest import did_you_mean

        near = did_you_mean(name, catalogue())
        tail = f", did you mean `{near}`?" if near else "; `cnndsl ops` lists them all"
        raise Failure(f"no operator `{name}`{tail}")
    chosen = list(catalogue().values()) if name is None else [catalogue()[name]]
    if as_json or kind == "json":
        write_json(operators.to_json(chosen))
    elif kind == "markdown":
        out(operators.reference())
    else:
        out(operators.describe(chosen[0]) if name else operators.listing())
    return OK
