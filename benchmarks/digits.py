"""The work that the training benchmarks do: ten devices that hold the UCI digits, one weighted SGD step a round."""

from prefine.emulator.scenario.task import TaskSettings
from prefine.emulator.scenario.training import TrainingSettings
from prefine.models.workload import Workload

DEVICES, RATE, DECAY = 10, 0.1, 1e-3


def workload(model: str, **training: object) -> Workload:
    """All 1,400 task samples, spread evenly over the devices."""
    recipe = TrainingSettings.model_validate({"weight_decay": DECAY} | training)
    return Workload(TaskSettings(model=model), recipe, DEVICES, 0)
