"""The ``[compare]`` section: what ``prefine compare`` does when the command line does not say."""

from pydantic import Field

from prefine.emulator.scenario.base import Count, Section


class CompareSettings(Section):
    """Differences are taken to ``reference``; rounds are evaluated every ``evaluate_every``."""

    policies: tuple[str, ...] = Field(
        default=("joint-ft", "joint", "finetune-only", "pretrain-only", "separate", "uniform"), min_length=1
    )
    reference: str = "finetune-only"
    seeds: Count = 5
    evaluate_every: Count = 1
