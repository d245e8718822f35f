"""``[task]``: general and task data, the shift between them, their spread over the devices, and the model."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from prefine.emulator.section import MOST_WHOLE, Count, NonNegative, Positive, Section


class ShiftSettings(Section):
    """``[task.shift]``: synthetic shift put on the general data, on top of what the pair has.

    ``rotation_deg`` turns images counter-clockwise; ``noise`` is the standard deviation of Gaussian noise on every
    feature; ``label_tilt`` t thins the classes, in random order, from all to exp(-t) of their samples; ``classes``
    keeps that many randomly chosen classes only.
    """

    rotation_deg: Annotated[float, Field(ge=-180.0, le=180.0)] = 0.0
    noise: NonNegative = 0.0
    label_tilt: NonNegative = 0.0
    classes: Count | None = None


Patterns = tuple[Annotated[str, Field(min_length=1, max_length=200)], ...]
"""Names with ``*`` for any text, as file names are matched."""


class LoraSettings(Section):
    """``[task.lora]``: low-rank adapters, for ``finetune = "lora"``.

    Each linear or convolutional layer whose name one of ``modules`` matches gets beside it B A of rank ``rank``, times
    ``alpha`` / ``rank``. Parameters that ``also`` matches (a head, say) are tuned as they are. ``train_a = false``
    trains B alone.
    """

    rank: Annotated[int, Field(ge=1, le=4096)] = 4
    alpha: Positive = 4.0
    modules: Annotated[Patterns, Field(min_length=1)] = ("*",)
    also: Patterns = ()
    train_a: bool = True


def _share_or_number(amount: float) -> float:
    if amount > 1.0 and not amount.is_integer():
        raise ValueError("must be a share below 1 or a whole number of samples")
    return amount


class TaskSettings(Section):
    """The learning task.

    ``data`` names a pair: ``"digits"`` (MNIST, then UCI digits), ``"digits-halved"`` (UCI digits twice, for synthetic
    shift alone), ``"cars"`` (a regression: American, then imported cars), ``"letters"`` (the next letter of a text:
    Python's help, then descriptions of data sets), ``"watch"`` (exercises by a watch's signals: five people, then five
    others), or a path to your own, files or ``path/to/file.py:factory`` (docs/learning.md).
    ``stretch_columns`` is the shift of ``"digits"``: 20 is mild, 32 is strong.
    ``samples`` is how many task samples all devices hold together (default: all there are).
    ``validation`` is how many of them are held out for validation, below 1 their share; 0: none.
    ``partition``: ``"iid"``, ``"dirichlet"`` (each class by shares drawn with ``dirichlet_alpha``), or ``"source"``
    (each source, by default each class, on one device).
    ``model``: ``"logistic"``, ``"mlp"``, ``"cnn"``, ``"resnet"``, ``"transformer"``, or your own
    ``path/to/file.py:factory``.
    ``finetune`` is what fine-tuning moves: ``"all"`` parameters, those of the ``"last"`` layer, every ``"bias"``,
    adapters (``"lora"``, `LoraSettings`), or a list of patterns of parameter names. Payloads and the devices' work
    follow.
    ``workload`` replaces all of this: an installed workload, or your own ``path/to/file.py:Class`` with the members of
    `prefine.emulator.types.Workload`.
    """

    data: str = "digits"
    stretch_columns: Annotated[int, Field(ge=8, le=32)] = 20
    samples: Count | None = None
    validation: Annotated[float, Field(ge=0.0, le=MOST_WHOLE), AfterValidator(_share_or_number)] = 0.0
    partition: Literal["iid", "dirichlet", "source"] = "iid"
    dirichlet_alpha: Positive = 0.5
    model: str = "mlp"
    finetune: Literal["all", "last", "bias", "lora"] | Annotated[Patterns, Field(min_length=1)] = "all"
    lora: LoraSettings = LoraSettings()
    parameter_bits: Annotated[int, Field(ge=1, le=64)] = 32
    shift: ShiftSettings = ShiftSettings()
    workload: str = "default"
