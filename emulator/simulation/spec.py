"""What one run is made of."""

from dataclasses import dataclass

import numpy as np

from prefine.emulator.bound import Prediction
from prefine.emulator.channel.base import Channel
from prefine.emulator.simulation.access import Discipline
from prefine.emulator.simulation.control import Pilot
from prefine.emulator.simulation.downlink import Downlink
from prefine.emulator.simulation.faults import NO_FAULTS, Faults
from prefine.emulator.simulation.power import FixedPower, PowerControl
from prefine.emulator.simulation.processor import ProcessorModel
from prefine.emulator.types import Learner, Plan, Problem


@dataclass(frozen=True)
class Setting:
    """All of it handed in. Channel, learner, faults and selection carry the run's randomness."""

    problem: Problem
    plan: Plan
    prediction: Prediction
    pilot: Pilot
    learner: Learner
    channel: Channel
    access: Discipline
    downlink: Downlink
    selection: np.random.Generator
    processor: ProcessorModel = ProcessorModel()  # noqa: RUF009  # frozen and stateless
    faults: Faults = NO_FAULTS
    power_control: PowerControl = FixedPower()  # noqa: RUF009  # as above
    participation: float = 1.0
    stop_at_budget: bool = True
    evaluate_every: int = 1
