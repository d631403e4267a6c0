"""What an operator is. One class per operator; everything else follows from it.

A subclass registers itself under its grammar-visible name; its ``param`` attributes, in
order, are its positional parameters. Spelling, order, coercion, defaults, messages,
completion, tables and documentation all read this one declaration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, dataclass_transform

from cnndsl.diagnostics.display import counted
from cnndsl.ops.axis import Axis
from cnndsl.ops.params import REQUIRED, Param, RuleError, param
from cnndsl.ops.sizes import Size, SizeTooComplex
from cnndsl.ops.types import UNKNOWN, Extent, FeatureMap, Type, Unknown, Vector, Weight
from cnndsl.ops.values import (
    Check,
    Coercion,
    Edges,
    Pair,
    Value,
    above_zero,
    coercion,
    edges,
    flag,
    fraction,
    not_negative,
    pair,
    positive,
    probability,
    real,
    show,
    spell,
    whole,
    word,
)

if TYPE_CHECKING:
    from cnndsl.ops.sizes import Dim

__all__ = [
    "REQUIRED",
    "Check",
    "Coercion",
    "Edges",
    "Op",
    "Pair",
    "Param",
    "RuleError",
    "Value",
    "above_zero",
    "coercion",
    "edges",
    "flag",
    "fraction",
    "not_negative",
    "pair",
    "param",
    "positive",
    "probability",
    "real",
    "register",
    "show",
    "spell",
    "whole",
    "word",
]


@dataclass_transform(frozen_default=True, kw_only_default=False, field_specifiers=(param,))
class Op:
    """Base of every operator: immutable, equal by class and parameter values.

    Class keywords of a subclass: ``name`` (as written in the text), ``on`` (the types its
    inputs may have), ``arity`` (number of inputs), ``module`` (the ``torch.nn`` class that
    takes the same parameters), and the flags below.
    """

    name: ClassVar[str] = ""
    params: ClassVar[dict[str, Param]] = {}
    on: ClassVar[tuple[type, ...]] = (FeatureMap, Vector)
    arity: ClassVar[int | None] = 1
    """None: one or more."""
    module: ClassVar[str] = ""
    norm: ClassVar[bool] = False
    """A normalisation: a convolution just before it has no bias unless told."""
    join: ClassVar[bool] = False
    """Joins take several operands of one size, and no position of their own."""
    auto_bias: ClassVar[bool] = False
    """``bias`` left out is settled by the next step of the chain."""

    def __init_subclass__(
        cls,
        name: str = "",
        on: type | tuple[type, ...] | None = None,
        arity: int | None = None,
        module: str = "",
        **flags: bool,
    ) -> None:
        super().__init_subclass__()
        cls._collect_params()
        if on is not None:
            cls.on = on if isinstance(on, tuple) else (on,)
        cls.module = module or cls.module
        for key, value in flags.items():
            if not isinstance(getattr(Op, key, None), bool):
                raise TypeError(f"an operator has no flag `{key}`")
            setattr(cls, key, value)
        cls.arity = None if cls.join else arity or cls.arity
        if name:
            cls.name = name
            register(cls)

    @classmethod
    def _collect_params(cls) -> None:
        own = {key: item for key, item in vars(cls).items() if isinstance(item, Param)}
        for key, item in own.items():
            item.name = key
            if item.coerce is None:
                hint = cls.__annotations__.get(key)
                item.coerce = word(item.choices) if item.choices else coercion(hint)
            delattr(cls, key)
        cls.params = {**cls.params, **own}

    def __init__(self, *args: Value, **values: Value) -> None:
        given, own = self._given(args, values), self.__dict__
        derived = []
        for key, declared in self.params.items():
            value = given.get(key)
            if value is not None and not declared.means_default(value):
                own[key] = declared.read(value)
            elif declared.required:
                raise RuleError(f"`{self.name}` needs `{key}`", param=key, rule="missing")
            elif declared.derive:
                derived.append(declared)  # once all it may depend on is known
            else:
                own[key] = declared.default
        for declared in derived:
            own[declared.name] = declared.default_for(self)
        own["_key"] = (type(self), *[own[key] for key in self.params])
        self.validate()

    def _given(self, args: tuple[Value, ...], values: Mapping[str, Value]) -> dict[str, Value]:
        if len(args) > len(self.params):
            raise RuleError(f"`{self.name}` takes at most {len(self.params)} parameters")
        given = dict(zip(self.params, args, strict=False))
        for key, value in values.items():
            if key not in self.params:
                raise RuleError(f"`{self.name}` has no parameter `{key}`", param=key)
            if key in given:
                raise RuleError(f"`{key}` is given twice", param=key)
            given[key] = value
        return given

    def __setattr__(self, key: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Op) and self._key == other._key  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash(self._key)  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return self.text()

    @property
    def values(self) -> Mapping[str, Value]:
        return {key: getattr(self, key) for key in self.params}

    def text(self, *, explicit: bool = False) -> str:
        """As the text would write it, defaults left out unless ``explicit``."""
        parts = []
        for key, declared in self.params.items():
            value = getattr(self, key)
            if declared.required:
                parts.append(spell(value))
            elif explicit or not self._is_default(declared, value):
                parts.append(f"{key}={spell(value)}")
        return f"{self.name}({', '.join(parts)})" if parts else self.name

    def _is_default(self, declared: Param, value: Value) -> bool:
        try:
            return bool(value == declared.default_for(self))
        except RuleError:  # these other values leave it no default
            return False

    def replace(self, **values: Value) -> Op:
        """The same operator with some parameters changed (already in stored form)."""
        return type(self)(**{**self.values, **values})

    # --- what inference asks --------------------------------------------------------------

    def infer(self, *xs: Type) -> Type:
        """The type of the output, or RuleError: every rule of this operator, in order."""
        self.check_inputs(xs)
        if any(isinstance(x, Unknown) for x in xs):
            return UNKNOWN
        try:
            y = self.shape(*xs)
        except SizeTooComplex as error:
            raise RuleError(str(error), rule="complex") from None
        self.check_sizes(xs[0], y)
        return y

    def check_inputs(self, xs: Sequence[Type]) -> None:
        """Number and kinds of the inputs; an UNKNOWN one passes in silence."""
        if not xs or (self.arity is not None and len(xs) != self.arity):
            wanted = "at least one input" if self.arity is None else counted(self.arity, "input")
            raise RuleError(f"`{self.name}` needs {wanted}, got {len(xs)}", rule="operands")
        for index, x in enumerate(xs):
            if not isinstance(x, Unknown) and not isinstance(x, self.on):
                raise _kind_error(self, index, x)

    def formula(self, x: FeatureMap, axis: int = 0) -> str:
        """How the height (axis 0) or width (1) comes about, in numbers; "" if unchanged."""
        axes, size = self.axes(x), (x.height, x.width)[axis]
        if axes is None or isinstance(size, Unknown):
            return ""
        return f"{axes[axis].formula(size)} = {axes[axis].size(size)}"

    def resized(self, x: FeatureMap, channels: Any) -> FeatureMap:
        """The output with ``channels`` and the sizes that ``axes`` gives."""
        rows, columns = self.axes(x) or (None, None)
        return FeatureMap(channels, _along(rows, x.height), _along(columns, x.width))

    def check_sizes(self, x: Type, y: Type) -> None:
        """Sizes in numbers are large enough; symbolic ones are another's business."""
        for extent, least in self.needs(x):
            if isinstance(extent, int) and extent < least:
                message = f"`{self.name}` needs a size of at least {least}, got {extent}"
                raise RuleError(message, param=self._size_param(), rule="small")
        if not isinstance(x, FeatureMap) or not isinstance(y, FeatureMap):
            return
        for axis, (side, size) in enumerate((("height", y.height), ("width", y.width))):
            if isinstance(size, int) and size < 1:
                message = f"`{self.name}` leaves no {side}"
                formula = self.formula(x, axis)
                raise RuleError(
                    f"{message}: {formula}" if formula else message,
                    param=self._size_param(),
                    rule="small",
                    note=self._least(x, axis, side),
                )

    def _least(self, x: FeatureMap, axis: int, side: str) -> str:
        axes = self.axes(x)
        size = axes[axis].size(Size.of("n")) if axes else 1
        return "" if isinstance(size, int) else f"the {side} must be at least {size.least()}"

    def _size_param(self) -> str | None:
        return next((key for key in ("kernel", "amount") if key in self.params), None)

    # --- what a subclass says (`**_` in a signature lets it name its inputs) ----------------

    def validate(self) -> None:
        """Rules between parameters; raise RuleError(param=…)."""

    def shape(self, *xs: Any, **_: Any) -> Type:
        """The type of the output; raise RuleError. Elementwise by default."""
        first: Type = xs[0]
        return first

    def axes(self, x: FeatureMap) -> tuple[Axis, Axis] | None:
        """How height and width map; None where they stay, or do not depend on the input."""
        return None

    def weights(self, *xs: Any, **_: Any) -> tuple[Weight, ...]:
        """Parameters and buffers, in ``state_dict`` order, named as PyTorch names them.

        A bare weight (name "") is a parameter at the operator's own path; ``torch`` then
        gives a function of (x, weight) and ``initial`` the weight's first value.
        """
        return ()

    def macs(self, x: Any, y: Any) -> int:
        """Multiply-accumulates for one sample; ``x`` and ``y`` have integer sizes."""
        return 0

    def needs(self, x: Any) -> tuple[tuple[Dim, int], ...]:
        """Sizes that must reach a minimum beyond `output >= 1`."""
        return ()

    def pieces(self, x: Any) -> tuple[Op, ...]:
        """For an operator with several output wires: one operator per wire, each from ``x``.

        Such an operator is replaced by its pieces and never lowered itself.
        """
        return ()

    def torch(self, *xs: Any, **_: Any) -> Callable[..., Any]:
        """The PyTorch form: an ``nn.Module``, or a picklable function for what holds nothing."""
        if not self.module:  # a plug-in gave neither this nor `module`
            raise NotImplementedError(f"{self.name} has no PyTorch form")
        from torch import nn

        module: Callable[..., Any] = getattr(nn, self.module)(**self.values)
        return module


def _along(axis: Axis | None, size: Extent) -> Extent:
    return size if axis is None or isinstance(size, Unknown) else axis.size(size)


_KINDS: dict[type, tuple[str, str]] = {
    FeatureMap: ("a feature map [C, H, W]", "put `gap -> flatten` before `{}`"),
    Vector: ("a vector [C]", "a vector has no height and width: put `{}` before `flatten`"),
}


def _kind_error(op: Op, index: int, x: FeatureMap | Vector) -> RuleError:
    wanted = " or ".join(_KINDS[kind][0] for kind in op.on)
    got = "a feature map" if isinstance(x, FeatureMap) else "a vector"
    message = f"`{op.name}` needs {wanted}, got {got} {x}"
    help = _KINDS[type(x)][1].format(op.name)
    return RuleError(message, operand=index, rule="kind", help=help)


_CATALOGUE: dict[str, type[Op]] = {}


def register(cls: type[Op]) -> None:
    """Adds an operator to the catalogue; a name is declared once (reloading a file is fine)."""
    if not cls.name.isidentifier():
        raise ValueError(f"`{cls.name}` is not a name an operator can have")
    known = _CATALOGUE.get(cls.name)
    if known is not None and (known.__module__, known.__qualname__) != (
        cls.__module__,
        cls.__qualname__,
    ):
        where = f"{known.__module__}.{known.__qualname__}"
        raise ValueError(f"operator `{cls.name}` exists ({where}) and cannot be replaced")
    _CATALOGUE[cls.name] = cls
