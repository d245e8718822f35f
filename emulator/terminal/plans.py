"""Plans, problems and constants, for a person at a terminal."""

from collections.abc import Mapping, Sequence
from math import isfinite, isnan
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from prefine.emulator.bound import device_round, server_round
from prefine.emulator.planning import Solution
from prefine.emulator.types import Plan, Problem, RehearsalTable, Relaxed
from prefine.emulator.units import to_db

ROWS = 20
BINDS = 1.0 - 1e-6
"""A budget used up to this share binds."""


def show_plan(solution: Solution, console: Console) -> None:
    """Rounds, budgets with their shadow prices, what everyone does, and the certificate."""
    plan, problem, predicted = solution.plan, solution.problem, solution.predicted
    console.print(
        f"[bold]{escape(solution.policy)}[/bold] for {escape(problem.name) or 'this problem'}", highlight=False
    )
    console.print(_rounds(problem, plan))
    console.print(_budgets(solution))
    if solution.handover.delay_s > 0.0:
        console.print(
            f"set aside of the budgets for sending devices the base model once: {solution.handover.delay_s:.4g} s and "
            f"{solution.handover.energy_j:.4g} J (radio.downlink.base)",
            highlight=False,
        )
    if solution.charge.delay_s > 0.0:
        charge = solution.charge
        console.print(
            f"the budgets are what measuring the constants leaves: it takes {charge.delay_s:.4g} s and "
            f"{charge.energy_j:.4g} J (learning.charge_pilots)",
            highlight=False,
        )
    if plan.finetune_rounds:
        console.print(_devices(problem, plan))
    bound_ft = f", Phi_FT {predicted.bound_ft:.6g} (fitted, not a proven bound)" if isfinite(predicted.bound_ft) else ""
    if plan.rehearsal is not None:
        _show_rehearsal(plan.rehearsal, console)
    console.print(f"predicted: Phi {predicted.bound:.6g}{bound_ft}", highlight=False)
    if plan.relaxed is not None and plan.integer_gap is not None:
        name = "Phi" if plan.objective == "bound" else "Phi_FT"
        least = _unavoidable(solution.integer_lower_bound, plan.relaxed)
        console.print(
            f"certificate: no real-valued plan{_which(problem)} has {name} below {plan.relaxed.lower_bound:.6g} "
            f"(relaxed optimum {plan.relaxed.bound:.6g}, gap {max(plan.relaxed.gap, 0.0):.1e}); "
            f"whole numbers cost {100.0 * plan.integer_gap:.3f} %{least}",
            highlight=False,
        )
    else:
        console.print("certificate: none, this policy makes no claim of optimality", highlight=False)
    console.print(f"solved in {1e3 * solution.solve_s:.1f} ms", highlight=False)


def _which(problem: Problem) -> str:
    """What the certificate covers, where that is not every plan (docs/access.md)."""
    if problem.radio.access == "tdma":
        return " whose uploads wait for all computing"
    shared = problem.radio.access == "ofdma" and problem.radio.bandwidth == "given"
    return " in which each counts on its own band" if shared else ""


def _show_rehearsal(seen: RehearsalTable, console: Console) -> None:
    """The best candidates, the chosen one first, and what it took to find them."""
    table = Table(title="Rehearsed, the chosen one first")
    for heading in ("candidate", "N", "b0", "M", "score", "95 %", "smoothed", "loss", "rehearsals"):
        table.add_column(heading, justify="right", overflow="fold")
    for row in seen.rows[:ROWS]:
        counts = str(row.pretrain_rounds), f"{row.server_batch:g}", str(row.finetune_rounds)
        figures = f"{row.score:.4f}", f"± {row.score_ci95:.4f}", f"{row.smoothed_score:.4f}", f"{row.loss:.4f}"
        table.add_row(escape(row.candidate), *counts, *figures, str(row.rehearsals))
    if len(seen.rows) > ROWS:
        table.caption = f"and {len(seen.rows) - ROWS} more; all of them with --json"
    console.print(table)
    whose = "the devices' task samples, seen centrally" if seen.on == "task" else "the server's general samples alone"
    rehearsals = sum(row.rehearsals for row in seen.rows)
    console.print(
        f"rehearsed on {whose}: {rehearsals} rehearsals of {len(seen.rows)} candidates, {seen.rounds} rounds, "
        f"{seen.processor_s:.1f} s of processor time when they were made",
        highlight=False,
    )


def _rounds(problem: Problem, plan: Plan) -> Table:
    table = Table(title="Rounds")
    for heading in ("stage", "rounds", "delay of a round s", "energy of a round J", "what is done"):
        table.add_column(heading, justify="right", overflow="fold")
    if plan.pretrain_rounds:
        cost = server_round(problem.server, plan.server)
        done = f"batch {plan.server.batch:g} at {plan.server.frequency_hz / 1e9:.3f} GHz"
        table.add_row("pre-training", str(plan.pretrain_rounds), f"{cost.delay_s:.4g}", f"{cost.energy_j:.4g}", done)
    else:
        table.add_row("pre-training", "0", "", "", "")
    if plan.finetune_rounds:
        cost = device_round(problem.devices, problem.radio, plan.devices)
        done = f"batches {plan.devices.batch.min():g} to {plan.devices.batch.max():g}"
        table.add_row("fine-tuning", str(plan.finetune_rounds), f"{cost.delay_s:.4g}", f"{cost.energy_j:.4g}", done)
    else:
        table.add_row("fine-tuning", "0", "", "", "")
    return table


def _unavoidable(bound: float | None, relaxed: Relaxed) -> str:
    """How much of what whole numbers cost no plan of whole numbers can avoid."""
    if bound is None:
        return ""
    least = max(0.0, bound / relaxed.lower_bound - 1.0)
    return f", of which {100.0 * least:.3f} % cannot be avoided (no plan of whole numbers is below {bound:.6g})"


def _budgets(solution: Solution) -> Table:
    problem, predicted, relaxed = solution.problem, solution.predicted, solution.plan.relaxed
    table = Table(title="Budgets")
    for heading in ("budget", "used", "of", "binds", "one more unit lowers the bound by"):
        table.add_column(heading, justify="right", overflow="fold")
    prices = (None, None) if relaxed is None else (relaxed.delay_price, relaxed.energy_price)
    rows = (
        ("delay s", predicted.delay_s, problem.budget.delay_s, prices[0]),
        ("energy J", predicted.energy_j, problem.budget.energy_j, prices[1]),
    )
    for name, used, budget, price in rows:
        binds = (price > 0.0) if price is not None else used >= BINDS * budget
        shown = "" if price is None else f"{price:.3g}"
        table.add_row(name, f"{used:.6g}", f"{budget:g}", "yes" if binds else "no", shown)
    return table


def _devices(problem: Problem, plan: Plan) -> Table:
    devices = plan.devices
    table = Table(title="Each device in a fine-tuning round")
    decided = ("band kHz",) if devices.bandwidth_hz is not None else ()
    for heading in ("device", "gain dB", "batch", "frequency GHz", "power W", "upload s", *decided):
        table.add_column(heading, justify="right", overflow="fold")
    for k in range(min(len(problem.devices), ROWS)):
        table.add_row(
            str(k),
            f"{to_db(float(problem.devices.gain[k])):.1f}",
            f"{devices.batch[k]:g}",
            f"{devices.frequency_hz[k] / 1e9:.3f}",
            f"{devices.power_w[k]:.4g}",
            f"{devices.upload_s[k]:.4g}",
            *(() if devices.bandwidth_hz is None else (f"{devices.bandwidth_hz[k] / 1e3:.4g}",)),
        )
    if len(problem.devices) > ROWS:
        table.caption = f"and {len(problem.devices) - ROWS} more; all of them with --json"
    return table


def show_problem(name: str, problem: Problem, console: Console) -> None:
    """The world a scenario makes, and that it is in order."""
    devices, learning = problem.devices, problem.learning
    table = Table(title=f"{escape(name)}: in order", show_header=False)
    rows: Sequence[tuple[str, str]] = (
        ("budgets", f"{problem.budget.delay_s:g} s, {problem.budget.energy_j:g} J"),
        ("devices", str(len(devices))),
        ("planning gain", f"{to_db(float(devices.gain.min())):.1f} to {to_db(float(devices.gain.max())):.1f} dB"),
        ("uplink", f"{problem.radio.uplink_bits:g} bit a round and device"),
        ("downlink", f"{problem.radio.downlink_delay_s:g} s, {problem.radio.downlink_energy_j:g} J a round"),
        (
            "cycles per sample",
            f"server {problem.server.cycles_per_sample:g}, devices {_span(devices.cycles_per_sample)}",
        ),
        ("smoothness L", _known(learning.smoothness)),
        ("step size of the bound", _known(learning.learning_rate)),
        ("initial gap F(w0) - F*", _known(learning.initial_gap)),
        ("discrepancy Delta²", _known(learning.discrepancy)),
        (
            "gradient variance",
            f"server {_known(problem.server.gradient_variance)}, devices {_span(devices.gradient_variance)}",
        ),
    )
    for row in rows:
        table.add_row(*row)
    console.print(table)


def show_cache(folder: Path, entries: Sequence[tuple[str, int]], console: Console) -> None:
    """How many files of each kind are kept in ``folder``, and their size; ``entries`` are names and bytes."""
    table = Table(title=escape(str(folder)))
    for heading in ("kept", "files", "MB"):
        table.add_column(heading, justify="left" if heading == "kept" else "right")
    kinds = sorted({_kind(name) for name, _ in entries})
    for kind in kinds:
        sizes = [size for name, size in entries if _kind(name) == kind]
        table.add_row(escape(kind), str(len(sizes)), f"{sum(sizes) / 1e6:.1f}")
    console.print(table)


def _kind(name: str) -> str:
    """The first part of a name: ``constants`` of constants-0123.json."""
    return name.partition("-")[0]


def _span(values: Any) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.4g} to {high:.4g}" if low < high else _known(low)


def _known(value: float) -> str:
    return "not measured (--measure)" if isnan(value) else f"{value:.4g}"


def show_constants(estimate: Mapping[str, Any], console: Console) -> None:
    """Each constant with its spread and definition, and what measuring them takes."""
    table = Table(title="Constants of the bound")
    table.add_column("constant", no_wrap=True, overflow="fold")
    for heading in ("value", "spread", "seen", "definition"):
        table.add_column(heading, overflow="fold")
    for name, entry in estimate.items():
        if name != "cost":
            seen = _number([*_listed(entry["least"]), *_listed(entry["most"])]) if "least" in entry else ""
            table.add_row(
                escape(name), _number(entry["value"]), _number(entry["spread"]), seen, escape(str(entry["definition"]))
            )
    console.print(table)
    for entry in estimate.values():
        if "warning" in entry:
            console.print(f"warning: {entry['warning']}", style="yellow", highlight=False, markup=False)
    _show_cost(estimate["cost"], console)


def _show_cost(cost: Mapping[str, Any], console: Console) -> None:
    if not cost["runs"]:
        return
    stages = [
        f"{sum(counts.values())} rounds of {what} ({', '.join(f'{n} of {b} samples' for b, n in counts.items())})"
        for what, counts in (("pre-training", cost["pretrain_rounds"]), ("fine-tuning", cost["finetune_rounds"]))
    ]
    console.print(
        f"measured by {cost['runs']} calibration runs, {cost['step_size_searches']} of them to find the step size: "
        f"{' and '.join(stages)}.",
        highlight=False,
    )
    console.print(f"They see {cost['sees']}.", highlight=False)
    if cost["delay_s"] is not None:
        console.print(
            f"In this world they would take {cost['delay_s']:.4g} s and {cost['energy_j']:.4g} J, "
            + ("taken from the budgets" if cost["charged"] else "not taken from the budgets (learning.charge_pilots)"),
            highlight=False,
        )


def _listed(value: Any) -> Sequence[float]:
    return value if isinstance(value, list) else [value]


def _number(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"{min(value):.4g} to {max(value):.4g}" if value else ""
    return f"{value:.4g}"
