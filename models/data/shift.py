"""Shift put on the general data on purpose, with a strength: what separates them from the task is then known."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.scenario.task import ShiftSettings
from prefine.emulator.types import IntArray
from prefine.models.data.samples import DataPair, Samples


def apply(pair: DataPair, shift: ShiftSettings, generator: np.random.Generator) -> DataPair:
    """The pair with its general data shifted as ``shift`` says; all zero leaves it as it is.

    ``generator`` draws noise and classes. Raises ValueError where a shift makes no sense for the data.
    """
    general = pair.general
    if shift.classes is not None or shift.label_tilt:
        if pair.kind != "classification":
            raise ValueError("shift: classes and label_tilt need a classification task")
        general = _labels(general, pair.outputs, shift.classes or pair.outputs, shift.label_tilt, generator)
    if shift.rotation_deg:
        general = replace(general, x=_rotated(general.x, shift.rotation_deg))
    if shift.noise:
        noise = generator.standard_normal(general.x.shape).astype(np.float32)
        general = replace(general, x=general.x + np.float32(shift.noise) * noise)
    return replace(pair, general=general)


def _labels(samples: Samples, outputs: int, kept: int, tilt: float, generator: np.random.Generator) -> Samples:
    """Only ``kept`` randomly chosen classes, thinned so that the j-th has exp(-tilt j / (kept - 1)) of its samples."""
    if kept > outputs:
        raise ValueError(f"shift: classes = {kept}, but there are {outputs}")
    chosen = generator.permutation(outputs)[:kept]
    shares = np.exp(-tilt * np.arange(kept) / max(1, kept - 1))
    rows: list[IntArray] = []
    for name, share in zip(chosen, shares, strict=True):
        own = generator.permutation(np.flatnonzero(samples.y == name))
        rows.append(own[: max(1, round(share * len(own)))])
    return samples.take(np.sort(np.concatenate(rows)))


def _rotated(images: NDArray[np.float32], degrees: float) -> NDArray[np.float32]:
    """Turned counter-clockwise about the centre, bilinear, dark outside."""
    if images.ndim != 4:
        raise ValueError(f"shift: rotation_deg needs images, but a sample has shape {images.shape[1:]}")
    from scipy.ndimage import rotate  # half a second to import

    turned: NDArray[np.float32] = rotate(images, degrees, axes=(3, 2), reshape=False, order=1).astype(np.float32)
    return turned
