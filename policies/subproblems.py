"""The two subproblems that prices split a design into: a pre-training round, and a fine-tuning round.

`ServerStage` solves the server's here in closed form, `prefine.policies.device_barrier` the devices' (docs/theory.md,
section 3b).
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from prefine.emulator.access import sending_s
from prefine.emulator.bound import BoundTerms, RoundCost, server_round
from prefine.emulator.physics import compute_energy
from prefine.emulator.types import DevicesPlan, FloatArray, Problem, Server, ServerPlan
from prefine.policies.device_barrier import DeviceStage
from prefine.policies.finetuning_stage import FinetuningStage
from prefine.policies.shared_band import SharedBand
from prefine.policies.time_shared import TimeShared
from prefine.policies.uplinks import NoUpload, OwnBands, Uplink

_NEXT_TO_NO_CYCLES = 1e-30
"""A sample's cycles where computing is to take no time: less would leave the range of double precision somewhere."""


@dataclass(frozen=True)
class ServerRound:
    """A pre-training round: the decision, what it costs (s, J) and its noise alpha0 / b0."""

    plan: ServerPlan
    cost: RoundCost
    noise: float

    def price(self, delay_price: float, energy_price: float) -> float:
        """Noise plus cost at the price of a second and of a joule: h0 without Delta^2."""
        return self.noise + delay_price * self.cost.delay_s + energy_price * self.cost.energy_j


@dataclass(frozen=True)
class ServerStage:
    """The server's subproblem: its round of least noise plus cost, in closed form; ``noise`` is alpha0.

    Source: docs/theory.md, section 3b, "Server".
    """

    server: Server
    noise: float

    def frequency(self, ratio: float) -> float:
        """The best frequency in Hz where a second costs ``ratio`` joules; it does not depend on the batch."""
        free = math.cbrt(ratio / (2.0 * self.server.capacitance))
        return min(max(free, self.server.min_frequency_hz), self.server.max_frequency_hz)

    def respond(self, ratio: float, energy_price: float) -> ServerRound:
        """The best round where a second costs ``ratio`` joules and a joule costs ``energy_price`` (both > 0)."""
        batch = math.sqrt(self.noise / self.sample_price(ratio, energy_price))
        made = self.round(min(max(batch, self.server.min_batch), self.server.max_batch), ratio)
        return ServerRound(made.plan, made.cost, self.noise / made.plan.batch)

    def sample_price(self, ratio: float, energy_price: float) -> float:
        """What a sample costs at the best frequency."""
        server, frequency = self.server, self.frequency(ratio)
        cycle_j = ratio / frequency + compute_energy(1.0, 1.0, frequency, server.capacitance)
        return energy_price * (server.cycles_per_sample * cycle_j)

    def round(self, batch: float, ratio: float) -> ServerRound:
        """The round with ``batch`` at the best frequency, without noise."""
        plan = ServerPlan(batch, self.frequency(ratio))
        return ServerRound(plan, server_round(self.server, plan), 0.0)


@dataclass(frozen=True)
class Stages:
    """A problem with its bound's coefficients and both subproblems, built when first asked for.

    ``full_power`` pins every device to its maximum power.
    """

    problem: Problem
    full_power: bool = False

    @cached_property
    def terms(self) -> BoundTerms:
        """Coefficients of both bounds."""
        return BoundTerms.of(self.problem)

    @cached_property
    def server(self) -> ServerStage:
        """The server's response to prices."""
        return ServerStage(self.problem.server, self.terms.server_noise)

    @cached_property
    def devices(self) -> FinetuningStage:
        """The devices' response to prices under the access of the problem; ask only where `reachable`."""
        devices, radio, noise = self.problem.devices, self.problem.radio, self.terms.device_noise
        if radio.access == "tdma":
            return TimeShared(devices, radio, noise, full_power=self.full_power)
        if radio.bandwidth == "optimise":
            return SharedBand(devices, radio, noise, full_power=self.full_power)
        return DeviceStage(devices, radio, noise, self.waiting_upload)

    @property
    def waiting_upload(self) -> Uplink:
        """The uploads that the barrier waits for: under TDMA none."""
        devices, radio = self.problem.devices, self.problem.radio
        if radio.access == "tdma":
            return NoUpload(len(devices))
        return OwnBands(devices, radio, full_power=self.full_power)

    def apart(self, ratio: float) -> DevicesPlan:
        """The round whose computing and whose uploads each have the least energy plus ``ratio`` (W) times their time.

        Batches are the least allowed. As if no upload began before everyone has computed: the two phases of Tran et al.
        (INFOCOM 2019). Under TDMA that is the model of `devices` itself.
        """
        devices, batch = self.problem.devices, self.problem.devices.min_batch
        if self.problem.radio.access == "tdma":
            return self.devices.at_batches(batch).solve(ratio, 1.0).plan
        computing = DeviceStage(devices, self.problem.radio, self.terms.device_noise, NoUpload(len(devices)))
        computed = computing.at_batches(batch).solve(ratio, 1.0).plan
        instant = replace(devices, cycles_per_sample=np.full(len(devices), _NEXT_TO_NO_CYCLES))
        uploading = replace(self, problem=replace(self.problem, devices=instant)).devices
        sent = uploading.at_batches(batch).solve(ratio, 1.0).plan
        return replace(sent, batch=computed.batch, frequency_hz=computed.frequency_hz)

    @property
    def reachable(self) -> bool:
        """Whether every device has a link at all."""
        return bool(np.all(self.problem.devices.gain > 0.0))

    def idle(self, batch: FloatArray) -> DevicesPlan:
        """What a plan without fine-tuning rounds shows for the devices: ``batch`` (K,) at full speed and power."""
        devices = self.problem.devices
        return sending(self.problem, batch, devices.max_frequency_hz, devices.max_power_w)


def sending(problem: Problem, batch: FloatArray, frequency_hz: FloatArray, power_w: FloatArray) -> DevicesPlan:
    """The devices' plan with the upload times that ``power_w`` (K,) gives; infinite where a device has gain 0."""
    return DevicesPlan(batch, frequency_hz, power_w, sending_s(problem.devices, problem.radio, power_w))
