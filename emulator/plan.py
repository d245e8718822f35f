"""What a policy decides before a run: rounds, server, devices; with its certificate or its rehearsals."""

from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple

from prefine.emulator.arrays import ArrayFields, FloatArray, IntArray
from prefine.emulator.workload import Audience


@dataclass(frozen=True)
class ServerPlan:
    """What the server does in a pre-training round."""

    batch: float
    frequency_hz: float


@dataclass(frozen=True)
class DevicesPlan(ArrayFields):
    """What the devices do in a fine-tuning round; every field has shape (K,).

    ``bandwidth_hz`` are the bands that the plan decides on, where it may (`Radio.bandwidth`); ``None``: their own.
    """

    batch: FloatArray
    frequency_hz: FloatArray
    power_w: FloatArray
    upload_s: FloatArray
    bandwidth_hz: FloatArray | None = None

    def at(self, index: IntArray) -> "DevicesPlan":
        """What the devices with the numbers ``index`` (n,) do."""
        columns: tuple[Any, ...] = tuple(None if column is None else column[index] for column in self._columns())
        return DevicesPlan(*columns)

    def with_at(self, index: IntArray, plan: "DevicesPlan") -> "DevicesPlan":
        """The same, but the devices with the numbers ``index`` (n,) do as in ``plan``, one entry for each of them."""
        pairs = zip(self._columns(), plan._columns(), strict=True)
        return DevicesPlan(*(_with_at(mine, index, its) for mine, its in pairs))

    def bands_hz(self, own_hz: FloatArray) -> FloatArray:
        """The bands (K,) that are used: those decided, or the devices' own."""
        return own_hz if self.bandwidth_hz is None else self.bandwidth_hz

    def _columns(self) -> tuple[Any, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))


def _with_at(values: FloatArray | None, index: IntArray, new: FloatArray | None) -> Any:
    if values is None or new is None:
        return None
    changed = values.copy()
    changed[index] = new
    return changed


@dataclass(frozen=True)
class Relaxed:
    """A relaxed (real-valued) optimum with its certificate: ``gap`` is bound / lower_bound - 1, at least 0.

    ``bound`` and ``lower_bound`` are in the policy's own objective. ``delay_price`` and ``energy_price`` are the
    shadow prices: by how much the optimal bound falls per further second, per further joule (never negative).
    """

    pretrain_rounds: float
    finetune_rounds: float
    server: ServerPlan
    devices: DevicesPlan
    bound: float
    lower_bound: float
    gap: float
    delay_price: float
    energy_price: float


class Rehearsed(NamedTuple):
    """One candidate of a rehearsal: what it is called and plans, and how it did on validation samples.

    ``score`` is its mean score with the effect of the samples that all candidates shared taken out, ``score_ci95`` the
    half-width of its 95 % interval, ``smoothed_score`` what its neighbours make of it, ``loss`` its mean loss.
    """

    candidate: str
    pretrain_rounds: int
    server_batch: float
    finetune_rounds: int
    score: float
    score_ci95: float
    smoothed_score: float
    loss: float
    rehearsals: int


@dataclass(frozen=True)
class RehearsalTable:
    """What a policy saw in its rehearsals: all candidates, the chosen one first, and the ``rounds`` that were trained.

    ``on`` says whose samples were used. ``processor_s`` is how long it took; it alone differs from host to host.
    """

    on: "Audience"
    rows: tuple[Rehearsed, ...]
    rounds: int = 0
    processor_s: float = 0.0


@dataclass(frozen=True)
class Plan:
    """Integers N and M and what server and devices do in each of their rounds.

    ``objective`` names what ``relaxed`` and ``integer_gap`` are measured in: ``"bound"`` (Phi) or ``"bound_ft"``
    (Phi_FT). Policies without a certificate leave ``relaxed`` and ``integer_gap`` at ``None``.
    ``rehearsal`` is what a policy that rehearses found.
    """

    pretrain_rounds: int
    finetune_rounds: int
    server: ServerPlan
    devices: DevicesPlan
    relaxed: Relaxed | None = None
    integer_gap: float | None = None
    objective: Literal["bound", "bound_ft"] = "bound"
    rehearsal: RehearsalTable | None = None
