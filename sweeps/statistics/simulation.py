"""Replicates with known truth: what intervals and tests are calibrated on.

Every distribution has mean 0 and variance 1. Arms are paired by a Gaussian copula and the arm is scaled, so
that the ratio of variances is known whatever the shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product

import numpy as np
from scipy import special

from sweeps.statistics.samples import Array

# Share of collapsed replicates of the bimodal distribution, and how far below the others they lie, in
# standard deviations of one mode.
COLLAPSED = 0.2
DEPTH = 10.0


def _normal(u: Array) -> Array:
    return np.asarray(special.ndtri(u))


def _lognormal(u: Array, sigma: float) -> Array:
    """Lognormal, standardised: mean exp(σ²/2), variance (exp(σ²) - 1) exp(σ²)."""
    spread = np.sqrt((np.exp(sigma**2) - 1) * np.exp(sigma**2))
    return np.asarray((np.exp(sigma * special.ndtri(u)) - np.exp(sigma**2 / 2)) / spread)


def _student(u: Array, df: float) -> Array:
    """Student's t, divided by its standard deviation sqrt(df / (df - 2))."""
    return np.asarray(special.stdtrit(df, u) / np.sqrt(df / (df - 2)))


def _bimodal(u: Array) -> Array:
    """Two normal modes of equal width: a healthy one, and a collapsed one below it."""
    low = special.ndtri(np.clip(u / COLLAPSED, 1e-16, 1 - 1e-16)) - DEPTH
    high = special.ndtri(np.clip((u - COLLAPSED) / (1 - COLLAPSED), 1e-16, 1 - 1e-16))
    mixed = np.where(u < COLLAPSED, low, high) + COLLAPSED * DEPTH
    return np.asarray(mixed / np.sqrt(1 + COLLAPSED * (1 - COLLAPSED) * DEPTH**2))


# Quantile functions by name.
DISTRIBUTIONS: dict[str, Callable[[Array], Array]] = {
    "normal": _normal,
    "lognormal(0.25)": partial(_lognormal, sigma=0.25),
    "lognormal(0.5)": partial(_lognormal, sigma=0.5),
    "lognormal(1)": partial(_lognormal, sigma=1.0),
    "student(5)": partial(_student, df=5.0),
    "bimodal": _bimodal,
}
MILD = ("normal", "lognormal(0.25)", "lognormal(0.5)")


@dataclass(frozen=True)
class Setting:
    """One cell of the calibration.

    Attributes:
        distribution: Name in `DISTRIBUTIONS`.
        n: Replicates an arm.
        correlation: Of the normal scores of an arm and its baseline over seeds.
        ratio: True variance of the arm over that of the baseline.
    """

    distribution: str
    n: int
    correlation: float = 0.0
    ratio: float = 1.0


def settings(sizes: tuple[int, ...] = (5, 10, 30), ratios: tuple[float, ...] = (1.0, 4.0)) -> Iterator[Setting]:
    """Every cell of the table."""
    for distribution, n, correlation, ratio in product(DISTRIBUTIONS, sizes, (0.0, 0.5, 0.9), ratios):
        yield Setting(distribution, n, correlation, ratio)


def draw(setting: Setting, simulations: int, seed: int) -> tuple[Array, Array]:
    """Arm and baseline of many experiments, each shape (simulations, n)."""
    generator = np.random.default_rng(seed)
    own, shared = generator.standard_normal((2, simulations, setting.n))
    correlated = setting.correlation * shared + np.sqrt(1 - setting.correlation**2) * own
    quantile = DISTRIBUTIONS[setting.distribution]
    arm = quantile(special.ndtr(correlated)) * np.sqrt(setting.ratio)
    return arm, quantile(special.ndtr(shared))


@lru_cache(maxsize=32)
def true_median(distribution: str) -> float:
    """Median of a distribution."""
    return float(DISTRIBUTIONS[distribution](np.array([0.5]))[0])


@lru_cache(maxsize=32)
def true_iqm(distribution: str) -> float:
    """Mean between the quartiles, by the midpoint rule."""
    points = 0.25 + (np.arange(100_000) + 0.5) / 200_000
    return float(DISTRIBUTIONS[distribution](points).mean())
