"""The output schema: the columns of every CSV file are ``run_id`` and the field names of these frozen records.

A run does not know its name in tables: whoever writes them puts it there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from prefine.emulator.types import Rehearsed


class RunRecord(NamedTuple):
    """One emulation. ``predicted_*`` and ``bound*`` are what the plan promised, the rest is what the clock saw.

    The three of the target are known only beside the other runs of a comparison: whoever writes the table fills them
    in. ``client_accuracy_*`` are of the devices' own held-out samples.
    """

    policy: str
    seed: int
    status: Literal["done", "failed"]
    pretrain_rounds: int
    finetune_rounds: int
    planned_pretrain_rounds: int
    planned_finetune_rounds: int
    predicted_delay_s: float
    delay_s: float
    predicted_energy_j: float
    energy_j: float
    server_energy_j: float
    compute_energy_j: float
    uplink_energy_j: float
    downlink_energy_j: float
    wasted_energy_j: float
    overrun_delay_s: float
    overrun_energy_j: float
    bound: float
    bound_ft: float
    mean_grad_norm_sq: float
    train_loss: float
    test_accuracy: float
    stop_reason: str
    outside_proof: str = ""
    warning: str = ""
    target_accuracy: float = math.nan
    time_to_accuracy_s: float = math.nan
    energy_to_accuracy_j: float = math.nan
    calibration_delay_s: float = 0.0
    calibration_energy_j: float = 0.0
    client_accuracy_mean: float = math.nan
    client_accuracy_worst: float = math.nan
    client_accuracy_std: float = math.nan
    client_accuracy_jain: float = math.nan
    validation_loss: float = math.nan
    validation_accuracy: float = math.nan


class RoundRecord(NamedTuple):
    """One completed round.

    ``grad_norm_sq`` is that of the model the round started from (what the bound averages); ``train_loss`` and
    ``test_accuracy`` are those of the model it ended with. Rounds that were not evaluated leave them NaN.
    ``server_batch`` and ``server_frequency_hz`` are the server's in a pre-training round, else 0 and NaN.
    ``validation_*`` are NaN where nothing is held out for that.
    """

    stage: Literal["pretrain", "finetune"]
    round: int
    start_s: float
    end_s: float
    energy_j: float
    train_loss: float
    test_accuracy: float
    grad_norm_sq: float
    participants: int
    server_batch: int = 0
    server_frequency_hz: float = math.nan
    validation_loss: float = math.nan
    validation_accuracy: float = math.nan


class DeviceRecord(NamedTuple):
    """One device in one fine-tuning round; what did not happen is NaN.

    ``outcome`` is ``delivered``, or why not, in a word (docs/tables.md). Without a barrier, ``round`` is the server's
    update that the work entered or would have entered, and ``staleness`` by how many updates its model was behind.
    """

    round: int
    device: int
    batch: int
    frequency_hz: float
    power_w: float
    download_start_s: float
    download_end_s: float
    compute_start_s: float
    compute_end_s: float
    upload_start_s: float
    upload_end_s: float
    compute_energy_j: float
    uplink_energy_j: float
    delivered_bits: float
    outcome: str
    staleness: int = 0


class ClientRecord(NamedTuple):
    """One device in one whole run: what it holds and gave, and the final model on its data; unknown is NaN.

    ``train_loss`` is of the device's own samples, ``test_accuracy`` of held-out samples like them, and
    ``personal_accuracy`` of these after one epoch of training on its own (`[training] personalise`).
    """

    device: int
    samples: int
    finetune_rounds: int
    energy_j: float
    train_loss: float
    test_samples: int
    test_accuracy: float
    personal_accuracy: float = math.nan


@dataclass(frozen=True)
class RunResult:
    """Everything one run left behind; ``rehearsal`` is what its policy found before, the chosen candidate first."""

    run: RunRecord
    rounds: tuple[RoundRecord, ...]
    devices: Sequence[DeviceRecord]
    clients: tuple[ClientRecord, ...] = ()
    rehearsal: tuple[Rehearsed, ...] = ()
