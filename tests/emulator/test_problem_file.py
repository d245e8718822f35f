"""Problem JSON: what is read is what was written, and every mistake is one line that says where and what."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefine.emulator.bound import BoundTerms, Prediction, predict
from prefine.emulator.errors import InputError
from prefine.emulator.problem_file import dump_problem, parse_problem, plan_document, problem_document
from prefine.emulator.types import Budget, Devices, DevicesPlan, Learning, Plan, Problem, Radio, Server, ServerPlan

Change = Callable[[dict[str, Any]], object]


def _problem(count: int = 2, **learning: float) -> Problem:
    values = np.linspace(1.0, 2.0, count)
    return Problem(
        Budget(10.0, 20.0),
        Learning(10.0, 0.05, 1.0, 0.1, **learning),
        Server(2e7, 1e-28, 8.0, 1e8, 5e9, 1.0, 512.0),
        Devices(
            2e7 * values, 1e-28 * values, values, np.full(count, 1.0 / count), 1e7 * values, 1e9 * values, values,
            100.0 * values, 0.2 * values, 1e-10 * values, 1e6 * values,
        ),
        Radio(4e-21, 1e5, 0.1, 0.01),
        "two",
    )  # fmt: skip


def _plan(problem: Problem) -> Plan:
    devices = problem.devices
    plan = DevicesPlan(devices.min_batch, devices.max_frequency_hz, devices.max_power_w, np.full(len(devices), 0.1))
    return Plan(3, 4, ServerPlan(8.0, 1e9), plan)


@given(gain=st.floats(0.0, 1e3), delay_s=st.floats(1e-9, 1e9), contraction=st.none() | st.floats(0.0, 1.0))
def test_round_trip_to_the_last_digit(gain: float, delay_s: float, contraction: float | None) -> None:
    document = problem_document(_problem())
    document["devices"]["gain"][1], document["budget"]["delay_s"] = gain, delay_s
    if contraction is not None:
        document["learning"]["pretrain_contraction"] = contraction
    text = json.dumps(document)
    assert json.loads(dump_problem(parse_problem(text, "p.json"))) == document


def test_whole_numbers_do_where_numbers_are_expected() -> None:
    document = problem_document(_problem())
    document["budget"]["delay_s"], document["devices"]["max_batch"] = 10, [100, 200]
    problem = parse_problem(json.dumps(document), "p.json")
    assert problem.budget.delay_s == 10.0
    assert problem.devices.max_batch.dtype == np.float64


@pytest.mark.parametrize(("change", "complaint"), [
    (lambda d: d.pop("radio"), "p.json: radio: is missing"),
    (lambda d: d["server"].pop("capacitance"), "p.json: server.capacitance: is missing"),
    (lambda d: d["server"].update(cores=4), "p.json: server.cores: unknown key; allowed: cycles_per_sample"),
    (lambda d: d.update(notes=""), "p.json: notes: unknown key; allowed: budget, learning"),
    (lambda d: d["devices"].update(weight=[0.5]), "p.json: devices: weight has 1 entries but gain has 2"),
    (lambda d: d["devices"].update(weight=[0.5, 0.6]), "p.json: devices: weight sums to 1.1; it must sum to 1"),
    (lambda d: d["devices"].update({key: [] for key in d["devices"]}), "p.json: devices.cycles_per_sample: List"),
    (lambda d: d["devices"]["gain"].__setitem__(1, math.nan), "p.json: devices.gain[1] = nan: must be a finite"),
    (lambda d: d["devices"]["gain"].__setitem__(0, -1.0), "p.json: devices.gain[0] = -1.0: must be greater than or"),
    (lambda d: d["budget"].update(delay_s="long"), "p.json: budget.delay_s = 'long': must be a valid number"),
    (lambda d: d["budget"].update(energy_j=0.0), "p.json: budget.energy_j = 0.0: must be greater than 0"),
    (lambda d: d["server"].update(min_batch=600), "p.json: server: min_batch = 600 exceeds max_batch = 512"),
    (lambda d: d["devices"]["max_frequency_hz"].__setitem__(1, 1.0),
     "p.json: devices: min_frequency_hz[1] = 2e+07 exceeds max_frequency_hz[1] = 1"),
    (lambda d: d["learning"].update(discrepancy_relief=2.0, discrepancy_rate=0.1),
     "p.json: learning: discrepancy_relief * discrepancy_rate = 0.2 exceeds discrepancy = 0.1; it must not"),
    (lambda d: d["devices"].update(noise_curvature=[1.0]), "p.json: devices: noise_curvature has 1 entries but gain"),
    (lambda d: d["server"].update(noise_curvature=-1.0), "p.json: server.noise_curvature = -1.0: must be greater"),
    (lambda d: d["learning"].update(learning_rate=True), "p.json: learning.learning_rate = True: must be a valid"),
])  # fmt: skip
def test_mistakes_are_one_clear_line(change: Change, complaint: str) -> None:
    document = problem_document(_problem())
    change(document)
    with pytest.raises(InputError) as caught:
        parse_problem(json.dumps(document), "p.json")
    assert str(caught.value).startswith(complaint)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '"text"'])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^p\.json: "):
        parse_problem(text, "p.json")


def test_the_plan_document_has_the_documented_shape() -> None:
    problem = _problem()
    plan = _plan(problem)
    document = plan_document("mine", problem, plan, Prediction(1.0, 2.0, 3.0, math.nan), 0.5)
    assert list(document) == ["policy", "problem", "plan", "predicted", "objective", "solve_s"]
    assert document["predicted"] == {"bound": 3.0, "bound_ft": None, "delay_s": 1.0, "energy_j": 2.0}
    assert list(document["plan"]["devices"]) == ["batch", "frequency_hz", "power_w", "upload_s"]
    json.dumps(document, allow_nan=False)
    silent = replace(plan, devices=replace(plan.devices, upload_s=np.array([0.1, math.inf])))
    document = plan_document("mine", problem, silent, Prediction(1.0, 2.0, 3.0, math.inf), 0.5)
    assert document["plan"]["devices"]["upload_s"] == [0.1, None]


def test_both_bounds_by_hand() -> None:
    """A = 2 / 0.05 = 40; alpha0 = 0.5 * 8 = 4; alpha_k = 0.5 * 0.25 * (1, 2); B = 40 * 0.4, C = 40 * 0.6."""
    problem = _problem(pretrain_contraction=0.1, pretrain_floor=0.6)
    plan = _plan(problem)
    noise = 0.125 * 1.0 / 1.0 + 0.125 * 2.0 / 2.0
    predicted = predict(problem, plan)
    assert predicted.bound == pytest.approx((40.0 + 3 * (0.1 + 4.0 / 8.0) + 4 * noise) / 7.0, rel=1e-12)
    kept = 16.0 * math.exp(-0.3) + 24.0
    assert predicted.bound_ft == pytest.approx((kept + 3 * 4.0 / 8.0 + 4 * noise) / 4.0, rel=1e-12)


def test_optional_constants_round_trip_and_count_by_hand() -> None:
    """eta = 0.05: alpha0 = 0.05 * 2 * 8, alpha_k = 0.05 * (1, 4) * 0.25 * (1, 2); nu = 40 * 0.2; D(3) as it stands."""
    document = problem_document(_problem(pretrain_contraction=0.1, pretrain_floor=0.6))
    document["learning"].update(discrepancy_relief=0.5, discrepancy_rate=0.2, pretrain_noise=0.2, effective_rate=0.05)
    document["server"]["noise_curvature"], document["devices"]["noise_curvature"] = 2.0, [1.0, 4.0]
    problem = parse_problem(json.dumps(document), "p.json")
    assert problem_document(problem) == document
    noise = 0.05 * 0.25 * (1.0 / 1.0 + 4.0 * 2.0 / 2.0)
    predicted = predict(problem, _plan(problem))
    shift = 3 * 0.1 - 0.5 * (1.0 - math.exp(-0.6))
    assert predicted.bound == pytest.approx((40.0 + shift + 3 * 0.8 / 8.0 + 4 * noise) / 7.0, rel=1e-12)
    left = 16.0 * math.exp(-0.3) + 24.0 + 8.0 / 8.0 * (1.0 - math.exp(-0.3))
    assert predicted.bound_ft == pytest.approx((left + 4 * noise) / 4.0, rel=1e-12)


def test_bounds_without_rounds_or_constants() -> None:
    terms = BoundTerms.of(_problem())
    noise = terms.round_noise(np.ones(2))
    assert terms.bound(0, 0, 1.0, noise) == math.inf
    assert math.isnan(terms.bound_ft(1, 1, 1.0, noise))
    known = BoundTerms.of(_problem(pretrain_contraction=0.1, pretrain_floor=0.6))
    assert known.bound_ft(5, 0, 1.0, noise) == math.inf


def test_the_instances_of_the_policy_tests_parse() -> None:
    folder = Path(__file__).parents[1] / "policies" / "problems"
    paths = [path for path in folder.glob("*.json") if path.stem != "optimum"]
    assert len(paths) == 7
    for path in paths:
        problem = parse_problem(path.read_text(), path.name)
        assert parse_problem(dump_problem(problem), "again").budget == problem.budget
