"""Tables of runs whose truth is known: what each policy scores under each seed, everything else plain."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from prefine.emulator.analysis.tables import runs_table
from prefine.emulator.records import RunRecord


def run(policy: str, seed: int, accuracy: float, **figures: object) -> RunRecord:
    """A finished run that used its budgets and kept its bound."""
    plain = RunRecord(
        policy=policy,
        seed=seed,
        status="done",
        pretrain_rounds=2,
        finetune_rounds=3,
        planned_pretrain_rounds=2,
        planned_finetune_rounds=3,
        predicted_delay_s=10.0,
        delay_s=10.0,
        predicted_energy_j=20.0,
        energy_j=20.0,
        server_energy_j=5.0,
        compute_energy_j=5.0,
        uplink_energy_j=5.0,
        downlink_energy_j=5.0,
        wasted_energy_j=0.0,
        overrun_delay_s=0.0,
        overrun_energy_j=0.0,
        bound=1.0,
        bound_ft=math.nan,
        mean_grad_norm_sq=0.5,
        train_loss=0.3,
        test_accuracy=accuracy,
        stop_reason="plan",
    )
    return plain._replace(**figures)  # type: ignore[arg-type]  # fields of any type, by name


def table(scores: Mapping[str, ArrayLike], figures: Mapping[str, Mapping[str, object]] | None = None) -> pd.DataFrame:
    """runs.csv of ``scores`` (one a seed) by policy; ``figures`` are further fields of a policy's runs."""
    extra = figures or {}
    rows = [
        run(policy, seed, score, **extra.get(policy, {}))
        for policy, values in scores.items()
        for seed, score in enumerate(np.asarray(values, dtype=np.float64).tolist())
    ]
    return runs_table([(f"{row.policy}-s{row.seed}", (), row) for row in rows])
