"""The family that ``--hindsight`` runs beside the policies: N server rounds of b0 samples, the rest fine-tuning.

Its members are the installed policy ``given`` with each number of rounds and each batch. They are a yardstick, never
competitors (`prefine.emulator.analysis.hindsight`).
"""

from collections.abc import Sequence

from prefine.emulator.errors import InputError
from prefine.emulator.plugins import POLICY, Part, find, part

POLICY_NAME = "given"

ROUNDS = (0, 4, 11, 23, 45, 64, 90, 128, 180)
"""Server rounds N, about geometric: neighbours differ by about as much as two seeds do."""

BATCHES = (16, 64)
"""Samples b0 of a server round."""


def family() -> list[Part]:
    """The members, labelled ``given-NxB``; without server rounds the batch makes no difference, so once."""
    made = find(POLICY, POLICY_NAME)
    sizes = [(rounds, batch) for rounds in ROUNDS for batch in BATCHES if rounds or batch == BATCHES[0]]
    return [
        part(POLICY, made(pretrain_rounds=rounds, server_batch=batch), f"{POLICY_NAME}-{rounds}x{batch}")
        for rounds, batch in sizes
    ]


def check_hindsight(policies: Sequence[Part], seeds: Sequence[int]) -> None:
    """Raises InputError where a policy has hindsight's label, or seeds cannot be split into even and odd ones."""
    from prefine.emulator.analysis.hindsight import NAME

    if any(each.label == NAME for each in policies):
        raise InputError(f"policy {NAME!r}: the label belongs to the row of --hindsight; give the policy another one")
    if len({seed % 2 for seed in seeds}) == 1:
        raise InputError(
            f"--hindsight: needs even and odd seeds, not only {', '.join(map(str, seeds))}: the best share is chosen "
            "on one half of the seeds and scored on the other"
        )
