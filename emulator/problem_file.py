"""Problem JSON to `Problem` and back, and the plan document: pure functions of text, formats in docs/formats.md."""

import json
import math
from dataclasses import asdict, fields
from typing import Annotated, Any

import numpy as np
from pydantic import Field, ValidationError, model_validator

from prefine.emulator.bound import Prediction
from prefine.emulator.errors import InputError
from prefine.emulator.scenario.base import NonNegative, Positive, Section
from prefine.emulator.types import (
    Budget,
    Devices,
    DevicesPlan,
    Learning,
    Plan,
    Problem,
    Radio,
    Relaxed,
    Server,
    ServerPlan,
)

WEIGHT_TOLERANCE = 1e-6
"""How far the weights may sum from one (they may have been written with few digits)."""

PositiveList = Annotated[list[Positive], Field(min_length=1)]
NonNegativeList = Annotated[list[NonNegative], Field(min_length=1)]

_RANGES = (("min_frequency_hz", "max_frequency_hz"), ("min_batch", "max_batch"))


class BudgetSection(Section):
    """`prefine.emulator.types.Budget` as JSON."""

    delay_s: Positive
    energy_j: Positive


class LearningSection(Section):
    """`prefine.emulator.types.Learning` as JSON."""

    smoothness: Positive
    learning_rate: Positive
    initial_gap: Positive
    discrepancy: NonNegative
    pretrain_contraction: NonNegative | None = None
    pretrain_floor: NonNegative | None = None


class ServerSection(Section):
    """`prefine.emulator.types.Server` as JSON."""

    cycles_per_sample: Positive
    capacitance: Positive
    gradient_variance: NonNegative
    min_frequency_hz: NonNegative
    max_frequency_hz: Positive
    min_batch: Positive
    max_batch: Positive

    @model_validator(mode="after")
    def _ranges(self) -> "ServerSection":
        for low, high in _RANGES:
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} = {getattr(self, low):g} exceeds {high} = {getattr(self, high):g}")
        return self


class DevicesSection(Section):
    """`prefine.emulator.types.Devices` as JSON: one list entry per device in every field."""

    cycles_per_sample: PositiveList
    capacitance: PositiveList
    gradient_variance: NonNegativeList
    weight: NonNegativeList
    min_frequency_hz: NonNegativeList
    max_frequency_hz: PositiveList
    min_batch: PositiveList
    max_batch: PositiveList
    max_power_w: PositiveList
    gain: NonNegativeList
    bandwidth_hz: PositiveList

    @model_validator(mode="after")
    def _consistent(self) -> "DevicesSection":
        lengths = {name: len(getattr(self, name)) for name in type(self).model_fields}
        count = lengths["gain"]
        for name, length in lengths.items():
            if length != count:
                raise ValueError(f"{name} has {length} entries but gain has {count}; every list needs one per device")
        for low, high in _RANGES:
            for device, (least, most) in enumerate(zip(getattr(self, low), getattr(self, high), strict=True)):
                if least > most:
                    raise ValueError(f"{low}[{device}] = {least:g} exceeds {high}[{device}] = {most:g}")
        total = math.fsum(self.weight)
        if abs(total - 1.0) > WEIGHT_TOLERANCE:
            raise ValueError(f"weight sums to {total:.9g}; it must sum to 1")
        return self


class RadioSection(Section):
    """`prefine.emulator.types.Radio` as JSON."""

    noise_psd_w_hz: Positive
    uplink_bits: Positive
    downlink_delay_s: NonNegative
    downlink_energy_j: NonNegative


class ProblemSection(Section):
    """`prefine.emulator.types.Problem` as JSON."""

    name: str = ""
    budget: BudgetSection
    learning: LearningSection
    server: ServerSection
    devices: DevicesSection
    radio: RadioSection


def parse_problem(text: str, source_name: str) -> Problem:
    """The problem that ``text`` (JSON) describes.

    Raises InputError naming ``source_name``, the key, what is wrong and what is allowed.
    """
    try:
        document = ProblemSection.model_validate_json(text)
    except ValidationError as error:
        raise InputError(f"{source_name}: {_complaint(error)}") from None
    return Problem(
        Budget(**document.budget.model_dump()),
        Learning(**document.learning.model_dump()),
        Server(**document.server.model_dump()),
        Devices(**{name: np.array(values) for name, values in document.devices.model_dump().items()}),
        Radio(**document.radio.model_dump()),
        document.name,
    )


def _complaint(error: ValidationError) -> str:
    """The first thing wrong, on one line, and how many more there are."""
    first, *others = error.errors(include_url=False)
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    wrong = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        wrong = "this key is missing"
    elif first["type"] == "extra_forbidden":
        section: Any = ProblemSection
        for part in first["loc"][:-1]:
            section = section.model_fields[part].annotation
        wrong = f"unknown key; allowed: {', '.join(section.model_fields)}"
    elif isinstance(first["input"], (int, float, str, bool)) and place:
        wrong = f"{wrong}, not {str(first['input'])[:40]!r}" if first["type"] != "value_error" else wrong
    more = f" (and {len(others)} more)" if others else ""
    return f"{place}: {wrong}{more}" if place else f"{wrong}{more}"


def problem_document(problem: Problem) -> dict[str, Any]:
    """``problem`` as JSON-ready data, as `parse_problem` reads it; optional constants are left out where unknown."""
    document = {
        "budget": asdict(problem.budget),
        "learning": {key: value for key, value in asdict(problem.learning).items() if value is not None},
        "server": asdict(problem.server),
        "devices": {field.name: getattr(problem.devices, field.name).tolist() for field in fields(problem.devices)},
        "radio": asdict(problem.radio),
    }
    return {"name": problem.name, **document} if problem.name else document


def dump_problem(problem: Problem) -> str:
    """``problem`` as JSON text; `parse_problem` gives it back to the last digit."""
    return json.dumps(problem_document(problem), indent=1)


def plan_document(
    policy_name: str, problem: Problem, plan: Plan, predicted: Prediction, solve_s: float
) -> dict[str, Any]:
    """The plan document (docs/formats.md): JSON-ready, and ``null`` for what is not finite.

    ``relaxed`` and ``integer_gap`` only where the policy has a certificate.
    """
    document: dict[str, Any] = {
        "policy": policy_name,
        "problem": problem_document(problem),
        "plan": {
            "pretrain_rounds": plan.pretrain_rounds,
            "finetune_rounds": plan.finetune_rounds,
            **_stages(plan.server, plan.devices),
        },
        "predicted": {
            "bound": _finite(predicted.bound),
            "bound_ft": _finite(predicted.bound_ft),
            "delay_s": predicted.delay_s,
            "energy_j": predicted.energy_j,
        },
        "objective": plan.objective,
    }
    if plan.relaxed is not None:
        document["relaxed"] = _relaxed(plan.relaxed)
    if plan.integer_gap is not None:
        document["integer_gap"] = plan.integer_gap
    document["solve_s"] = solve_s
    return document


def _relaxed(relaxed: Relaxed) -> dict[str, Any]:
    scalars = ("bound", "lower_bound", "gap", "pretrain_rounds", "finetune_rounds", "delay_price", "energy_price")
    return {name: getattr(relaxed, name) for name in scalars} | _stages(relaxed.server, relaxed.devices)


def _stages(server: ServerPlan, devices: DevicesPlan) -> dict[str, Any]:
    return {
        "server": asdict(server),
        "devices": {
            field.name: [_finite(value) for value in getattr(devices, field.name).tolist()] for field in fields(devices)
        },
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
