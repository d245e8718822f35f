"""The design between two designs: the mean of their stage totals (docs/theory.md, sections 3a and 3d)."""

from dataclasses import replace

import numpy as np

from prefine.emulator.access import noise_psd_w_hz, planned_bands_hz, sending_s
from prefine.emulator.bound import planned_round, predict
from prefine.emulator.physics import upload_power
from prefine.emulator.types import DevicesPlan, Problem, Relaxed, ServerPlan


def mixed(problem: Problem, one: Relaxed, other: Relaxed, part: float) -> Relaxed:
    """``one`` and ``other`` in the proportions 1 - ``part`` : ``part``; its bound and certificate are those of ``one``.

    Samples, computing times, upload times and rounds are the means of both. Costs and noise are convex in these, so the
    mean keeps the budgets that both keep, and its numerator is at most the mean of theirs.
    """
    pretraining = (1.0 - part) * one.pretrain_rounds, part * other.pretrain_rounds
    finetuning = (1.0 - part) * one.finetune_rounds, part * other.finetune_rounds
    made = replace(
        one,
        pretrain_rounds=sum(pretraining),
        finetune_rounds=sum(finetuning),
        server=_server(one.server, other.server, *pretraining),
        devices=_devices(problem, one.devices, other.devices, *finetuning),
    )
    return made if made.devices.bandwidth_hz is None else _within_budgets(problem, made)


def _within_budgets(problem: Problem, made: Relaxed) -> Relaxed:
    """``made`` with so many rounds as both budgets allow: in bands and times together, costs are not convex."""
    used = predict(problem, made, planned_round)
    part = min(1.0, problem.budget.delay_s / used.delay_s, problem.budget.energy_j / used.energy_j)
    return replace(made, pretrain_rounds=part * made.pretrain_rounds, finetune_rounds=part * made.finetune_rounds)


def _server(one: ServerPlan, other: ServerPlan, rounds: float, more: float) -> ServerPlan:
    """The plan of ``rounds`` as ``one`` and ``more`` as ``other``."""
    if not more or not rounds:
        return other if more else one
    samples = rounds * one.batch, more * other.batch
    seconds = samples[0] / one.frequency_hz + samples[1] / other.frequency_hz
    return ServerPlan(sum(samples) / (rounds + more), sum(samples) / seconds)


def _devices(problem: Problem, one: DevicesPlan, other: DevicesPlan, rounds: float, more: float) -> DevicesPlan:
    """See `_server`."""
    if not more or not rounds:
        return other if more else one
    devices, radio = problem.devices, problem.radio
    samples = rounds * one.batch, more * other.batch
    seconds = samples[0] / one.frequency_hz + samples[1] / other.frequency_hz
    upload_s = (rounds * one.upload_s + more * other.upload_s) / (rounds + more)
    decided_hz = None
    if one.bandwidth_hz is not None and other.bandwidth_hz is not None:
        decided_hz = (rounds * one.bandwidth_hz + more * other.bandwidth_hz) / (rounds + more)
    bands_hz, noise_psd = planned_bands_hz(devices, radio, decided_hz), noise_psd_w_hz(devices, radio)
    power_w = upload_power(radio.uplink_bits, bands_hz, upload_s, devices.gain, noise_psd)
    power_w = np.clip(power_w, devices.least_power_w, devices.max_power_w)
    if decided_hz is not None:
        upload_s = sending_s(devices, radio, power_w, decided_hz)
    return DevicesPlan(
        np.clip((samples[0] + samples[1]) / (rounds + more), devices.min_batch, devices.max_batch),
        np.clip((samples[0] + samples[1]) / seconds, devices.min_frequency_hz, devices.max_frequency_hz),
        power_w,
        upload_s,
        decided_hz,
    )
