"""A fine-tuning round as numbers: what a decider sees as one vector, and what it decides as fractions.

Shared by the environment that teaches and by the policy that has learnt, so that both mean the same.
"""

import numpy as np

from prefine.emulator.access import noise_psd_w_hz
from prefine.emulator.physics import upload_time
from prefine.emulator.types import DevicesPlan, FloatArray, Observation, RoundDecision, frozen_array

COMMON, EACH = 4, 7
"""Numbers of an observation that concern the whole, and those of each device."""

CHOICES = 4
"""What is decided of each device: participation, batch, frequency, power."""

LARGEST = 10.0
"""No number of an observation is beyond this."""

LEAST_POWER = 1e-3
"""Of a device without a least power, as a share of its largest: no upload is without power."""

DEEPEST_DB = -200.0
"""What stands for no signal."""


def seen(observation: Observation) -> FloatArray:
    """``observation`` as (4 + 7 K,) numbers of about unit size, in [-10, 10].

    Shares of both budgets that are left, rounds done over 100, task loss; then, of each device after the other: gain
    in 100 dB, 1 if it is there, share of the energy budget spent, its last loss (-1: none yet), share of the rounds it
    took part in, duration of its last round as a share of the delay budget (0: none yet), its share of the data.
    """
    problem, facts, left = observation.problem, observation.facts, observation.remaining
    done = observation.finetune_rounds_done
    whole = [
        left.delay_s / problem.budget.delay_s,
        left.energy_j / problem.budget.energy_j,
        done / 100.0,
        float(np.nan_to_num(observation.task_loss, nan=LARGEST)),
    ]
    with np.errstate(divide="ignore"):
        gain_db = np.maximum(DEEPEST_DB, 10.0 * np.log10(observation.gain))
    each = np.stack(
        [
            gain_db / 100.0,
            observation.available,
            facts.energy_j / problem.budget.energy_j,
            np.nan_to_num(facts.loss, nan=-1.0),
            facts.rounds / max(1, done),
            np.nan_to_num(facts.duration_s) / problem.budget.delay_s,
            problem.devices.weight,
        ],
        axis=1,
    )
    vector: FloatArray = np.clip(np.concatenate([whole, each.ravel()]), -LARGEST, LARGEST)
    return vector


def decided(fractions: FloatArray, observation: Observation) -> RoundDecision:
    """The fine-tuning round that ``fractions`` (4 K,) or (4, K) in [0, 1] mean.

    Rows: who takes part (from 1/2 on; the largest where nobody has so much), batch (geometric between its limits),
    frequency (between its limits), power (of the largest). Devices that are not there are left out.
    """
    problem, devices = observation.problem, observation.problem.devices
    rows = np.clip(np.nan_to_num(np.asarray(fractions, dtype=np.float64)), 0.0, 1.0).reshape(CHOICES, len(devices))
    there = observation.available > 0.0
    wish = np.where(there, rows[0], -1.0)
    taking = (wish >= 0.5) | (wish == wish.max())
    batch = np.rint(devices.min_batch * (devices.max_batch / devices.min_batch) ** rows[1])
    frequency_hz = devices.min_frequency_hz + (devices.max_frequency_hz - devices.min_frequency_hz) * rows[2]
    least_w = np.where(devices.least_power_w > 0.0, devices.least_power_w, LEAST_POWER * devices.max_power_w)
    power_w = np.clip(devices.max_power_w * rows[3], least_w, devices.max_power_w)
    radio = problem.radio
    noise = noise_psd_w_hz(devices, radio)
    upload_s = upload_time(radio.uplink_bits, devices.bandwidth_hz, power_w, devices.gain, noise)
    plan = DevicesPlan(batch=batch, frequency_hz=frequency_hz, power_w=power_w, upload_s=upload_s)
    return RoundDecision("finetune", observation.plan.server, plan, frozen_array(np.where(taking & there, 1.0, 0.0)))
