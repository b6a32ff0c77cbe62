"""Estimators of the noise variance of a spectrum.

An estimator receives a single `Spectrum` and a generator, takes its options as keyword-only parameters (`beta` is
one of them for all), and returns an `Estimate`. Edge, threshold, spikes and distance are computed from that in
`rmt.noise`, unless the estimator has its own threshold or distance.

What an estimate describes is the live part, `spectrum.live`: rows and columns that are zero throughout are neither
noise nor removed values, and the law that holds is that of the smaller matrix without them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Literal, TypeAlias

import torch
from annotated_types import Gt, Interval

from rmt.edges import noise_edge, noise_threshold, width_quantile
from rmt.eigen import gram_eigenvalues
from rmt.errors import DegenerateSpectrum
from rmt.marchenko_pastur import MarchenkoPastur, quantile_table
from rmt.matrices import dense
from rmt.registry import Registry
from rmt.spectrum import Spectrum, core_of

Beta: TypeAlias = Annotated[float, Interval(ge=1e-6, le=1 - 1e-6)]
Alpha: TypeAlias = Annotated[float, Interval(gt=0, lt=0.5)]
Index: TypeAlias = Literal["midpoint", "left"]

SMALLEST_WINDOW = 3
"""Fewer order statistics than this say nothing about a law."""
ALPHA = 0.2
"""Share left out of the window at both ends: the default of Ke, Ma and Lin."""
FIRST_PASS_BETA = 0.1
"""Level at which the first of two passes counts spikes, whatever β the threshold is for: at a β of 0.8 or 0.9 the
threshold lies inside the bulk, and leaving out what is above it would bias the variance."""


@dataclass(frozen=True)
class Estimate:
    """What an estimator returns; eigenvalues and counts are those of the live part, `spectrum.live`.

    Attributes:
        variance: σ̂².
        excluded: Number of largest values that the law is not meant to describe.
        zeros: Number of smallest values that are zero because an earlier truncation removed them.
        alpha: Share of the values left out of the window at both ends, for the distance.
        threshold: Its own threshold in eigenvalue units, if it has one.
        distance: Its own fit distance, if it has one.
        whole: Whether it describes the whole spectrum after all, dead rows and columns included.
    """

    variance: float
    excluded: int = 0
    zeros: int = 0
    alpha: float = ALPHA
    threshold: float | None = None
    distance: float | None = None
    whole: bool = False


Estimator: TypeAlias = Callable[..., Estimate]
NOISE: Registry[Estimator] = Registry("noise estimator")


def window(count: int, zeros: int, alpha: float) -> slice:
    """Ascending positions of the central order statistics that a fit looks at: α count … (1 − α) count.

    Values that a truncation set to zero are left out (a censored fit); if next to nothing of the window is above
    them, it is the lower half of what is left.

    Raises:
        DegenerateSpectrum: Fewer than three values remain.
    """
    rounding = 1e-9
    start, stop = max(int(alpha * count + rounding), zeros), int((1 - alpha) * count + rounding)
    if stop - start < SMALLEST_WINDOW and zeros > 0:
        stop = zeros + (count - zeros) // 2
    if stop - start < SMALLEST_WINDOW:
        raise DegenerateSpectrum(
            f"{max(stop - start, 0)} of {count} values are left to fit a law to ({zeros} are zero); "
            f"at least {SMALLEST_WINDOW} are needed"
        )
    return slice(start, stop)


def least_squares_variance(
    spectrum: Spectrum, *, alpha: float, index: Index, zeros: int, excluded: int = 0
) -> float:
    """σ̂² = Σ q λ / Σ q² over the window, q the quantiles of the unit law.

    With `excluded` = K spikes, the lowest p − K values are compared with the law of a (p − K) × (n − K) matrix.

    Source: Ke, Ma and Lin 2021 (arXiv:2006.00436), algorithm 1. There q is at i/p (`index="left"`); at the
    midpoints (i + ½)/p the bias of order 1/p is gone.
    """
    count, other = spectrum.smaller - excluded, spectrum.larger - excluded
    ascending = spectrum.eigenvalues.flip(0)[:count] * (spectrum.larger / other)
    inside = window(count, zeros, alpha)
    quantiles = quantile_table(count, other, 0.5 if index == "midpoint" else 0.0)[inside]
    return float((quantiles * ascending[inside]).sum() / quantiles.square().sum())


@NOISE.register(version=2)
def bema(
    spectrum: Spectrum,
    generator: torch.Generator,
    *,
    beta: Beta = 0.1,
    alpha: Alpha = ALPHA,
    index: Index = "midpoint",
    censored: bool = True,
    wrong_width: bool = False,
    wrong_cdf: bool = False,
) -> Estimate:
    """Bulk eigenvalue matching: least squares of the central order statistics on the law's quantiles.

    The last three options, with `index="left"`, reproduce faults of the public notebook: zeros fitted as values,
    removed or dead ones (`censored=False`), (1 + √γ)⁴/3 for (1 + √γ)^(4/3) (`wrong_width`), and a distribution
    function that is 0 above the edge, compared one-sidedly (`wrong_cdf`).
    """
    part = spectrum.live if censored else spectrum
    zeros = part.smaller - part.nonzero if censored else 0
    variance = least_squares_variance(part, alpha=alpha, index=index, zeros=zeros)
    estimate = Estimate(variance, zeros=zeros, alpha=alpha, whole=not censored)
    if wrong_width:
        estimate = replace(estimate, threshold=_threshold_with_wrong_width(part, variance, beta))
    if wrong_cdf:
        estimate = replace(estimate, distance=_distance_with_wrong_cdf(part, estimate))
    return estimate


@NOISE.register(version=2)
def bema_two_pass(
    spectrum: Spectrum,
    generator: torch.Generator,
    *,
    beta: Beta = 0.1,
    alpha: Alpha = ALPHA,
    index: Index = "midpoint",
) -> Estimate:
    """BEMA, then once more without the spikes that the first pass found, at a level of 0.1 whatever β is.

    Spikes push the order statistics of the bulk; the second pass matches the lowest p − K values with the law of a
    (p − K) × (n − K) matrix.
    """
    part = spectrum.live
    first = bema(spectrum, generator, beta=beta, alpha=alpha, index=index)
    threshold = noise_threshold(part.rows, part.cols, FIRST_PASS_BETA, first.variance)
    spikes = int((part.eigenvalues > threshold).sum())
    if spikes == 0 or spikes > (part.smaller - first.zeros) // 2:
        # No spike: nothing to correct. Most values spikes: there is no bulk to match again.
        return first
    variance = least_squares_variance(part, alpha=alpha, index=index, zeros=first.zeros, excluded=spikes)
    return Estimate(variance, excluded=spikes, zeros=first.zeros, alpha=alpha)


@NOISE.register(version=2)
def median(spectrum: Spectrum, generator: torch.Generator, *, beta: Beta = 0.1) -> Estimate:
    """Median eigenvalue over the law's median: no window, hardly moved by spikes.

    Of a spectrum that was truncated, the middle one of the values that are left is used, at its own probability.
    """
    part = spectrum.live
    zeros = part.smaller - part.nonzero
    ascending = part.eigenvalues.flip(0)
    if 2 * zeros < part.smaller - 1:
        law = MarchenkoPastur(part.aspect)
        return Estimate(float(ascending.quantile(0.5) / law.median), zeros=zeros)
    middle = zeros + part.nonzero // 2
    quantile = quantile_table(part.rows, part.cols)[middle]
    return Estimate(float(ascending[middle] / quantile), zeros=zeros)


@NOISE.register(version=2)
def permutation(
    spectrum: Spectrum,
    generator: torch.Generator,
    *,
    beta: Beta = 0.1,
    shuffles: Annotated[int, Interval(ge=1, le=10_000)] = 20,
) -> Estimate:
    """Null by shuffled entries: the threshold is the 1 − β quantile of the largest eigenvalue over shuffles.

    Assumes no Gaussian entries. The variance is the mean square entry, signal included, as in the shuffled
    matrices. A spike that sits in single entries survives shuffling and is not seen.
    """
    part = spectrum.live
    entries = core_of(dense(part.weight)).matrix.cpu()
    largest = []
    for _ in range(shuffles):
        order = torch.randperm(entries.numel(), generator=generator)
        shuffled = entries.flatten()[order].reshape(entries.shape)
        largest.append(gram_eigenvalues(shuffled)[-1] / part.larger)
    threshold = float(torch.stack(largest).quantile(1 - beta))
    zeros = part.smaller - part.nonzero
    return Estimate(float(entries.square().mean()), zeros=zeros, threshold=threshold)


@NOISE.register(version=2)
def given(
    spectrum: Spectrum,
    generator: torch.Generator,
    *,
    beta: Beta = 0.1,
    variance: Annotated[float, Gt(0)] = 1.0,
) -> Estimate:
    """A variance that is known, such as that of the initialisation."""
    return Estimate(variance, zeros=spectrum.live.smaller - spectrum.live.nonzero)


def _threshold_with_wrong_width(spectrum: Spectrum, variance: float, beta: float) -> float:
    width = spectrum.larger ** (-2 / 3) * spectrum.aspect ** (-1 / 6) * (1 + spectrum.aspect**0.5) ** 4 / 3
    return noise_edge(spectrum.rows, spectrum.cols, variance) + variance * width_quantile(beta) * width


def _distance_with_wrong_cdf(spectrum: Spectrum, estimate: Estimate) -> float:
    inside = spectrum.eigenvalues.flip(0)[window(spectrum.smaller, estimate.zeros, estimate.alpha)]
    law = MarchenkoPastur(spectrum.aspect, estimate.variance)
    fitted = torch.where(inside >= law.support[1], 0.0, law.cdf(inside))
    left = torch.arange(len(inside), dtype=torch.float64) / len(inside)
    empirical = estimate.alpha + (1 - 2 * estimate.alpha) * left
    return float((fitted - empirical).abs().max())
