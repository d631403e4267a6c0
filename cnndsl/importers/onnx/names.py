"""Module paths for what has been found, from the names of weights and nodes where these say much.

What a stranger's file calls things becomes identifiers here; nothing else of it reaches a text.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence
from typing import Any

from cnndsl.graph.names import is_label, is_net_name, is_word
from cnndsl.importers.onnx.model import Operation
from cnndsl.importers.onnx.network import Step
from cnndsl.limits import Limits
from cnndsl.ops import catalogue

_ENDS = "._/:"
_WEIGHT = re.compile(
    r"[._/:]+(weights?|kernel|filter|w|W|slope|scale|s|gamma|alpha"
    r"|(Unsqueeze|Transpose|Reshape|Constant|Identity|Cast)(_\d+)?)([._:]\d+)*$"
)
_NOTHING = re.compile(
    r"(?i)(onnx[_:]+.*|node_.*|p2o.*|n?\d+|(weight|bias|scale|shift|slope|mean|var|constant|param"
    r"|batch_?norm\w*|tensor|r)s?_?\d*)"
)
_STRANGE = re.compile(r"[^A-Za-z0-9_]+")
_SEPARATED = re.compile(r"[./]")
_DEPTH = 8
_WORD = 50  # letters of a label, which a number may follow


def hint_of(op: Operation) -> str:
    """What its weights' names have in common, else its own name; "" where neither says much."""
    given = [name for name in op.inputs[1:] if name]
    if len(given) > 1:
        shared = "".join(_shared(given))
        found = shared if shared[-1:] in tuple(_ENDS) else ""
    else:
        found = _WEIGHT.sub("", given[0]) if given else ""
    found = found.rstrip(_ENDS)
    own = own_name(op, weighty=True)
    deeper = own and not _SEPARATED.search(found) and _SEPARATED.search(own)
    # `conv1` says little as a node's name and everything as that of `conv1.weight`.
    keyed = any(name.startswith(f"{found}.") for name in given) and (
        found.isdecimal() or not _NOTHING.fullmatch(found)
    )
    return own if deeper or not (_says(found, op) or (found and keyed)) else found


def weight_name(op: Operation, constants: Container[str]) -> str | None:
    """The name of the weight in a product or a sum, which a learned factor has for a path; None
    where there is none, or the name says little."""
    name = next((name for name in op.inputs if name in constants), "").rstrip(_ENDS)
    says = name and (name == op.name or _says(name, op))  # even `9`, if the node is called so too
    return name if says else None


def _shared(rows: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    """What all begin with."""
    found = []
    for items in zip(*rows, strict=False):
        if any(item != items[0] for item in items):
            break
        found.append(items[0])
    return tuple(found)


def own_name(op: Operation, *, weighty: bool = False) -> str:
    """The node's name without its operator: ``/layer1/conv1/Conv`` is ``/layer1/conv1``.

    ``weighty``: it has weights, so that what is left is a module's name, even `conv1` or `prelu2`.
    """
    parts = op.name.split("/")
    within = len(parts) > 1 and re.fullmatch(rf"{re.escape(op.kind)}(_\d+)?", parts[-1])
    if within:
        parts.pop()
    name = "/".join(parts).strip("/")
    module = weighty and within and name and not _NOTHING.fullmatch(name)
    return name if module or _says(name, op) else ""


def _says(name: str, op: Operation) -> bool:
    last = re.split(r"[./]", name)[-1]
    made = re.fullmatch(rf"(?i){re.escape(op.kind)}(_\w*)?\d*", last)
    return bool(last) and not (made and name == last) and not _NOTHING.fullmatch(name)


def network_name(name: str, limits: Limits) -> str:
    """A name for the net, written as nets are: ``light_resnet50`` is ``LightResnet50``."""
    parts = [part for part in _STRANGE.sub("_", name).split("_") if part]
    word = ""
    for part in parts:
        between = "_" if word[-1:].isdigit() and part[0].isdigit() else ""
        word += between + part[0].upper() + part[1:]
    word = word[: limits.identifier]
    return word if is_net_name(word, limits) else "Net"


def input_names(names: Sequence[str], limits: Limits) -> list[str]:
    """One input is ``in``; several keep their names as far as these are words."""
    if len(names) == 1:
        return ["in"]
    return _distinct([_word(name, f"input{k}", limits) for k, name in enumerate(names)])


def output_names(names: Sequence[str], limits: Limits) -> list[str]:
    """One result is ``out``; several keep their names as far as a tuple's field can have them."""
    if len(names) == 1:
        return ["out"]
    return _distinct([_word(name, f"output{k}", limits) for k, name in enumerate(names)])


def _word(name: str, instead: str, limits: Limits) -> str:
    from keyword import iskeyword

    word = _STRANGE.sub("_", name).strip("_")[: limits.identifier - 8]
    taken = iskeyword(word) or hasattr(tuple, word) or word in catalogue() or word == "self"
    fits = is_word(word, limits) and is_label(word, limits) and word not in ("in", "out")
    return word if fits and not taken else instead


def _distinct(names: Sequence[str]) -> list[str]:
    """The same names, later ones numbered where an earlier one is equal."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        free = name
        while free in seen:
            seen[name] += 1
            free = f"{_lettered(name)}_{seen[name]}"
        seen[free] = 1
        found.append(free)
    return found


def _lettered(name: str) -> str:
    """A name that another number may follow: ``block.0`` is ``block.n0``."""
    space, dot, last = name.rpartition(".")
    return f"{space}{dot}n{last}" if last.isdigit() else name


# --- paths --------------------------------------------------------------------------------------


def paths(
    steps: Sequence[Step], owners: Sequence[int | None], limits: Limits
) -> list[tuple[str, str | None]]:
    """A path for each step that is no input; joins have one too, which nobody sees.

    Steps of one namespace stand together, and no namespace is a step, whatever the file says:
    names that would break this are joined by underscores. ``owners``: the step whose module a
    step applies again; it has the owner's path, and beside it the namespace where it stands.
    """
    own = [
        _parts(step, limits) if owner is None else ()
        for step, owner in zip(steps, owners, strict=True)
    ]
    wanted = _with_joins(_together(_without_common(own)), steps, limits)
    taken = set(_distinct_paths(wanted))
    taken.update(".".join(parts[:k]) for parts in wanted for k in range(1, len(parts)))
    found: list[tuple[str, str | None]] = []
    free = [step.op.join or owner is not None for step, owner in zip(steps, owners, strict=True)]
    for path, owner in zip(_filled(free, wanted, taken), owners, strict=True):
        stands = None if owner is None else path.rpartition(".")[0]
        found.append((path, None) if owner is None else (found[owner][0], stands))
    return found


def _parts(step: Step, limits: Limits) -> tuple[str, ...]:
    if step.op.join or step.origin is None:
        return ()
    return _labels(step.hint or (own_name(step.origin) if _is_main(step) else ""), limits)


def _with_joins(
    wanted: list[tuple[str, ...]], steps: Sequence[Step], limits: Limits
) -> list[tuple[str, ...]]:
    """With joins in the namespaces of their own names, if these fit to all the others."""
    named = [
        _join_parts(step, limits) if step.op.join and step.origin else parts
        for step, parts in zip(steps, wanted, strict=True)
    ]
    return wanted if next(_broken(named), None) else named


def _join_parts(step: Step, limits: Limits) -> tuple[str, ...]:
    """``/layer1/0/Add`` and ``layer1.0.add`` are in ``layer1.0``; nobody sees the last part."""
    assert step.origin is not None
    own = own_name(step.origin)
    labels = _labels(own, limits)
    ended = not step.origin.name.strip("/").endswith(own.strip("/"))
    return (*(labels if ended else labels[:-1]), step.op.name) if labels else ()


def _labels(raw: str, limits: Limits) -> tuple[str, ...]:
    parts: list[str] = []
    scope = ""
    for piece in raw.split("/"):
        # PyTorch's exporter repeats the way so far: /layer1/layer1.0/conv1.
        parts += (piece.removeprefix(f"{scope}.") if scope else piece).split(".")
        scope = piece
    labels = [_label(part, limits) for part in parts if part.strip("_")]
    if len(labels) > _DEPTH:
        labels = [_glued(labels)]
    return tuple(labels)


def _is_main(step: Step) -> bool:
    """Whether the step is what its operation is about, and not a help for it."""
    origin = step.origin
    return origin is not None and origin.kind.lower().startswith(step.op.name[:4])


def _label(part: str, limits: Limits) -> str:
    word = _STRANGE.sub("_", part)[: limits.identifier - 8].strip("_") or "x"
    if word.isdigit() and len(word) < 6:
        word = str(int(word))
    for label in (word, f"{word}_"):
        if is_label(label, limits):
            return label
    return "x"


def _without_common(wanted: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Without a first part that all have, such as a device."""
    named = [parts for parts in wanted if parts]
    while named and all(len(p) > 1 and p[0] == named[0][0] for p in named):
        wanted = [parts[1:] for parts in wanted]
        named = [parts for parts in wanted if parts]
    return wanted


def _together(wanted: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Joins the parts behind every namespace that is left and entered again, or is a step."""
    for _ in range(_DEPTH):
        broken = set(_broken(wanted))
        if not broken:
            return wanted
        wanted = [_joined(parts, broken) for parts in wanted]
    return [(_glued(parts),) if parts else () for parts in wanted]


def _broken(wanted: Sequence[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    steps = set(wanted)
    over: set[tuple[str, ...]] = set()
    here: set[tuple[str, ...]] = set()
    for parts in filter(None, wanted):
        now = {parts[:k] for k in range(1, len(parts))}
        over |= here - now
        yield from (space for space in now if space in over or space in steps)
        here = now


def _joined(parts: tuple[str, ...], broken: set[tuple[str, ...]]) -> tuple[str, ...]:
    for k in range(1, len(parts)):
        if parts[:k] in broken:
            return (*parts[: k - 1], _glued(parts[k - 1 :]))
    return parts


def _glued(parts: Sequence[str]) -> str:
    """One label of several; it begins with a letter, as those of several words do."""
    word = "_".join(parts)[:_WORD]
    return f"n{word}" if word[:1].isdigit() and len(parts) > 1 else word


def _distinct_paths(wanted: list[tuple[str, ...]]) -> Iterator[str]:
    """Makes names that several steps have different, in place; gives them all."""
    names = _distinct([".".join(parts) for parts in wanted if parts])
    rest = iter(names)
    for k, parts in enumerate(wanted):
        if parts:
            wanted[k] = tuple(next(rest).split("."))
    yield from names


def _filled(free: Sequence[bool], wanted: Sequence[tuple[str, ...]], taken: set[str]) -> list[str]:
    """Steps without a name take positions, in the namespace that goes on around them.

    ``free``: those that take none, since they are no modules of their own.
    """
    counts: dict[tuple[str, ...], int] = {}
    found: list[str] = []
    before: tuple[str, ...] = ()
    for none, parts, after in zip(free, wanted, _following(wanted), strict=True):
        if not parts:
            space = _shared([before[:-1], after[:-1]])
            number = counts.get(space, 0)
            while ".".join((*space, str(number))) in taken and not none:
                number += 1
            parts = (*space, str(number))
        if not none:
            counts[parts[:-1]] = counts.get(parts[:-1], 0) + 1
            taken.add(".".join(parts))
        found.append(".".join(parts))
        before = parts
    return found


def _following(wanted: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """For each step the next one that has a name."""
    found: list[tuple[str, ...]] = []
    after: tuple[str, ...] = ()
    for parts in reversed(wanted):
        after = parts or after
        found.append(after)
    return found[::-1]
