"""One model on the data of each device: losses and scores of all devices from one pass over all samples."""

import numpy as np

from prefine.emulator.types import FloatArray, IntArray
from prefine.models.objective import Batch, Objective


def losses_of(objective: Objective, batch: Batch, parts: tuple[IntArray, ...]) -> FloatArray:
    """F_k (K,), weight decay included, over the rows of ``batch`` that each of ``parts`` names; NaN of no rows."""
    return _means(objective.losses_of_each(batch).double().cpu().numpy(), parts) + objective.penalty(1.0)


def scores_of(objective: Objective, batch: Batch, parts: tuple[IntArray, ...]) -> FloatArray:
    """The score (K,) on the rows of ``batch`` that each of ``parts`` names, as `Objective.score`; NaN of no rows."""
    predicted = objective.predict(batch)
    if objective.kind == "classification":
        return _means((predicted.argmax(dim=1) == batch.y).double().cpu().numpy(), parts)
    y = batch.y.double().cpu().numpy()
    missed = _means((predicted[:, 0].double().cpu().numpy() - y) ** 2, parts)
    spread = _means(y**2, parts) - _means(y, parts) ** 2
    return 1.0 - missed / np.where(spread > 0.0, spread, np.nan)


def _means(values: FloatArray, parts: tuple[IntArray, ...]) -> FloatArray:
    """The mean of ``values`` (n,) over each part's rows, (K,)."""
    sizes = np.array([len(part) for part in parts])
    rows = np.concatenate(parts) if len(parts) else np.zeros(0, dtype=np.int64)
    sums = np.bincount(np.repeat(np.arange(len(parts)), sizes), weights=values[rows], minlength=len(parts))
    means: FloatArray = np.divide(sums, sizes, out=np.full(len(parts), np.nan), where=sizes > 0)
    return means
