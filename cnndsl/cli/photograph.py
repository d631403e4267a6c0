"""A photograph as a network's input. Files are a stranger's: few formats, bounded sizes."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

from cnndsl.cli.files import Failure, words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM")
# Of ImageNet's photographs, which is what published weights expect; grey is their average.
_MEAN = {3: (0.485, 0.456, 0.406), 1: (0.449,)}
_DEVIATION = {3: (0.229, 0.224, 0.225), 1: (0.226,)}
_MODES = {3: "RGB", 1: "L"}


class Photograph(NamedTuple):
    """``values``: [channels, height, width], normalised; ``size``: (width, height) of the file."""

    values: NDArray[np.float32]
    size: tuple[int, int]


def read_photograph(path: str, channels: int, height: int, width: int) -> Photograph:
    """Scaled to cover the input and cut around its middle, as evaluation does.

    Normalised with ImageNet's mean and deviation. Raises Failure.
    """
    if channels not in _MODES:
        takes = f"this net takes {channels} channels, a photograph has 1 or 3"
        raise Failure(f"{takes}: --run random")
    import numpy as np
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as image:
                size = image.size
                upright = ImageOps.exif_transpose(image).convert(_MODES[channels])
                fitted = ImageOps.fit(upright, (width, height), Image.Resampling.BICUBIC)
    except UnidentifiedImageError:
        raise Failure(f"{path} is no photograph in {', '.join(_FORMATS)}") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise Failure(f"{path} has too many pixels") from None
    except OSError as problem:
        raise Failure(f"cannot read {path}: {words(problem)}") from problem
    except (ValueError, SyntaxError, EOFError) as problem:  # how Pillow meets damaged files
        raise Failure(f"{path} is damaged: {problem}") from problem
    values = np.asarray(fitted, dtype=np.float32).reshape(height, width, channels) / 255
    normal = (values - np.array(_MEAN[channels])) / np.array(_DEVIATION[channels])
    return Photograph(normal.transpose(2, 0, 1).astype(np.float32), size)
