"""Image files as arrays of bytes, opened with care: decoders meet files from anywhere."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.archives import MOST_BYTES

PICTURES = (".png", ".jpg", ".jpeg", ".bmp")


def of_classes(folder: Path, classes: list[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (n, channels, rows, columns) in the subfolders ``classes`` of ``folder``, and their classes (n,).

    Raises ValueError where there are none, one cannot be read, or they differ in shape.
    """
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        files = sorted((folder / name).iterdir()) if (folder / name).is_dir() else []
        for file in (file for file in files if file.suffix.lower() in PICTURES):
            with file.open("rb") as content:
                images.append(alike(str(folder), images, pixels(content, str(file)), str(file)))
            labels.append(label)
    if not images:
        raise ValueError(f"{folder}: no images")
    return channels_first(images), np.array(labels)


def alike(where: str, before: Sequence[NDArray[np.uint8]], image: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """The ``image``, unless it differs in shape from those ``before`` it, or there are too many already."""
    if image.nbytes * (len(before) + 1) > MOST_BYTES:
        raise ValueError(f"{where}: its images take more than the {MOST_BYTES} bytes that are read")
    if before and image.shape != before[0].shape:
        raise ValueError(f"{name}: shape {image.shape}, but the images before it have {before[0].shape}")
    return image


def channels_first(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Equally large images as (n, channels, rows, columns)."""
    stack = np.stack(images)
    return stack[:, None] if stack.ndim == 3 else stack.transpose(0, 3, 1, 2)


def pixels(content: IO[bytes], name: str) -> NDArray[np.uint8]:
    """Grey levels (rows, columns) or colours (rows, columns, 3); an image of too many pixels is not expanded.

    Raises ValueError with the ``name`` of what cannot be read.
    """
    from PIL import Image, UnidentifiedImageError  # matplotlib needs it anyway

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(content, formats=("PNG", "JPEG", "BMP")) as picture:
                return np.asarray(picture.convert("L" if picture.mode in ("1", "L") else "RGB"))
    except UnidentifiedImageError as unknown:
        raise ValueError(f"{name}: not a readable image (it is none of PNG, JPEG and BMP)") from unknown
    except Exception as damage:  # decoders raise whatever a damaged file makes them
        raise ValueError(f"{name}: not a readable image ({damage})") from damage
