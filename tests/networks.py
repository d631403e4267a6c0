"""Random small networks that are right by construction: every shape is known while writing.

The generator follows the shape (channels, height = width) along the text. Sizes are whole
numbers when the input says ``[3, 32, 32]``; for ``[3, H, W]`` the size is that of a large
image, and steps that need a divisible size are left out. One generator for the laws of the
language and for rewrites; the parts that rewrites look for are in ``tests/motifs.py``.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tests.motifs import HELPERS, Motifs, Shape

_LARGE = 4096  # stands for a symbolic size: no step may come near its end
_SMOOTH = ["relu", "silu", "sigmoid", "bn", "relu6", "id", "dropout(0.1)"]
_HELPERS = """\
block Unit(c, k = 3, stride = 1) =
  conv: conv(c, k, stride=stride) -> bn: bn -> relu
block Residual(c, stride = 1) =
  ( conv1: conv(c, 3, stride=stride) -> bn1: bn -> relu -> conv2: conv(c, 3) -> bn2: bn
  + downsample: if stride > 1 or in.channels != c then (conv(c, 1, stride=stride) -> bn)
  ) -> relu
block Gate(r = 2) = id * (gap -> fc1: conv(in.channels/r, 1) -> relu -> fc2: conv(in.channels, 1) -> sigmoid)
block Dense(n, k) = for i in 1..n do (id | layer{i}: (bn -> relu -> conv(k, 3, bias=no)))
block Merge(c)[a, b] = left: (a -> conv(c, 1)) + right: (b -> conv(c, 1))
def wide(c) = 2*c
def Twice(f) = f -> f
def Grow(n, c) = if n == 0 then id else (Unit(c) -> Grow(n - 1, c))
"""  # noqa: E501


def random_network(seed: int, *, tiny: bool = False, whole: bool = False) -> str:
    """A file whose last declaration is a network that has no error.

    ``tiny``: cheap to run. ``whole``: on small whole numbers every value is exact, as no step
    divides by anything but powers of two, if normalisation is given such a variance.
    """
    text = _Writer(random.Random(seed), tiny=tiny, whole=whole).file()
    return text.replace("sigmoid", "relu").replace("silu", "relu") if whole else text


@dataclass
class _Writer(Motifs):
    rng: random.Random
    tiny: bool = False
    whole: bool = False
    labels: int = 0
    taps: int = 0
    exact: bool = True
    lets: list[str] = field(default_factory=list)

    # --- the file -----------------------------------------------------------------------------

    def file(self) -> str:
        self.exact = self.rng.random() < 0.6
        sizes = [8, 16] if self.whole else [7, 8, 12, 13] if self.tiny else [24, 32, 40]
        size = self.rng.choice(sizes) if self.exact else _LARGE
        shape = Shape(3, size)
        dims = f"[3, {size}, {size}]" if self.exact else "[3, H, W]"
        params = self.rng.choice(["", "(classes = 10)", "(classes = 10, width = 8)"])
        body = self.body(shape, "classes" if params else "10", "width" in params)
        scope = self.rng.choice(["", "", "with conv(bias=no):\n  ", "with bn(momentum=0.2):\n  "])
        scope = "with bn(eps=0):\n  " if self.whole else scope
        lets = "".join(f"let {let}\n  " for let in self.lets)
        return f"{_HELPERS}{HELPERS}net Net{params}: {dims} =\n  {scope}{lets}{body}\n"

    def body(self, shape: Shape, classes: str, has_width: bool) -> str:
        steps: list[str] = []
        if has_width:
            steps.append(f"{self.label()}conv(width, 3)")
            shape.channels = 8
        elif self.rng.random() < 0.3:
            steps.append(self.let(shape))
        steps += [self.step(shape) for _ in range(self.rng.randint(1, 5 if self.tiny else 7))]
        if self.rng.random() < 0.3:
            steps.append(self.emit())
        return " -> ".join([*steps, *self.head(shape, classes)])

    def let(self, shape: Shape) -> str:
        """Wires with names, joined again; the result starts from them and not from ``in``."""
        out = self.width(8, 16)
        shape.channels = out
        stem = self.label()
        self.lets.append(f"s = {stem}conv({out}, 3)")
        if self.rng.random() < 0.5:
            self.lets.append(f"t = s -> {self.label()}conv({out}, 1) -> relu")
            # Not `(s + t)`: behind `let t = … -> relu` that would be a call of relu.
            return self.rng.choice(["j: (s + t)", f"{self.label()}Merge({out})[s, t]", "add(s, t)"])
        return f"s -> {self.label()}conv({out}, 1)"

    def emit(self) -> str:
        mode = self.rng.choice(["", "[train]"])
        self.labels += 1
        return f"emit{mode} aux{self.labels}: (gap -> flatten -> fc: linear(5))"

    def head(self, shape: Shape, classes: str) -> list[str]:
        linear = f"{self.label()}linear({classes})"
        if self.exact and self.rng.random() < 0.3:
            return [f"flatten{self.rng.choice(['', '', '(order=hwc)', '(order=whc)'])}", linear]
        full = ["gap", "flatten", linear]
        square = ["adaptive_avgpool(2)", "flatten(order=hwc)", linear]
        narrow = ["gap", f"{self.label()}conv({self.width(8, 16)}, 1)", "relu", "flatten", linear]
        normed = ["relu", *self.rng.choice([["bn"], ["bn", "relu"]]), *full]
        return self.rng.choice([full, narrow, normed, ["gap", linear], square, []])

    def label(self) -> str:
        self.labels += 1
        return f"m{self.labels}: "

    # --- steps that change the shape ------------------------------------------------------------

    def step(self, shape: Shape) -> str:
        choices = [self.conv, self.conv, self.smooth, self.residual, self.dense, self.block]
        choices += [self.branches, self.keep, self.keep, self.tap, self.choice]
        choices += [self.motif] * 11 if self.tiny else [self.keep, *[self.motif] * 4]
        if shape.size >= (5 if self.tiny else 12):
            choices += [self.pool, self.strided, self.upsample]
            choices += [self.reduction] * (8 if self.tiny else 1)
        return self.rng.choice(choices)(shape)

    def conv(self, shape: Shape) -> str:
        kernel = self.rng.choice([1, 3, 5, 7])
        out = self.width(4, 8, 12, 16)
        extra = self.rng.choice(["", "", ", bias=no", ", bias=yes", ", dilation=2"])
        if shape.channels % 4 == 0 and out % 4 == 0 and self.rng.random() < 0.3:
            extra += ", groups=4"
        shape.channels = out
        return f"{self.label()}conv({out}, {kernel}{extra})" + self.rng.choice(["", " -> bn"])

    def smooth(self, shape: Shape) -> str:
        return self.rng.choice(_SMOOTH)

    def strided(self, shape: Shape) -> str:
        """All odd windows with automatic padding give ceil(size / 2), so branches agree."""
        shape.size = -(-shape.size // 2)
        kernels = [self.rng.choice([1, 3, 5]) for _ in range(2)]
        out, shape.channels = shape.channels, self.rng.choice([4, 8])
        one, two = (f"conv({shape.channels}, {k}, stride=2)" for k in kernels)
        if self.rng.random() < 0.5:
            return f"{self.label()}{one}"
        if self.rng.random() < 0.5:
            return f"({self.label()}{one} + {self.label()}{two})"
        shape.channels += out
        return f"({self.label()}{one} | maxpool(3, stride=2, padding=1))"

    def pool(self, shape: Shape) -> str:
        if self.rng.random() < 0.3:
            shape.size = -(-shape.size // 2)
            return self.rng.choice(["maxpool(2, ceil=yes)", "maxpool(3, stride=2, padding=1)"])
        if self.rng.random() < 0.2:
            shape.size //= 2
            return f"{self.label()}conv({shape.channels}, 2, stride=2, padding=0)"
        if self.rng.random() < 0.2:
            shape.size -= 2
            return f"{self.label()}conv({shape.channels}, 3, padding=0)"
        shape.size //= 2
        return self.rng.choice(["maxpool(2)", "avgpool(2)", "maxpool(2, stride=2)"])

    def upsample(self, shape: Shape) -> str:
        """Down, up again and joined with what was before: needs an even size."""
        if not self.exact or shape.size % 2:
            return self.smooth(shape)
        self.taps += 1
        name, out = f"skip{self.taps}", shape.channels
        down = f"id @{name} -> maxpool(2) -> {self.label()}conv({out}, 3) -> upsample(2)"
        if self.rng.random() < 0.5:
            return f"{down} -> (id + {name})"
        shape.channels = 2 * out
        return f"{down} -> concat(id, {name})"

    def dense(self, shape: Shape) -> str:
        times, grow = self.rng.randint(0, 3), self.rng.choice([2, 4])
        shape.channels += times * grow
        return f"{self.label()}Dense({times}, {grow})"

    def block(self, shape: Shape) -> str:
        out = self.width(4, 8, 16)
        shape.channels = out
        text = self.rng.choice([f"Unit({out})", f"Unit({out}, 1)", f"Residual({out})"])
        if self.rng.random() < 0.3:
            return (
                f"{self.label()}Unit({out}) -> {self.label()}(Unit({out})^{self.rng.randint(0, 2)})"
            )
        return f"{self.label()}{text}"

    def branches(self, shape: Shape) -> str:
        widths = [self.rng.choice([2, 4, 6]) for _ in range(self.rng.randint(2, 4))]
        shape.channels = sum(widths)
        parts = [f"{self.label()}conv({w}, {self.rng.choice([1, 3])})" for w in widths]
        if self.rng.random() < 0.5:
            return f"concat({', '.join(parts)})"
        return f"({' | '.join(parts)})"

    def choice(self, shape: Shape) -> str:
        """A choice made while compiling."""
        out = self.rng.choice([4, 8])
        condition = self.rng.choice(["in.channels > 5", "in.channels % 2 == 0", "not 1 == 2"])
        shape.channels = out
        one, two = f"{self.label()}conv({out}, 3)", f"{self.label()}conv({out}, 1)"
        return f"(if {condition} then {one} else {two})"

    # --- steps that keep the shape --------------------------------------------------------------

    def keep(self, shape: Shape) -> str:
        out = shape.channels
        choices = [
            f"{self.label()}(conv({out}, 3)^{self.rng.choice([0, 0, 1, 2])})",
            f"{self.label()}(conv({out}, 3) -> bn -> relu)",
            f"{self.label()}Twice(conv({out}, 3))",
            f"{self.label()}Grow({self.rng.randint(0, 3)}, {out})",
            f"{self.label()}conv(wide({out}), 1) -> {self.label()}conv({out}, 1)",
            f"{self.label()}(Residual({out})^{self.rng.randint(1, 2)})",
            f"{self.label()}(for i in 1..{self.rng.randint(1, 3)} do r{{i}}: conv({out}, 3))",
            self.again(out),
        ]
        if out % 2 == 0:
            choices.append(f"{self.label()}Gate")
        return self.rng.choice(choices)

    def again(self, out: int) -> str:
        label = self.label()
        return f"{label}conv({out}, 3) -> relu -> again {label[:-2]}"

    def residual(self, shape: Shape) -> str:
        left, right = self.inner(shape), self.inner(shape)
        times = 2 if self.whole else 3
        return self.rng.choice(
            [
                f"(id + {left})",
                f"({left} + {right} + id)",
                f"add({left}, {right})",
                f"mean({left}, {right}{'' if self.whole else ', id'})",
                f"mul({left}, {right})",
                f"({left} * {right})",
                f"(none + {left})",
                f"mean(for i in 1..{times} do b{self.labels}_{{i}}: conv({shape.channels}, 1))",
            ]
        )

    def inner(self, shape: Shape) -> str:
        out, kernel = shape.channels, self.rng.choice([1, 3, 5])
        unit = f"conv({out}, {kernel})"
        return f"{self.label()}({unit} -> {self.rng.choice(_SMOOTH)} -> {unit})"

    def tap(self, shape: Shape) -> str:
        self.taps += 1
        name, out = f"tap{self.taps}", shape.channels
        size = f"{shape.size}, {shape.size}" if self.exact else ""
        claim = f" :: [{out}, {size}]" if size and self.rng.random() < 0.5 else ""
        return f"relu @{name}{claim} -> {self.label()}conv({out}, 3) -> ({name} + id)"
