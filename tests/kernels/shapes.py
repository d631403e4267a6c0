"""For each kernel problems that it is made for, to be compiled ahead of time; one row a kernel.

Sizes are those of real networks: nothing is computed.
"""

from __future__ import annotations

SHAPES: dict[str, tuple[str, ...]] = {
    "conv": (
        "[64, 56, 56] = (conv(64, 3) + id) -> relu",
        "[256, 14, 14] = conv(512, 1, stride=2)",
        "[3, 224, 224] = conv(64, 7, stride=2) -> relu",
        "[256, 14, 14] = conv(256, 3, groups=4) -> silu",
        "[128, 28, 28] = conv_transpose(64, 2, stride=2) -> prelu(64)",
        "[2048] = linear(1000)",
    ),
    "conv_tma": (
        "[64, 56, 56] = conv(64, 3) -> relu",
        "[256, 14, 14] = (conv(256, 3) + id) -> relu",
        "[128, 56, 56] = conv(32, 3)",
        "[256, 28, 28] = conv(256, 3, stride=2) -> relu",
        "[256, 56, 56] = conv(512, 1, stride=2)",
        "[128, 17, 17] = conv(192, (1, 7)) -> relu",
    ),
    "gemm": (
        "[256, 56, 56] = conv(64, 1) -> relu",
        "[512, 7, 7] = (conv(512, 1) + id) -> relu -> gap",
        "[1024, 14, 14] = (conv(1024, 1) + id) -> relu",
        "[24, 56, 56] = conv(144, 1) -> relu6",
        "[2048] = linear(1000)",
    ),
    "prologue": (
        "[256, 28, 28] = bn -> relu -> conv(128, 1) -> bn -> relu",
        "[128, 14, 14] = bn -> relu -> conv(32, 3)",
        "[64, 56, 56] = (bn -> relu -> conv(64, 3)) + id",
    ),
    "stem": (
        "[3, 224, 224] = conv(64, 7, stride=2) -> relu -> maxpool(3, stride=2, padding=1)",
        "[3, 224, 224] = conv(32, 3, stride=2) -> hardswish",
        "[3, 224, 224] = conv(64, 11, stride=4, padding=2) -> relu -> maxpool(3, stride=2)",
    ),
    "framed_stem": (
        "[3, 224, 224] = conv(64, 7, stride=2) -> relu -> maxpool(3, stride=2, padding=1)",
        "[3, 224, 224] = conv(32, 3, stride=2) -> hardswish",
    ),
    "depthwise": (
        "[96, 112, 112] = conv(96, 3, stride=2, groups=96) -> relu6",
        "[240, 28, 28] = conv(240, 5, groups=240) -> hardswish",
        "[96, 56, 56] = conv(96, 7, groups=96)",
        "[21, 16, 16] = conv_transpose(21, 4, stride=2, padding=1, groups=21)",
    ),
    "depthwise_pointwise": (
        "[144, 56, 56] = conv(144, 3, groups=144) -> relu6 -> conv(24, 1)",
        "[384, 14, 14] = (conv(384, 3, groups=384) -> relu6 -> conv(384, 1)) + id",
        "[32, 112, 112] = conv(32, 3, groups=32) -> relu -> conv(64, 1) -> relu",
    ),
    "grouped": (
        "[128, 56, 56] = conv(128, 3, groups=32) -> relu",
        "[256, 56, 56] = conv(256, 3, stride=2, groups=32) -> relu",
    ),
    "pool": (
        "[64, 112, 112] = maxpool(3, stride=2, padding=1)",
        "[256, 56, 56] = bn -> relu -> avgpool(2)",
        "[192, 35, 35] = avgpool(3, stride=1, padding=1, count_include_pad=no)",
        "[21, 28, 28] = maxpool((3, 5), stride=2, ceil=yes) -> silu",
    ),
    "global_pool": (
        "[1024, 7, 7] = bn -> relu -> gap",
        "[24, 112, 112] = gap",
        "[512, 14, 14] = gmp -> sigmoid",
    ),
    "elementwise": (
        "[256, 56, 56] = bn -> relu",
        "[1280] = scale -> gelu -> prelu(1280)",
        "[21, 28, 28] = elu",
    ),
    "squeeze": (
        "[96, 28, 28] = gap -> conv(4, 1) -> silu -> conv(96, 1) -> sigmoid",
        "[512, 14, 14] = gap -> conv(32, 1) -> relu -> conv(512, 1) -> hardsigmoid",
        "[512, 7, 7] = gap -> flatten -> linear(40)",
    ),
    "upsample": (
        "[64, 28, 28] = upsample(2)",
        "[64, 28, 28] = upsample(2, mode=bilinear, align_corners=yes)",
        "[17, 28, 28] = upsample(2, mode=bilinear) -> relu",
    ),
    "lrn": (
        "[96, 55, 55] = lrn(5)",
        "[21, 14, 14] = lrn(4, alpha=1, beta=0.5, k=2)",
    ),
    "softmax": (
        "[1000] = softmax",
        "[21, 128, 128] = log_softmax",
        "[8000] = log_softmax",
    ),
}
