"""Fine-tuning without a barrier: whoever arrives is sent out again, and every buffer full of arrivals is an update.

FedBuff (Nguyen et al., AISTATS 2022, algorithm 1); with a buffer of one, FedAsync (Xie et al., 2019).
"""

from collections import deque
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

import numpy as np
import simpy
from numpy.typing import NDArray

from prefine.emulator.errors import InputError
from prefine.emulator.records import DeviceRecord
from prefine.emulator.simulation.aggregation import Asynchronous
from prefine.emulator.simulation.choices import Choices
from prefine.emulator.simulation.cohort import Cohort
from prefine.emulator.simulation.device import Task
from prefine.emulator.simulation.energy import EnergyAccount
from prefine.emulator.simulation.finetuning import Books, Updated
from prefine.emulator.simulation.spec import RunSpec
from prefine.emulator.types import AsynchronousLearner, FloatArray, IntArray, Learner, RoundDecision


class Arrival(NamedTuple):
    """An arrival in the buffer: by how many updates its model is behind, and its weight before that counts."""

    staleness: int
    weight: float


class Buffered:
    """An update is made of ``mode.size`` arrivals; nobody waits for it.

    A device does what the decision says that was in force when it was sent out. Who was late rests until the next
    update: a deadline that nobody can meet would have them sent out for ever.
    """

    def __init__(
        self, env: simpy.Environment, spec: RunSpec, mode: Asynchronous, cohort: Cohort, account: EnergyAccount
    ) -> None:
        self._env = env
        self._spec = spec
        self._mode = mode
        self._cohort = cohort
        self._account = account
        self._learner = asynchronous(spec.learner)
        self._at_once = mode.at_once(len(spec.problem.devices), spec.participation)
        self._at_work: dict[int, simpy.Process] = {}
        self._idle = np.ones(len(spec.problem.devices), dtype=np.bool_)
        self._late: list[int] = []
        self._weight = np.zeros(len(spec.problem.devices))
        self._inbox: deque[DeviceRecord] = deque()
        self._news = env.event()
        self._buffer: list[Arrival] = []
        self._records: list[DeviceRecord] = []
        self._downloads: list[simpy.Process] = []
        self._downlink_free_s = 0.0
        self._number = 1
        self.choices = Choices(spec.problem.devices.weight)
        self.books = Books(account)

    def update(self, decision: RoundDecision, number: int) -> Generator[simpy.Event, Any, Updated]:
        """From the update before to the arrival that fills the buffer."""
        self._number = number
        start_s, before_j = self._env.now, self._account.total_j
        chosen = self.choices.of(decision, number)
        while not self._take_in():
            self._send_out(decision, chosen)
            yield self._something()
        self._learner.merge(self._weights(), "differences" if self._mode.mixing is None else "models")
        self._buffer = []
        self._idle[self._late] = True
        self._late = []
        self._close()
        self._number = number + 1
        return Updated(start_s, before_j, self._mode.size)

    def stop(self, cause: str) -> Generator[simpy.Event, Any, None]:
        """What is in the buffer was delivered and is not used."""
        downloads = [process for process in self._downloads if process.is_alive]
        yield from self._cohort.recall([*self._at_work.values(), *downloads], cause)
        while self._inbox:
            self._note(self._inbox.popleft())
        self._close()

    def _weights(self) -> FloatArray:
        """Of the arrivals in the buffer, (n,): their shares of one, discounted; zeros where nobody's work counts."""
        staleness, weight = (np.array(column, dtype=np.float64) for column in zip(*self._buffer, strict=True))
        share = weight / (weight.sum() or 1.0)
        return np.asarray((self._mode.mixing or 1.0) * share * self._mode.discount(staleness))

    def _take_in(self) -> bool:
        """Take in who has come back, in order, until the buffer is full; whether it is."""
        while self._inbox and len(self._buffer) < self._mode.size:
            record = self._note(self._inbox.popleft())
            if record.outcome == "delivered":
                self._buffer.append(Arrival(record.staleness, float(self._weight[record.device])))
                self._learner.receive(record.device, record.batch)
        return len(self._buffer) == self._mode.size

    def _note(self, record: DeviceRecord) -> DeviceRecord:
        """``record``, which says with what update its device began, as of the update that is being made."""
        noted = record._replace(round=self._number, staleness=self._number - record.round)
        self._records.append(noted)
        return noted

    def _close(self) -> None:
        self.books.add(self._records)
        self._records = []

    def _something(self) -> simpy.Event:
        """Happens when a device comes back, or one comes or goes while fewer are at work than could be."""
        self._news = self._env.event()
        change_s = self._cohort.next_change_s() if len(self._at_work) < self._at_once else np.inf
        if change_s < self._spec.horizon_s:
            return self._news | self._env.timeout(change_s - self._env.now)
        return self._news

    def _send_out(self, decision: RoundDecision, chosen: NDArray[np.bool_]) -> None:
        """Give the present model to as many idle devices, drawn uniformly of the ``chosen`` (K,), as may begin."""
        candidates = np.flatnonzero(self._idle & self._cohort.available() & chosen)
        devices = self._cohort.draw(candidates, self._at_once - len(self._at_work))
        if not len(devices):
            return
        self._idle[devices] = False
        self._learner.hand_out(devices)
        self._weight[devices] = self.choices.begun(decision, devices)
        for task in self._tasks(decision, devices):
            process = self._at_work[task.device] = self._cohort.begin(task)
            process.callbacks.append(self._come_back)
            if task.limit_s < self._spec.horizon_s:
                self._cohort.recall_at(task.limit_s, process, "late")

    def _come_back(self, ended: simpy.Event) -> None:
        if isinstance(record := ended.value, DeviceRecord):
            del self._at_work[record.device]
            self._idle[record.device] = record.outcome != "late"
            self._late += [record.device] * (record.outcome == "late")
            self._inbox.append(record)
        if not self._news.triggered:
            self._news.succeed()

    def _tasks(self, decision: RoundDecision, devices: IntArray) -> Iterator[Task]:
        """What ``devices`` (n,) do, each from when it has the model."""
        spec, plan, now_s = self._spec, decision.devices, self._env.now
        limit_s = min(now_s + spec.faults.deadline_s, spec.horizon_s)
        power_w = spec.power_control.powers(spec.problem, spec.channel, plan, devices, now_s)
        batch = np.rint(plan.batch[devices]).astype(np.int64)
        band_hz = plan.bands_hz(spec.problem.devices.bandwidth_hz)[devices]
        columns: list[FloatArray | IntArray] = [devices, batch, plan.frequency_hz[devices], power_w, band_hz]
        ends_s = self._download(devices, limit_s)
        for device, samples, hz, watt, band, end_s in zip(*(c.tolist() for c in columns), ends_s, strict=True):
            yield Task(self._number, device, samples, hz, watt, band, end_s, min(end_s, limit_s), limit_s)

    def _download(self, devices: IntArray, limit_s: float) -> tuple[float, ...]:
        """When each of ``devices`` (n,) has the model; one delivery after the other where they share a band.

        Nobody is served any more after ``limit_s``.
        """
        spec, begin_s = self._spec, max(self._env.now, self._downlink_free_s)
        if begin_s >= limit_s:
            return (np.inf,) * len(devices)
        delivery = spec.deliveries.deliver(
            spec.channel.undisturbed,
            devices.tolist(),
            begin_s,
            spec.problem.radio.noise_psd_w_hz,
            min(limit_s, spec.patience_s),
            limit_s,
        )
        end_s = min(max(delivery.end_s), limit_s)
        if spec.deliveries.transmits:
            self._downlink_free_s = end_s
        if delivery.energy_j > 0.0:
            held_j = self._account.hold(delivery.energy_j)
            self._downloads = [process for process in self._downloads if process.is_alive]
            self._downloads.append(self._env.process(self._transmit(held_j, begin_s, end_s)))
        return delivery.end_s

    def _transmit(self, held_j: float, begin_s: float, end_s: float) -> Generator[simpy.Event, Any, None]:
        try:
            yield self._env.timeout(begin_s - self._env.now)
        except simpy.Interrupt:
            self._account.settle("downlink", held_j, 0.0)
            return
        try:
            yield from self._account.transmit(self._env, held_j, end_s - begin_s)
        except simpy.Interrupt:
            return


def asynchronous(learner: Learner) -> AsynchronousLearner:
    """``learner``, if it can be trained without a barrier; raises InputError where it cannot."""
    if not isinstance(learner, AsynchronousLearner):
        name = type(learner).__name__
        raise InputError(f'aggregation.mode = "asynchronous": the learner {name} has no hand_out, receive and merge')
    return learner
