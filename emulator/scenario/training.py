"""``[training]``: the recipe, one per scenario, the same for every policy of a comparison."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from prefine.emulator.section import MOST, Count, NonNegative, Positive, Section

PRESETS: dict[str, dict[str, Any]] = {
    "theory": {"learning_rate": "1/L", "momentum": 0.0, "average_last": 0.0},
    "practice": {"learning_rate": "3/L", "momentum": 0.5, "average_last": 0.3},
}
"""``theory`` is what the bound proves; ``practice`` trains better outside the proof (docs/learning.md)."""

Where = Literal["cpu", "cuda", "auto"]

BelowOne = Annotated[float, Field(ge=0.0, lt=1.0)]

ALGORITHMS = "prefine.algorithms"
"""The entry points among which an algorithm is found by its name."""


def _multiple(written: str) -> str:
    if not re.fullmatch(r"(\d+\.?\d*|\.\d+)/L", written) or float(written.removesuffix("/L")) == 0.0:
        raise ValueError('must be a number above 0, or such a multiple of 1/L written "1/L" or "3/L"')
    return written


PerSmoothness = Annotated[str, AfterValidator(_multiple)]


class TrainingSettings(Section):
    """The recipe. A preset fills what is not written; what is written wins.

    ``learning_rate`` is a number, or a multiple of the inverse smoothness written ``"1/L"``, ``"3/L"``, ``"0.5/L"``.
    ``average_last`` is the share of a stage's last iterates whose mean is the model that is kept (0: the last one).
    ``decay`` slows fine-tuning: round m steps by the learning rate / (1 + decay m).
    ``participation`` is the share of the devices that the server draws for a round.
    ``weight_decay`` is part of the loss: weight_decay / 2 times the squared norm of the weights.

    ``algorithm`` is an installed one (docs/learning.md lists ours), or your own ``path/to/file.py:Class``;
    ``algorithm_parameters`` are its keyword parameters. With one local step and exact uploads ``"fedavg"`` is
    ``"fedsgd"``, which allows only one step.

    ``personalise`` epochs on its own samples, after the run and off the clock, make each device's copy of the final
    model its own: ``personal_accuracy`` in clients.csv.

    ``device`` is where training happens; ``"auto"`` is ``"cuda"`` where there is one. Bytes are promised on ``"cpu"``.

    With validation samples (``[task] validation``), a run ends after the first evaluated round whose model scores
    ``until_accuracy`` on them, or has a loss of ``until_loss``; and ``keep = "best"`` keeps, of the evaluated models of
    a stage, the one that scores best on them.

    These change what a round costs: ``local_steps`` mini-batches per device and round (FedAvg); ``upload``
    ``"quantised"`` to ``upload_bits`` a number, or ``"top-k"``: the largest ``upload_share`` of the entries; both with
    error feedback.
    """

    preset: Literal["theory", "practice"] = "theory"
    learning_rate: Positive | PerSmoothness = "1/L"
    momentum: BelowOne = 0.0
    average_last: BelowOne = 0.0
    decay: NonNegative = 0.0
    weight_decay: NonNegative = 1e-3
    algorithm: str = "fedavg"
    algorithm_parameters: dict[str, Any] = Field(default_factory=dict)
    local_steps: Count = 1
    upload: Literal["exact", "quantised", "top-k"] = "exact"
    upload_bits: Annotated[int, Field(ge=2, le=16)] = 8
    upload_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    participation: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    personalise: Annotated[int, Field(ge=0, le=1000)] = 0
    device: Where = "cpu"
    keep: Literal["latest", "best"] = "latest"
    until_accuracy: Annotated[float, Field(ge=-MOST, le=1.0)] | None = None
    until_loss: NonNegative | None = None

    def bound_rate(self, smoothness: float) -> float:
        """The step size of the bound: the recipe's own, but at most 1/L, which is as far as the bound goes."""
        return min(self._rate(smoothness), 1.0 / smoothness)

    def effective_rate(self, smoothness: float) -> float:
        """How far a round moves along a steady gradient: the step size over 1 - momentum."""
        return self._rate(smoothness) / (1.0 - self.momentum)

    def _rate(self, smoothness: float) -> float:
        wanted = self.learning_rate
        return float(wanted.removesuffix("/L")) / smoothness if isinstance(wanted, str) else wanted

    @model_validator(mode="after")
    def _fill_from_preset(self) -> Self:
        """What is filled in does not count as written: another preset, set or varied later, fills in its own."""
        written = self.model_fields_set
        vars(self).update({key: value for key, value in PRESETS[self.preset].items() if key not in written})
        return self
