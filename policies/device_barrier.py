"""The devices under prices: the cheapest synchronous round (docs/theory.md, section 3, "barrier").

Let a second of the barrier cost ``ratio`` joules and a joule ``energy_price``. Device k reacts to its own share r_k of
``ratio`` (W): sum_k r_k = ratio, and every device finishes at the barrier. In the state of a device its share and
everything else are explicit (`prefine.policies.device_response`). All devices and the barrier take Newton steps
together.
"""

from copy import copy
from dataclasses import replace
from typing import Self

import numpy as np

from prefine.emulator.bound import planned_round
from prefine.emulator.physics import Mixed, compute_energy
from prefine.emulator.types import Devices, DevicesPlan, FloatArray, Radio
from prefine.policies.device_response import PricedDevices, Response
from prefine.policies.effort import MOST_RESPONSES, Effort
from prefine.policies.finetuning_stage import LATE, BarrierRound, DeviceRound
from prefine.policies.finishing import FLATTEST, TOLERANCE, FinishingSearch
from prefine.policies.root import IncreasingRoot
from prefine.policies.uplinks import Uplink

PASSES = 16
"""Newton passes before the search falls back to bisection: more wait longer for rounds where Newton cycles."""

_LONGEST_STEP = 3.0
"""Largest Newton step in the logarithm of a state: larger arrives sooner, but overshoots breakpoints further."""

_ROUGH_PASSES = 4
"""Newton passes for a rough lower bound: more make it tighter, and cost as much as the search they are to save."""

_PATIENCE = 2
"""Passes of a first search before it may look at the soonest barrier: more waste passes, fewer look in vain."""

_NEAR_SOONEST = 1e-3
"""How near to its soonest the slowest device finishes where the soonest barrier is looked at: larger looks earlier."""


class DeviceStage:
    """The devices' subproblem: the shares at which all finish together, and so the round of least noise plus cost.

    ``noise`` (K,) is alpha_k. Raises PolicyError after `MOST_RESPONSES` responses, counted together with those of all
    that `at_batches` and `with_uplink` make of it. Source: docs/theory.md, section 3b, "Devices".
    """

    def __init__(self, devices: Devices, radio: Radio, noise: FloatArray, uplink: Uplink) -> None:
        self.devices, self.radio = devices, radio
        self.priced = PricedDevices.of(devices, noise, uplink)
        self.effort = Effort(MOST_RESPONSES, "a plan")

    def at_batches(self, batch: FloatArray) -> Self:
        """The same devices with ``batch`` (K,) given; with (n, K), n such rounds, of which only states are asked."""
        fixed = copy(self)
        fixed.priced = self.priced.at_batches(batch)
        return fixed

    def with_uplink(self, uplink: Uplink) -> Self:
        """The same devices with other uploads."""
        other = copy(self)
        other.priced = replace(self.priced, uplink=uplink)
        return other

    @property
    def soonest_s(self) -> float:
        """The soonest in s that everyone can finish: least batch, full speed, fastest upload."""
        return float(self.priced.soonest_each_s.max())

    def states_at(
        self, finish_s: Mixed, energy_price: Mixed, state: FloatArray, tolerance: float = TOLERANCE
    ) -> tuple[FloatArray, Response]:
        """The states at which every device finishes at its ``finish_s``, or as near as it can (`FinishingSearch`)."""
        search = FinishingSearch(self.priced, finish_s, energy_price, state, tolerance)
        self.effort.spend(search.passes)
        return search.state, search.response

    def _respond(self, state: FloatArray, energy_price: float, response: Response) -> Response:
        """What all do in ``state``, written into ``response``, which spares the machine new memory for each pass."""
        self.effort.spend()
        parts = self.priced.parts
        if len(parts) == 1:
            return self.priced.respond(state, energy_price)
        for index, part in parts:
            response.put(index, part.respond(state[index], energy_price))
        return response

    def solve(
        self, ratio: float, energy_price: float, snr_state: FloatArray | None = None, tolerance: float = TOLERANCE
    ) -> DeviceRound:
        """The best round where a second of the barrier costs ``ratio`` joules and a joule ``energy_price`` (both > 0).

        ``snr_state`` (K,) of a similar round saves passes; ``tolerance`` is relative, in the barrier and in the shares.
        """
        state, response = self.settled(ratio, energy_price, snr_state, tolerance)
        return self._round(response, state, ratio, energy_price)

    def settled(
        self, ratio: float, energy_price: float, snr_state: FloatArray | None = None, tolerance: float = TOLERANCE
    ) -> tuple[FloatArray, Response]:
        """The states (K,) of that round, and what everyone does in them."""
        state, patience = (self._even_shares(ratio), _PATIENCE) if snr_state is None else (snr_state, 0)
        response, looked = Response.empty(state.shape), False
        slowest, soonest_s = int(np.argmax(self.priced.soonest_each_s)), self.soonest_s
        for attempt in range(PASSES):
            response = self._respond(state, energy_price, response)
            barrier_s = float(response.finish_s.max())
            total = float(response.share.sum())
            idle = barrier_s * total - float(response.share @ response.finish_s)
            if abs(total - ratio) <= tolerance * ratio and idle <= tolerance * total * barrier_s:
                return state, response
            near = response.finish_s[slowest] <= soonest_s * (1.0 + _NEAR_SOONEST)
            if near and attempt >= patience and not looked:
                looked, soonest = True, self._at_soonest(state, ratio, energy_price, tolerance)[1]
                if soonest is not None:
                    return soonest
            state = self._newton(state, response, ratio)
        return self._bisect(state, ratio, energy_price, tolerance)

    def least_price(self, ratio: float, energy_price: float) -> float:
        """A lower bound on h1 after a few passes: any shares give one."""
        state = self._even_shares(ratio)
        response = Response.empty(state.shape)
        for _ in range(_ROUGH_PASSES):
            response = self._respond(state, energy_price, response)
            state = self._newton(state, response, ratio)
        return self._round(self._respond(state, energy_price, response), state, ratio, energy_price).price

    def _newton(self, state: FloatArray, response: Response, ratio: float) -> FloatArray:
        """One step of all devices and the barrier: z_k(s_k) = Z for each, shares summing to ``ratio``."""
        step = np.log(response.finish_s)
        slope = np.maximum(response.finish_slope, FLATTEST)
        weight = response.share * response.share_slope
        weight /= slope
        excess = float(np.sum(response.share)) - ratio
        step -= (float(weight @ step) + excess) / float(np.sum(weight))
        step /= slope
        np.clip(step, -_LONGEST_STEP, _LONGEST_STEP, out=step)
        np.exp(step, out=step)
        step *= state
        return step

    def _round(self, response: Response, state: FloatArray, ratio: float, energy_price: float) -> DeviceRound:
        devices, radio = self.devices, self.radio
        power, upload_s = self.priced.uplink.sending(response.nats)
        plan = DevicesPlan(response.batch, response.frequency_hz, power, upload_s)
        cost = planned_round(devices, radio, plan)
        noise = float(np.sum(self.priced.noise / response.batch))
        total = float(np.sum(response.share))
        unshared = max(ratio - total, 0.0) * self.soonest_s
        seconds_price = ratio * radio.downlink_delay_s + float(response.share @ response.finish_s) + unshared
        price = noise + energy_price * (cost.energy_j + seconds_price)
        return DeviceRound(plan, cost, noise, price * min(1.0, ratio / total), state)

    def _even_shares(self, ratio: float) -> FloatArray:
        return self.priced.uplink.state_of(np.full(len(self.devices), ratio / len(self.devices)))

    def _bisect(
        self, state: FloatArray, ratio: float, energy_price: float, tolerance: float
    ) -> tuple[FloatArray, Response]:
        """The state found by bracketing the barrier, and every device's state at each trial barrier.

        Where the shares jump at the barrier (devices whose every limit binds for a range of shares) the two sides
        are mixed so that the shares sum to ``ratio``.
        """
        over, soonest = self._at_soonest(state, ratio, energy_price, tolerance)
        if soonest is not None:
            return soonest
        even = self._respond(self._even_shares(ratio), energy_price, Response.empty(state.shape))
        log_soonest, log_latest = np.log(self.soonest_s), np.log(np.max(even.finish_s))
        everything = self.priced.uplink.state_of(np.full(len(self.devices), ratio))
        over = np.minimum(over, everything)
        under = self.states_at(np.exp(log_latest + TOLERANCE), energy_price, state)[0]
        root = IncreasingRoot(log_latest, log_soonest, log_latest)
        while not root.exhausted:
            log_barrier = root.next()
            state = np.minimum(self.states_at(np.exp(log_barrier), energy_price, state)[0], everything)
            total = float(np.sum(self.priced.shares(state)))
            root.update(log_barrier, np.log(ratio / total))
            if abs(total - ratio) <= TOLERANCE * ratio:
                return state, self._respond(state, energy_price, Response.empty(state.shape))
            over, under = (state, under) if total > ratio else (over, state)
        most, least = self.priced.shares(over), self.priced.shares(under)
        jump = float(np.sum(most) - np.sum(least))
        mix = (ratio - float(np.sum(least))) / jump if jump > 0.0 else 1.0
        state = self.priced.uplink.state_of(mix * most + (1.0 - mix) * least)
        return state, self._respond(state, energy_price, Response.empty(state.shape))

    def _at_soonest(
        self, state: FloatArray, ratio: float, energy_price: float, tolerance: float
    ) -> tuple[FloatArray, tuple[FloatArray, Response] | None]:
        """The states (K,) at the soonest barrier; with the rest of ``ratio`` for the slowest, if these then make it."""
        soonest_s = self.soonest_s
        state, response = self.states_at(soonest_s, energy_price, state, tolerance)
        slowest = np.nonzero(self.priced.soonest_each_s >= soonest_s * (1.0 - TOLERANCE))
        share, some = response.share, self.priced.part(slowest)
        rest = ratio - (float(np.sum(share)) - float(np.sum(share[slowest])))
        if rest <= 0.0:
            return state, None
        pressed = some.uplink.state_of(np.full(len(slowest[0]), rest / len(slowest[0])))
        at_most = some.respond(pressed, energy_price)
        others = np.delete(response.finish_s, slowest[0])
        if max(at_most.finish_s.max(), np.max(others, initial=0.0)) > soonest_s * (1.0 + 2.0 * tolerance):
            return state, None
        over = state.copy()
        state[slowest] = pressed
        response.put(slowest, at_most)
        return over, (state, response)

    def divided_as(self, plan: DevicesPlan) -> Self:
        """Itself: by a given barrier each device's decision is its own."""
        return self

    def finish_by(
        self, finish_s: float | FloatArray, energy_price: float, snr_state: FloatArray | None = None
    ) -> BarrierRound:
        """What every device does to finish by ``finish_s`` (after the broadcast) at the least noise plus energy.

        ``finish_s`` is one barrier, or (K,) that of each device. ``energy_price`` is the price of a joule; with batches
        pinned by `at_batches` any positive one gives the same.
        """
        state = self.priced.ceiling(energy_price) if snr_state is None else snr_state
        state, response = self.states_at(finish_s, energy_price, state)
        devices = self.devices
        power, upload_s = self.priced.uplink.sending(response.nats)
        compute_j = compute_energy(
            response.batch, devices.cycles_per_sample, response.frequency_hz, devices.capacitance
        )
        plan = DevicesPlan(response.batch, response.frequency_hz, power, upload_s)
        late = response.finish_s > finish_s * (1.0 + LATE)
        return BarrierRound(plan, compute_j + power * upload_s, late, response.share, state)
