"""How an ONNX tensor lies over a feature map or vector: reshapes and transposes as bookkeeping.

ONNX moves values with Reshape, Transpose, Squeeze, …; the language has layers. So a tensor is a
*view* of a wire: for each of its axes the parts of the wire's axes that it runs through, slowest
first. ``[N, g, C/g, H, W]`` is ``((n,), (c outer,), (c inner,), (h,), (w,))``; nothing is emitted
until somebody needs a feature map or a vector, and then the view says which layer it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

from cnndsl.importers.onnx.model import RANK
from cnndsl.ops.sizes import Dim, Size, times
from cnndsl.ops.types import FeatureMap, Type, Vector

BATCH = Size.of("batch")
"""The size of the batch axis where the file leaves it open."""


class Atom(NamedTuple):
    """``size`` steps of ``step`` along one axis of the wire: n, c, h or w."""

    axis: str
    size: Dim
    step: int = 1


Axis = tuple[Atom, ...]
View = tuple[Axis, ...]


class NoView(Exception):
    """The values would have to be computed, or moved in a way that no layer has."""


def base(type: Type, batch: Dim) -> View:
    """The wire itself: ``[N, C, H, W]`` or ``[N, C]``."""
    if isinstance(type, FeatureMap):
        sizes: tuple[Any, ...] = (type.channels, type.height, type.width)
    else:
        assert isinstance(type, Vector)
        sizes = (type.features,)
    axes = zip("nchw", (batch, *sizes), strict=False)
    return tuple(_axis([Atom(name, size)]) for name, size in axes)


def shape(view: View) -> tuple[Dim, ...]:
    """Sizes of the tensor's axes; NoView for a product of two open sizes."""
    return tuple(_size(axis) for axis in view)


def _size(axis: Axis) -> Dim:
    total: Dim = 1
    for atom in axis:
        if isinstance(atom.size, int):
            total = times(total, atom.size)
        elif isinstance(total, int):
            total = times(atom.size, total)
        else:
            raise NoView("a product of two open sizes")
    return total


def _axis(atoms: Sequence[Atom]) -> Axis:
    """Without axes of one element; neighbours that run on become one."""
    found: list[Atom] = []
    for atom in atoms:
        if atom.size == 1:
            continue
        last = found[-1] if found else None
        if (
            last is not None
            and last.axis == atom.axis
            and isinstance(last.size, int)
            and isinstance(atom.size, int)
            and last.step == atom.step * atom.size
        ):
            found[-1] = Atom(atom.axis, last.size * atom.size, atom.step)
        else:
            found.append(atom)
    return tuple(found)


# --- moves --------------------------------------------------------------------------------------


def transpose(view: View, order: Sequence[int]) -> View:
    if sorted(order) != list(range(len(view))):
        raise NoView(f"the order {list(order)} is no order of {len(view)} axes")
    return tuple(view[k] for k in order)


def squeeze(view: View, axes: Sequence[int] | None) -> View:
    if axes is None:
        return tuple(axis for axis in view if axis)
    places = normal(axes, len(view))
    if any(view[k] for k in places):
        raise NoView("an axis of more than one element is squeezed")
    return tuple(axis for k, axis in enumerate(view) if k not in places)


def unsqueeze(view: View, axes: Sequence[int]) -> View:
    rank = len(view) + len(axes)
    if rank > RANK:
        raise NoView(f"{rank} axes, more than {RANK}")
    places = normal(axes, rank)
    rest = iter(view)
    return tuple(() if k in places else next(rest) for k in range(rank))


def normal(axes: Sequence[int], rank: int) -> list[int]:
    """Axes counted from 0; NoView for one that is not there or there twice."""
    found = [axis + rank if axis < 0 else axis for axis in axes]
    if len(set(found)) < len(found) or any(not 0 <= axis < rank for axis in found):
        raise NoView(f"the axes {list(axes)} of {rank}")
    return found


def flatten(view: View, axis: int) -> View:
    """Two axes: those before ``axis``, those from it on."""
    if not -len(view) <= axis <= len(view):
        raise NoView(f"the axis {axis} of {len(view)}")
    axis = axis + len(view) if axis < 0 else axis
    return merged(view[:axis]), merged(view[axis:])


def merged(view: View) -> Axis:
    """One axis that runs through all of them."""
    return _axis([atom for axis in view for atom in axis])


def reshape(view: View, target: Sequence[Dim], keep_zero: bool = False) -> View:
    """The same values in order, with other axes; 0 copies an axis, -1 is what is left."""
    sizes = [
        _size(view[k]) if size == 0 and not keep_zero and k < len(view) else size
        for k, size in enumerate(target)
    ]
    open_places = [k for k, size in enumerate(sizes) if size == -1]
    if len(open_places) > 1 or any(isinstance(s, int) and s < -1 for s in sizes):
        raise NoView(f"the shape {list(map(str, sizes))}")
    place = open_places[0] if open_places else len(sizes)
    atoms = [atom for axis in view for atom in axis]
    front = [_take(atoms, size, 0) for size in sizes[:place]]
    back = [_take(atoms, size, -1) for size in reversed(sizes[place + 1 :])]
    if not open_places and atoms:
        raise NoView("another number of values")
    middle = [_axis(atoms)] if open_places else []
    return (*front, *middle, *reversed(back))


def _take(atoms: list[Atom], size: Dim, end: int) -> Axis:
    """Takes as many values as ``size`` off one end; splits the last atom where need be."""
    taken: list[Atom] = []
    while _size(tuple(taken)) != size:
        if not atoms:
            raise NoView("another number of values")
        atom = atoms.pop(end)
        have = _size(tuple(taken))
        if isinstance(atom.size, int) and isinstance(size, int) and isinstance(have, int):
            atom, rest = _split(atom, size, have, end)
            if rest is not None:
                atoms.insert(len(atoms) if end else 0, rest)
        taken.insert(len(taken) if end == 0 else 0, atom)
        if isinstance(size, int) and not isinstance(atom.size, int):
            raise NoView(f"an axis of open size becomes {size}")
    return _axis(taken)


def _split(atom: Atom, size: int, have: int, end: int) -> tuple[Atom, Atom | None]:
    """The part of an atom that is still needed, and what is left of it."""
    assert isinstance(atom.size, int)
    need, odd = divmod(size, have)
    if odd or not need:
        raise NoView("another number of values")
    if need % atom.size == 0:
        return atom, None
    if atom.size % need:
        raise NoView(f"an axis of {atom.size} is cut into parts of {need}")
    rest = atom.size // need
    if end == 0:
        return Atom(atom.axis, need, atom.step * rest), Atom(atom.axis, rest, atom.step)
    return Atom(atom.axis, need, atom.step), Atom(atom.axis, rest, atom.step * need)


# --- what a view is -----------------------------------------------------------------------------


def channel_axis(view: View, type: Type) -> int | None:
    """The axis that runs through all channels and nothing else."""
    channels = base(type, 1)[1]
    places = [k for k, axis in enumerate(view) if axis == channels]
    if channels:
        return places[0] if places else None
    # One channel is no atom: it is where the wire itself has it.
    return 1 if len(view) in (2, 4) and view == with_batch(base(type, 1), view) else None


def with_batch(view: View, like: View) -> View:
    """The view with the batch axis of another."""
    return (like[0] if like else (), *view[1:])


def onto(view: View, old: Type, new: Type) -> View:
    """The same view of a value whose sizes are written, or are, otherwise."""
    before, after = base(old, 1), base(new, 1)
    turned = {axis[0]: now for axis, now in zip(before, after, strict=True) if axis and axis != now}
    return tuple(
        _axis([new for atom in axis for new in turned.get(atom, (atom,))]) for axis in view
    )


def is_batch(axis: Axis) -> bool:
    """Whether it is the batch, or one sample."""
    return all(atom.axis == "n" for atom in axis)


def is_base(view: View, type: Type) -> bool:
    """Whether the tensor is the wire as it is."""
    same = base(type, 1)
    return len(view) == len(same) and is_batch(view[0]) and view[1:] == same[1:]


def flat_order(view: View, type: Type) -> str | None:
    """The order of the axes if the tensor is ``[N, C*H*W]``: chw, hwc, …"""
    from cnndsl.ops.reshape import Flatten

    if len(view) != 2 or not is_batch(view[0]) or not isinstance(type, FeatureMap):
        return None
    whole = dict(zip("chw", base(type, 1)[1:], strict=True))
    letters = "".join(atom.axis for atom in view[1])
    if merged(tuple(whole.get(letter, ()) for letter in letters)) != view[1] or "n" in letters:
        return None
    present = {letter for letter, axis in whole.items() if axis}
    if present != set(letters) or len(letters) != len(present):
        return None
    for order in Flatten.params["order"].choices:
        if "".join(letter for letter in order if letter in present) == letters:
            return order
    return None


def shuffle_groups(axis: Axis) -> int | None:
    """``groups`` if a channel axis is two turned factors: what ``channel_shuffle`` does."""
    if len(axis) != 2 or any(atom.axis != "c" for atom in axis):
        return None
    inner, outer = axis
    if inner.step == 1 and outer.step == inner.size and isinstance(outer.size, int):
        return outer.size
    return None


def pixel_factor(view: View, type: FeatureMap) -> int | None:
    """``factor`` if rows and columns go on inside the channels: what ``pixel_shuffle`` does."""
    return _factor(view, type, channels_first=True)


def depth_first_factor(view: View, type: FeatureMap) -> int | None:
    """The same where the channels of one place stand together, as DepthToSpace has it."""
    return _factor(view, type, channels_first=False)


def _factor(view: View, type: FeatureMap, channels_first: bool) -> int | None:
    if len(view) != 4 or not is_batch(view[0]) or not isinstance(type.channels, int):
        return None
    inside = [atom.size for atom in view[3] if atom.axis == "c"]
    if len(inside) != 1 or not isinstance(inside[0], int):
        return None
    factor = inside[0]
    left, odd = divmod(type.channels, factor**2)
    _, _, rows, columns = base(type, 1)
    channel, step = (factor**2, 1) if channels_first else (1, left)
    expected = (
        _axis([Atom("c", left, channel)]),
        _axis([*rows, Atom("c", factor, step * factor)]),
        _axis([*columns, Atom("c", factor, step)]),
    )
    return factor if not odd and view[1:] == expected else None


# --- arrays -------------------------------------------------------------------------------------


def apply(view: View, value: Any) -> Any:
    """A torch tensor of the wire, as the tensor that the view is: for running the original."""
    atoms = [atom for axis in view for atom in axis]
    letters = "nchw"[: value.dim()]
    order = sorted(atoms, key=lambda a: (letters.index(a.axis), -a.step))
    sizes = _known(atoms, dict(zip(letters, value.shape, strict=True)))
    split = value.reshape([sizes[a] for a in order])
    turned = split.permute([order.index(a) for a in atoms])
    return turned.reshape([prod(sizes[atom] for atom in axis) for axis in view])


def undo(view: View, value: Any, batch: int, rank: int) -> Any:
    """The wire's tensor from the tensor that is a view of it; open axes must stand alone."""
    atoms = [atom for axis in view for atom in axis]
    letters = "nchw"[:rank]
    whole = {"n": batch}
    for axis, size in zip(view, value.shape, strict=True):
        if len(axis) == 1 and not isinstance(axis[0].size, int):
            whole[axis[0].axis] = size
    sizes = _known(atoms, whole)
    order = sorted(atoms, key=lambda a: (letters.index(a.axis), -a.step))
    split = value.reshape([sizes[a] for a in atoms])
    turned = split.permute([atoms.index(a) for a in order])
    parts = [prod(sizes[a] for a in order if a.axis == letter) for letter in letters]
    return turned.reshape(parts)


def _known(atoms: Sequence[Atom], whole: Mapping[str, int]) -> dict[Atom, int]:
    """Sizes in numbers: an axis of open size is one atom."""
    return {a: a.size if isinstance(a.size, int) else whole[a.axis] for a in atoms}
