"""What other frameworks call things, folded to lower case without underscores.

Each points to the names it may have here, likeliest first; only one that exists in the
place at hand is ever suggested. A trailing 1d, 2d or 3d need not be listed.
"""

from __future__ import annotations

_POOL = ("maxpool", "avgpool")

_LAYERS: dict[str, tuple[str, ...]] = {
    # normalisation
    "batchnorm": ("bn",), "batchnormalization": ("bn",), "batchnormact": ("bn",),
    "syncbatchnorm": ("bn",), "norm": ("bn",), "spatialbn": ("bn",), "groupnorm": ("group_norm",),
    "groupnormalization": ("group_norm",), "gn": ("group_norm",), "layernorm": ("layer_norm",),
    "layernormalization": ("layer_norm",), "ln": ("layer_norm",), "localresponsenorm": ("lrn",),
    "localresponsenormalization": ("lrn",),
    # convolution
    "convolution": ("conv",), "convolutional": ("conv",), "cnn": ("conv",),
    "conv2dlayer": ("conv",), "depthwiseconv": ("conv",), "depthwiseconvolution": ("conv",),
    "separableconv": ("conv",), "conv2dtranspose": ("conv_transpose",),
    "deconv": ("conv_transpose",), "convtransposed": ("conv_transpose",),
    "transposedconv": ("conv_transpose",), "deconvolution": ("conv_transpose",),
    "deconvolutional": ("conv_transpose",),
    # linear
    "dense": ("linear",), "fc": ("linear",), "fullyconnected": ("linear",),
    "innerproduct": ("linear",), "gemm": ("linear",), "matmul": ("linear",),
    "connected": ("linear",), "affine": ("linear",),
    # pools
    "maxpooling": ("maxpool",), "averagepool": ("avgpool",), "averagepooling": ("avgpool",),
    "avgpooling": ("avgpool",), "meanpool": ("avgpool",), "pool": _POOL, "pooling": _POOL,
    "globalaveragepool": ("gap",), "globalaveragepooling": ("gap",), "globalavgpool": ("gap",),
    "globalpool": ("gap",), "globalmaxpool": ("gmp",), "globalmaxpooling": ("gmp",),
    "adaptiveaveragepool": ("adaptive_avgpool",),
    # activations
    "rectifier": ("relu",), "rectify": ("relu",), "swish": ("silu",), "logistic": ("sigmoid",),
    "leaky": ("leaky_relu",), "lrelu": ("leaky_relu",), "hswish": ("hardswish",),
    "hsigmoid": ("hardsigmoid",), "clippedrelu": ("relu6",),
    # the rest
    "concatenate": ("concat",), "cat": ("concat",), "merge": ("concat", "add"),
    "route": ("concat",), "eltwise": ("add",), "eltwisesum": ("add",), "sum": ("add",),
    "shortcut": ("add",), "residual": ("add",), "average": ("mean",), "avg": ("mean",),
    "identity": ("id",), "noop": ("id",), "skip": ("id",), "skipconnect": ("id",),
    "zero": ("none",), "null": ("none",), "interpolate": ("upsample",), "upsampling": ("upsample",),
    "resize": ("upsample",), "cropping": ("crop",), "stochasticdepth": ("droppath",),
    "dropblock": ("droppath",), "multiply": ("mul",), "depthtospace": ("pixel_shuffle",),
    "zeropadding": ("pad",), "shuffle": ("channel_shuffle",), "zeropad": ("pad",), "input": ("in",),
}  # fmt: skip

_PARAMETERS: dict[str, tuple[str, ...]] = {
    "outchannels": ("out",), "outplanes": ("out",), "outfeatures": ("out",), "filters": ("out",),
    "numfilters": ("out",), "numoutput": ("out",), "nfilters": ("out",), "units": ("out",),
    "channels": ("out", "c"), "features": ("out",), "outputs": ("out",),
    "inchannels": ("in.channels", "channels"), "infeatures": ("in.channels", "channels"),
    "numchannels": ("in.channels", "channels"), "kernelsize": ("kernel",), "ksize": ("kernel",),
    "kernelshape": ("kernel",), "size": ("kernel", "output"), "poolsize": ("kernel",),
    "window": ("kernel",), "k": ("kernel",), "filtersize": ("kernel",), "localsize": ("size",),
    "strides": ("stride",), "step": ("stride",), "s": ("stride",), "subsample": ("stride",),
    "pads": ("padding",), "pad": ("padding",), "p": ("padding",), "border": ("padding",),
    "dilations": ("dilation",), "dilationrate": ("dilation",), "atrousrate": ("dilation",),
    "d": ("dilation",), "group": ("groups",), "numgroups": ("groups",), "ngroups": ("groups",),
    "cardinality": ("groups",), "usebias": ("bias",), "biasterm": ("bias",), "nobias": ("bias",),
    "ceilmode": ("ceil",), "outputsize": ("output",), "epsilon": ("eps",), "decay": ("momentum",),
    "scalefactor": ("scale", "factor"), "rate": ("p",), "prob": ("p",), "dropprob": ("p",),
    "slope": ("negative_slope",), "alpha": ("negative_slope",), "numclasses": ("classes",),
    "nclasses": ("classes",), "nclass": ("classes",), "numlayers": ("n",), "reduction": ("r",),
    "inplanes": ("in.channels", "channels"), "planes": ("c",),
}  # fmt: skip

_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "c": ("channels",), "h": ("height",), "w": ("width",), "depth": ("channels",),
    "filters": ("channels",), "rows": ("height",), "cols": ("width",), "columns": ("width",),
}  # fmt: skip


def _united(*tables: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """One table; a key of several keeps all its meanings, since only existing names count."""
    found: dict[str, tuple[str, ...]] = {}
    for table in tables:
        for key, names in table.items():
            found[key] = tuple(dict.fromkeys(found.get(key, ()) + names))
    return found


ALIASES = _united(_LAYERS, _PARAMETERS, _ATTRIBUTES)
