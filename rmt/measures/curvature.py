"""Measures of the loss around a network, mean cross-entropy on the subject's data (SCIENCE §4)."""

from __future__ import annotations

import math
from typing import Annotated

from annotated_types import Ge, Gt

from rmt import landscape
from rmt.measures.contract import MEASURES, ModuleSubject, Number

Seed = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0)]
NEEDS = ("inputs", "labels")


@MEASURES.register(of="module", needs=NEEDS)
def hessian_top(
    subject: ModuleSubject, *, count: Annotated[int, Ge(1)] = 1, tolerance: Positive = 1e-3, seed: Seed = 0
) -> dict[str, Number]:
    """Largest eigenvalues of the Hessian, `1` the largest; None where the iteration did not get there."""
    objective = landscape.Objective(subject.module, subject.data)
    found = landscape.top_eigenvalues(objective, count, tolerance=tolerance, seed=seed).eigenvalues
    return {str(k + 1): found[k] if k < len(found) else None for k in range(count)}


@MEASURES.register(of="module", needs=NEEDS)
def hessian_trace(
    subject: ModuleSubject, *, samples: Annotated[int, Ge(2)] = 30, seed: Seed = 0
) -> dict[str, Number]:
    """Hutchinson's estimate of the Hessian's trace with its standard error, and the mean eigenvalue trace/P."""
    objective = landscape.Objective(subject.module, subject.data)
    found = landscape.trace(objective, samples, seed=seed)
    return {
        "estimate": found.estimate,
        "standard_error": found.standard_error,
        "mean_eigenvalue": found.estimate / len(objective.vector),
    }


@MEASURES.register(of="module", needs=NEEDS)
def sam_sharpness(subject: ModuleSubject, *, radius: Positive = 0.05) -> Number:
    """Rise of the loss after one step of this length uphill."""
    return _existing(landscape.sam(landscape.Objective(subject.module, subject.data), radius=radius))


@MEASURES.register(of="module", needs=NEEDS)
def adaptive_sharpness(subject: ModuleSubject, *, radius: Positive = 0.5) -> Number:
    """The same in units of each parameter's own size, so that rescaling layers changes nothing."""
    return _existing(landscape.adaptive(landscape.Objective(subject.module, subject.data), radius=radius))


@MEASURES.register(of="module", needs=NEEDS)
def expected_sharpness(
    subject: ModuleSubject, *, scale: Positive = 0.1, draws: Annotated[int, Ge(2)] = 10, seed: Seed = 0
) -> dict[str, Number]:
    """Mean rise of the loss under random noise in units of the filters' norms, with its standard error."""
    objective = landscape.Objective(subject.module, subject.data)
    found = landscape.expected(objective, scale=scale, draws=draws, seed=seed)
    return {"estimate": _existing(found.estimate), "standard_error": _existing(found.standard_error)}


@MEASURES.register(of="module", needs=NEEDS)
def loss_slice(
    subject: ModuleSubject,
    *,
    points: Annotated[int, Ge(4)] = 21,
    reach: Positive = 1.0,
    seed: Seed = 0,
) -> dict[str, Number]:
    """Curvature, width, non-convex share and roughness of a filter-normalised slice through the network."""
    objective = landscape.Objective(subject.module, subject.data)
    summary = landscape.slice_1d(objective, points=points, reach=reach, seed=seed).summary()
    return {name: _existing(value) for name, value in summary.items()}


def _existing(value: float) -> Number:
    """None for what has no finite value because the loss overflows on the way."""
    return value if math.isfinite(value) else None
