"""The devices under prices: the cheapest synchronous round (docs/theory.md, section 3, "barrier").

Let a second of the barrier cost ``ratio`` joules and a joule ``energy_price``. Device k reacts to its own share r_k of
``ratio`` (W): sum_k r_k = ratio, and every device finishes at the barrier. In the state of a device its share and
everything else are explicit (`prefine.policies.device_response`). All devices and the barrier take Newton steps
together.
"""

from dataclasses import dataclass, fields
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from prefine.emulator.bound import RoundCost, planned_round
from prefine.emulator.physics import compute_energy
from prefine.emulator.types import DevicesPlan, FloatArray
from prefine.policies.device_response import Response
from prefine.policies.finishing import FLATTEST, TOLERANCE, FinishingDevices
from prefine.policies.root import IncreasingRoot

PASSES = 16
"""Newton passes before the search falls back to bisection: more wait longer for rounds where Newton cycles."""

_LONGEST_STEP = 3.0
"""Largest Newton step in the logarithm of a state: larger arrives sooner, but overshoots breakpoints further."""

LATE = 1e-11
"""Relative excess over the barrier that counts as late: a little more than `TOLERANCE` leaves."""

_ROUGH_PASSES = 4
"""Newton passes for a rough lower bound: more make it tighter, and cost as much as the search they are to save."""

_PATIENCE = 2
"""Passes of a first search before it may look at the soonest barrier: more waste passes, fewer look in vain."""

_NEAR_SOONEST = 1e-3
"""How near to its soonest the slowest device finishes where the soonest barrier is looked at: larger looks earlier."""


@dataclass(frozen=True)
class DeviceRound:
    """A fine-tuning round: the decision, its cost (s, J), its noise sum_k alpha_k / b_k, and the search's state (K,).

    ``price`` is h1 at the prices asked for, less what the search left open: a lower bound.
    """

    plan: DevicesPlan
    cost: RoundCost
    noise: float
    price: float
    snr_state: FloatArray


@dataclass(frozen=True)
class BarrierRound:
    """A round with a given barrier, the time by which every device has to finish.

    ``energy_j`` (K,) is computing and upload; ``late`` (K,) marks devices that cannot finish by then whatever they do.
    ``shares`` (K,) are the joules that one more second would save each. ``snr_state`` (K,) starts a similar search.
    """

    plan: DevicesPlan
    energy_j: FloatArray
    late: NDArray[np.bool_]
    shares: FloatArray
    snr_state: FloatArray

    @property
    def share(self) -> float:
        """How many joules one more second would save."""
        return float(np.sum(self.shares))

    def where(self, mine: NDArray[np.bool_], other: "BarrierRound") -> "BarrierRound":
        """What this round says of the devices ``mine`` (K,) and ``other`` of the rest, all by one barrier.

        Both are of devices that share neither time nor band, or have both divided alike: then each decides alone. The
        state is this round's.
        """
        plan, others = self.plan, other.plan
        return BarrierRound(
            DevicesPlan(
                np.where(mine, plan.batch, others.batch),
                np.where(mine, plan.frequency_hz, others.frequency_hz),
                np.where(mine, plan.power_w, others.power_w),
                np.where(mine, plan.upload_s, others.upload_s),
                plan.bandwidth_hz,
            ),
            np.where(mine, self.energy_j, other.energy_j),
            np.where(mine, self.late, other.late),
            np.where(mine, self.shares, other.shares),
            self.snr_state,
        )


class Divided(Protocol):
    """Devices that share neither time nor band: by a given barrier each has its own least noise plus energy."""

    def at_batches(self, batch: FloatArray) -> "Divided":
        """The same devices with ``batch`` (K,) given."""
        ...

    def finish_by(self, finish_s: float, energy_price: float, snr_state: FloatArray | None = None) -> BarrierRound:
        """See `DeviceStage`."""
        ...


class FinetuningStage(Protocol):
    """The devices' subproblem under some access; what its methods promise is said in `DeviceStage`."""

    @property
    def soonest_s(self) -> float:
        """The soonest in s that everyone can finish."""
        ...

    def at_batches(self, batch: FloatArray) -> Self:
        """The same devices with ``batch`` (K,) given."""
        ...

    def solve(
        self, ratio: float, energy_price: float, snr_state: FloatArray | None = None, tolerance: float = TOLERANCE
    ) -> DeviceRound:
        """The best round where a second costs ``ratio`` joules and a joule ``energy_price``."""
        ...

    def least_price(self, ratio: float, energy_price: float) -> float:
        """A lower bound on h1."""
        ...

    def finish_by(self, finish_s: float, energy_price: float, snr_state: FloatArray | None = None) -> BarrierRound:
        """The round of least noise plus energy that ends by ``finish_s`` after the broadcast."""
        ...

    def divided_as(self, plan: DevicesPlan) -> Divided:
        """The same devices with what they share, time or band, divided as in ``plan``."""
        ...


class DeviceStage(FinishingDevices):
    """The devices' subproblem: the shares at which all finish together, and so the round of least noise plus cost.

    Source: docs/theory.md, section 3b, "Devices".
    """

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
        columns, looked = self.no_columns(), False
        for attempt in range(PASSES):
            response = self._respond(state, energy_price, columns)
            barrier_s = float(np.max(response.finish_s))
            total = float(np.sum(response.share))
            idle = barrier_s * total - float(response.share @ response.finish_s)
            if abs(total - ratio) <= tolerance * ratio and idle <= tolerance * total * barrier_s:
                return state, response
            near = response.finish_s[self.slowest] <= self.soonest_s * (1.0 + _NEAR_SOONEST)
            if near and attempt >= patience and not looked:
                looked, soonest = True, self._at_soonest(state, ratio, energy_price, tolerance)[1]
                if soonest is not None:
                    return soonest
            state = self._newton(state, response, ratio)
        return self._bisect(state, ratio, energy_price, tolerance)

    def least_price(self, ratio: float, energy_price: float) -> float:
        """A lower bound on h1 after a few passes: any shares give one."""
        state, columns = self._even_shares(ratio), self.no_columns()
        for _ in range(_ROUGH_PASSES):
            state = self._newton(state, self._respond(state, energy_price, columns), ratio)
        return self._round(self._respond(state, energy_price, columns), state, ratio, energy_price).price

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
        power, upload_s = self.uplink.sending(response.nats)
        plan = DevicesPlan(response.batch, response.frequency_hz, power, upload_s)
        cost = planned_round(devices, radio, plan)
        noise = float(np.sum(self.noise / response.batch))
        total = float(np.sum(response.share))
        unshared = max(ratio - total, 0.0) * self.soonest_s
        seconds_price = ratio * radio.downlink_delay_s + float(response.share @ response.finish_s) + unshared
        price = noise + energy_price * (cost.energy_j + seconds_price)
        return DeviceRound(plan, cost, noise, price * min(1.0, ratio / total), state)

    def _even_shares(self, ratio: float) -> FloatArray:
        return self.uplink.state_of(np.full(len(self.devices), ratio / len(self.devices)))

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
        even = self._respond(self._even_shares(ratio), energy_price)
        log_soonest, log_latest = np.log(self.soonest_s), np.log(np.max(even.finish_s))
        everything = self.uplink.state_of(np.full(len(self.devices), ratio))
        over = np.minimum(over, everything)
        under = self.states_at(np.exp(log_latest + TOLERANCE), energy_price, state)[0]
        root = IncreasingRoot(log_latest, log_soonest, log_latest)
        while not root.exhausted:
            log_barrier = root.next()
            state = np.minimum(self.states_at(np.exp(log_barrier), energy_price, state)[0], everything)
            total = float(np.sum(self._shares(state)))
            root.update(log_barrier, np.log(ratio / total))
            if abs(total - ratio) <= TOLERANCE * ratio:
                return state, self._respond(state, energy_price)
            over, under = (state, under) if total > ratio else (over, state)
        most, least = self._shares(over), self._shares(under)
        jump = float(np.sum(most) - np.sum(least))
        mix = (ratio - float(np.sum(least))) / jump if jump > 0.0 else 1.0
        state = self.uplink.state_of(mix * most + (1.0 - mix) * least)
        return state, self._respond(state, energy_price)

    def _at_soonest(
        self, state: FloatArray, ratio: float, energy_price: float, tolerance: float
    ) -> tuple[FloatArray, tuple[FloatArray, Response] | None]:
        """The states (K,) at the soonest barrier; with the rest of ``ratio`` for the slowest, if these then make it."""
        state, response = self.states_at(self.soonest_s, energy_price, state, tolerance)
        slowest = np.flatnonzero(self.soonest_each_s >= self.soonest_s * (1.0 - TOLERANCE))
        share = response.share
        rest = ratio - (float(np.sum(share)) - float(np.sum(share[slowest])))
        if rest <= 0.0:
            return state, None
        pressed = self.uplink.state_of(np.full(len(slowest), rest / len(slowest)), slowest)
        columns = self.respond_block(pressed, energy_price, slowest)
        others = np.delete(response.finish_s, slowest)
        if max(np.max(columns[2]), np.max(others, initial=0.0)) > self.soonest_s * (1.0 + 2.0 * tolerance):
            return state, None
        over = state.copy()
        state[slowest] = pressed
        for field, values in zip(fields(Response), columns, strict=True):
            getattr(response, field.name)[slowest] = values
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
        state = self.ceiling(energy_price) if snr_state is None else snr_state
        state, response = self.states_at(finish_s, energy_price, state)
        devices = self.devices
        power, upload_s = self.uplink.sending(response.nats)
        compute_j = compute_energy(
            response.batch, devices.cycles_per_sample, response.frequency_hz, devices.capacitance
        )
        plan = DevicesPlan(response.batch, response.frequency_hz, power, upload_s)
        late = response.finish_s > finish_s * (1.0 + LATE)
        return BarrierRound(plan, compute_j + power * upload_s, late, response.share, state)
