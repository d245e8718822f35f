"""The states at which devices finish by given times: each device's own search, all devices at once.

The finishing time falls in the state. Newton's method in logarithms finds most states in a few passes; the devices that
it does not bring there, mostly since limits bind, are then searched for in brackets, and they alone.
"""

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.types import FloatArray
from prefine.policies.device_response import PricedDevices, Response, blocks
from prefine.policies.uplinks import between

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


class FinishingDevices(PricedDevices):
    """The devices with the search for the states at which they finish by given times."""

    def states_at(
        self, finish_s: float | FloatArray, energy_price: float, state: FloatArray, tolerance: float = TOLERANCE
    ) -> tuple[FloatArray, Response]:
        """The states (K,) at which every device finishes at its ``finish_s``, or as near as it can."""
        search = _Search(self, finish_s, energy_price, state, tolerance)
        search.quickly()
        search.within_brackets()
        self.effort.spend(search.passes)
        return search.state, Response(*search.columns)


class _Search:
    """The states of all devices and what they do in them, while they are looked for."""

    def __init__(
        self,
        devices: FinishingDevices,
        finish_s: float | FloatArray,
        energy_price: float,
        state: FloatArray,
        tolerance: float,
    ) -> None:
        self._devices, self._energy_price, self._tolerance = devices, energy_price, tolerance
        self._log_finish = np.broadcast_to(np.log(finish_s), len(state))
        self._pressed = devices.soonest_each_s >= finish_s * (1.0 - TOLERANCE)
        self.state = state.copy()
        pressed = np.flatnonzero(self._pressed)
        if len(pressed):
            self.state[pressed] = devices.ceiling(energy_price, pressed)
        self.columns = devices.no_columns()
        self._left: list[NDArray[np.intp]] = []
        self.passes = 0

    def quickly(self) -> None:
        """Newton's method for all; who it has not brought there is left for `within_brackets`."""
        for block in blocks(len(self.state)):
            off = self._newton(block)
            self._left.append(np.flatnonzero(off) + block.start)

    def _newton(self, block: slice) -> NDArray[np.bool_]:
        state, pressed, before = self.state[block], self._pressed[block], np.array(np.inf)
        for passes in range(1, _QUICK_PASSES + 1):
            columns = self._devices.respond_block(state, self._energy_price, block)
            error = np.log(columns[2]) - self._log_finish[block]
            distance = np.abs(error)
            off: NDArray[np.bool_] = (distance > self._tolerance) & ~pressed
            moves = off & (columns[3] > FLATTEST) & (distance < before)
            if passes == _QUICK_PASSES or not np.any(moves):
                break
            step = np.where(moves, error / np.maximum(columns[3], FLATTEST), 0.0)
            state = state * np.exp(between(step, -_LONGEST_QUICK_STEP, _LONGEST_QUICK_STEP))
            before = _PROGRESS * distance
        self.passes = max(self.passes, passes)
        self._keep(block, state, columns)
        return off

    def _keep(self, which: slice | NDArray[np.intp], state: FloatArray, columns: tuple[FloatArray, ...]) -> None:
        self.state[which] = state
        for column, values in zip(self.columns, columns, strict=True):
            column[which] = values

    def within_brackets(self) -> None:
        """Newton's method for the others, safeguarded by bisection and by steps to the limits that bind."""
        left = np.concatenate(self._left)
        most = 0
        for part in blocks(len(left)):
            most = max(most, self._bracketed(left[part]))
        self.passes += most

    def _bracketed(self, who: NDArray[np.intp]) -> int:
        devices, energy_price, log_finish = self._devices, self._energy_price, self._log_finish[who]
        high = devices.ceiling(energy_price, who)
        low = high * _NEGLIGIBLE_STATE
        state, before = between(self.state[who], low, high), np.full(len(who), np.inf)
        for passes in range(1, _ATTEMPTS + 1):
            columns = devices.respond_block(state, energy_price, who)
            finish_slope = columns[3]
            error = np.log(columns[2]) - log_finish
            low, high = np.where(error > 0.0, state, low), np.where(error <= 0.0, state, high)
            there = (np.abs(error) <= self._tolerance) | (high <= low * (1.0 + TOLERANCE))
            if passes == _ATTEMPTS or np.all(there):
                break
            newton = state * np.exp(between(error / np.maximum(finish_slope, FLATTEST), -50.0, 50.0))
            trusted = (newton > low) & (newton < high) & (np.abs(error) < _PROGRESS * before)
            before = np.abs(error)
            state = np.where(there, state, np.where(trusted, newton, np.sqrt(low * high)))
            flat = np.flatnonzero((finish_slope <= FLATTEST) & ~there)
            if len(flat):
                state[flat] = devices.next_breakpoints(
                    who[flat], columns[5][flat], error[flat] > 0.0, low[flat], high[flat], energy_price
                )
        self._keep(who, state, columns)
        return passes
