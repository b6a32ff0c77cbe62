"""Largest eigenvalues and trace of the Hessian, from Hessian-vector products only.

The Lanczos iteration is ARPACK's, through scipy, which the project has anyway: the libraries made for this
(curvlinops, hessian-eigenthings) hand the same product to the same routine and bring seven packages along.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor

from rmt.errors import InvalidOption, InvalidWeight
from rmt.landscape.objective import Objective


@dataclass(frozen=True)
class TopEigenvalues:
    """Largest (algebraic) eigenvalues of the Hessian.

    Attributes:
        eigenvalues: Descending; fewer than asked for when the iteration ended early.
        residuals: ‖H v − λ v‖ of each, with ‖v‖ = 1: an eigenvalue of H lies within it.
        products: Hessian-vector products spent.
        converged: Whether all asked for reached the tolerance.
    """

    eigenvalues: tuple[float, ...]
    residuals: tuple[float, ...]
    products: int
    converged: bool


@dataclass(frozen=True)
class Trace:
    """Hutchinson's estimate of the trace: mean of zᵀ H z, its standard error and the number of draws."""

    estimate: float
    standard_error: float
    samples: int


def top_eigenvalues(
    objective: Objective, count: int = 1, *, tolerance: float = 1e-3, seed: int = 0, max_products: int = 500
) -> TopEigenvalues:
    """Lanczos on Hessian-vector products at the objective's own parameters.

    Args:
        objective: The loss.
        count: How many, at least 1 and fewer than there are parameters.
        tolerance: Relative accuracy of the eigenvalues.
        seed: Of the starting vector.
        max_products: About how many products may be spent.

    Raises:
        InvalidOption: `count` out of range.
        InvalidWeight: A product with the Hessian is NaN or infinite, as where the loss is.
    """
    size = len(objective.vector)
    if not 1 <= count < size:
        raise InvalidOption(f"count is {count}; allowed: 1 to {size - 1}, below the number of parameters")
    products = 0

    def product(vector: NDArray[np.float64]) -> NDArray[np.float64]:
        nonlocal products
        products += 1
        other = torch.as_tensor(vector.ravel()).to(objective.vector)
        return _finite(objective, objective.hessian_product(other)).double().cpu().numpy()

    start = np.random.default_rng(seed).standard_normal(size)
    if not product(start).any():  # ARPACK refuses a matrix that maps its starting vector to zero
        return TopEigenvalues((0.0,) * count, (0.0,) * count, products, True)
    basis = min(size, max(2 * count + 1, 20))
    restarts = max(1, (max_products - basis) // max(1, basis - count))
    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    try:
        values, vectors = eigsh(
            operator, k=count, which="LA", v0=start, ncv=basis, maxiter=restarts, tol=tolerance
        )
        converged = True
    except ArpackNoConvergence as partial:
        values, vectors, converged = partial.eigenvalues.real, partial.eigenvectors.real, False
    order = np.argsort(values)[::-1]
    residuals = (np.linalg.norm(product(vectors[:, i]) - values[i] * vectors[:, i]) for i in order)
    return TopEigenvalues(
        tuple(float(values[i]) for i in order), tuple(float(r) for r in residuals), products, converged
    )


def trace(objective: Objective, samples: int = 30, *, seed: int = 0) -> Trace:
    """Hutchinson's estimator with Rademacher vectors.

    Raises:
        InvalidOption: Fewer than 2 samples, which leave no standard error.
        InvalidWeight: A product with the Hessian is NaN or infinite, as where the loss is.
    """
    if samples < 2:
        raise InvalidOption(f"samples is {samples}; allowed: 2 or more")
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(samples):
        signs = torch.randint(0, 2, objective.vector.shape, generator=generator) * 2.0 - 1
        signs = signs.to(objective.vector)
        found.append(float(signs @ _finite(objective, objective.hessian_product(signs))))
    spread = float(np.std(found, ddof=1))
    return Trace(float(np.mean(found)), spread / math.sqrt(samples), samples)


def _finite(objective: Objective, product: Tensor) -> Tensor:
    if not bool(torch.isfinite(product).all()):
        raise InvalidWeight(
            f"a product with the Hessian is NaN or infinite; the loss at this network is {objective.loss()}"
        )
    return product
