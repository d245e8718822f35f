"""The task's samples spread over the devices.

Every device gets at least one sample; the parts are disjoint and together all the samples.
"""

from typing import Literal

import numpy as np

from prefine.emulator.types import IntArray
from prefine.models.data.samples import Samples

Partition = Literal["iid", "dirichlet", "source"]
BINS = 10

LEAST_HELD_OUT = 2
"""Samples that anything is validated on: of one sample alone, neither a score nor a spread can be told."""


def split(
    samples: Samples, devices: int, how: Partition, alpha: float, generator: np.random.Generator
) -> tuple[IntArray, ...]:
    """Rows of each device.

    ``iid``: equal random parts. ``dirichlet``: each class is spread by shares drawn from Dirichlet(alpha) (Yurochkin
    et al., 2019); the smaller alpha, the more one-sided; a regression is spread by tenths of its target. ``source``:
    each source (its class, where the data names none) lives on one device; sources are dealt out in random order.

    Raises ValueError where there are fewer samples or sources than devices.
    """
    if len(samples) < devices:
        raise ValueError(f"{len(samples)} task samples cannot be spread over {devices} devices")
    order = generator.permutation(len(samples))
    if how == "iid":
        return tuple(np.sort(part) for part in np.array_split(order, devices))
    if how == "source":
        return _by_source(samples.source if len(samples.source) else classes(samples), devices, generator)
    return _dirichlet(classes(samples)[order], order, devices, alpha, generator)


def hold_out(
    parts: tuple[IntArray, ...], amount: float, generator: np.random.Generator
) -> tuple[tuple[IntArray, ...], tuple[IntArray, ...]]:
    """What each device keeps of its ``parts``, and what it lends to the validation samples, drawn at random.

    ``amount`` is how many samples all devices lend together, below 1 their share. Each lends in proportion to what it
    has beyond one sample, which it keeps. Raises ValueError where that leaves fewer than `LEAST_HELD_OUT`.
    """
    spare = np.cumsum([len(part) - 1 for part in parts])
    total = round(amount * sum(map(len, parts))) if amount < 1 else round(amount)
    if not LEAST_HELD_OUT <= total <= spare[-1]:
        raise ValueError(
            f"task.validation = {amount:g}: {total} samples; of {sum(map(len, parts))} on {len(parts)} devices, which "
            f"keep one each, it must be from {LEAST_HELD_OUT} to {spare[-1]}"
        )
    ends = np.floor(total * spare / spare[-1] + 0.5).astype(np.int64)
    orders = [generator.permutation(part) for part in parts]
    lent = np.diff(ends, prepend=0)
    kept = tuple(np.sort(order[count:]) for order, count in zip(orders, lent, strict=True))
    return kept, tuple(np.sort(order[:count]) for order, count in zip(orders, lent, strict=True))


def split_alike(
    held_out: Samples, task: Samples, parts: tuple[IntArray, ...], generator: np.random.Generator
) -> tuple[IntArray, ...]:
    """Rows of ``held_out`` for each device: classes are dealt in the proportions in which the devices hold the task's.

    ``parts`` are the task rows of each device. Classes are tenths of the task's targets for a regression. Parts are
    disjoint; a device gets none of a class of which it has none, and samples of classes that nobody has go to nobody.
    """
    task_classes, own_classes = classes(task), classes(held_out, task)
    owner = np.full(len(held_out), -1)
    for name in np.unique(task_classes):
        counts = np.array([np.count_nonzero(task_classes[part] == name) for part in parts])
        rows = generator.permutation(np.flatnonzero(own_classes == name))
        shares = np.cumsum(counts) / counts.sum()
        owner[rows] = np.searchsorted(shares, (np.arange(len(rows)) + 0.5) / max(1, len(rows)))
    return tuple(np.flatnonzero(owner == device) for device in range(len(parts)))


def classes(samples: Samples, like: Samples | None = None) -> IntArray:
    """Classes, or the tenth of the target's range of quantiles, those of ``like`` where it is given."""
    if samples.y.dtype == np.int64:
        return samples.y.astype(np.int64)
    edges = np.quantile((like or samples).y, np.linspace(0.0, 1.0, BINS + 1)[1:-1])
    return np.searchsorted(edges, samples.y).astype(np.int64)


def _by_source(source: IntArray, devices: int, generator: np.random.Generator) -> tuple[IntArray, ...]:
    names = generator.permutation(np.unique(source))
    if len(names) < devices:
        raise ValueError(f"partition = 'source' needs a source per device; the data has {len(names)} for {devices}")
    return tuple(np.flatnonzero(np.isin(source, names[device::devices])) for device in range(devices))


def _dirichlet(
    names: IntArray, order: IntArray, devices: int, alpha: float, generator: np.random.Generator
) -> tuple[IntArray, ...]:
    owner = np.empty(len(order), dtype=np.int64)
    for name in np.unique(names):
        rows = order[names == name]
        shares = np.cumsum(generator.dirichlet(np.full(devices, alpha)))[:-1]
        owner[rows] = np.searchsorted(shares, (np.arange(len(rows)) + 0.5) / len(rows))
    for device in range(devices):  # a device without data takes a sample from the device that has most
        if not (owner == device).any():
            richest = np.flatnonzero(owner == np.bincount(owner, minlength=devices).argmax())
            owner[generator.choice(richest)] = device
    return tuple(np.flatnonzero(owner == device) for device in range(devices))
