"""Problem JSON to `Problem` and back, and the plan document: pure functions of text, formats in docs/formats.md.

What a problem file may hold is read off the records of `prefine.emulator.types`: every field is a key, a field with a
default may be left out. Limits of the values stand here.
"""

import json
import math
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from types import UnionType
from typing import Annotated, Any, Self, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from pydantic import Field as Limits
from pydantic import ValidationError, create_model, model_validator

from prefine.emulator.bound import Prediction
from prefine.emulator.complaints import complaint
from prefine.emulator.errors import InputError
from prefine.emulator.section import NonNegative, Positive, Section
from prefine.emulator.types import DevicesPlan, FloatArray, Plan, Problem, RehearsalTable, Relaxed, ServerPlan

MAY_BE_ZERO = (
    "discrepancy",
    "discrepancy_relief",
    "discrepancy_rate",
    "pretrain_noise",
    "noise_curvature",
    "pretrain_contraction",
    "pretrain_floor",
    "gradient_variance",
    "min_frequency_hz",
    "weight",
    "gain",
    "downlink_delay_s",
    "downlink_energy_j",
    "min_power_w",
    "interference_w",
)
"""Every other number of a problem is above 0."""

Record = TypeVar("Record")

WEIGHT_TOLERANCE = 1e-6
"""How far the weights may sum from one (they may have been written with few digits)."""


class _Table(Section):
    """A table of a problem file, checked as a whole: one entry per device in every list, limits in order, weights."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        columns = {name: value for name, value in self if isinstance(value, list)}
        for name, column in columns.items():
            if len(column) != len(columns["gain"]):
                raise ValueError(
                    f"{name} has {len(column)} entries but gain has {len(columns['gain'])}; "
                    "every list needs one per device"
                )
        for name, least in self:
            if name.startswith("min_") and least is not None:
                _check_order(name, least, getattr(self, name.replace("min_", "max_")))
        total = math.fsum(columns.get("weight", [1.0]))
        if abs(total - 1.0) > WEIGHT_TOLERANCE:
            raise ValueError(f"weight sums to {total:.9g}; it must sum to 1")
        _check_shift(dict(self))
        if getattr(self, "bandwidth", "given") == "optimise":
            _check_band(dict(self))
        return self


def _check_shift(table: dict[str, Any]) -> None:
    """Raises ValueError where the shift summed over the rounds would fall: relief times rate above the discrepancy."""
    relief, rate = table.get("discrepancy_relief", 0.0), table.get("discrepancy_rate", 0.0)
    if relief * rate > table.get("discrepancy", math.inf) * (1.0 + WEIGHT_TOLERANCE):
        raise ValueError(
            f"discrepancy_relief * discrepancy_rate = {relief * rate:g} exceeds discrepancy = "
            f"{table['discrepancy']:g}; it must not, or the shift of a round would be negative"
        )


def _check_band(radio: dict[str, Any]) -> None:
    """Raises ValueError where there is no band to divide."""
    if radio["total_bandwidth_hz"] is None:
        raise ValueError('bandwidth = "optimise" divides total_bandwidth_hz, which is missing')
    if radio["access"] == "tdma":
        raise ValueError('bandwidth = "optimise" needs access = "fdma" or "ofdma": with "tdma" each has the whole band')


def _check_order(name: str, least: Any, most: Any) -> None:
    above = name.replace("min_", "max_")
    if isinstance(least, list):
        for device, pair in enumerate(zip(least, most, strict=True)):
            _check_order(f"{name}[{device}]", *pair)
    elif least > most:
        raise ValueError(f"{name} = {least:g} exceeds {above} = {most:g}")


def _table_of(record: Any) -> type[_Table]:
    """The table that a frozen record is written as: its fields with their limits."""
    hints = get_type_hints(record)
    table: dict[str, Any] = {
        field.name: (_kind(field.name, hints[field.name]), _default(field)) for field in fields(record)
    }
    return create_model(record.__name__, __base__=_Table, **table)


def _kind(name: str, hint: Any) -> Any:
    """What the value of the key ``name`` must be, where the record's field is a ``hint``."""
    if get_origin(hint) in (Union, UnionType):
        return Union[tuple(_kind(name, one) for one in get_args(hint))]  # noqa: UP007  # made at run time
    number: Any = NonNegative if name in MAY_BE_ZERO else Positive
    kinds = {float: number, FloatArray: Annotated[list[number], Limits(min_length=1)]}
    return kinds[hint] if hint in kinds else _table_of(hint) if is_dataclass(hint) else hint


def _default(field: Field[Any]) -> Any:
    """What a key that is left out says; ``...`` where it must be there."""
    return ... if field.default is MISSING else field.default


_PROBLEM = _table_of(Problem)


def parse_problem(text: str, source_name: str) -> Problem:
    """The problem that ``text`` (JSON) describes.

    Raises InputError naming ``source_name``, the key, what is wrong and what is allowed.
    """
    try:
        document = _PROBLEM.model_validate_json(_with_bands(text))
    except ValidationError as error:
        raise InputError(f"{source_name}: {complaint(error, _PROBLEM)}") from None
    return _record(Problem, document)


def _with_bands(text: str) -> str:
    """``text`` with equal shares of ``radio.total_bandwidth_hz`` where the devices' bands are left out."""
    try:
        tree = json.loads(text)
        devices, total_hz = tree["devices"], tree["radio"]["total_bandwidth_hz"]
        if "bandwidth_hz" not in devices:
            devices["bandwidth_hz"] = [total_hz / len(devices["gain"])] * len(devices["gain"])
            return json.dumps(tree)
    except (ValueError, KeyError, TypeError, ZeroDivisionError, RecursionError):
        pass  # whatever is wrong, the tables say it better
    return text


def _record(record: type[Record], document: _Table) -> Record:
    """``document`` as the frozen ``record`` that its keys were read off."""
    hints = get_type_hints(record)
    return record(**{key: _record(hints[key], one) if isinstance(one, _Table) else one for key, one in document})


def problem_document(problem: Problem) -> dict[str, Any]:
    """``problem`` as JSON-ready data, as `parse_problem` reads it; what is as if it were left out is left out."""
    document = _document(problem)
    name = {"name": document.pop("name")} if problem.name else {}
    return {**name, **document}


def _document(record: Any) -> dict[str, Any]:
    """A frozen record as tables of plain values; fields at their defaults are left out."""
    values = {field.name: (getattr(record, field.name), field.default) for field in fields(record)}
    return {name: _plain(value) for name, (value, default) in values.items() if not _same(value, default)}


def _same(value: Any, default: Any) -> bool:
    return value is default or (isinstance(value, (float, str)) and value == default)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return _document(value)
    return value.tolist() if isinstance(value, np.ndarray) else value


def dump_problem(problem: Problem) -> str:
    """``problem`` as JSON text; `parse_problem` gives it back to the last digit."""
    return json.dumps(problem_document(problem), indent=1)


def plan_document(
    policy_name: str,
    problem: Problem,
    plan: Plan,
    predicted: Prediction,
    solve_s: float,
    integer_lower_bound: float | None = None,
) -> dict[str, Any]:
    """The plan document (docs/formats.md): JSON-ready, and ``null`` for what is not finite.

    ``relaxed`` and ``integer_gap`` only where the policy has a certificate, ``integer_lower_bound`` where it is
    known, ``rehearsal`` where the policy rehearses.
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
    if integer_lower_bound is not None:
        document["integer_lower_bound"] = integer_lower_bound
    if plan.rehearsal is not None:
        document["rehearsal"] = _rehearsal(plan.rehearsal)
    document["solve_s"] = solve_s
    return document


def _rehearsal(table: RehearsalTable) -> dict[str, Any]:
    rows = [{name: _plain_number(value) for name, value in row._asdict().items()} for row in table.rows]
    return {"on": table.on, "rounds": table.rounds, "processor_s": table.processor_s, "candidates": rows}


def _plain_number(value: Any) -> Any:
    return _finite(value) if isinstance(value, float) else value


def _relaxed(relaxed: Relaxed) -> dict[str, Any]:
    scalars = ("bound", "lower_bound", "gap", "pretrain_rounds", "finetune_rounds", "delay_price", "energy_price")
    return {name: getattr(relaxed, name) for name in scalars} | _stages(relaxed.server, relaxed.devices)


def _stages(server: ServerPlan, devices: DevicesPlan) -> dict[str, Any]:
    return {
        "server": asdict(server),
        "devices": {
            field.name: [_finite(value) for value in values.tolist()]
            for field in fields(devices)
            if (values := getattr(devices, field.name)) is not None
        },
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
