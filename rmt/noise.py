"""How much of a spectrum is noise: variance, edge, threshold, spikes, and how well the law fits.

    fit = rmt.fit(weight)                       # the two-pass BEMA estimator at β = 0.1
    fit.singular_threshold, fit.spikes, fit.distance / fit.distance_null_quantile

Impossible input raises; a poor fit is returned, with its distance, for the caller to judge.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rmt.edges import noise_edge, noise_threshold
from rmt.errors import DegenerateSpectrum, InvalidWeight
from rmt.estimators import NOISE, Estimate
from rmt.fit_distance import bulk_distance, null_p_value, null_quantile
from rmt.matrices import Weight, check_finite
from rmt.options import checked
from rmt.spectrum import Spectrum, spectrum

NULL_LEVEL = 0.95
"""Level of `NoiseFit.distance_null_quantile`."""


@dataclass(frozen=True)
class NoiseFit:
    """What an estimator found in one spectrum. Eigenvalue units unless a name says `singular`.

    A matrix may have rows or columns that are zero throughout (units that died). They are no noise: variance,
    edge, threshold and distance are those of the live part without them, the edge and the threshold in units of
    the whole spectrum all the same, so that `spectrum.eigenvalues > fit.threshold` are the spikes. Of the p values
    of the whole matrix, p − p′ vanish with the dead rows and columns (p′ is the smaller side of the live part),
    `zeros` more were removed by an earlier truncation, and the fit looks at the other p′ − `zeros`.

    Attributes:
        noise: Name of the estimator.
        beta: Probability that pure noise has an eigenvalue above `threshold`.
        rows, cols: Shape of the matrix.
        live_rows, live_cols: Shape of its live part, which the law is of.
        variance: σ̂², the variance of one noise entry.
        edge: Upper edge of the law, σ̂²(1 + √γ)²: where noise ends as the matrix grows.
        threshold: Edge with the Tracy–Widom term of this size at β; below the edge for β above about 0.83.
        spikes: Number of eigenvalues above `threshold`.
        zeros: Values at the bottom of the live part that an earlier truncation removed; the fit does not look at
            them.
        distance: Kolmogorov–Smirnov distance between spectrum and law on the window of central order statistics.
        distance_null_quantile: 95 % quantile of that distance for pure Gaussian noise of the live part's size.
        distance_p_value: Share of pure noise matrices of that size that fit worse; ends at 0.001 and 0.99.
    """

    noise: str
    beta: float
    rows: int
    cols: int
    live_rows: int
    live_cols: int
    variance: float
    edge: float
    threshold: float
    spikes: int
    zeros: int
    distance: float
    distance_null_quantile: float
    distance_p_value: float

    @property
    def bulk(self) -> int:
        """p − K₊, the number of values that are not spikes, removed and dead ones included."""
        return min(self.rows, self.cols) - self.spikes

    @property
    def singular_edge(self) -> float:
        """√(n λ₊), the edge of the singular values."""
        return float((max(self.rows, self.cols) * self.edge) ** 0.5)

    @property
    def singular_threshold(self) -> float:
        """The threshold of the singular values; 0 where the Tracy–Widom term takes it below zero."""
        return float((max(self.rows, self.cols) * max(self.threshold, 0.0)) ** 0.5)

    @property
    def bulk_fraction(self) -> float:
        """γ_b = 1 − K₊/p, the share of values that are not spikes."""
        return 1 - self.spikes / min(self.rows, self.cols)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def fit(
    weight: Weight | nn.Module | Spectrum,
    noise: str = "bema_two_pass",
    *,
    generator: torch.Generator | None = None,
    **options: Any,
) -> NoiseFit:
    """Fit the Marchenko–Pastur law to one matrix.

    Args:
        weight: A matrix, a pair of factors, a layer, or a spectrum that was computed already.
        noise: Name of a registered estimator (`rmt.NOISE`).
        generator: For estimators that draw; a fixed one when not given.
        options: The estimator's own, `beta` among them.

    Raises:
        InvalidWeight: The weight has no spectrum, or is a stack (see `fit_stack`).
        DegenerateSpectrum: All values zero, or too few non-zero values in the fitting window.
        UnknownName: No such estimator.
        InvalidOption: An option that it does not have, or out of range.
    """
    values = weight if isinstance(weight, Spectrum) else spectrum(weight)
    if values.eigenvalues.ndim != 1:
        raise InvalidWeight("this is a stack of matrices; fit_stack fits each of them")
    if bool(values.eigenvalues.isnan().any()):
        check_finite(values.weight)
    if float(values.eigenvalues[0]) <= 0:
        raise DegenerateSpectrum(f"all {values.smaller} values of a {values.rows} × {values.cols} matrix are 0")
    entry = NOISE[noise]
    chosen = checked(f"noise {noise}", entry, options)
    found = entry.function(values, generator or torch.Generator().manual_seed(0), **chosen)
    return _judge(values, noise, float(chosen["beta"]), found)


def fit_stack(
    weight: Tensor | nn.Module | Spectrum, noise: str = "bema_two_pass", **options: Any
) -> list[NoiseFit | InvalidWeight | DegenerateSpectrum]:
    """Fit every matrix of a stack (replicate, rows, cols), or of a layer that has several, as one batch.

    Returns:
        For each matrix its fit, or why it has none, as the error that `fit` would raise for it alone: a replicate
        with NaN does not disturb the others.

    Raises:
        InvalidWeight: This is no stack of matrices at all.
        UnknownName: No such estimator.
        InvalidOption: An option that it does not have, or out of range.
    """
    stack = weight if isinstance(weight, Spectrum) else spectrum(weight)
    return [_fit_or_why_not(single, noise, options) for single in stack.unstack()]


def _fit_or_why_not(
    single: Spectrum, noise: str, options: dict[str, Any]
) -> NoiseFit | InvalidWeight | DegenerateSpectrum:
    try:
        return fit(single, noise, **options)
    except (InvalidWeight, DegenerateSpectrum) as error:
        return error


def _judge(values: Spectrum, noise: str, beta: float, found: Estimate) -> NoiseFit:
    part = values if found.whole else values.live
    if not found.variance > 0:
        raise DegenerateSpectrum(f"the {noise} estimate of the variance is {found.variance}: there is no noise")
    units = part.larger / values.larger
    threshold = found.threshold
    if threshold is None:
        threshold = noise_threshold(part.rows, part.cols, beta, found.variance)
    distance = found.distance
    if distance is None:
        distance = bulk_distance(part, found)
    return NoiseFit(
        noise=noise,
        beta=beta,
        rows=values.rows,
        cols=values.cols,
        live_rows=part.rows,
        live_cols=part.cols,
        variance=found.variance,
        edge=units * noise_edge(part.rows, part.cols, found.variance),
        threshold=units * threshold,
        spikes=int((values.eigenvalues > units * threshold).sum()),
        zeros=found.zeros,
        distance=distance,
        distance_null_quantile=null_quantile(part.rows, part.cols, NULL_LEVEL),
        distance_p_value=null_p_value(part.rows, part.cols, distance),
    )
