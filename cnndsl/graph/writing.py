"""Chains and labelled groups as lines of bounded width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

WIDTH = 88
_DEEPEST = 12  # levels that are indented: a text stays as long as its graph
_ARROW = "-> "
_BLANK = "   "

Part = str | list[str]
"""A step on one line, or the lines of a group."""


class Writer:
    """Takes steps and groups in order; knows which groups are open."""

    def __init__(self) -> None:
        self._parts: list[list[Part]] = [[]]
        self._open: list[tuple[str, str]] = []  # path and label of each open group

    def step(self, text: str) -> None:
        self._parts[-1].append(text)

    def enter(self, path: str, label: str) -> None:
        """Opens the group of the namespace ``path``."""
        self._open.append((path, label))
        self._parts.append([])

    def leave_for(self, path: str) -> None:
        """Closes the groups that do not hold ``path``."""
        while self._open and not f"{path}.".startswith(f"{self._open[-1][0]}."):
            _, label = self._open.pop()
            self._parts[-2].append(_group(label, self._parts.pop(), len(self._open)))

    def missing(self, path: str) -> Iterator[str]:
        """The namespaces between the innermost open group and ``path``, outermost first."""
        at = len(self._open[-1][0]) + 1 if self._open else 0
        while at < len(path):
            end = path.find(".", at)
            at = (end if end >= 0 else len(path)) + 1
            yield path[: at - 1]

    def text(self, head: str, results: Sequence[str], clause: str) -> str:
        """The declaration; ``results`` are those behind the chain's own."""
        self.leave_for("")
        body = self._parts[0] or ["id"]
        line = _on_one_line(body)
        if line is not None and not results and len(head) + len(line) < WIDTH:
            lines = [f"{head} {line}"]
        else:
            lines = [head, *(f"  {line}" for line in _lines(body, WIDTH - 2))]
        for result in results:
            lines[-1] += ","
            lines.append(f"  {_BLANK}{result}")
        return "\n".join([*lines, *([f"  {clause}"] if clause else [])]) + "\n"


def _on_one_line(parts: Sequence[Part]) -> str | None:
    steps = [part for part in parts if isinstance(part, str)]
    return " -> ".join(steps) if len(steps) == len(parts) else None


def _group(label: str, parts: Sequence[Part], depth: int) -> Part:
    """``label: (…)``, inside ``depth`` other groups."""
    indent = "  " if depth < _DEEPEST else ""
    width = WIDTH - 2 - 5 * (min(depth, _DEEPEST) + 1)
    line = _on_one_line(parts)
    if line is not None and len(label) + len(line) + 4 <= width:
        return f"{label}: ({line})"
    return [f"{label}: (", *(indent + line for line in _lines(parts, width)), ")"]


def _lines(parts: Sequence[Part], width: int) -> Iterator[str]:
    """A chain; every line but the first starts with an arrow, or inside a group."""
    line, lead = "", _BLANK
    for part in parts:
        first = part if isinstance(part, str) else part[0]
        if line and len(lead) + len(line) + 4 + len(first) <= width:
            line += f" -> {first}"
        else:
            if line:
                yield lead + line
                lead = _ARROW
            line = first
        if not isinstance(part, str):
            yield lead + line
            yield from (_BLANK + inner for inner in part[1:-1])
            line, lead = part[-1], _BLANK
    yield lead + line
