"""Observations to ask policies with."""

from dataclasses import replace
from typing import Any

import numpy as np

from prefine.emulator.types import DeviceFacts, FloatArray, Observation, Plan, Problem, frozen_array


def facts(gain: FloatArray, **known: Any) -> DeviceFacts:
    """What is known before the first round, with ``known`` on top."""
    count = len(gain)
    nothing, unknown = frozen_array(np.zeros(count)), frozen_array(np.full(count, np.nan))
    none = DeviceFacts(gain, nothing, nothing, ("",) * count, unknown, nothing, unknown, unknown)
    arrays: dict[str, Any] = {name: frozen_array(values) for name, values in known.items()}
    return replace(none, **arrays)


def seen(problem: Problem, plan: Plan, known: DeviceFacts | None = None, **changes: Any) -> Observation:
    """The observation before the first fine-tuning round on the planning gains, with ``changes``."""
    gain = frozen_array(changes.pop("gain", problem.devices.gain))
    rounds = changes.pop("finetune_rounds_done", 0)
    start = Observation(
        problem, plan, plan.pretrain_rounds, rounds, 0.0, problem.budget, gain, frozen_array(np.ones(len(gain))), 1.0,
        facts(gain) if known is None else known,
    )  # fmt: skip
    return replace(start, **changes)
