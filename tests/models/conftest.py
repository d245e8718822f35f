"""Small worlds to train in."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from prefine.emulator.scenario.task import TaskSettings
from prefine.emulator.scenario.training import TrainingSettings
from prefine.models import networks
from prefine.models.data.partition import split
from prefine.models.data.samples import DataPair, Samples
from prefine.models.federation import Federation
from prefine.models.objective import Objective
from prefine.models.workload import Workload

SHAPE, OUTPUTS = (1, 8, 8), 4


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One cache for the session, so that no test depends on what the user's cache holds."""
    patch = pytest.MonkeyPatch()
    patch.setenv("PREFINE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def pair() -> DataPair:
    """Noisy images of four shapes; the task's are shifted by a constant."""
    generator = np.random.default_rng(5)
    centres = generator.standard_normal((OUTPUTS, *SHAPE))

    def samples(count: int, offset: float) -> Samples:
        y = generator.integers(OUTPUTS, size=count)
        x = centres[y] + offset + generator.standard_normal((count, *SHAPE))
        return Samples(x.astype(np.float32), y)

    return DataPair("shapes", "classification", OUTPUTS, samples(300, 0.0), samples(90, 0.3), samples(60, 0.3))


@pytest.fixture(scope="session")
def federation(pair: DataPair) -> Federation:
    """Three devices with unequal data, in double precision."""
    parts = split(pair.task, 3, "dirichlet", 0.5, np.random.default_rng(1))
    return Federation.of(pair, parts, torch.float64)


@pytest.fixture(scope="session")
def objective() -> Callable[..., Objective]:
    """A network by name and seed, in double precision."""

    def make(name: str = "mlp", seed: int = 0, weight_decay: float = 1e-2) -> Objective:
        network = networks.build(name, SHAPE, OUTPUTS, seed)
        return Objective(network, "classification", weight_decay, torch.float64)

    return make


@pytest.fixture(scope="session")
def workload() -> Callable[..., Workload]:
    """A workload from scenario keys, as the emulator makes it."""

    def make(devices: int = 4, seed: int = 0, training: dict[str, Any] | None = None, **task: Any) -> Workload:
        return Workload(
            task=TaskSettings.model_validate({"samples": 40} | task),
            training=TrainingSettings.model_validate(training or {}),
            devices=devices,
            seed=seed,
        )

    return make
