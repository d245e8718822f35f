"""What the server learns of each device as rounds go by: the facts of an observation."""

import math
from collections.abc import Iterable

import numpy as np

from prefine.emulator.records import DeviceRecord
from prefine.emulator.types import DeviceFacts, FloatArray, Learner, ReportingLearner, Reports, frozen_array


class History:
    """Adds the records of rounds up for each of ``count`` devices; ``learner`` says what losses came with updates.

    Only adaptive policies ask for it, so only they pay for it.
    """

    def __init__(self, count: int, learner: Learner) -> None:
        self._learner, self._heard = learner, 0
        self._unheard = Reports(np.full(count, math.nan), np.full(count, math.nan))
        self._rounds, self._last_round, self._energy_j = np.zeros(count), np.zeros(count), np.zeros(count)
        self._duration_s = np.full(count, math.nan)
        self._outcome = [""] * count
        self._gain, self._looks = np.zeros(count), 0

    def hear(self, rounds: list[Iterable[DeviceRecord]]) -> None:
        """Take note of what has been added to ``rounds``; records that are made when asked for are put down there."""
        for number in range(self._heard, len(rounds)):
            records = rounds[number] = list(rounds[number])
            self._add(records)
        self._heard = len(rounds)

    def _add(self, records: Iterable[DeviceRecord]) -> None:
        for record in records:
            device = record.device
            self._rounds[device] += 1.0
            self._last_round[device] = record.round
            self._energy_j[device] += record.compute_energy_j + record.uplink_energy_j
            self._outcome[device] = record.outcome
            if record.outcome == "delivered":
                self._duration_s[device] = record.upload_end_s - record.download_start_s

    def facts(self, gain: FloatArray) -> DeviceFacts:
        """What is known now, where the gains are ``gain`` (K,)."""
        self._gain += gain
        self._looks += 1
        reports = self._learner.reports() if isinstance(self._learner, ReportingLearner) else self._unheard
        return DeviceFacts(
            mean_gain=frozen_array(self._gain / self._looks),
            rounds=frozen_array(self._rounds),
            last_round=frozen_array(self._last_round),
            last_outcome=tuple(self._outcome),
            duration_s=frozen_array(self._duration_s),
            energy_j=frozen_array(self._energy_j),
            loss=frozen_array(reports.loss),
            rms_loss=frozen_array(reports.rms_loss),
        )
