"""One emulation: everything set up on a fresh virtual clock, run to its end, recorded and audited."""

import math
from collections.abc import Sequence
from dataclasses import replace

import simpy

from prefine.emulator.device_table import DeviceTable
from prefine.emulator.records import RoundRecord, RunRecord, RunResult
from prefine.emulator.simulation.aggregation import Asynchronous
from prefine.emulator.simulation.audit import audit
from prefine.emulator.simulation.barrier import Rounds
from prefine.emulator.simulation.buffered import Buffered
from prefine.emulator.simulation.choices import Choices
from prefine.emulator.simulation.clients import Fairness, client_records, fairness
from prefine.emulator.simulation.cohort import Cohort
from prefine.emulator.simulation.crew import Crew, Visitors
from prefine.emulator.simulation.deferred import deferred
from prefine.emulator.simulation.device import Device
from prefine.emulator.simulation.energy import BUDGET_SLACK, EnergyAccount
from prefine.emulator.simulation.fastpath import fast_path
from prefine.emulator.simulation.finetuning import Books, Finetuning
from prefine.emulator.simulation.ownband import carrier_of
from prefine.emulator.simulation.population import Visits
from prefine.emulator.simulation.server import EdgeServer
from prefine.emulator.simulation.spec import RunSpec
from prefine.emulator.simulation.warning import warnings


def run(spec: RunSpec, policy: str, seed: int) -> RunResult:
    """Emulate ``spec`` and return its records.

    Raises AuditError where the run breaks an invariant, TraceEndError where a trace ends, PolicyError where an
    adaptive policy decides what cannot be done, InputError where nothing is validated that the run's goal needs.
    """
    emulation = Emulation(deferred(spec))
    spec.goal.check(emulation.server.untrained)
    emulation.finish()
    return emulation.result(policy, seed)


def play(spec: RunSpec) -> None:
    """Emulate ``spec`` for what its learner is told, without records.

    Raises TraceEndError where a trace ends, PolicyError where an adaptive policy decides what cannot be done.
    """
    Emulation(spec).finish()


class Emulation:
    """``spec`` set up on a fresh clock that stands still until it is told to run."""

    def __init__(self, spec: RunSpec) -> None:
        budget = spec.problem.budget
        self.spec = spec
        self.env = env = simpy.Environment(spec.charge.delay_s)
        self.account = account = EnergyAccount(budget.energy_j if spec.stop_at_budget else math.inf, spec.charge)
        self.uplink = carrier_of(env, spec.channel, spec.access, spec.noise_psd_w_hz)
        cohort = self._cohort(spec)
        self.server = EdgeServer(env, spec, cohort, self._finetuning(cohort), account)
        out_of_time = "delay" if spec.stop_at_budget else "no signal"
        env.timeout(spec.horizon_s - env.now).callbacks.append(lambda _: self.server.stop(out_of_time))

    def _cohort(self, spec: RunSpec) -> Cohort:
        """The devices of ``spec`` on the clock, which is that of the run."""
        env, account = self.env, self.account

        def make(number: int) -> Device:
            return Device(number, env, spec, self.uplink, account, lambda: self.server.stop("energy"))

        return Cohort(env, make, spec, self.uplink)

    def _finetuning(self, cohort: Cohort) -> Finetuning:
        env, spec, account = self.env, self.spec, self.account
        if isinstance(spec.aggregation, Asynchronous):
            return Buffered(env, spec, spec.aggregation, cohort, account)
        if isinstance(spec.crew, Visitors):
            return Visits(env, spec, spec.crew, self._cohort, account)
        choices = Choices(spec.problem.devices.weight)
        return Rounds(env, spec, cohort, fast_path(spec), account, Books(account), choices)

    def finish(self) -> None:
        """Let the clock run to the end."""
        self.env.run(until=self.server.process)

    def result(self, policy: str, seed: int) -> RunResult:
        """The records of the run, which must have ended; raises AuditError where it broke an invariant."""
        spec, finetuning = self.spec, self.server.finetuning
        placed = DeviceTable.joined(finetuning.books.rounds)
        devices = _named(placed, spec.crew)
        clients = client_records(spec.learner, spec.crew.everyone(spec.problem.devices), devices)
        result = RunResult(
            _summary(spec, policy, seed, self, fairness(clients)),
            tuple(self.server.rounds),
            placed,
            clients,
            spec.plan.rehearsal.rows if spec.plan.rehearsal else (),
        )
        audit(result, spec, self.uplink.peak_band_hz, finetuning.choices.made)
        return replace(result, devices=devices)


def _named(table: DeviceTable, crew: Crew) -> DeviceTable:
    """``table``, whose devices are places, with the numbers of those who sat in them."""
    columns, places = table.columns, table.columns["device"]
    numbers = crew.numbers(columns["round"] - columns["staleness"], places)
    return table if numbers is places else DeviceTable({**columns, "device": numbers})


def _summary(spec: RunSpec, policy: str, seed: int, clock: Emulation, served: Fairness) -> RunRecord:
    budget, server, account, now_s = spec.problem.budget, clock.server, clock.account, clock.env.now
    delay_s = min(now_s, budget.delay_s) if spec.stop_at_budget else now_s
    record = RunRecord(
        policy=policy,
        seed=seed,
        status="done",
        pretrain_rounds=server.rounds_done["pretrain"],
        finetune_rounds=server.rounds_done["finetune"],
        planned_pretrain_rounds=int(spec.plan.pretrain_rounds),
        planned_finetune_rounds=int(spec.plan.finetune_rounds),
        predicted_delay_s=spec.prediction.delay_s,
        delay_s=delay_s,
        predicted_energy_j=spec.prediction.energy_j,
        energy_j=account.total_j,
        server_energy_j=float(account.spent_j["server"]),
        compute_energy_j=float(account.spent_j["compute"]),
        uplink_energy_j=float(account.spent_j["uplink"]),
        downlink_energy_j=float(account.spent_j["downlink"]),
        wasted_energy_j=account.wasted_j,
        overrun_delay_s=max(0.0, delay_s - budget.delay_s),
        overrun_energy_j=max(0.0, account.total_j - budget.energy_j * (1.0 + BUDGET_SLACK)),
        bound=spec.prediction.bound,
        bound_ft=spec.prediction.bound_ft,
        mean_grad_norm_sq=_mean_norm(server.rounds),
        train_loss=server.evaluation.train_loss,
        test_accuracy=server.evaluation.test_accuracy,
        stop_reason=str(server.process.value),
        outside_proof=",".join(dict.fromkeys([*spec.outside_proof, *server.finetuning.choices.outside_proof])),
        calibration_delay_s=spec.charge.delay_s,
        calibration_energy_j=spec.charge.energy_j,
        client_accuracy_mean=served.mean,
        client_accuracy_worst=served.worst,
        client_accuracy_std=served.std,
        client_accuracy_jain=served.jain,
        validation_loss=server.evaluation.validation_loss,
        validation_accuracy=server.evaluation.validation_accuracy,
    )
    return record._replace(warning=warnings(record, server.untrained, budget, spec.doubts))


def _mean_norm(rounds: Sequence[RoundRecord]) -> float:
    """Mean squared gradient norm over the evaluated rounds.

    NaN where the start alone was evaluated though there were more rounds: one end of the way is no mean of it.
    """
    norms = [record.grad_norm_sq for record in rounds if not math.isnan(record.grad_norm_sq)]
    return math.fsum(norms) / len(norms) if len(norms) >= min(2, max(1, len(rounds))) else math.nan
