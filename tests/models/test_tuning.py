"""What fine-tuning moves: parts and adapters, against what hand-written training of them would do."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from prefine.models.learner import Learner
from prefine.models.lowrank import LowRank, merged
from prefine.models.networks import build
from prefine.models.objective import Batch, Objective
from prefine.models.probes import Hessian
from prefine.models.workload import Workload

Make = Callable[..., Workload]

KINDS = [
    ("mlp", "last", ["3.weight", "3.bias"]),
    ("mlp", "bias", ["1.bias", "3.bias"]),
    ("mlp", ("3.*", "1.b*"), ["1.bias", "3.weight", "3.bias"]),
    ("cnn", "last", ["7.weight", "7.bias"]),
    ("transformer", ("*query*", "head.bias"), None),
]
RANK = 2
LORA = {"rank": RANK, "alpha": 6.0}


def finetuned(made: Workload, rounds: int = 3, pretrained: int = 2) -> tuple[Learner, dict[str, torch.Tensor]]:
    """A learner after both stages, and the parameters at the hand-over."""
    learner = made.learner(3, 0.05)
    for _ in range(pretrained):
        learner.pretrain(8)
    before = {name: p.detach().clone() for name, p in learner.objective.network.named_parameters()}
    for _ in range(rounds):
        learner.finetune(np.full(len(made.weights), 4), np.array(made.weights))
    return learner, before


@pytest.mark.parametrize(("model", "finetune", "moved"), KINDS)
def test_only_what_is_tuned_moves(workload: Make, model: str, finetune: object, moved: list[str] | None) -> None:
    made = workload(model=model, finetune=finetune)
    learner, before = finetuned(made)
    after = dict(learner.objective.network.named_parameters())
    changed = [name for name, p in after.items() if not torch.equal(p, before[name])]
    assert changed == (moved or [name for name in after if "query" in name or name == "head.bias"])
    size = sum(after[name].numel() for name in changed)
    assert len(learner.objective.weights) == size
    assert made.cost.uplink_bits == made.cost.model_bits == 32 * size


def test_tuning_a_part_is_the_same_sgd_with_the_rest_held_fixed(workload: Make) -> None:
    """Against a few lines of plain torch on the same samples."""
    whole, part = (workload(finetune=kind).learner(5, 0.05) for kind in ("all", "last"))
    for learner in (whole, part):
        for _ in range(4):
            learner.pretrain(8)
    assert torch.equal(whole.objective.weights, part.objective.weights)
    part.hand_over()
    batches, shares = np.full(len(part._devices), 6), np.array(workload().weights)
    start = dict(whole.objective.network.named_parameters())
    head = {name: start[name].detach().clone().requires_grad_() for name in ("3.weight", "3.bias")}
    for _ in range(5):
        rows = [draws.take(6) for draws in whole._devices]
        part.finetune(batches, shares)
        loss = torch.zeros(())
        for share, own in zip(shares, rows, strict=True):
            x, y = (tensor[torch.from_numpy(own)] for tensor in (whole._data.task.x, whole._data.task.y))
            answer = functional_call(whole.objective.network, head, (x,))
            loss = loss + float(share) * nn.functional.cross_entropy(answer, y)
        loss = loss + 0.5e-3 * sum(tensor.square().sum() for tensor in head.values())
        for tensor, gradient in zip(head.values(), torch.autograd.grad(loss, list(head.values())), strict=True):
            tensor.data -= 0.05 * gradient
    by_hand = torch.cat([tensor.detach().reshape(-1) for tensor in head.values()])
    assert torch.allclose(part.objective.weights, by_hand, atol=2e-6)


@pytest.mark.parametrize("model", ["mlp", "cnn", "resnet", "transformer"])
def test_adapters_start_as_nothing_and_end_as_a_low_rank_change(workload: Make, model: str) -> None:
    made = workload(model=model, finetune="lora", lora=LORA)
    learner, before = finetuned(made, rounds=0)
    base = learner.objective
    loss = base.loss(made._federation.task)
    learner.hand_over()
    drawn = sum(
        float(p.detach().square().sum())
        for n, p in learner.objective.network.named_parameters()
        if n.endswith("a.weight")
    )
    assert learner.objective.loss(made._federation.task) == pytest.approx(loss + 0.5e-3 * drawn, rel=1e-6)
    for _ in range(4):
        learner.finetune(np.full(len(made.weights), 4), np.array(made.weights))
    network, some = learner.objective.network, made._federation.test.part(0, 20).x
    built_in = merged(network)
    plain = build(model, (1, 8, 8), 10, 0)
    plain.load_state_dict(before | {f"{name}.weight": weight for name, weight in built_in.items()})
    assert torch.allclose(plain(some), network(some), atol=1e-5)
    for name, weight in built_in.items():
        change = (weight - before[f"{name}.weight"]).flatten(1)
        singular = torch.linalg.svdvals(change if change.ndim == 2 else change.flatten(1))
        assert singular[0] > 0
        if isinstance(plain.get_submodule(name), nn.Linear):
            assert (singular[RANK:] <= 1e-5 * singular[0]).all()


def test_one_half_and_a_head_beside_the_adapters(workload: Make) -> None:
    lora = {**LORA, "modules": ("1",), "also": ("3.*",), "train_a": False}
    made = workload(finetune="lora", lora=lora)
    learner, _ = finetuned(made)
    named = {name: p for name, p in learner.objective.network.named_parameters() if p.requires_grad}
    assert sorted(named) == ["1.b.weight", "3.bias", "3.weight"]
    assert len(learner.objective.weights) == 64 * RANK + 650
    assert isinstance(learner.objective.network.get_submodule("1"), LowRank)


def test_a_device_does_less_work_where_layers_are_frozen(workload: Make) -> None:
    """Two operations per multiply-add; a frozen layer needs no gradient of its weights, the first none of its input."""
    first, second = 64 * 64, 64 * 10
    whole = workload().cost
    assert whole.device_flops_per_sample == whole.flops_per_sample == 4 * first + 6 * second
    assert workload(finetune="last").cost.device_flops_per_sample == 2 * first + 4 * second
    thin = RANK * (64 + 64) + RANK * (64 + 10)
    lora = workload(finetune="lora", lora=LORA).cost
    # adapters: forward, weights' gradients, and through them to their input, where something below is trained
    assert lora.device_flops_per_sample == 2 * first + 4 * second + 6 * thin - 2 * RANK * 64
    assert lora.flops_per_sample == whole.flops_per_sample


def test_each_run_draws_its_own_adapters_and_the_same_ones_again(workload: Make) -> None:
    made = workload(finetune="lora")
    one, same, other = (made.learner(seed, 0.05) for seed in (1, 1, 2))
    for learner in (one, same, other):
        learner.hand_over()
    assert torch.equal(one.objective.weights, same.objective.weights)
    assert not torch.equal(one.objective.weights, other.objective.weights)


@pytest.mark.parametrize("extra", [{"algorithm": "scaffold", "local_steps": 2}, {"upload": "top-k"}, {"momentum": 0.5}])
def test_adapters_cross_with_algorithms_uploads_and_recipes(workload: Make, extra: dict[str, object]) -> None:
    made = workload(finetune="lora", training={"average_last": 0.5, **extra})
    learner, _ = finetuned(made, rounds=5)
    before = made.learner(3, 0.05).evaluate()
    assert learner.evaluate().train_loss < before.train_loss


def test_curvature_of_a_part_is_a_block_of_the_whole(workload: Make) -> None:
    made = workload(model="transformer", finetune=("head.*",))
    whole = made.objective(0)
    part = made._tuning.begin(whole, 0)
    few: Batch = made._federation.task.part(0, 30)
    place = len(whole.weights) - len(part.weights)
    direction = torch.randn(len(part.weights), generator=torch.Generator().manual_seed(0))
    padded = torch.cat([torch.zeros(place), direction])
    assert torch.allclose(Hessian(part, few).times(direction), Hessian(whole, few).times(padded)[place:], atol=1e-5)


def test_freezing_leaves_the_loss_as_it_is(workload: Make) -> None:
    made = workload(finetune="last")
    whole = made.objective(0)
    part: Objective = made._tuning.begin(whole, 0)
    assert part.loss(made._federation.task) == pytest.approx(whole.loss(made._federation.task), rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"finetune": ("nothing.*",)}, r"nothing\.\* matches no parameter of the model, which has 1\.weight, 1\.bias"),
        (
            {"finetune": "lora", "lora": {"modules": ("7",)}},
            "matches no linear or convolutional layer.* which has 1, 3",
        ),
        ({"finetune": "lora", "lora": {"also": ("x",)}}, "x matches no parameter"),
    ],
)
def test_patterns_that_match_nothing(workload: Make, settings: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        workload(**settings)
