"""What a calibration run measures at one point: gradients per sample, their noise, the curvature of the loss."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.func import grad, vjp, vmap

from prefine.emulator.types import FloatArray
from prefine.models.objective import Batch, Objective, weighted_loss

GRADIENT_CHUNK = 256
"""Per-sample gradients held at once, at most."""

HELD = 2**24
"""Numbers in them, at most: bounds memory where the model is large."""

EIGENVALUE_TOLERANCE = 1e-2


class Hessian:
    """Products with the Hessian of F over ``batch`` at the objective's present weights.

    The gradient's graph is built once and pulled back through for each product, so the Hessian is never formed.
    """

    def __init__(self, objective: Objective, batch: Batch) -> None:
        gradient = grad(weighted_loss(objective))
        weights = objective.weights.detach().clone()
        self._pullbacks = [vjp(lambda w, b=part: gradient(w, b.x, b.y, b.share), weights)[1] for part in batch.chunks()]

    def times(self, direction: Tensor) -> Tensor:
        """The product with ``direction`` (P,)."""
        total = torch.zeros_like(direction)
        for pullback in self._pullbacks:  # the Hessian is symmetric: pulling back is pushing forward
            total += pullback(direction)[0]
        return total


class Probes(NamedTuple):
    """Random signs ``directions`` (R, P) and their products with a Hessian H, ``images`` (R, P)."""

    directions: Tensor
    images: Tensor

    @classmethod
    def of(cls, hessian: Hessian, count: int, like: Tensor, generator: np.random.Generator) -> "Probes":
        """``count`` probes of the size and type of ``like`` (P,)."""
        signs = torch.from_numpy(generator.choice([-1.0, 1.0], (count, len(like)))).to(like.dtype)
        return cls(signs, torch.stack([hessian.times(one) for one in signs]))


class GradientNoise(NamedTuple):
    """Of the covariance C of single samples' gradients: ``variance`` = tr C, and ``curved`` = tr(H C), estimated."""

    variance: float
    curved: float


def gradient_noise(objective: Objective, batch: Batch, probes: Probes) -> GradientNoise:
    """Noise of one sample's gradient over ``batch``, at the present weights.

    tr C = E |g_i - mean g|^2 is sigma^2 of one sample, exactly. tr(H C) is the mean of z' H C z over the ``probes`` z
    (Hutchinson, 1990), whose expectation it is. The weight decay is common to all samples and cancels in C.
    """
    one = grad(weighted_loss(objective))
    single = torch.ones(1, dtype=objective.weights.dtype)
    at_once = max(1, min(GRADIENT_CHUNK, HELD // len(objective.weights)))
    each = vmap(lambda x, y: one(objective.weights, x[None], y[None], single))
    directions, images = probes.directions.double(), probes.images.double()
    squares, total = 0.0, torch.zeros(len(objective.weights), dtype=torch.float64)
    products = torch.zeros(len(directions), dtype=torch.float64)
    for start in range(0, len(batch), at_once):
        part = batch.part(start, start + at_once)
        gradients = each(part.x, part.y).double()
        squares += float(gradients.square().sum())
        products += ((gradients @ directions.T) * (gradients @ images.T)).sum(dim=0)
        total += gradients.sum(dim=0)
    mean = total / len(batch)
    curved = products / len(batch) - (directions @ mean) * (images @ mean)
    return GradientNoise(max(0.0, squares / len(batch) - float(mean.square().sum())), float(curved.mean()))


def top_curvature(objective: Objective, batch: Batch, start: FloatArray) -> tuple[float, FloatArray]:
    """The largest eigenvalue of F's Hessian over ``batch`` and its eigenvector, by Lanczos from ``start`` (P,).

    Good to 1 %.
    """
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh  # constants are seldom measured

    hessian, size = Hessian(objective, batch), len(objective.weights)

    def product(vector: FloatArray) -> FloatArray:
        direction = torch.from_numpy(vector.reshape(-1)).to(objective.weights.dtype)
        result: FloatArray = hessian.times(direction).double().numpy()
        return result

    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    try:
        values, vectors = eigsh(operator, k=1, which="LA", v0=start, tol=EIGENVALUE_TOLERANCE, ncv=min(size, 8))
    except ArpackNoConvergence:  # the Rayleigh quotient of the start is a lower estimate, and still deterministic
        return float(start @ product(start) / (start @ start)), start
    return float(values[0].real), np.ascontiguousarray(vectors[:, 0].real)
