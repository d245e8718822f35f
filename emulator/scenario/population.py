"""``[population]``: more clients than anyone could list, of whom other ones are drawn for each round.

A client is a number. Its hardware, place, fading and samples are drawn from streams of that number when it is there, so
they depend neither on who else is, nor on how many clients there are.
"""

from collections.abc import Iterator
from typing import Protocol

from prefine.emulator.channel.section import ChannelSection
from prefine.emulator.randomness import stream
from prefine.emulator.scenario.hardware import DeviceSettings, DevicesSettings
from prefine.emulator.scenario.radio import RadioSettings
from prefine.emulator.scenario.task import TaskSettings
from prefine.emulator.scenario.training import TrainingSettings
from prefine.emulator.section import Count, Section
from prefine.emulator.simulation.aggregation import Aggregation, Asynchronous
from prefine.emulator.simulation.faults import Faults
from prefine.emulator.simulation.processor import ProcessorModel


class PopulationSettings(Section):
    """``[population]``: each fine-tuning round is carried out by ``devices.count`` of ``clients`` clients.

    They are drawn uniformly, without replacement within a round. Each holds ``samples`` task samples.
    """

    clients: Count
    samples: Count = 50

    def planned(self, count: int, seed: int) -> list[int]:
        """The ``count`` clients that plans are made with, whoever comes later; ``seed`` is the scenario's."""
        return self._drawn(count, seed, None)

    def cohort(self, number: int, count: int, seed: int) -> list[int]:
        """The ``count`` clients of round ``number`` in the run with ``seed``."""
        return self._drawn(count, seed, number)

    def _drawn(self, count: int, seed: int, number: int | None) -> list[int]:
        generator = stream(seed, "planned cohort" if number is None else "cohort", number)
        drawn: list[int] = generator.choice(self.clients, count, replace=False).tolist()
        return drawn


class _Sections(Protocol):
    """Of a scenario, those that may speak of single devices."""

    @property
    def devices(self) -> DevicesSettings: ...
    @property
    def device(self) -> tuple[DeviceSettings, ...]: ...
    @property
    def device_count(self) -> int: ...
    @property
    def channel(self) -> ChannelSection: ...
    @property
    def radio(self) -> RadioSettings: ...
    @property
    def task(self) -> TaskSettings: ...
    @property
    def training(self) -> TrainingSettings: ...
    @property
    def faults(self) -> Faults: ...
    @property
    def processor(self) -> ProcessorModel: ...
    @property
    def aggregation(self) -> Aggregation: ...


def misfits(scenario: _Sections, population: PopulationSettings) -> Iterator[str]:
    """What of ``scenario`` does not go with ``population``, a line each."""
    if population.clients < scenario.device_count:
        yield f"population.clients = {population.clients} is below devices.count = {scenario.device_count}"
    lists = [f"devices.{key}" for key, value in scenario.devices if isinstance(value, tuple)]
    lists += [f"channel.{key}" for key in ("gain_db",) if isinstance(getattr(scenario.channel, key), tuple)]
    named = ["[[device]]"] if scenario.device else []
    for key in named + lists:
        yield f"{key}: names single devices, but each round has other clients; give a range"
    training, faults, task = scenario.training, scenario.faults, scenario.task
    lasting = {
        'aggregation.mode = "asynchronous"': isinstance(scenario.aggregation, Asynchronous),
        "faults.battery_j": faults.battery_j is not None,
        "faults.dropout": faults.dropout is not None,
        "faults.availability": faults.availability is not None,
        "[processor.load]": scenario.processor.load is not None,
        "[processor.heat]": scenario.processor.heat is not None,
        'radio.downlink.base = "sent"': scenario.radio.downlink.base == "sent",
        f'channel.mobility = "{scenario.channel.mobility}"': scenario.channel.mobility == "random-waypoint",
        f'training.upload = "{training.upload}"': training.upload != "exact",
        f"training.personalise = {training.personalise}": training.personalise > 0,
    }
    for key in (key for key, asked in lasting.items() if asked):
        yield f"{key}: needs devices that are there from round to round, a population's clients come and go"
    unlisted = {
        f'channel.model = "{scenario.channel.model}"': scenario.channel.model
        not in ("static", "rayleigh", "rician", "block"),
        'task.partition = "source"': task.partition == "source",
    }
    for key in (key for key, asked in unlisted.items() if asked):
        yield f"{key}: has a limited number of devices to tell apart; a population's clients are drawn by their number"
    if training.participation < 1.0:
        yield f"training.participation = {training.participation:g}: devices.count says how many clients are drawn"
