"""Data, model and training recipe of one scenario, behind the interface the emulator asks for."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from prefine.emulator import cache
from prefine.emulator.errors import InputError
from prefine.emulator.randomness import stream
from prefine.emulator.scenario.task import TaskSettings
from prefine.emulator.scenario.training import TrainingSettings
from prefine.emulator.types import Calibrated, Constants, Fold, Schedule, Validation, WorkloadCost
from prefine.models import networks
from prefine.models.algorithms.build import algorithm_class, round_of
from prefine.models.algorithms.build import build as build_algorithm
from prefine.models.algorithms.round import Round
from prefine.models.asynchronous import AsynchronousLearner
from prefine.models.constants import estimate
from prefine.models.cost import flops_per_sample
from prefine.models.data.clients import clients_of
from prefine.models.data.pairs import load
from prefine.models.data.partition import hold_out, split, split_alike
from prefine.models.device import CPU, device_of
from prefine.models.estimates import Estimate
from prefine.models.federation import Federation
from prefine.models.learner import Learner
from prefine.models.objective import Objective, one_thread
from prefine.models.pilot import OPERATIONS, Pilot, pilot_within
from prefine.models.population import PopulationLearner
from prefine.models.recipe import KeepBest, KeepLatest, LastIterate, Step, TailAverage, real_rate
from prefine.models.rehearsal import held_out, imagined, train
from prefine.models.tuning import Everything, tuning_of
from prefine.models.uploads import Exact, Quantised, TopK, Upload


class Workload:
    """The learning task ``task`` and its recipe ``training``, spread over ``devices`` devices.

    Costs and constants are found on the CPU, so that plans do not depend on where ``training.device`` trains.

    ``seed`` chooses the task's samples and their spread over the devices; a run's own seed chooses initial weights and
    the order of samples. Paths to the user's own data, model and algorithm start from ``folder``. Raises ValueError,
    InputError or OSError, in one line, where settings and data do not fit.
    """

    def __init__(
        self, task: TaskSettings, training: TrainingSettings, devices: int, seed: int, folder: Path = Path()
    ) -> None:
        self._task, self._training, self._folder, self._seed = task, training, folder, seed
        self._device = device_of(training.device)
        self._pair = load(task, folder, seed)
        generator = stream(seed, "partition")
        parts = split(self._pair.task, devices, task.partition, task.dirichlet_alpha, generator)
        alike = split_alike(self._pair.test, self._pair.task, parts, stream(seed, "held-out partition"))
        self._federation = Federation.of(self._pair, parts, test_parts=alike)
        self._kept = parts
        if task.validation:
            self._kept, lent = hold_out(parts, task.validation, stream(seed, "validation"))
            self._federation = self._federation.validated_on(np.concatenate(lent), self._kept)
        self._tuning = tuning_of(task)
        self._checked = False
        self._effort: float | None = None
        self._kind: Callable[..., AsynchronousLearner] = AsynchronousLearner
        tuned = self._tuned(0)
        self._checked = True
        self._parameters = len(tuned.weights)
        self._frozen = sum(p.numel() for p in tuned.network.parameters() if not p.requires_grad)
        self._algorithm = algorithm_class(training, folder)
        build_algorithm(self._algorithm, training)  # so that what is wrong with it is said before anything is measured

    def within(self, effort: float) -> "Workload":
        """The same, whose constants are measured in at most ``effort`` samples times rounds."""
        bounded = copy(self)
        bounded._effort = effort
        return bounded

    def of_population(self, clients: Sequence[int], samples: int) -> "Workload":
        """The same for a population that draws from the task samples (`prefine.models.data.clients`).

        Plans and constants are of ``clients`` (K,). Raises InputError where an algorithm keeps something for each
        device.
        """
        if self._algorithm.payloads > 1:
            raise InputError(
                f'training.algorithm = "{self._training.algorithm}": keeps something for each device, but a '
                "population's clients come and go"
            )
        task, shared = self._task, self._pair.task.take(np.concatenate(self._kept))
        everyone = clients_of(shared, task.partition, task.dirichlet_alpha, samples, self._seed)
        populated = copy(self)
        populated._kept = tuple(map(everyone.rows, clients))
        populated._federation = replace(self._federation, parts=populated._kept, test_parts=())
        populated._kind = partial(PopulationLearner, everyone)
        return populated

    @property
    def weights(self) -> tuple[float, ...]:
        """Share rho_k of each device in the task loss: its share of the task samples."""
        return self._federation.weights

    @cached_property
    def cost(self) -> WorkloadCost:
        """Operations of a sample, mini-batches of a round, bits of an upload, for the actual network.

        What a round sends and computes is of the parameters that are tuned.
        """
        model_bits = float(self._parameters * self._task.parameter_bits)
        return WorkloadCost(
            flops_per_sample=self._flops(self.objective(0)),
            local_steps=self._training.local_steps,
            uplink_bits=self._upload(self._parameters).bits + (self._algorithm.payloads - 1) * model_bits,
            model_bits=self._algorithm.payloads * model_bits,
            finetune_flops_per_sample=self._flops(self._tuned(0)),
            base_bits=float(self._frozen * self._task.parameter_bits),
        )

    @property
    def evaluation_samples(self) -> float:
        """See `EvaluatedWorkload`."""
        return self._federation.evaluation_samples

    def _flops(self, objective: Objective) -> float:
        """Operations of one sample, counted once for each network and read from the cache after that."""
        tuned = ",".join(name for name, p in objective.network.named_parameters() if p.requires_grad)
        shape = str(self._pair.general.x.shape[1:])
        key = cache.digest(self._model(), tuned.encode(), shape.encode(), version("torch").encode())
        return cache.remember(
            f"flops-{key}.txt",
            lambda: flops_per_sample(objective, self._pair.general),
            dump=lambda flops: repr(flops).encode(),
            load=float,
        )

    def _tuned(self, seed: int) -> Objective:
        """What run ``seed`` would fine-tune without any pre-training."""
        return self._tuning.begin(self.objective(seed), seed)

    def objective(self, seed: int, device: torch.device = CPU) -> Objective:
        """The network with the initial weights of run ``seed``, drawn on the CPU, and its loss, on ``device``."""
        shape = self._pair.general.x.shape[1:]
        initial = int(stream(seed, "initial weights").integers(2**63))
        network = networks.build(
            self._task.model, shape, self._pair.outputs, initial, self._folder, check=not self._checked
        )
        return Objective(network.to(device), self._pair.kind, self._training.weight_decay)

    @cached_property
    def estimate(self) -> Estimate:
        """The bound's constants with their spread; measured once, then read from the cache."""
        return estimate(self._federation, self.objective, self._tuning, self._training, self._pilot(), self._content())

    def _pilot(self) -> Pilot:
        effort = self._effort or OPERATIONS / max(1.0, self.cost.flops_per_sample)
        return pilot_within(effort, len(self._federation.general), len(self._federation.task))

    def constants(self) -> Constants:
        """The bound's constants at the bound's step size: the recipe's own, but at most 1/L."""
        measured = self.estimate.constants()
        return measured._replace(learning_rate=self._training.bound_rate(measured.smoothness))

    def calibration(self) -> dict[str, Calibrated]:
        """What the constants are, with their spread and definition, for ``prefine calibrate``."""
        return self.estimate.calibration()

    def learner(self, seed: int, learning_rate: float) -> Learner:
        """A new learner: initial model and order of samples follow from ``seed``.

        ``learning_rate`` is the step size of the bound (at most 1/L); the recipe says how far the real step goes
        beyond it: not at all for ``"1/L"``, three times as far for ``"3/L"``; a recipe with a number uses that.
        """
        return self._learner(self._placed, self.objective(seed, self._device), seed, learning_rate)

    def asynchronous_learner(self, seed: int, learning_rate: float) -> AsynchronousLearner:
        """As `learner`, one that can be trained without a barrier.

        Raises InputError where more than the model travels to the devices: the rest would be of another version.
        """
        if self._algorithm.payloads > 1:
            raise InputError(
                f'training.algorithm = "{self._training.algorithm}": not with aggregation.mode = "asynchronous", '
                "for what it sends beside the model must be of the same round for all devices"
            )
        return self._learner(self._placed, self.objective(seed, self._device), seed, learning_rate)

    @cached_property
    def _placed(self) -> Federation:
        """The data where training happens."""
        return self._federation.to(self._device)

    def rehearse(
        self, schedules: Sequence[Schedule], fold: Fold, seed: int, learning_rate: float
    ) -> tuple[list[Validation], int]:
        """Each schedule trained without the samples of ``fold`` and validated on them; and the rounds that took.

        ``fold.on = "task"`` holds out task samples, ``"general"`` uses none of them: it trains and validates on the
        general data alone. Where the scenario has validation samples, ``"task"`` validates on these, whatever the fold.
        Raises InputError where there are too few samples.
        """
        generator = stream(self._seed, f"rehearsal {fold.on}", fold.number // fold.folds)
        if fold.on == "general":
            federation = imagined(self._federation, fold, generator)
        elif (held := self._federation.validation) is not None:
            federation = replace(self._federation, test=held)
        else:
            federation = held_out(self._federation, fold, generator)
        placed, objective = federation.to(self._device), self.objective(seed, self._device)
        with one_thread():
            return train(schedules, objective, lambda: self._learner(placed, objective, seed, learning_rate))

    def _learner(
        self, federation: Federation, objective: Objective, seed: int, learning_rate: float
    ) -> AsynchronousLearner:
        training = self._training
        algorithm = build_algorithm(self._algorithm, training)

        def finetuning(tuned: Objective) -> Round:
            upload = self._upload(len(tuned.weights))
            return round_of(algorithm, tuned, federation.task, federation.weights, training.local_steps, upload)

        rate = real_rate(training.learning_rate, learning_rate)
        step = Step(objective.weights, rate, training.momentum, training.decay)
        average = TailAverage(training.average_last) if training.average_last else LastIterate()
        return self._kind(
            federation,
            objective,
            self._tuning,
            finetuning,
            step,
            average,
            seed,
            training.personalise,
            KeepBest() if training.keep == "best" else KeepLatest(),
        )

    def _upload(self, parameters: int) -> Upload:
        training, devices, bits = self._training, len(self.weights), self._task.parameter_bits
        if training.upload == "quantised":
            return Quantised(parameters, devices, training.upload_bits)
        if training.upload == "top-k":
            return TopK(parameters, devices, training.upload_share, bits)
        return Exact(parameters, bits)

    def provenance(self) -> dict[str, str]:
        """Names, sizes and checksum of the data, and the versions they came with."""
        sizes = {part: str(len(getattr(self._pair, part))) for part in ("general", "task", "test")}
        if (held := self._federation.validation) is not None:
            sizes |= {"task": str(len(self._federation.task)), "validation": str(len(held))}
        packages = {name: version(name) for name in ("torch", "scikit-learn", "mlxtend")}
        where = {} if self._device == CPU else {"device": str(self._device)}
        return {"data": self._pair.name, **where, **sizes, "sha256": self._data_digest(), **packages}

    def _data_digest(self) -> str:
        pair = self._pair
        arrays = [array for part in (pair.general, pair.task, pair.test) for array in (part.x, part.y)]
        return cache.digest(*(np.ascontiguousarray(array).tobytes() for array in arrays))

    def _content(self) -> bytes:
        """All that the constants depend on."""
        parts = cache.digest(*(part.tobytes() for part in self._kept))
        decay = self._training.weight_decay
        tuned = "" if isinstance(self._tuning, Everything) else f" {self._tuning}"
        return f"{self._data_digest()} {parts} {cache.digest(self._model())} {decay}{tuned}".encode()

    def _model(self) -> bytes:
        """All that a run's network and its initial weights depend on."""
        objective = self.objective(0)
        return (
            networks.identity(self._task.model, objective.network, self._folder) + objective.weights.numpy().tobytes()
        )
