"""Where the networks that are timed stand, for every benchmark."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
FILES = {
    "AlexNet": "alexnet",
    "VGG16": "vgg",
    "GoogLeNet": "googlenet",
    "ResNet18": "resnet",
    "ResNet50": "resnet",
    "ResNeXt50_32x4d": "resnet",
    "DenseNet121": "densenet",
    "SqueezeNet1_0": "squeezenet",
    "MobileNetV2": "mobilenet_v2",
    "SEResNet50": "se_resnet",
    "InceptionV4": "inception_v4",
    "FractalNet": "fractalnet",
}
"""The file in `examples` of each net."""
