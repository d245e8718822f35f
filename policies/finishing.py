"""The states at which devices finish by given times: each device's own search, all devices at once.

The finishing time falls in the state. Newton's method in logarithms finds most states in a few passes; the devices that
it does not bring there, mostly since limits bind, are then searched for in brackets, and they alone.
"""

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.physics import Mixed
from prefine.emulator.types import FloatArray
from prefine.policies.device_response import PricedDevices, Response, blocks
from prefine.policies.uplinks import Index, between, part

TOLERANCE = 1e-12
"""Relative error left in the barrier and in the sum of the shares: larger saves passes and loosens the certificate."""

FLATTEST = 1e-9
"""Slope below which a finishing time counts as constant: keeps Newton's divisions finite where every limit binds."""

_QUICK_PASSES = 8
"""Newton passes without brackets at most: mostly 4 are needed, and who makes no headway is left out sooner."""

_MORE, _WORTH_A_PASS = 8, 1000
"""Devices beside each that is left, and beside all, for whom a pass of everyone is not worth it: larger goes on longer
for all because of a few."""

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
    begins; the attributes ``state`` and ``response`` have the shape of all together, ``passes`` counts responses.
    """

    def __init__(
        self, devices: PricedDevices, finish_s: Mixed, energy_price: Mixed, state: FloatArray, tolerance: float
    ) -> None:
        self._devices, self._tolerance = devices, tolerance
        shape = np.broadcast(finish_s, devices.least_batch, state).shape
        self._energy_price, self._log_finish = np.asarray(energy_price), np.log(finish_s)
        self._pressed = np.asarray(devices.soonest_each_s >= finish_s * (1.0 - TOLERANCE))
        self.state, self.response = np.empty(shape), Response.empty(shape)
        self._left = np.zeros(shape, dtype=np.bool_)
        self.passes = 0
        for index, some in devices.blocks(shape):
            self._quickly(index, some, part(state, index))
        if self._pressed.any():
            self._press(np.nonzero(self._pressed))
        if self._left.any():
            self._within_brackets()

    def _quickly(self, block: Index, devices: PricedDevices, state: FloatArray) -> None:
        """Newton's method for ``devices``; whom it has not brought there is left for `_within_brackets`."""
        price, log_finish = part(self._energy_price, block), part(self._log_finish, block)
        eager, before = ~part(self._pressed, block), np.array(np.inf)
        for passes in range(1, _QUICK_PASSES + 1):
            response = devices.respond(state, price)
            error = np.log(response.finish_s) - log_finish
            distance = np.abs(error)
            off: NDArray[np.bool_] = (distance > self._tolerance) & eager
            moves = off & (response.finish_slope > FLATTEST) & (distance < before)
            left = np.count_nonzero(moves)
            if passes == _QUICK_PASSES or not left or _MORE * left + _WORTH_A_PASS < moves.size:
                break
            step = np.where(moves, error / np.maximum(response.finish_slope, FLATTEST), 0.0)
            state = state * np.exp(between(step, -_LONGEST_QUICK_STEP, _LONGEST_QUICK_STEP))
            before = _PROGRESS * distance
        self.passes = max(self.passes, passes)
        self._left[block] = off
        self._keep(block, state, response)

    def _press(self, who: Index) -> None:
        """Who cannot be any sooner does all it can."""
        devices, energy_price = self._devices.part(who), part(self._energy_price, who)
        ceiling = devices.ceiling(energy_price)
        self._keep(who, ceiling, devices.respond(ceiling, energy_price))

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
        devices, energy_price = self._devices.part(who), part(self._energy_price, who)
        log_finish = part(self._log_finish, who)
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
                before[flat] = np.inf
                state[flat] = devices.part(flat).next_breakpoints(
                    response.frequency_hz[flat], error[flat] > 0.0, low[flat], high[flat], part(energy_price, flat)
                )
        self._keep(who, state, response)
        return passes
