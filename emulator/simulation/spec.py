"""The specification of one run: everything it is made of, handed in."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from prefine.emulator.access import noise_psd_w_hz
from prefine.emulator.bound import NO_ROUND, Prediction, RoundCost
from prefine.emulator.channel.base import Channel
from prefine.emulator.charge import NO_CHARGE, Charge
from prefine.emulator.errors import InputError
from prefine.emulator.simulation.aggregation import Aggregation, Synchronous
from prefine.emulator.simulation.availability import AlwaysOn, OnOff
from prefine.emulator.simulation.control import Controller
from prefine.emulator.simulation.crew import Crew, Residents
from prefine.emulator.simulation.downlink import Downlink
from prefine.emulator.simulation.energy import BUDGET_SLACK
from prefine.emulator.simulation.faults import Faults
from prefine.emulator.simulation.handover import Deliveries, deliveries
from prefine.emulator.simulation.processor import Load, NoLoad, ProcessorModel
from prefine.emulator.simulation.radio import Access, FixedPower, PowerControl
from prefine.emulator.types import Evaluation, FloatArray, Learner, Plan, Problem

OVERRUN_HORIZON = 1000.0
"""With ``on_budget = "record"``, a run without signal ends after this multiple of its delay budget."""

WITHOUT_SOME = "rounds without some devices"
"""Outside the proof of the bound, whether the scenario leaves devices out or the policy."""


@dataclass(frozen=True)
class Goal:
    """What a run trains for besides its plan: a score, or a loss, on the validation samples; None is no such goal."""

    accuracy: float | None = None
    loss: float | None = None

    @property
    def is_set(self) -> bool:
        """Whether there is one."""
        return self != Goal()

    def is_reached(self, found: Evaluation) -> bool:
        """Whether the evaluated model is good enough; what is not known never is."""
        scores = self.accuracy is not None and found.validation_accuracy >= self.accuracy
        return scores or (self.loss is not None and found.validation_loss <= self.loss)

    def check(self, found: Evaluation) -> None:
        """Raises InputError where there is a goal but, in ``found``, no validation."""
        if self.is_set and math.isnan(found.validation_loss) and math.isnan(found.validation_accuracy):
            raise InputError("training.until_accuracy, training.until_loss: the workload validates nothing")


@dataclass(frozen=True)
class RunSpec:
    """One run of one policy.

    ``controller``, ``learner``, ``channel``, ``selection`` (who is drawn for a round), ``availability`` and ``load``
    carry the run's randomness and are used up by it; the rest is frozen. ``participation`` is the share of the devices
    drawn for a round, ``evaluate_every`` the rounds from one evaluation to the next, ``outside_proof`` what the proof
    of the bound does not cover, ``charge`` what was spent of the budgets before the first round, ``policy_seed`` what
    an adaptive policy draws with, ``doubts`` what the world's inputs give reason to doubt, ``goal`` what ends the run
    before its plan does, ``base_bits`` what a device is sent before its first round, ``handover`` what a design sets
    aside for that, ``crew`` who is behind the devices of ``problem``, used up as well.
    """

    problem: Problem
    plan: Plan
    prediction: Prediction
    controller: Controller
    learner: Learner
    channel: Channel
    access: Access
    downlink: Downlink
    selection: np.random.Generator
    processor: ProcessorModel = ProcessorModel()  # noqa: RUF009  # frozen
    load: Load = NoLoad()  # noqa: RUF009  # stateless
    faults: Faults = Faults()  # noqa: RUF009  # frozen
    availability: OnOff = AlwaysOn()  # noqa: RUF009  # stateless
    power_control: PowerControl = FixedPower()  # noqa: RUF009  # stateless
    participation: float = 1.0
    stop_at_budget: bool = True
    evaluate_every: int = 1
    outside_proof: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    charge: Charge = NO_CHARGE
    policy_seed: int = 0
    aggregation: Aggregation = Synchronous()  # noqa: RUF009  # frozen
    goal: Goal = Goal()
    base_bits: float = 0.0
    handover: RoundCost = NO_ROUND
    crew: Crew = Residents()  # noqa: RUF009  # stateless

    @cached_property
    def noise_psd_w_hz(self) -> FloatArray:
        """Noise and interference that each device's signal meets at the server, (K,) in W/Hz."""
        return np.broadcast_to(noise_psd_w_hz(self.problem.devices, self.problem.radio), len(self.problem.devices))

    @cached_property
    def deliveries(self) -> Deliveries:
        """The downlink of this one run, which remembers who has been served."""
        return deliveries(self.downlink, self.base_bits)

    @property
    def patience_s(self) -> float:
        """After so long on the clock, what has not ended never will."""
        return self.problem.budget.delay_s * OVERRUN_HORIZON

    @property
    def horizon_s(self) -> float:
        """When the run ends at the latest."""
        return self.problem.budget.delay_s * (1.0 + BUDGET_SLACK) if self.stop_at_budget else self.patience_s

    @property
    def is_foreseeable(self) -> bool:
        """Whether a round is known when it begins, unless somebody leaves or is late: that is known as well.

        Devices do not change what others meet, and no upload goes wrong.
        """
        plain = self.processor.is_plain and isinstance(self.aggregation, Synchronous)
        return plain and self.access.is_separate and not self.load.can_steal and not self.faults.upload_faults

    @property
    def is_predictable(self) -> bool:
        """Whether a round is known when it begins, if its budgets and batteries last: nobody leaves, nobody is late."""
        return self.is_foreseeable and not self.faults.can_disturb and not self.availability.can_change
