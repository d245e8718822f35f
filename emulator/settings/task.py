"""``[task]``: general and task data, the shift between them, their spread over the devices, and the model."""

from typing import Annotated, Literal

from pydantic import Field

from emulator.settings.base import Count, Positive, Section


class TaskSettings(Section):
    """The learning task.

    ``data`` names a built-in pair: ``"digits"`` (MNIST, then UCI digits).
    ``stretch_columns`` is the shift of that pair: 20 is mild, 32 is strong.
    ``samples`` is how many task samples all devices hold together (default: all there are).
    ``dirichlet_alpha`` matters with ``partition = "dirichlet"`` only.
    """

    data: str = "digits"
    stretch_columns: Annotated[int, Field(ge=8, le=32)] = 20
    samples: Count | None = None
    partition: Literal["iid", "dirichlet", "source"] = "iid"
    dirichlet_alpha: Positive = 0.5
    model: str = "mlp"
    parameter_bits: Annotated[int, Field(ge=1, le=64)] = 32
