"""What a calibration run measures at one point: gradients per sample, their variance, the curvature of the loss."""

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch.func import grad, vjp, vmap

from prefine.emulator.types import FloatArray
from prefine.models.objective import CHUNK, Batch, Objective, weighted_loss

GRADIENT_CHUNK = 256
"""Per-sample gradients held at once: bounds memory at this many times the model."""

EIGENVALUE_TOLERANCE = 1e-2


def gradient_variance(objective: Objective, batch: Batch) -> float:
    """E |g_i - mean g|^2 over the samples' own gradients g_i, at the present weights: sigma^2 of one sample.

    The weight decay is common to all samples and cancels.
    """
    one = grad(weighted_loss(objective))
    single = torch.ones(1, dtype=objective.weights.dtype)
    each = vmap(lambda x, y: one(objective.weights, x[None], y[None], single))
    squares, total = 0.0, torch.zeros(len(objective.weights), dtype=torch.float64)
    for start in range(0, len(batch), GRADIENT_CHUNK):
        part = batch.part(start, start + GRADIENT_CHUNK)
        gradients = each(part.x, part.y).double()
        squares += float(gradients.square().sum())
        total += gradients.sum(dim=0)
    return max(0.0, squares / len(batch) - float((total / len(batch)).square().sum()))


def top_curvature(objective: Objective, batch: Batch, start: FloatArray) -> tuple[float, FloatArray]:
    """The largest eigenvalue of F's Hessian over ``batch`` and its eigenvector, by Lanczos from ``start`` (P,).

    Good to 1 %. The gradient's graph is built once and pulled back through for each Hessian-vector product, so the
    Hessian is never formed.
    """
    gradient = grad(weighted_loss(objective))
    weights = objective.weights.detach().clone()
    parts = [batch.part(begin, begin + CHUNK) for begin in range(0, len(batch), CHUNK)]
    pullbacks = [vjp(lambda w, b=part: gradient(w, b.x, b.y, b.share), weights)[1] for part in parts]

    def product(vector: FloatArray) -> FloatArray:
        direction = torch.from_numpy(vector.reshape(-1)).to(weights.dtype)
        total = torch.zeros_like(weights)
        for pullback in pullbacks:  # the Hessian is symmetric: pulling back is pushing forward
            total += pullback(direction)[0]
        result: FloatArray = total.double().numpy()
        return result

    size = len(weights)
    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    try:
        values, vectors = eigsh(operator, k=1, which="LA", v0=start, tol=EIGENVALUE_TOLERANCE, ncv=min(size, 8))
    except ArpackNoConvergence:  # the Rayleigh quotient of the start is a lower estimate, and still deterministic
        return float(start @ product(start) / (start @ start)), start
    return float(values[0].real), np.ascontiguousarray(vectors[:, 0].real)
