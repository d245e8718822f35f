"""The states at which devices finish by given times: each device's own search, all devices at once.

The finishing time falls in the state. Newton's method in logarithms finds most states in a few passes; the devices that
it does not bring there, mostly since limits bind, are then searched for in brackets, and they alone.
"""

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.physics import Mixed
from prefine.emulator.types import FloatArray
from prefine.policies.device_response import PricedDevices, Response, blocks
from prefine.policies.uplinks import Index, between

TOLERANCE = 1e-12
"""Relative error left in the barrier and in the sum of the shares: larger saves passes and loosens the certificate."""

FLATTEST = 1e-9
"""Slope below which a finishing time counts as constant: keeps Newton's divisions finite where every limit binds."""

_QUICK_PASSES = 8
"""Newton passes without brackets at most: mostly 4 are needed, and who makes no headway is left out sooner."""

_LONGEST_QUICK_STEP = 3.0
"""Longest of their steps in the logarithm of a state: longer arrives sooner, but overshoots breakpoints further."""

_NEGLIGIBLE_STATE = 1e-20
"""Lower end of a device's bracket as a part of its upper: smaller covers shares that no sum would notice."""

_ATTEMPTS = 300
"""Steps in the devices' brackets at most: fewer could leave an odd device off the barrier."""

_PROGRESS = 0.7
"""A Newton step is trusted while the error falls by this factor: larger trusts slow steps, smaller bisects too soon."""


class FinishingSearch:
    """The states at which every device finishes at its ``finish_s``, or as near as it can, and what it does there.

    ``finish_s`` and ``energy_price`` are one for all or broadcast with ``state`` (K,) or (n, K), where the search
    begins; ``state`` and ``response`` have the shape of all together. ``passes`` is how often all were asked.
    """

    def __init__(
        self, devices: PricedDevices, finish_s: Mixed, energy_price: Mixed, state: FloatArray, tolerance: float
    ) -> None:
        self._devices, self._tolerance = devices, tolerance
        shape = np.broadcast_shapes(np.shape(finish_s), devices.least_batch.shape, state.shape)
        self._energy_price = np.broadcast_to(energy_price, shape)
        self._log_finish = np.broadcast_to(np.log(finish_s), shape)
        self._pressed = np.broadcast_to(devices.soonest_each_s >= finish_s * (1.0 - TOLERANCE), shape)
        self.state, self.response = np.array(np.broadcast_to(state, shape)), Response.empty(shape)
        if self._pressed.any():
            pressed = np.nonzero(self._pressed)
            self.state[pressed] = devices.part(pressed).ceiling(self._energy_price[pressed])
        self._left = np.zeros(shape, dtype=np.bool_)
        self.passes = 0
        for index, part in devices.blocks(shape):
            self._quickly(index, part)
        if self._left.any():
            self._within_brackets()

    def _quickly(self, block: Index, devices: PricedDevices) -> None:
        """Newton's method for ``devices``; whom it has not brought there is left for `_within_brackets`."""
        state, price, log_finish = self.state[block], self._energy_price[block], self._log_finish[block]
        eager, before = ~self._pressed[block], np.array(np.inf)
        for passes in range(1, _QUICK_PASSES + 1):
            response = devices.respond(state, price)
            error = np.log(response.finish_s) - log_finish
            distance = np.abs(error)
            off: NDArray[np.bool_] = (distance > self._tolerance) & eager
            moves = off & (response.finish_slope > FLATTEST) & (distance < before)
            if passes == _QUICK_PASSES or not moves.any():
                break
            step = np.where(moves, error / np.maximum(response.finish_slope, FLATTEST), 0.0)
            state = state * np.exp(between(step, -_LONGEST_QUICK_STEP, _LONGEST_QUICK_STEP))
            before = _PROGRESS * distance
        self.passes = max(self.passes, passes)
        self._left[block] = off
        self._keep(block, state, response)

    def _keep(self, index: Index, state: FloatArray, response: Response) -> None:
        self.state[index] = state
        self.response.put(index, response)

    def _within_brackets(self) -> None:
        """Newton's method for the others, safeguarded by bisection and by steps to the limits that bind."""
        left, most = np.nonzero(self._left), 0
        for (some,) in blocks(left[0].shape):
            most = max(most, self._bracketed(tuple(each[some] for each in left)))
        self.passes += most

    def _bracketed(self, who: Index) -> int:
        devices, energy_price, log_finish = self._devices.part(who), self._energy_price[who], self._log_finish[who]
        high = devices.ceiling(energy_price)
        low = high * _NEGLIGIBLE_STATE
        state, before = between(self.state[who], low, high), np.full(len(high), np.inf)
        for passes in range(1, _ATTEMPTS + 1):
            response = devices.respond(state, energy_price)
            error = np.log(response.finish_s) - log_finish
            low, high = np.where(error > 0.0, state, low), np.where(error <= 0.0, state, high)
            there = (np.abs(error) <= self._tolerance) | (high <= low * (1.0 + TOLERANCE))
            if passes == _ATTEMPTS or there.all():
                break
            slope = np.maximum(response.finish_slope, FLATTEST)
            newton = state * np.exp(between(error / slope, -50.0, 50.0))
            trusted = (newton > low) & (newton < high) & (np.abs(error) < _PROGRESS * before)
            before = np.abs(error)
            state = np.where(there, state, np.where(trusted, newton, np.sqrt(low * high)))
            flat = np.nonzero((response.finish_slope <= FLATTEST) & ~there)
            if len(flat[0]):
                state[flat] = devices.part(flat).next_breakpoints(
                    response.frequency_hz[flat], error[flat] > 0.0, low[flat], high[flat], energy_price[flat]
                )
        self._keep(who, state, response)
        return passes
