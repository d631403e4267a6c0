"""What the tests measure the compiler against: foreign networks, weights and photographs."""

from tests.references.models import mtcnn, timm_model, torchvision_model, torchvision_models
from tests.references.photographs import photograph
from tests.references.weights import bare, fill, settle

__all__ = [
    "bare",
    "fill",
    "mtcnn",
    "photograph",
    "settle",
    "timm_model",
    "torchvision_model",
    "torchvision_models",
]
