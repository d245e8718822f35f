"""From a scenario to a world: the problem its policies see, and the specification of every run in it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

from prefine.emulator.bound import NO_ROUND, RoundCost, predict
from prefine.emulator.channel.base import Channel, StaticChannel
from prefine.emulator.channel.doubts import Doubt, doubts
from prefine.emulator.channel.interference import Interference, interference_of
from prefine.emulator.channel.mobility import Site
from prefine.emulator.channel.planner import planned_gain, planning_channel, planning_gain, planning_seed
from prefine.emulator.channel.plugin import channel_of
from prefine.emulator.channel.seated import SeatedChannel
from prefine.emulator.channel.trace import Trace
from prefine.emulator.channel.tracefile import trace_of
from prefine.emulator.charge import NO_CHARGE, Charge, charge_of
from prefine.emulator.errors import InputError
from prefine.emulator.files import Files
from prefine.emulator.physics import Mixed
from prefine.emulator.plugins import Part, calling, make_policy, make_workload, rehearses
from prefine.emulator.randomness import stream
from prefine.emulator.rehearsal import Rehearser, rehearsed_plan
from prefine.emulator.scenario.learning import learning, unknown_constants
from prefine.emulator.scenario.proof import outside_proof
from prefine.emulator.scenario.scenario import Scenario
from prefine.emulator.simulation.aggregation import Asynchronous
from prefine.emulator.simulation.availability import OnOff, availability_of
from prefine.emulator.simulation.control import Controller, FollowPlan, check_plan, controller_of
from prefine.emulator.simulation.crew import Crew, Residents, Visitors
from prefine.emulator.simulation.downlink import Downlink, DownlinkSection
from prefine.emulator.simulation.spec import OVERRUN_HORIZON, WITHOUT_SOME, Goal, RunSpec
from prefine.emulator.types import (
    AdaptivePolicy,
    AsynchronousWorkload,
    BoundedWorkload,
    Budget,
    Constants,
    Devices,
    FloatArray,
    Learner,
    Plan,
    Policy,
    PopulationLearner,
    PopulationWorkload,
    Problem,
    Workload,
)


@dataclass(frozen=True)
class World:
    """A scenario with its files read, each once. ``own_*`` are parts from Python, in place of the scenario's.

    ``content`` answers all that determines what happens in it, fit for JSON. One that ``measures`` nothing leaves
    constants that the scenario wants measured at NaN.
    """

    scenario: Scenario
    files: Files
    content: Callable[[], Mapping[str, object]]
    own_workload: Part | None = None
    own_channel: Part | None = None
    measures: bool = True

    @cached_property
    def workload(self) -> Workload:
        """Data, model and recipe; raises InputError where they cannot be had."""
        made = make_workload(
            self.own_workload or self.scenario.task.workload,
            folder=self.files.folder,
            task=self.scenario.task,
            training=self.scenario.training,
            devices=self.scenario.device_count if self.scenario.population is None else 1,
            seed=self.scenario.seed,
        )
        made = self._populated(made)
        effort = self.scenario.learning.effort
        if effort is None:
            return made
        if not isinstance(made, BoundedWorkload):
            raise InputError("learning.effort: the scenario's own workload measures as it will; it has no within()")
        return made.within(effort)

    def _populated(self, made: Workload) -> Workload:
        population = self.scenario.population
        if population is None:
            return made
        if not isinstance(made, PopulationWorkload):
            raise InputError(
                "population: the scenario's own workload knows its devices only; it has no of_population()"
            )
        return made.of_population(self.scenario.numbers, population.samples)

    @cached_property
    def site(self) -> Site:
        """Where the devices that plans are made with are, and the traces they replay."""
        return self._site_of(self.scenario.numbers)

    def _site_of(self, numbers: Sequence[int]) -> Site:
        distance_m = self.scenario.fleet_of(numbers).distance_m
        return Site(distance_m, self.scenario.seed, self.files.folder, self._trace, numbers)

    @cached_property
    def constants(self) -> Constants:
        """Constants of the bound: the scenario's numbers, and the workload's for those it wants measured."""
        measured = self.workload.constants if self.measures else partial(unknown_constants, len(self.site))
        return self.scenario.learning.constants(measured, len(self.site), self.scenario.seed)

    @cached_property
    def learning_rate(self) -> float:
        """The step size of the bound."""
        return self.scenario.training.bound_rate(self.constants.smoothness)

    @cached_property
    def bands_hz(self) -> FloatArray:
        """Each device's own uplink band, (K,)."""
        return self.scenario.radio.bands_hz(len(self.site), self.scenario.seed)

    @cached_property
    def interference(self) -> Interference | None:
        """What disturbs the uplinks, if anything does."""
        radio = self.scenario.radio
        return radio.interference(len(self.site), self.scenario.seed, self._interference_trace)

    @cached_property
    def _noise_w(self) -> FloatArray:
        """Noise in the band that each device sends in, (K,)."""
        radio = self.scenario.radio
        return radio.noise_psd_w_hz * radio.counted_on_hz(self.bands_hz)

    def _disturbed(self, channel: Channel) -> Channel:
        """``channel`` with what varies of the interference."""
        return channel if self.interference is None else self.interference.on(channel, self._noise_w)

    @cached_property
    def doubts(self) -> tuple[Doubt, ...]:
        """What the channel trace, if there is one, gives reason to doubt."""
        name = self.scenario.channel.trace
        if name is None or self.own_channel is not None:
            return ()
        return doubts(self._trace(name), self.scenario.radio.counted_on_hz(self.bands_hz))

    @cached_property
    def downlink(self) -> Downlink:
        """How the model reaches the devices, and how much of it there is."""
        return self.scenario.radio.downlink_of(self.workload.cost)

    @cached_property
    def handover(self) -> RoundCost:
        """What it takes to send all devices at once, on the planner's gains, what fine-tuning leaves as it is."""
        base = self.downlink.bearing(self.workload.cost.base_bits)
        return NO_ROUND if base is None else self._to_everyone(base)

    def _to_everyone(self, downlink: DownlinkSection) -> RoundCost:
        gain, budget = self._planned_gain, self.scenario.budget
        noise, patience_s = self.scenario.radio.noise_psd_w_hz, budget.delay_s * OVERRUN_HORIZON
        delivery = downlink.deliver(StaticChannel(gain), range(len(gain)), 0.0, noise, patience_s)
        return RoundCost(max(delivery.end_s), delivery.energy_j)

    @cached_property
    def problem(self) -> Problem:
        """What policies see. Raises InputError where the scenario's parts do not fit together."""
        scenario, cost = self.scenario, self.workload.cost
        delivery = self._to_everyone(self.downlink)
        return Problem(
            budget=scenario.budget.build(),
            learning=learning(
                self.constants, self.learning_rate, scenario.training.effective_rate(self.constants.smoothness)
            ),
            server=scenario.server.build(cost, self.constants),
            devices=self._devices(scenario.numbers),
            radio=scenario.radio.build(cost, self.bands_hz, *delivery),
            name=scenario.name,
        )

    def _devices(self, numbers: Sequence[int]) -> Devices:
        """The devices with these ``numbers`` (K,) in the places that plans reckon with."""
        return self.scenario.fleet_of(numbers).build(
            self.workload.cost,
            self.constants,
            self.workload.weights,
            self._planned_gain,
            self.bands_hz,
            None if self.interference is None else self.interference.mean_w,
        )

    @cached_property
    def _planned_gain(self) -> FloatArray:
        """The gain (K,) that policies reckon with."""
        scenario, section = self.scenario, self.scenario.channel
        power_w, bits = scenario.fleet.max_power_w, scenario.radio.uplink_bits(self.workload.cost)
        bands_hz, delay_s = scenario.radio.counted_on_hz(self.bands_hz), scenario.budget.delay_s
        noise: Mixed = scenario.radio.noise_psd_w_hz
        if self.interference is not None:
            noise = noise + self.interference.mean_w / bands_hz
        varies = self.interference is not None and self.interference.over_time is not None
        if self.own_channel is None and not varies:
            return planned_gain(section, self.site, power_w, bits, bands_hz, noise, delay_s)
        own = self.own_channel is not None
        return planning_gain(
            self.channel(planning_seed(self.site)) if own else self._disturbed(planning_channel(section, self.site)),
            power_w,
            bits,
            bands_hz,
            noise,
            horizon_s=section.horizon_s(self.site, delay_s),
            statistic=section.planning,
            quantile=section.planning_quantile,
        )

    def policy(self, name: str) -> Policy:
        """A fresh policy with the scenario's parameters for it."""
        return make_policy(name, self.scenario.policies.get(name, {}))

    def plan(self, name: str, policy: Policy) -> Plan:
        """What ``policy`` plans here, checked; one that rehearses decides once for all processes."""
        problem = self.problem_of(policy)
        self._refuse_to_adapt(name, policy, None)
        if not rehearses(policy):
            return check_plan(name, problem, calling(name, "plan", problem, policy))
        charge = self.charge(policy)
        if isinstance(self.scenario.aggregation, Asynchronous):
            self.learner(seed=0)  # what cannot be trained so is refused before anything is rehearsed

        def spec(plan: Plan, seed: int, channel: Channel, learner: Learner) -> RunSpec:
            follow = FollowPlan(plan, self.scenario.aggregation.until)
            return self._spec(plan, follow, seed, channel, learner, charge)

        rehearser = Rehearser(name, problem, self.workload, self.learning_rate, self.scenario.seed, self.channel, spec)
        return rehearsed_plan(name, policy, problem, rehearser, self.content())

    def charge(self, policy: object) -> Charge:
        """What measuring the constants takes from the budgets of ``policy``.

        Nothing, unless the scenario says ``charge_pilots``, constants were measured, and the policy uses them: a class
        that does not says ``uses_constants = False``.
        """
        charged = self.scenario.learning.charge_pilots and getattr(policy, "uses_constants", True)
        return charge_of(self.problem, self.constants.work) if charged else NO_CHARGE

    def problem_of(self, policy: object) -> Problem:
        """What ``policy`` sees: `problem` with what measuring the constants and the hand-over leave of the budgets.

        Where the hand-over leaves nothing, no round fits. Raises InfeasibleError where measuring leaves
        nothing.
        """
        problem, handover = self.problem, self.handover
        left = self.charge(policy).left(problem.budget)
        after = Budget(left.delay_s - handover.delay_s, left.energy_j - handover.energy_j)
        if after.delay_s > 0.0 and after.energy_j > 0.0:
            return replace(problem, budget=after)
        radio = problem.radio  # of which the first round alone is too much
        first_s, first_j = radio.downlink_delay_s + handover.delay_s, radio.downlink_energy_j + handover.energy_j
        return replace(problem, budget=left, radio=replace(radio, downlink_delay_s=first_s, downlink_energy_j=first_j))

    def channel(self, seed: int) -> Channel:
        """The channel as it is in the run with ``seed``."""
        if self.scenario.population is None:
            return self._channel(self.site, seed)
        return SeatedChannel(lambda numbers: self._channel(self._site_of(numbers), seed), self.scenario.numbers)

    def _channel(self, site: Site, seed: int) -> Channel:
        own, section = self.own_channel, self.scenario.channel
        return self._disturbed(section.build(site, seed) if own is None else channel_of(section, own, site, seed))

    def _trace(self, name: str) -> Trace:
        return self.files.parsed(name, trace_of)

    def _interference_trace(self, name: str) -> Trace:
        return self.files.parsed(name, interference_of)

    def _availability(self, name: str, devices: int) -> OnOff:
        return self.files.parsed(name, availability_of, devices)

    def run_spec(
        self, name: str, policy: Policy, plan: Plan, seed: int, controller: Controller | None = None
    ) -> RunSpec:
        """The run of ``policy`` with ``seed``; all but the policy's decisions is the same for every policy.

        ``controller`` decides in its place, where given.
        """
        self._refuse_to_adapt(name, policy, controller)
        controller = controller or controller_of(name, policy, plan, self.scenario.aggregation.until)
        return self._spec(plan, controller, seed, self.channel(seed), self.learner(seed), self.charge(policy))

    def _refuse_to_adapt(self, name: str, policy: Policy, controller: Controller | None) -> None:
        if self.scenario.population is None:
            return
        if self.own_channel is not None:
            raise InputError("population: not with a channel from Python, which knows its devices only")
        if controller is not None or rehearses(policy) or isinstance(policy, AdaptivePolicy):
            raise InputError(
                f"population: {name} decides by the devices it has seen, but each round has other clients; "
                "take a policy that only plans"
            )

    def _crew(self, seed: int, channel: Channel, learner: Learner) -> Crew:
        population, count = self.scenario.population, self.scenario.device_count
        if population is None:
            return Residents()
        if not isinstance(channel, SeatedChannel) or not isinstance(learner, PopulationLearner):
            raise InputError("population: the scenario's own workload has learners that cannot seat() clients")
        return Visitors(
            lambda number: self.scenario.by_distance(population.cohort(number, count, seed)),
            self._devices,
            (channel, learner),
        )

    def learner(self, seed: int) -> Learner:
        """What is trained in the run with ``seed``.

        Raises InputError where it cannot be trained as ``[aggregation]`` says.
        """
        workload, rate = self.workload, self.learning_rate
        if not isinstance(self.scenario.aggregation, Asynchronous):
            return workload.learner(seed, rate)
        if not isinstance(workload, AsynchronousWorkload):
            name = type(workload).__name__
            raise InputError(f'aggregation.mode = "asynchronous": the workload {name} has no asynchronous_learner')
        return workload.asynchronous_learner(seed, rate)

    def _spec(
        self, plan: Plan, controller: Controller, seed: int, channel: Channel, learner: Learner, charge: Charge
    ) -> RunSpec:
        """The run of ``plan``; its prediction and budgets are those of the run and of ``charge``, spent before it."""
        scenario, planned = self.scenario, predict(self.problem, plan)
        handover = self.handover if plan.finetune_rounds else NO_ROUND
        return RunSpec(
            problem=self.problem,
            plan=plan,
            prediction=planned._replace(
                delay_s=charge.delay_s + handover.delay_s + planned.delay_s,
                energy_j=charge.energy_j + handover.energy_j + planned.energy_j,
            ),
            charge=charge,
            controller=controller,
            learner=learner,
            channel=channel,
            access=scenario.radio.access_to(self.bands_hz),
            downlink=self.downlink,
            selection=stream(seed, "participation"),
            processor=scenario.processor,
            load=scenario.processor.load_in_run(seed),
            faults=scenario.faults,
            availability=scenario.faults.presence(seed, len(self.site), self._availability),
            power_control=scenario.radio.power(),
            participation=scenario.training.participation,
            stop_at_budget=scenario.budget.on_budget == "stop",
            evaluate_every=scenario.compare.spacing(plan, self.workload),
            outside_proof=(
                *outside_proof(scenario.training, scenario.faults, scenario.aggregation, self.constants.smoothness),
                *((WITHOUT_SOME,) if scenario.population is not None else ()),
            ),
            doubts=tuple(doubt.word for doubt in self.doubts),
            policy_seed=int(stream(seed, "policy").integers(2**63)),
            aggregation=scenario.aggregation,
            base_bits=self.workload.cost.base_bits,
            handover=self.handover,
            crew=self._crew(seed, channel, learner),
            goal=Goal(scenario.training.until_accuracy, scenario.training.until_loss),
        )
