"""What one run is made of."""

from dataclasses import dataclass

import numpy as np

from emulator.channel.base import Channel
from emulator.clock.access import Discipline
from emulator.clock.downlink import Downlink
from emulator.clock.faults import NO_FAULTS, Faults
from emulator.clock.pilot import Pilot
from emulator.clock.power import FixedPower, PowerControl
from emulator.clock.processor import ProcessorModel
from emulator.prediction import Prediction
from emulator.types import Learner, Plan, Problem


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
