"""Did-you-mean: the right name for a slip, silence for anything else."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnndsl.diagnostics.suggest import did_you_mean, distance

LAYERS = (
    "conv", "conv_transpose", "linear", "bn", "group_norm", "layer_norm", "lrn", "relu", "relu6",
    "silu", "sigmoid", "tanh", "hardswish", "hardsigmoid", "leaky_relu", "elu", "gelu", "prelu",
    "softmax", "maxpool", "avgpool", "adaptive_avgpool", "adaptive_maxpool", "gap", "gmp",
    "flatten", "dropout", "dropout2d", "droppath", "scale", "upsample", "pixel_shuffle",
    "channel_shuffle", "crop", "pad", "slice", "split", "add", "concat", "mean", "max", "mul",
    "join", "id", "none", "in", "Bottleneck", "BasicBlock", "InvertedResidual", "Stage",
)  # fmt: skip
CONV = ("out", "kernel", "stride", "padding", "dilation", "groups", "bias")
POOL = ("kernel", "stride", "padding", "dilation", "ceil")

LAYER_SLIPS = {
    # fingers
    "cnov": "conv", "covn": "conv", "con": "conv", "convv": "conv", "conf": "conv",
    "rleu": "relu", "reul": "relu", "reluu": "relu", "maxpol": "maxpool", "mxapool": "maxpool",
    "avgpol": "avgpool", "flaten": "flatten", "flattne": "flatten", "liner": "linear",
    "droput": "dropout", "dorpout": "dropout", "concta": "concat", "sigmiod": "sigmoid",
    "sofmax": "softmax", "upsmaple": "upsample", "gpa": "gap", "Botleneck": "Bottleneck",
    "BasicBlok": "BasicBlock", "InvertedResiduals": "InvertedResidual", "Stge": "Stage",
    "harswish": "hardswish", "adaptive_avgpol": "adaptive_avgpool",
    # case and underscores
    "Conv": "conv", "ReLU": "relu", "BN": "bn", "MaxPool": "maxpool", "max_pool": "maxpool",
    "LeakyReLU": "leaky_relu", "bottleneck": "Bottleneck", "GELU": "gelu", "DropPath": "droppath",
    "drop_path": "droppath", "ReLU6": "relu6",
    # other frameworks
    "Conv2d": "conv", "Conv2D": "conv", "BatchNorm2d": "bn", "batchnorm": "bn", "batch_norm": "bn",
    "BatchNormalization": "bn", "Dense": "linear", "fc": "linear", "InnerProduct": "linear",
    "Linear": "linear", "GlobalAveragePooling2D": "gap", "global_avg_pool": "gap",
    "MaxPool2d": "maxpool", "maxpool2d": "maxpool", "MaxPooling2D": "maxpool",
    "AveragePooling2D": "avgpool", "AvgPool2d": "avgpool", "AdaptiveAvgPool2d": "adaptive_avgpool",
    "Swish": "silu", "Concatenate": "concat", "cat": "concat", "Identity": "id",
    "ConvTranspose2d": "conv_transpose", "Conv2DTranspose": "conv_transpose",
    "deconv": "conv_transpose", "GroupNorm": "group_norm", "UpSampling2D": "upsample",
    "PixelShuffle": "pixel_shuffle", "convolutional": "conv", "Eltwise": "add",
    "StochasticDepth": "droppath",
    # fingers on other frameworks' names
    "bacthnorm": "bn", "BatchNrom2d": "bn", "GlobalAvergePooling2D": "gap", "concatnate": "concat",
    "fullyconected": "linear", "StochasticDepht": "droppath",
}  # fmt: skip
PARAMETER_SLIPS = {
    "out_channels": "out", "filters": "out", "num_output": "out", "units": "out",
    "kernel_size": "kernel", "ksize": "kernel", "kernal": "kernel", "kernl": "kernel",
    "strides": "stride", "strid": "stride", "stirde": "stride", "pad": "padding",
    "pads": "padding", "paddding": "padding", "dilatation": "dilation",
    "dilation_rate": "dilation", "group": "groups", "num_groups": "groups", "gruops": "groups",
    "use_bias": "bias", "bais": "bias", "bias_term": "bias", "Kernel": "kernel",
}  # fmt: skip
STRANGERS = (
    "mish", "attention", "lstm", "embedding", "transformer", "x", "f", "foo", "bar", "squeeze",
    "Xception", "data", "loss", "optimizer", "y1", "encoder", "abc", "bm", "ib",
    "conversationalist", "zzzzzz", "", "_", "a" * 65, "densa", "swash", "bathroom",
    "dropping", "cooling", "residual2", "shortcut2", "shuffle1",
)  # fmt: skip


@pytest.mark.parametrize(("name", "meant"), LAYER_SLIPS.items())
def test_layers(name: str, meant: str) -> None:
    assert did_you_mean(name, LAYERS) == meant


@pytest.mark.parametrize(("name", "meant"), PARAMETER_SLIPS.items())
def test_parameters(name: str, meant: str) -> None:
    assert did_you_mean(name, CONV) == meant


@pytest.mark.parametrize("name", STRANGERS)
def test_strangers(name: str) -> None:
    assert did_you_mean(name, LAYERS) is None


@pytest.mark.parametrize("name", ["in_channels", "device", "dtype", "activation", "name", "c", "n"])
def test_strange_parameters(name: str) -> None:
    assert did_you_mean(name, CONV) is None


def test_in_context() -> None:
    assert did_you_mean("ceil_mode", POOL) == "ceil"
    assert did_you_mean("pool_size", POOL) == "kernel"
    assert did_you_mean("output_size", ("output",)) == "output"
    assert did_you_mean("depth", ("channels", "height", "width")) == "channels"
    assert did_you_mean("heigth", ("channels", "height", "width")) == "height"
    assert did_you_mean("num_classes", ("classes",)) == "classes"
    assert did_you_mean("in_channels", ("c", "in.channels")) == "in.channels"


def test_equal_distances_go_to_the_same_first_letter() -> None:
    assert did_you_mean("tone", ["bone", "tune"]) == "tune"


def test_names_that_differ_in_their_number_are_not_slips() -> None:
    assert did_you_mean("conv3", ["conv1", "conv2"]) is None
    assert did_you_mean("layer11", ["layer1", "stem"]) == "layer1"


def test_the_own_name_and_no_candidates() -> None:
    assert did_you_mean("conv", ["conv"]) is None
    assert did_you_mean("conv", []) is None


def test_a_beginning_counts_when_it_is_the_only_one() -> None:
    assert did_you_mean("downs", ["downsample", "conv1"]) == "downsample"
    assert did_you_mean("bran", ["branch1", "branch2"]) is None


def test_distance() -> None:
    assert distance("cnov", "conv", 2) == 1
    assert distance("kitten", "sitting", 5) == 3
    assert distance("abc", "abc", 0) == 0
    assert distance("abcdef", "uvwxyz", 2) == 3
    assert distance("a", "abcdef", 2) == 3


WORDS = st.text(st.sampled_from("abcAB_12"), max_size=8)


@given(WORDS, WORDS, st.integers(0, 8))
def test_distance_stops_early_without_changing_the_answer(a: str, b: str, limit: int) -> None:
    exact = distance(a, b, 99)
    assert distance(a, b, limit) == min(exact, limit + 1)
    assert distance(b, a, 99) == exact
    assert (exact == 0) == (a == b)


@given(WORDS, st.lists(WORDS))
def test_an_answer_is_another_candidate_whatever_their_order(name: str, names: list[str]) -> None:
    answer = did_you_mean(name, names)
    assert answer is None or (answer in names and answer != name)
    assert did_you_mean(name, iter(names)) == answer


def test_many_candidates_take_little_time() -> None:
    names = [f"block{n}_with_a_longer_name_{n * 7919 % 1000}" for n in range(5_000)]
    start = time.perf_counter()
    assert did_you_mean("blcok17_with_a_longer_name_x", names) is not None
    assert time.perf_counter() - start < 1.0
