"""What the server learns of each device as rounds go by: the facts of an observation."""

import math

import numpy as np

from prefine.emulator.device_table import DeviceTable, Round
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
        self._outcome = np.full(count, "", dtype=object)
        self._gain, self._looks = np.zeros(count), 0

    def hear(self, rounds: list[Round | list[DeviceRecord]]) -> None:
        """Take note of what has been added to ``rounds``."""
        if len(rounds) > self._heard:
            self._add(DeviceTable.joined(rounds[self._heard :]))
            self._heard = len(rounds)

    def _add(self, table: DeviceTable) -> None:
        """Where a device is there twice, its last row counts."""
        rows, whole = table.columns, table.delivered
        device = rows["device"]
        np.add.at(self._rounds, device, 1.0)
        np.add.at(self._energy_j, device, table.energy_j)
        self._last_round[device] = rows["round"]
        self._outcome[device] = rows["outcome"]
        self._duration_s[device[whole]] = (rows["upload_end_s"] - rows["download_start_s"])[whole]

    def facts(self, gain: FloatArray) -> DeviceFacts:
        """What is known now, where the gains are ``gain`` (K,)."""
        self._gain += gain
        self._looks += 1
        reports = self._learner.reports() if isinstance(self._learner, ReportingLearner) else self._unheard
        return DeviceFacts(
            mean_gain=frozen_array(self._gain / self._looks),
            rounds=frozen_array(self._rounds),
            last_round=frozen_array(self._last_round),
            last_outcome=tuple(self._outcome.tolist()),
            duration_s=frozen_array(self._duration_s),
            energy_j=frozen_array(self._energy_j),
            loss=frozen_array(reports.loss),
            rms_loss=frozen_array(reports.rms_loss),
        )
