"""Average pooling of squares of two by two, which torch's own kernel does number by number.

The four numbers of a square are added in the order of that kernel, so means and gradients are the same to the last bit.
"""

from typing import Any

import torch
from torch import Tensor, nn


class HalfPool(nn.Module):
    """Means of the squares of two by two of planes (..., height, width); an odd last row or column is left out."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., height // 2, width // 2)."""
        if x.shape[-2] % 2 or x.shape[-1] % 2:
            return nn.functional.avg_pool2d(x, 2)
        means: Tensor = _Means.apply(x)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return means


class _Linear(torch.autograd.Function):
    """A linear map of planes that is the same for each; several models' planes are just more of them."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing has to be remembered."""

    @classmethod
    def vmap(cls, info: Any, in_dims: tuple[int | None, ...], x: Tensor) -> tuple[Tensor, int]:
        """Mapped over an axis, which goes first."""
        (axis,) = in_dims
        return cls.apply(x.movedim(axis or 0, 0)), 0  # type: ignore[no-untyped-call]  # as above


class _Means(_Linear):
    """(..., h, w) to (..., h / 2, w / 2)."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        """The means."""
        upper, lower = x[..., ::2, :], x[..., 1::2, :]
        total = upper[..., ::2] + upper[..., 1::2]
        return total.add_(lower[..., ::2]).add_(lower[..., 1::2]).mul_(0.25)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        """A quarter of each mean's derivative to each of its numbers."""
        return _Quarters.apply(*slopes)  # type: ignore[no-untyped-call]  # as above


class _Quarters(_Linear):
    """The transpose of `_Means`."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        """(..., 2 h, 2 w) for (..., h, w)."""
        *planes, height, width = x.shape
        rows = x.new_empty(*planes, height, 2, width, 2)
        quarter = 0.25 * x
        rows[..., 0, :, 0] = quarter
        rows[..., 0, :, 1] = quarter
        rows[..., 1, :, :] = rows[..., 0, :, :]
        return rows.view(*planes, 2 * height, 2 * width)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        """The transpose of the transpose."""
        return _Means.apply(*slopes)  # type: ignore[no-untyped-call]  # as above
