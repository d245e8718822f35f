"""What of a scenario the proof of the bound Phi does not cover (docs/theory.md, section 2)."""

from collections.abc import Iterator

from prefine.emulator.loading import own_file
from prefine.emulator.scenario.training import TrainingSettings
from prefine.emulator.simulation.aggregation import Aggregation, Asynchronous, SemiSynchronous
from prefine.emulator.simulation.faults import Faults
from prefine.emulator.simulation.spec import WITHOUT_SOME


def outside_proof(
    training: TrainingSettings, faults: Faults, aggregation: Aggregation, smoothness: float
) -> tuple[str, ...]:
    """In a few words each; empty where the bound is proven for plans that are carried out to their end.

    The proof is of plain SGD with a constant step of at most 1/L, ``smoothness`` being L, whose mean over the devices'
    updates is unbiased.
    """
    return tuple(_outside(training, faults, aggregation, smoothness))


def _outside(training: TrainingSettings, faults: Faults, aggregation: Aggregation, smoothness: float) -> Iterator[str]:
    rate = training.learning_rate
    multiple = float(rate.removesuffix("/L")) if isinstance(rate, str) else rate * smoothness
    if multiple > 1.0 + 1e-9:
        yield f"steps of {multiple:.3g}/L"
    if training.momentum > 0.0:
        yield "momentum"
    if training.decay > 0.0:
        yield "steps that shrink"
    if training.local_steps > 1:
        yield "several local steps"
    if own_file(training.algorithm):
        yield "an algorithm of the user's"
    elif training.algorithm not in ("fedavg", "fedsgd"):
        yield f"the algorithm {training.algorithm}"
    if training.upload != "exact":
        yield "compressed uploads"
    if training.participation < 1.0 or isinstance(aggregation, SemiSynchronous):
        yield WITHOUT_SOME
    if isinstance(aggregation, Asynchronous):
        yield "models of different ages"
    if faults != Faults():
        yield "faults"
