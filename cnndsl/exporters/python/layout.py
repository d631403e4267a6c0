"""Expressions as lines, laid out as ruff and black do: whole, or one item to a line."""

from __future__ import annotations

from dataclasses import dataclass

WIDTH = 88
_STACKED = ("Sequential(", "__init__(")  # layers read better one below the other


@dataclass(frozen=True)
class Group:
    """Items between brackets; ``loop`` is the tail of a generator, whose only item this has."""

    start: str
    items: tuple[Doc, ...]
    end: str
    loop: str = ""


Doc = str | Group


def flat(doc: Doc) -> str:
    """The expression on one line."""
    if isinstance(doc, str):
        return doc
    tail = f" {doc.loop}" if doc.loop else ""
    return doc.start + ", ".join(map(flat, doc.items)) + tail + doc.end


def lines(doc: Doc, indent: int, before: str = "", behind: str = "") -> list[str]:
    """The expression between two texts, starting at a column."""
    pad = " " * indent
    whole = f"{pad}{before}{flat(doc)}{behind}"
    if len(whole) <= WIDTH or isinstance(doc, str) or not doc.items:
        return [whole]
    found = [f"{pad}{before}{doc.start}"]
    inside = f"{pad}    {', '.join(map(flat, doc.items))}"
    if not doc.loop and not doc.start.endswith(_STACKED) and len(inside) <= WIDTH:
        return [*found, inside, f"{pad}{doc.end}{behind}"]
    for item in doc.items:
        found += lines(item, indent + 4, behind="" if doc.loop else ",")
    if doc.loop:
        found.append(f"{pad}    {doc.loop}")
    return [*found, f"{pad}{doc.end}{behind}"]
