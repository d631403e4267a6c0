"""The parts of published networks that rewrites look for, and their near misses.

Each method gives text and moves the shape along, as in ``tests/networks.py``.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

HELPERS = """\
block Pre(c, stride = 1) =
  bn1: bn -> relu
  -> ( conv1: conv(c, 3, stride=stride, bias=no) -> bn2: bn -> relu -> conv2: conv(c, 3, bias=no)
     + downsample: if stride > 1 or in.channels != c then conv(c, 1, stride=stride, bias=no) )
block Bottle(n, k) =
  for i in 1..n do
    (id | layer{i}: (bn -> relu -> conv(2*k, 1, bias=no) -> bn -> relu -> conv(k, 3, bias=no)))
block Pair(c) =
  let a, b = split(2)
  (left: (a -> conv(c, 3)) | right: (b -> conv(c, 3))) -> relu
"""


_NORM = re.compile(r"(\w+: |\()*(bn\b|Pre\()")


def starts_with_norm(step: str) -> bool:
    """Whether the first thing that a step does is to normalise."""
    return _NORM.match(step) is not None


@dataclass
class Shape:
    """What is known of a wire while writing: height and width are equal."""

    channels: int
    size: int


class Motifs:
    """Needs ``rng``, ``tiny``, ``whole``, ``exact``, ``taps`` and ``label``, which writers have."""

    rng: random.Random
    tiny: bool
    whole: bool
    exact: bool
    taps: int

    def label(self) -> str:
        raise NotImplementedError

    def width(self, *widths: int) -> int:
        """A number of channels."""
        return self.rng.choice([2, 4, 6, 8] if self.tiny else widths)

    def some(self, *words: str) -> str:
        return self.rng.choice(words)

    def motif(self, shape: Shape) -> str:
        """A part that keeps height and width."""
        known = [self.preact, self.dense_bottle, self.inception, self.fire, self.gated]
        known += [self.separable, self.scaled, self.joined, self.moved, self.halves]
        known += [self.split_transform, self.nested, self.asymmetric, self.shared]
        known += [self.shuffled, self.affine_chain, self.siblings]
        return self.rng.choice(known)(shape)

    def reduction(self, shape: Shape) -> str:
        """A part that makes height and width smaller."""
        known = [self.transition, self.pooled, self.odd_average, self.odd_average]
        known += [self.strided_block, self.rising, self.strided_after_add]
        known += [self.padded_stride, self.gridded]
        return self.rng.choice(known)(shape)

    # --- height and width stay --------------------------------------------------------------------

    def preact(self, shape: Shape) -> str:
        out = shape.channels
        if self.rng.random() < 0.5:
            shape.channels = self.width(4, 8)
            return f"{self.label()}Pre({shape.channels})"
        inner = f"bn -> relu -> conv({out}, 3) -> bn -> relu -> conv({out}, 3)"
        return f"(id + {self.label()}({inner}))"

    def dense_bottle(self, shape: Shape) -> str:
        times, grow = self.rng.randint(1, 2), self.rng.choice([2, 4])
        shape.channels += times * grow
        return f"{self.label()}Bottle({times}, {grow})"

    def inception(self, shape: Shape) -> str:
        a, b, c = (self.rng.choice([2, 4]) for _ in range(3))
        tail = self.some("", " -> relu", " -> bn -> relu", " -> bn -> relu")
        count = self.some("", ", count_include_pad=no")
        average, best = f"avgpool(3, stride=1, padding=1{count})", "maxpool(3, stride=1, padding=1)"
        kind = self.some(average, best)
        if self.whole:  # a ninth is no power of two
            kind = best
        branches = [
            f"{self.label()}(conv({a}, 1){tail})",
            f"{self.label()}(conv({b}, 1){tail} -> conv({a}, {self.some('3', '(1, 3)')}){tail})",
            f"{self.label()}({kind} -> conv({c}, 1){tail})",
        ]
        self.rng.shuffle(branches)
        shape.channels = 2 * a + c
        return f"({' | '.join(branches)})"

    def fire(self, shape: Shape) -> str:
        squeeze, a, b = (self.rng.choice([2, 4]) for _ in range(3))
        shape.channels = a + b
        one, three = f"{self.label()}conv({a}, 1)", f"{self.label()}conv({b}, 3)"
        join, act = f"({one} | {three})", self.some("relu", "relu", f"prelu({a + b})", "leaky_relu")
        pair = self.some(f"{join} -> {act}", f"({one} -> relu | {three} -> relu)")
        return f"{self.label()}conv({squeeze}, 1) -> relu -> {pair}"

    def siblings(self, shape: Shape) -> str:
        """Convolutions on one input that are alike, or nearly."""
        width, kernel = self.rng.choice([2, 4]), self.some("1", "3")
        extra = self.some("", "", ", bias=no", ", dilation=2", ", groups=2")
        if shape.channels % 2:
            extra = ""
        parts = [
            f"{self.label()}(conv({width}, {kernel}{extra}) -> {self.some('relu', 'bn', 'id')})",
            f"{self.label()}conv({width}, {kernel}{extra})",
            f"{self.label()}conv({width}, {self.some('1', '3', '5')})",
        ]
        shape.channels = 2 * width
        return self.some(
            f"({parts[0]} | ({parts[1]} + {parts[2]}))", f"(({parts[0]} * {parts[1]}) | {parts[2]})"
        )

    def gated(self, shape: Shape) -> str:
        out = shape.channels = self.width(4, 8)
        start = f"{self.label()}(conv({out}, {self.some('1', '3')}){self.some('', ' -> bn')})"
        gate = f"{self.label()}Gate"
        if self.rng.random() < 0.5:
            narrow = f"{self.label()}conv(2, 1) -> {self.some('relu', 'silu')}"
            return f"{self.some(start, f'{narrow} -> {start}')} -> {gate}"
        inner = f"{self.label()}(conv({out}, 3) -> bn -> relu -> conv({out}, 1) -> bn)"
        return f"{start} -> (id + {inner} -> {gate}){self.some('', ' -> relu')}"

    def nested(self, shape: Shape) -> str:
        """Concatenations in concatenations, one of which has another reader."""
        one, two, three = (f"{self.label()}conv(2, {self.some('1', '3')})" for _ in range(3))
        shape.channels = 6 if (plain := self.rng.random() < 0.6) else 10
        self.taps += 1
        tap = f"c{self.taps}"
        if plain:
            return f"(({one} -> relu | {two}) -> id | {three})"
        return f"((({one} | {two}) @{tap} -> relu) | {tap} | {three} -> relu)"

    def separable(self, shape: Shape) -> str:
        """Depthwise and pointwise, perhaps as an inverted residual."""
        out, act = shape.channels, self.some("relu", "relu6", "silu")
        text = f"conv({2 * out}, 1) -> bn -> {act} -> conv({2 * out}, 3, groups={2 * out}) -> bn"
        text = f"{self.label()}({text} -> {act} -> conv({out}, 1) -> bn)"
        return self.some(text, f"(id + {text})", f"(id + {text} -> droppath(0.1))")

    def scaled(self, shape: Shape) -> str:
        out, learned = shape.channels, f"{self.label()}scale"
        factor = self.some("scale(0.5)", "scale(-2)", learned, "scale(0)")
        conv = f"{self.label()}conv({out}, {self.some('1', '3')})"
        return self.some(
            f"(id + {conv} -> {factor})",
            f"{conv} -> {factor} -> relu",
            f"{factor} -> {conv}",
            f"({conv} -> {factor} + id -> {factor.replace(learned, 'scale(4)')}) -> relu",
        )

    def joined(self, shape: Shape) -> str:
        out, name = shape.channels, self.some("mean", "join", "join", "max", "add", "mul")
        drop = ", drop=0.1" if name == "join" else ""
        deep = f"{self.label()}(conv({out}, 3) -> bn -> relu -> conv({out}, 3) -> bn -> relu)"
        short = f"{self.label()}(conv({out}, 3) -> bn -> relu)"
        more = self.some("", "", ", id") if not self.whole else ""
        return f"{name}({deep}, {short}{more}{drop})"

    def split_transform(self, shape: Shape) -> str:
        """ResNeXt's three forms, and pieces that are not alike."""
        out, each = shape.channels, self.rng.choice([2, 4])
        times = 2 if self.whole else self.rng.choice([2, 3])
        branch = f"conv({each}, 1) -> bn -> relu -> conv({each}, 3)"
        name = self.label()[:-2]
        form = self.some("add", "concat", "pair", "slices")
        if form == "add":
            tail = f"bn -> relu -> conv({out}, 1)"
            return f"add(for i in 1..{times} do {name}_{{i}}: ({branch} -> {tail}))"
        if form == "concat":
            shape.channels = times * each
            return f"concat(for i in 1..{times} do {name}_{{i}}: ({branch}))"
        if out % 2 == 0 and form == "pair":
            shape.channels = 2 * each
            return f"{name}: Pair({each})"
        cut, shape.channels = self.rng.randint(1, out - 1), 2 * each
        one, two = (f"{self.label()}conv({each}, {self.some('1', '3', '3')})" for _ in range(2))
        return f"((slice(0, {cut}) -> {one}) | (slice({cut}, {out}) -> {two}))"

    def halves(self, shape: Shape) -> str:
        """Branches alike on both halves, in order or not, perhaps with something between."""
        if (out := shape.channels) % 2:
            return self.split_transform(shape)
        kernel, each = self.some("1", "3"), self.rng.choice([2, 4])
        cuts = [(0, out // 2), (out // 2, out)]
        parts = [f"(slice{cut} -> {self.label()}conv({each}, {kernel}))" for cut in cuts]
        if self.rng.random() < 0.3:
            parts.reverse()
        between = self.rng.random() < 0.6
        shape.channels = 2 * each + (out if between else 0)
        return f"({' | id | '.join(parts) if between else ' | '.join(parts)})"

    def moved(self, shape: Shape) -> str:
        """Elementwise steps beside pools that keep the size; average pools are the near miss."""
        best = "maxpool(3, stride=1, padding=1)"
        counted, plain = (
            f"avgpool(3, stride=1, padding=1{count})" for count in ("", ", count_include_pad=no")
        )
        pool = best if self.whole else self.some(best, best, counted, plain)
        first = self.some("relu", "bn -> relu", "bn", f"{self.label()}conv({shape.channels}, 1)")
        return f"{self.label()}({first} -> {pool}) -> {self.some('relu', 'id', 'bn -> relu')}"

    def asymmetric(self, shape: Shape) -> str:
        before = shape.channels
        shape.channels = out = self.width(4, 8)
        text = self.some(
            f"conv({out}, 2, padding=(0, 1, 0, 1))",
            f"conv({out}, 2, padding=(1, 0, 0, 1)) -> bn -> relu",
            f"conv({out}, 3, padding=(2, 0, 0, 2))",
            f"conv({before}, (1, 3)) -> conv({out}, (3, 1)) -> bn",
            f"pad((1, 1, 0, 2)) -> conv({out}, 3, padding=0)",
            f"bn -> relu -> pad(1) -> conv({out}, 3, padding=0)",
            f"conv({out}, 3, dilation=2) -> bn -> relu",
            f"conv_transpose({out}, 3, padding=1) -> bn",
        )
        return f"{self.label()}({text})"

    def shared(self, shape: Shape) -> str:
        """One module at two places, or one wire with several readers."""
        out, label = shape.channels, self.label()
        self.taps += 1
        tap = f"w{self.taps}"
        return self.some(
            f"{label}(conv({out}, 3) -> bn -> relu) -> again {label[:-2]}",
            f"{label}conv({out}, 1) @{tap} -> bn -> relu -> ({tap} + id)",
            f"{label}conv({out}, 3) -> relu @{tap} -> bn -> relu -> ({tap} | id) -> "
            f"{self.label()}conv({out}, 1)",
            f"({label}(conv({out}, 1) -> bn) | again {label[:-2]}) -> {self.label()}conv({out}, 1)",
            f"{label}(bn -> relu) @{tap} -> conv({out}, 3) -> ({tap} + id) -> relu",
        )

    def shuffled(self, shape: Shape) -> str:
        out = shape.channels
        if out % 2:
            return f"{self.label()}conv({out}, 1) -> relu -> relu"
        conv = f"{self.label()}conv({out}, 1, groups=2)"
        return f"{conv} -> channel_shuffle(2) -> {self.label()}conv({out}, 3, groups={out}) -> bn"

    def affine_chain(self, shape: Shape) -> str:
        out = shape.channels
        return self.some(
            f"{self.label()}(bn -> bn)",
            f"{self.label()}(bn -> scale(0.5) -> bn -> relu)",
            f"{self.label()}(bn -> dropout(0.2) -> conv({out}, 1))",
            "(relu -> relu)",
            f"(bn | {self.label()}(conv({out}, 1) -> bn)) -> {self.label()}conv({out}, 1)",
            f"{self.label()}(relu -> bn) -> (id + {self.label()}conv({out}, 3))",
            f"{self.label()}(relu -> bn -> conv({out}, {self.some('1', '3')}))",
            f"{self.label()}(bn -> prelu({out}) -> leaky_relu)",
            "(id + id)",
            "(scale(2) * scale(3))",
        )

    # --- height and width fall --------------------------------------------------------------------

    def transition(self, shape: Shape) -> str:
        out, shape.size = self.width(4, 8), shape.size // 2
        shape.channels = out
        conv = f"conv({out}, 1{self.some('', ', bias=no', ', bias=yes')})"
        pool = self.some("avgpool(2)", "avgpool(2)", "avgpool(2)", "maxpool(2)")
        start = self.some("bn -> relu -> ", "relu -> ", "")
        return f"{self.label()}({start}{conv}{self.some('', '', ' -> bn')} -> {pool})"

    def pooled(self, shape: Shape) -> str:
        shape.size = -(-shape.size // 2)
        conv = f"conv({shape.channels}, 3) -> {self.some('bn', 'relu', 'bn -> relu', 'silu')}"
        start = self.some(conv, conv, "relu", "bn", "bn -> relu", "relu6", "scale(-1)")
        pool = self.some("maxpool(3, stride=2, padding=1)", "maxpool(2, ceil=yes)")
        return f"{self.label()}({start} -> {pool})"

    def rising(self, shape: Shape) -> str:
        """What keeps the order of values before a max-pool, and what may not."""
        shape.size = -(-shape.size // 2)
        norm, out = self.some("bn(affine=no)", "bn(affine=no)", "bn"), shape.channels
        pool = self.some("maxpool(3, stride=2, padding=1)", "maxpool(2, ceil=yes)")
        return self.some(
            f"{self.label()}(conv({out}, 3) -> {pool} -> {norm} -> relu)",
            f"{self.label()}(relu -> {norm} -> {pool})",
            f"{self.label()}((id | relu) -> {self.some('relu', 'sigmoid', 'silu')} -> {pool} "
            f"-> conv({out}, 1))",
        )

    def odd_average(self, shape: Shape) -> str:
        """Average windows that hang over the border, counted or not."""
        if self.whole:
            return self.transition(shape)
        count = self.some("", ", count_include_pad=no")
        padding = self.rng.choice([0, 1, 1])
        ceil = self.some("", ", ceil=yes")
        rest = shape.size + 2 * padding - 3
        shape.size = (-(-rest // 2) if ceil else rest // 2) + 1
        pool = f"avgpool(3, stride=2, padding={padding}{ceil}{count})"
        out = shape.channels
        return self.some(
            f"{self.label()}(conv({out}, 1) -> {pool})",
            f"{self.label()}(conv({out}, 1, bias=yes) -> {pool})",
            f"{self.label()}({pool} -> conv({out}, 1))",
            f"{self.label()}(relu -> {pool})",
            f"{self.label()}(relu -> bn -> {pool})",
            pool,
        )

    def strided_block(self, shape: Shape) -> str:
        shape.size = -(-shape.size // 2)
        out = shape.channels = self.width(4, 8)
        return f"{self.label()}{self.some('Residual', 'Pre')}({out}, 2)"

    def strided_after_add(self, shape: Shape) -> str:
        """Every reader is a strided 1x1, or all but one."""
        before, out = shape.channels, self.width(4, 8)
        shape.size, shape.channels = -(-shape.size // 2), out
        start = f"(id + {self.label()}(conv({before}, 3) -> bn)){self.some('', ' -> relu')}"
        start = self.some(
            start,
            f"{self.label()}(conv({before}, 3) -> bn -> relu)",
            f"relu -> {self.label()}conv_transpose({before}, 3, padding=1) -> relu",
            "relu",
        )
        one = f"{self.label()}conv({out}, 1, stride=2)"
        two = f"conv({out}, {self.some('1', '1', '3')}, stride=2) -> bn -> relu"
        two = f"{self.label()}({two} -> conv({out}, 3))"
        return self.some(f"{start} -> ({one} + {two})", f"{start} -> {one} -> bn -> relu")

    def padded_stride(self, shape: Shape) -> str:
        shape.size //= 2
        out = shape.channels = self.width(4, 8)
        return f"{self.label()}(pad((0, 1, 0, 1)) -> conv({out}, 3, stride=2, padding=0) -> bn)"

    def gridded(self, shape: Shape) -> str:
        """Inception's reduction: strided convolutions beside a pool."""
        shape.size = -(-shape.size // 2)
        out, before = self.rng.choice([2, 4]), shape.channels
        shape.channels = 2 * out + before
        parts = [f"{self.label()}(conv({out}, 3, stride=2) -> bn -> relu)" for _ in range(2)]
        return f"({' | '.join(parts)} | maxpool(3, stride=2, padding=1))"
