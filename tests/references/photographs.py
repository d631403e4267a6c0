"""The photographs that the repository carries."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_FOLDER = Path(__file__).parents[2] / "examples" / "images"


def photograph(name: str) -> NDArray[np.uint8]:
    """`china` or `flower` as an array [427, 640, 3] of red, green and blue in 0..255."""
    with Image.open(_FOLDER / f"{name}.jpg") as image:
        return np.array(image.convert("RGB"), dtype=np.uint8)
