"""Where training happens: the one place that knows processors by name. All else follows the tensors it is given."""

import torch

from prefine.emulator.errors import InputError
from prefine.emulator.scenario.training import Where

CPU = torch.device("cpu")


def device_of(wanted: Where) -> torch.device:
    """The device called ``wanted``; ``"auto"`` is CUDA where there is one. Raises InputError where there is none."""
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return CPU
    if not torch.cuda.is_available():
        raise InputError('training.device = "cuda": torch finds no CUDA device here; allowed: "cpu", "auto"')
    return torch.device("cuda")
