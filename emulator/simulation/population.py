"""Rounds of a population: other clients sit in the plan's K places each time.

A round is what it is with K devices that stay; only the hardware, the channel and the samples are those of who came.
"""

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import numpy as np
import simpy

from prefine.emulator.simulation.barrier import Rounds
from prefine.emulator.simulation.choices import Choices
from prefine.emulator.simulation.cohort import Cohort
from prefine.emulator.simulation.crew import Visitors
from prefine.emulator.simulation.energy import EnergyAccount
from prefine.emulator.simulation.fastpath import fast_path
from prefine.emulator.simulation.finetuning import Books, Updated
from prefine.emulator.simulation.spec import RunSpec
from prefine.emulator.types import Devices, DevicesPlan, RoundDecision


class Visits:
    """An update is a round of `Rounds`, by the clients who come for it; ``gathers`` them for the round's own spec."""

    def __init__(
        self,
        env: simpy.Environment,
        spec: RunSpec,
        visitors: Visitors,
        gathers: Callable[[RunSpec], Cohort],
        account: EnergyAccount,
    ) -> None:
        self._env, self._spec, self._visitors, self._gathers, self._account = env, spec, visitors, gathers, account
        self.choices = Choices(spec.problem.devices.weight)
        self.books = Books(account)
        self._round = self._of(spec)

    def update(self, decision: RoundDecision, number: int) -> Generator[simpy.Event, Any, Updated]:
        """Round ``number``: who sits in a place does what the decision says of it, as far as its hardware goes."""
        devices = self._visitors.come(number)
        self._round = self._of(replace(self._spec, problem=replace(self._spec.problem, devices=devices)))
        return (yield from self._round.update(replace(decision, devices=within(decision.devices, devices)), number))

    def stop(self, cause: str) -> Generator[simpy.Event, Any, None]:
        """See `Rounds`."""
        yield from self._round.stop(cause)

    def _of(self, spec: RunSpec) -> Rounds:
        fast = fast_path(spec)
        return Rounds(self._env, spec, self._gathers(spec), fast, self._account, self.books, self.choices)


def within(plan: DevicesPlan, devices: Devices) -> DevicesPlan:
    """``plan`` (K,) within the limits of ``devices`` (K,)."""
    return replace(
        plan,
        batch=np.clip(plan.batch, devices.min_batch, devices.max_batch),
        frequency_hz=np.clip(plan.frequency_hz, devices.min_frequency_hz, devices.max_frequency_hz),
        power_w=np.clip(plan.power_w, devices.least_power_w, devices.max_power_w),
    )
