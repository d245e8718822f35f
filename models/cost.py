"""What a network costs: floating-point operations of a sample, bits of an upload."""

import torch

from prefine.models.data.samples import Samples
from prefine.models.objective import Batch, Objective

COUNTED = 8


def flops_per_sample(objective: Objective, samples: Samples) -> float:
    """Floating-point operations of one sample's forward and backward pass, as torch counts them.

    Matrix products and convolutions, two operations per multiply-add; elementwise work is not counted.
    """
    from torch.utils.flop_counter import FlopCounterMode  # a second to import, and only the planner asks

    few = samples.take(torch.arange(min(COUNTED, len(samples))).numpy())
    dtype = objective.weights.dtype
    with FlopCounterMode(display=False) as counter:
        objective.differentiate(Batch.of(few, dtype=dtype))
    objective.gradient.zero_()
    return float(counter.get_total_flops()) / len(few)
