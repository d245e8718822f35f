"""A run that ends because its model is good enough on the validation samples."""

import math
from dataclasses import replace

import pytest

import prefine
from prefine.emulator.errors import InputError
from prefine.emulator.simulation.run import run
from prefine.emulator.simulation.spec import Goal
from prefine.emulator.types import Evaluation
from tests.emulator.scenario.small import SMALL
from tests.emulator.simulation.worlds import CountingLearner, plan, problem, run_spec


class Validated(CountingLearner):
    """Its validation score is a tenth for each step it took."""

    def evaluate(self) -> Evaluation:
        steps = len(self.pretrained) + len(self.finetuned)
        return super().evaluate()._replace(validation_loss=1.0 - steps / 10, validation_accuracy=steps / 10)


@pytest.mark.parametrize(
    ("goal", "every", "done"),
    [
        (Goal(), 1, (2, 4)),
        (Goal(accuracy=0.7), 1, (2, 4)),
        (Goal(accuracy=0.4), 1, (2, 2)),
        (Goal(loss=0.9), 1, (1, 0)),
        (Goal(accuracy=0.5, loss=0.6), 1, (2, 2)),
        (Goal(accuracy=0.35), 4, (2, 2)),
        (Goal(accuracy=0.3), 3, (2, 1)),
        (Goal(accuracy=-1.0), 1, (1, 0)),
    ],
    ids=str,
)
def test_the_first_evaluated_round_that_is_good_enough_is_the_last(
    goal: Goal, every: int, done: tuple[int, int]
) -> None:
    world = problem()
    spec = run_spec(world, plan(world, 2, 4))
    result = run(replace(spec, learner=Validated(), goal=goal, evaluate_every=every), "p", 0)
    assert (result.run.pretrain_rounds, result.run.finetune_rounds) == done
    assert result.run.stop_reason == ("plan" if done == (2, 4) else "target")
    assert result.run.validation_accuracy == result.rounds[-1].validation_accuracy == pytest.approx(sum(done) / 10)
    assert result.run.delay_s == result.rounds[-1].end_s


def test_a_goal_without_validation_is_refused() -> None:
    world = problem()
    spec = run_spec(world, plan(world))
    assert math.isnan(run(spec, "p", 0).run.validation_loss)
    with pytest.raises(InputError, match="validates nothing"):
        run(replace(spec, goal=Goal(loss=0.1)), "p", 0)
    with pytest.raises(InputError, match=r"override training.until_loss = 0.5 needs validation samples"):
        prefine.validate(SMALL, overrides={"training.until_loss": 0.5})


def test_a_real_run_trains_until_it_is_good_enough() -> None:
    wanted = {"training.until_loss": 2.3, "aggregation.until": "budget", "task.validation": 0.3}
    tables = prefine.run(SMALL, "uniform", overrides=wanted)
    (final,) = tables.runs.to_dict("records")
    losses = tables.rounds["validation_loss"]
    assert final["stop_reason"] == "target"
    assert losses.iloc[-1] == final["validation_loss"] <= 2.3 < losses.iloc[:-1].min()
    assert "validation-accuracy-over-time-s" in tables.plot.names
    assert "validation accuracy" in tables.to_markdown()
