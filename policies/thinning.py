"""A problem with some of its many devices, each standing for as many as were left out: where a search may begin.

With every w-th device left, h1, h0, the energy budget and A are all a w-th of what they were, at the same prices of a
joule and a w-th of that of a second. So the best log-odds are nearly the same; nothing is proven by it.
"""

from dataclasses import replace

import numpy as np

from prefine.emulator.types import IntArray, Problem

MOST_UNTHINNED = 50_000
"""Devices up to which thinning does not pay."""

_KEPT = 16_384
"""Devices kept: more come nearer to the best prices, each costs as much as one of the problem's for a trial."""

_STRIDE = 0.6180339887498949
"""Fractional part of the golden ratio: its multiples are spread evenly, whatever order the devices are in."""


def sample(count: int, slowest: int) -> IntArray:
    """The numbers of about `_KEPT` of ``count`` devices, ``slowest`` among them."""
    spread = (np.arange(1.0, _KEPT) * _STRIDE % 1.0 * count).astype(np.int64)
    return np.unique(np.append(spread, slowest))


def thinned(problem: Problem, kept: IntArray) -> Problem:
    """``problem`` with the devices ``kept`` alone."""
    count = len(problem.devices)
    part = len(kept) / count
    learning, server, radio = problem.learning, problem.server, problem.radio
    return replace(
        problem,
        budget=replace(problem.budget, energy_j=problem.budget.energy_j * part),
        learning=replace(
            learning,
            initial_gap=learning.initial_gap * part,
            discrepancy=learning.discrepancy * part,
            discrepancy_relief=learning.discrepancy_relief * part,
            pretrain_floor=_scaled(learning.pretrain_floor, part),
            pretrain_noise=_scaled(learning.pretrain_noise, part),
        ),
        server=replace(
            server, capacitance=server.capacitance * part, gradient_variance=server.gradient_variance * part
        ),
        devices=problem.devices.at(kept),
        radio=replace(radio, downlink_energy_j=radio.downlink_energy_j * part),
    )


def _scaled(value: float | None, part: float) -> float | None:
    return None if value is None else value * part
