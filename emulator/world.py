"""From a scenario to a world: the problem its policies see, and the setting of every run in it."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from prefine.emulator.bound import predict
from prefine.emulator.channel.base import Channel
from prefine.emulator.channel.build import build_channel
from prefine.emulator.channel.planner import planning_channel, planning_gain, planning_horizon_s
from prefine.emulator.channel.static import StaticChannel
from prefine.emulator.channel.trace import Trace
from prefine.emulator.channel.tracefile import trace_of
from prefine.emulator.files import Files
from prefine.emulator.plugins import Part, calling, make_channel, make_policy, make_workload
from prefine.emulator.randomness import stream
from prefine.emulator.scenario import resolve
from prefine.emulator.scenario.scenario import Scenario
from prefine.emulator.scenario.spread import draw
from prefine.emulator.simulation.access import Discipline, Fdma, Ofdma, Tdma
from prefine.emulator.simulation.availability import availability_of
from prefine.emulator.simulation.control import check_plan, pilot_of
from prefine.emulator.simulation.downlink import Broadcast, Downlink, FixedDownlink, Unicast
from prefine.emulator.simulation.faults import Faults, Outage
from prefine.emulator.simulation.onoff import AlwaysOn, ExponentialOnOff, OnOff, OnOffLoad
from prefine.emulator.simulation.power import FixedPower, TargetPower
from prefine.emulator.simulation.processor import DiscreteLadder, ProcessorModel
from prefine.emulator.simulation.run import OVERRUN_HORIZON
from prefine.emulator.simulation.spec import Setting
from prefine.emulator.simulation.thermal import FirstOrderHeat
from prefine.emulator.types import Constants, FloatArray, Plan, Policy, Problem, Radio, Workload
from prefine.emulator.units import from_db


@dataclass(frozen=True)
class World:
    """A scenario with its files read. ``own_*`` are parts from Python, in place of the scenario's."""

    scenario: Scenario
    files: Files
    own_workload: Part | None = None
    own_channel: Part | None = None

    @cached_property
    def workload(self) -> Workload:
        """Data, model and recipe; raises InputError where they cannot be had."""
        return make_workload(
            self.own_workload or self.scenario.task.workload,
            folder=self.files.folder,
            task=self.scenario.task,
            training=self.scenario.training,
            devices=self.scenario.device_count,
            seed=self.scenario.seed,
        )

    @cached_property
    def trace(self) -> Trace | None:
        """The channel trace, if there is one."""
        path = self.scenario.channel.trace
        return None if path is None else self.files.parsed(path, trace_of)

    @cached_property
    def constants(self) -> Constants:
        """Constants of the bound: the scenario's numbers, and a pilot for those it wants estimated."""
        settings, count = self.scenario.learning, self.scenario.device_count
        measured = self.workload.constants() if settings.needs_pilot else None
        given = {name: value for name, value in settings.model_dump().items() if value != "estimate"}
        if not isinstance(settings.device_variance, str):
            drawn = draw(settings.device_variance, "learning.device_variance", count, self.scenario.seed)
            given["device_variance"] = tuple(float(value) for value in drawn)
        if measured is None:
            return Constants(learning_rate=1.0 / given["smoothness"], **given)
        return Constants(**{**measured._asdict(), **given})

    @cached_property
    def problem(self) -> Problem:
        """What policies see. Raises InputError where the scenario's parts do not fit together."""
        scenario, cost = self.scenario, self.workload.cost
        gain = self._planning_gain()
        bits, noise = resolve.uplink_bits(scenario, cost), resolve.noise_psd_w_hz(scenario)
        delivery = self.downlink.deliver(StaticChannel(gain), range(len(gain)), 0.0)
        return Problem(
            budget=resolve.budget(scenario),
            learning=resolve.learning(scenario, self.constants),
            server=resolve.server(scenario, cost, self.constants),
            devices=resolve.devices(scenario, cost, self.constants, self.workload.weights, gain),
            radio=Radio(noise, bits, max(delivery.end_s), delivery.energy_j),
            name=scenario.name,
        )

    @cached_property
    def downlink(self) -> Downlink:
        """How the model reaches the devices."""
        settings = self.scenario.radio.downlink
        if settings.mode in ("free", "fixed"):
            return FixedDownlink(settings.delay_s, settings.energy_j)
        kind = Broadcast if settings.mode == "broadcast" else Unicast
        return kind(
            resolve.downlink_bits(self.scenario, self.workload.cost),
            settings.power_w,
            settings.bandwidth_hz,
            resolve.noise_psd_w_hz(self.scenario),
            self.scenario.budget.delay_s * OVERRUN_HORIZON,
        )

    def policy(self, name: str) -> Policy:
        """A fresh policy with the scenario's parameters for it."""
        return make_policy(name, self.scenario.policies.get(name, {}))

    def plan(self, name: str, policy: Policy) -> Plan:
        """What ``policy`` plans here, checked."""
        return check_plan(name, self.problem, calling(name, "plan", self.problem, policy))

    def channel(self, seed: int) -> Channel:
        """The channel as it is in the run with ``seed``."""
        if self.own_channel is not None:
            return make_channel(self.own_channel, resolve.distances(self.scenario), seed)
        return build_channel(
            self.scenario.channel,
            resolve.distances(self.scenario),
            seed=seed,
            layout_seed=self.scenario.seed,
            trace=self.trace,
        )

    def setting(self, name: str, policy: Policy, plan: Plan, seed: int) -> Setting:
        """The run of ``policy`` with ``seed``; all but the policy's decisions is the same for every policy."""
        scenario = self.scenario
        return Setting(
            problem=self.problem,
            plan=plan,
            prediction=predict(self.problem, plan),
            pilot=pilot_of(name, policy, plan),
            learner=self.workload.learner(seed, resolve.learning_rate(scenario, self.constants)),
            channel=self.channel(seed),
            access=self._access(),
            downlink=self.downlink,
            selection=stream(seed, "participation"),
            processor=self._processor(seed),
            faults=self._faults(seed),
            power_control=FixedPower() if scenario.radio.power_control == "fixed" else TargetPower(),
            participation=scenario.training.participation,
            stop_at_budget=scenario.budget.on_budget == "stop",
            evaluate_every=scenario.compare.evaluate_every,
        )

    def _planning_gain(self) -> FloatArray:
        scenario, settings = self.scenario, self.scenario.channel
        count, trace = scenario.device_count, self.trace
        if self.own_channel is None:
            channel = planning_channel(settings, resolve.distances(scenario), layout_seed=scenario.seed, trace=trace)
            horizon_s = planning_horizon_s(settings, count, scenario.budget.delay_s, trace)
        else:
            channel = self.channel(int(stream(scenario.seed, "planning").integers(2**63)))
            horizon_s = np.full(count, scenario.budget.delay_s)
        return planning_gain(
            channel,
            resolve.max_powers(scenario),
            resolve.uplink_bits(scenario, self.workload.cost),
            resolve.bandwidths(scenario),
            resolve.noise_psd_w_hz(scenario),
            horizon_s=horizon_s,
            statistic=settings.planning,
            quantile=settings.planning_quantile,
        )

    def _access(self) -> Discipline:
        settings, own_hz = self.scenario.radio, resolve.bandwidths(self.scenario)
        if settings.access == "tdma":
            return Tdma(own_hz, settings.slot_s or math.inf)
        return Fdma(own_hz) if settings.access == "fdma" else Ofdma(own_hz)

    def _processor(self, seed: int) -> ProcessorModel:
        settings = self.scenario.processor
        model = ProcessorModel(static_power_w=settings.static_power_w)
        if settings.levels_hz is not None:
            model = replace(model, ladder=DiscreteLadder(settings.levels_hz, settings.switching_latency_s))
        if settings.load is not None:
            load = settings.load
            process = ExponentialOnOff(load.mean_on_s, load.mean_off_s, lambda device: stream(seed, "load", device))
            model = replace(model, load=OnOffLoad(process, load.stolen))
        if settings.heat is not None:
            model = replace(model, heat=FirstOrderHeat(**settings.heat.model_dump()))
        return model

    def _faults(self, seed: int) -> Faults:
        settings = self.scenario.faults
        outage = Outage()
        if settings.outage is not None:
            outage = Outage(
                from_db(settings.outage.snr_threshold_db),
                settings.outage.attempt_s,
                settings.outage.backoff_s,
                settings.outage.retries,
            )
        return Faults(
            availability=self._availability(seed),
            outage=outage,
            round_deadline_s=settings.round_deadline_s or math.inf,
            min_participants=settings.min_participants,
            battery_j=settings.battery_j or math.inf,
        )

    def _availability(self, seed: int) -> OnOff:
        faults = self.scenario.faults
        if faults.availability is not None:
            return self.files.parsed(faults.availability, availability_of, self.scenario.device_count)
        if faults.dropout is not None:
            up_s, down_s = faults.dropout.mean_up_s, faults.dropout.mean_down_s
            return ExponentialOnOff(up_s, down_s, lambda device: stream(seed, "dropout", device))
        return AlwaysOn()
