"""Small networks, each for something that a graph can hold."""

from __future__ import annotations

CASES: dict[str, str] = {
    "nothing": "net N: [3, H, W] = id",
    "chain": "net N: [3, H, W] = conv(8, 3) -> bn -> relu -> gap -> flatten -> linear(10)",
    "vector": "net N: [7] = linear(5) -> bn -> relu -> fc: linear(2, bias=no)",
    "residual": "net N: [8, H, W] = (conv(8, 3) -> relu + id) -> relu",
    "twice the same": "net N: [8, H, W] = relu -> (id + id) -> (id * id)",
    "joins by name": """
net N: [8, H, W] =
  mean(conv(4, 1), conv(4, 3), maxpool(3, stride=1, padding=1) -> conv(4, 1))
  -> max(id, relu, tanh) -> join(id, relu, drop=0.15, share=0.5) -> concat(id, id)""",
    "joins of joins": """
def Fractal(n, c) =
  if n == 1 then conv(c, 3) else join(Fractal(n-1, c) -> Fractal(n-1, c), conv(c, 3))
net N: [8, H, W] = Fractal(4, 8) -> relu""",
    "gate": "net N: [8, H, W] = id * (gap -> fc1: conv(2, 1) -> relu -> conv(8, 1) -> sigmoid)",
    "blocks": """
block B(c, s = 1) = (conv1: conv(c, 3, stride=s) -> bn1: bn
                    + downsample: if s > 1 then (conv(c, 1, stride=s) -> bn)) -> relu
net N: [3, H, W] =
  stem: conv(8, 3) -> layer1: (B(8)^2) -> layer2: (B(16, 2) -> B(16)^2) -> B(16)""",
    "dense block": """
net N: [4, H, W] = features: (for i in 1..3 do (id | layer{i}: (bn -> relu -> conv(4, 3))))""",
    "several inputs": """
net N: [3, H, W] image, [1, H, W] mask, [5] v1 = let a = mask -> conv(3, 1)
  (conv(3, 3) -> relu | a), v1 -> linear(3)""",
    "inputs that are results": "net N: [3, H, W], [1, H, W] mask = in, mask, in -> relu",
    "results by label": "net N: [3, H, W] = let t = conv(8, 3) t -> low: relu, t -> high: (gap)",
    "results without a name": "net N: [3, H, W] = conv(8, 3), conv(4, 3), relu, relu",
    "split": "net N: [8, H, W] = let a, b = split(2) (a -> conv(4, 3) | b) -> channel_shuffle(2)",
    "split in a block": """
block Unit(c) = let a, b = split(2) (a | b -> conv(c, 1) -> bn) -> channel_shuffle(2)
net N: [8, H, W] = stage: (Unit(4)^3)""",
    "wires of blocks": """
block Two(c) = conv(c, 3), conv(c, 1)
block Cross(c)[a, b] = (a -> conv(c, 1) + b), a
net N: [4, H, W] = let p, q = Two(4) let x, y = c: Cross(4)[p, q] (x + y) -> relu""",
    "heads": """
net N: [8, H, W] = conv1: conv(8, 3) -> emit[train] aux1: (gap -> flatten -> fc: linear(5))
  -> relu -> emit mid: id -> emit aux2: conv(3, 1) -> conv2: conv(4, 1)""",
    "heads and results": "net N: [8, H, W] = relu -> emit e: (conv(2, 1) -> relu), gap, in",
    "again": "net N: [8, H, W] = t: conv(8, 3) -> bn -> relu -> again t -> tanh -> again t",
    "again from a group": """
net N: [8, H, W] = t: conv(8, 3) -> g: (conv(8, 1) -> again t -> relu -> h: (again t) -> tanh)""",
    "again before a norm": """
net N: [8, H, W] = n: bn -> conv(8, 3, bias=no) -> again n -> conv(8, 3) -> again n
  -> t: conv(8, 1) -> bn -> again t -> bn""",
    "again a group": """
net N: [8, H, W] =
  tower: (c1: conv(8, 3) -> bn -> relu + id) -> gap -> again tower -> again tower.c1""",
    "again on two inputs": """
block Tower(c) = conv(c, 3) -> bn -> relu -> (conv(c, 1) + id)
net N: [3, H, W] left, [3, H, W] right =
  let a = t: Tower(8) let b = right -> again t (a | b) -> conv(8, 1)""",
    "again inside a block": """
block Siamese(c) = tower: (conv(c, 3) -> relu -> split(1)) -> again tower -> tap: relu
net N: [8, H, W] = relu -> Siamese(8) -> blocks: (Siamese(8)^2)""",
    "again with a tap inside": """
net N: [8, H, W] = t: (conv(8, 3) @x -> relu -> (id + x)) -> again t -> (x + id)""",
    "again of a head": "net N: [8, H, W] = emit h: conv(8, 3) -> bn -> relu -> again h -> gap",
    "again in a loop": """
net N: [8, H, W] = for i in 1..2 do (t{i}: (conv(8, 3) -> relu)) -> for i in 1..2 do again t{i}""",
    "labels": """
net N: [8, H, W] = block: (net: conv(8, 3) -> in: relu) -> 7: (3: conv(8, 1) -> relu)
  -> for i in 0..1 do trunk{i}-0{i}: (conv(8, 3) -> for j in 10..11 do part{i}-{j}x: conv(8, 1))
  -> 1e5: relu -> 007: conv(8, 1) -> 2K: tanh""",
    "again of such labels": """
net N: [8, H, W] = for i in 9..10 do trunk{i}-0: (block: (0: (conv(8, 3) -> relu)))
  -> again trunk{10}-0.block.0 -> again trunk{9}-0""",
    "names like ours": """
net v2: [8, H, W] v1, [8, H, W] v3 = relu -> tanh -> (id + in) -> (conv(8, 3) + v3)""",
    "restrictions": """
net N: [3, H, W] = conv(8, 3) where H % 32 == 0, H >= 100, W % 6 == 4 where W % 4 == 2, W > 7""",
    "large restrictions": "net N: [3, H, W] = id where H % 65535 == 7, H % 65536 == 3",
    "derived restrictions": """
net N: [4, H, W] = id @x -> maxpool(2) -> maxpool(2) -> upsample(4) -> (id | x)""",
    "sizes of inputs": """
net N: [3, 2*H + 1, W + 3], [4, 32, 3*H - 1] b = conv(8, 3), b -> conv(2, 3)""",
    "exact noise": """
net N: [8, H, W] = for i in 1..6 do (droppath(i/7) -> dropout(0.1*i/3) -> scale(by=-i/170))
  -> scale(by=12345678901/10000007) -> leaky_relu(12345678901/(3*10^20)) -> droppath(0.2)
  -> elu(123456789012*1e9 + 12345) -> elu(7/(3*10^30))""",
    "bias": """
block Norm = bn
net N: [8, H, W] =
  conv(8, 3) -> bn -> conv(8, 3, bias=yes) -> bn -> conv(8, 3) -> Norm -> conv(8, 3) @t -> t -> bn
  -> conv(8, 3, bias=no) -> relu -> conv(8, 3) @u -> bn -> (conv(8, 1) + u) -> bn""",
    "a choice": "net N: [8, H, W] = oneof(conv(8, 3), relu) -> conv(oneof(4, 6), 1)",
    "unread": "net N: [8, H, W] = let a = x: conv(4, 3) -> relu let b = in -> conv(2, 1) b -> tanh",
    "modes": """
net N: [8, 12, 12] =
  gelu(approximate=tanh) -> droppath(0.1, mode=network) -> scale -> scale(init=1e-06)
  -> conv(8, 3, stride=2, padding=same_upper) -> pad((1, 0, 2, 3), value=-0.5) -> flatten""",
    "nested namespaces": "".join(
        ["net N: [8, H, W] = ", *(f"a{i}: (" for i in range(30)), "conv(8, 3) -> relu", ")" * 30]
    ),
    "recursion": """
block Down(n) = if n > 0 then (conv(8, 3) -> (Down(n - 1) + id) -> relu)
net N: [8, H, W] = Down(30)""",
}
