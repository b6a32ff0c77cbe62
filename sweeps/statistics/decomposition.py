"""Shares of variance: how much of the scatter each source of chance, and each swept dimension, accounts for."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Annotated

import numpy as np
from annotated_types import Ge
from numpy.typing import ArrayLike, NDArray
from scipy import special

from sweeps.statistics import wording
from sweeps.statistics.errors import InvalidSample
from sweeps.statistics.finding import Finding, Interval, unanswered
from sweeps.statistics.registry import STATISTICS, Level
from sweeps.statistics.samples import Array, as_sample, is_constant

RESIDUAL = "residual"
# The likelihood's cost grows with the cube of the rows: about a second at this many.
MOST_ROWS = 1000
DRAWS = 10_000


@dataclass(frozen=True)
class AnalysisOfVariance:
    """Balanced crossed classification, main effects against the rest.

    Attributes:
        names: Factors.
        squares: Sum of squares of each factor, then of the residual; shape (factors + 1,).
        df: Degrees of freedom, same shape.
        repeats: Rows at one level of each factor; 1 for the residual.
    """

    names: tuple[str, ...]
    squares: Array
    df: NDArray[np.int64]
    repeats: Array


def analyse(values: Array, codes: Mapping[str, NDArray[np.int64]]) -> AnalysisOfVariance | None:
    """Sums of squares of a balanced table, or None if some combination of levels has fewer rows than another.

    Interactions are part of the residual.

    Source: Searle, Casella and McCulloch, Variance Components (1992), chapter 4: in balanced data
    the analysis of variance estimators are the solution of E[mean square] = residual + repeats × component.
    """
    sizes = [int(code.max()) + 1 for code in codes.values()]
    combined = np.ravel_multi_index(tuple(codes.values()), tuple(sizes))
    counts = np.bincount(combined, minlength=prod(sizes))
    if counts.min() != counts.max():
        return None
    grand, rows = values.mean(), values.size
    squares = [
        rows / size * float(((np.bincount(code, values) / np.bincount(code) - grand) ** 2).sum())
        for code, size in zip(codes.values(), sizes, strict=True)
    ]
    total = float(((values - grand) ** 2).sum())
    df = [size - 1 for size in sizes]
    return AnalysisOfVariance(
        tuple(codes),
        np.array([*squares, max(total - sum(squares), 0.0)]),
        np.array([*df, rows - 1 - sum(df)]),
        np.array([*(rows / size for size in sizes), 1.0]),
    )


def components(mean_squares: Array, repeats: Array) -> Array:
    """Variance components from mean squares (residual last), negative ones set to zero; last axis."""
    residual = mean_squares[..., -1:]
    effects = np.maximum(mean_squares[..., :-1] - residual, 0) / repeats[:-1]
    return np.concatenate([effects, residual], axis=-1)


def share_intervals(anova: AnalysisOfVariance, level: float, seed: int) -> tuple[Array, Array]:
    """Generalised confidence intervals of the shares, each shape (factors + 1,).

    Each mean square's expectation is drawn as its sum of squares over a chi-squared variable, the shares are
    computed from the draws, and their quantiles taken.

    Source: Weerahandi, Journal of the American Statistical Association 88 (1993) 899.
    """
    draws = np.random.default_rng(seed).chisquare(anova.df, (DRAWS, anova.df.size))
    drawn = components(anova.squares / draws, anova.repeats)
    shares = drawn / drawn.sum(axis=-1, keepdims=True)
    low, high = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def mixed_model_components(values: Array, codes: Mapping[str, NDArray[np.int64]]) -> tuple[Array, str]:
    """Variance components (residual last) by restricted maximum likelihood, and the optimiser's complaints."""
    from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec

    designs = [[np.eye(int(code.max()) + 1)[code]] for code in codes.values()]
    labels = [[[f"{name}[{i}]" for i in range(int(code.max()) + 1)]] for name, code in codes.items()]
    spec = VCSpec(list(codes), labels, designs)
    scale = values.std()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = MixedLM(
            (values - values.mean()) / scale, np.ones((values.size, 1)), np.zeros(values.size), exog_vc=spec
        )
        fit = model.fit(reml=True)
    complaints = "; ".join(sorted({str(warning.message) for warning in caught}))
    return np.array([*fit.vcomp, fit.scale]) * scale**2, complaints


@STATISTICS.register(takes="levels", question="decomposition", default=True)
def variance_shares(
    values: ArrayLike,
    factors: Mapping[str, ArrayLike],
    *,
    level: Level = 0.95,
    seed: Annotated[int, Ge(0)] = 0,
) -> tuple[Finding, ...]:
    """Share of variance of each crossed factor and of the rest, factors taken as random; one finding each.

    Balanced tables have a closed form with generalised confidence intervals and exact F tests. Others are
    fitted by restricted maximum likelihood (statsmodels' MixedLM, up to 1,000 rows), without intervals.
    """
    sample = as_sample(values)
    method, n = "analysis of variance, crossed random effects", sample.size
    codes = {name: codes_of(name, labels, n) for name, labels in factors.items()}
    names = [*codes, RESIDUAL]
    fixed = [name for name, code in codes.items() if code.size and code.max() == 0]
    codes = {name: code for name, code in codes.items() if name not in fixed}
    why = _obstacle(sample, codes)
    if why:
        return tuple(unanswered("variance_shares", n, method, f"{name}: {why}", factor=name) for name in names)
    constant = [_unvaried(name, n, method) for name in fixed]
    anova = analyse(sample, codes)
    if anova is None:
        return (*constant, *_unbalanced(sample, codes))
    if anova.df[-1] < 1:
        why = "one row for each combination of levels leaves nothing for the residual."
        return tuple(unanswered("variance_shares", n, method, f"{name}: {why}", factor=name) for name in names)
    return (*constant, *_balanced(anova, n, method, level, seed))


def codes_of(name: str, labels: ArrayLike, n: int) -> NDArray[np.int64]:
    """Labels as numbers from 0, shape (n,)."""
    found = np.asarray(labels)
    if found.shape != (n,):
        raise InvalidSample(f"factor {name!r} must have shape ({n},) like the values; got {found.shape}")
    return np.unique(found.astype(str), return_inverse=True)[1]


def _obstacle(sample: Array, codes: Mapping[str, NDArray[np.int64]]) -> str:
    if sample.size < 3 or not codes:
        return "no shares of variance: at least 3 rows and a factor with two levels are needed."
    return f"no shares of variance: all {sample.size} values are equal." if is_constant(sample) else ""


def _unvaried(name: str, n: int, method: str) -> Finding:
    why = f"{name}: one level only, so every share is conditional on it."
    return unanswered("variance_shares", n, method, why, factor=name)


def _balanced(anova: AnalysisOfVariance, n: int, method: str, level: float, seed: int) -> list[Finding]:
    mean_squares = anova.squares / anova.df
    parts = components(mean_squares, anova.repeats)
    if parts.sum() == 0:
        return [
            unanswered("variance_shares", n, method, f"{name}: no scatter.") for name in (*anova.names, RESIDUAL)
        ]
    shares = parts / parts.sum()
    lows, highs = share_intervals(anova, level, seed)
    with np.errstate(divide="ignore"):
        ratios = mean_squares[:-1] / mean_squares[-1]
    p_values = [*special.fdtrc(anova.df[:-1], anova.df[-1], ratios), None]
    assumptions = ("effects independent, normal and additive: interactions count as residual",)
    findings = []
    for index, name in enumerate((*anova.names, RESIDUAL)):
        interval = Interval(float(lows[index]), float(highs[index]), level)
        p = None if p_values[index] is None else float(p_values[index])
        tested = "" if p is None else f", F test {wording.p_value(p)}"
        shown = f"[{100 * interval.low:.3g}, {100 * interval.high:.3g}]"
        findings.append(
            Finding(
                "variance_shares",
                float(shares[index]),
                interval,
                n,
                method,
                f"{name}: {100 * shares[index]:.3g} % of the variance, {wording.percent(level)} interval "
                f"{shown}{tested}.",
                p,
                assumptions=assumptions,
                details={"factor": name, "variance": float(parts[index]), "df": int(anova.df[index])},
            )
        )
    return findings


def _unbalanced(sample: Array, codes: Mapping[str, NDArray[np.int64]]) -> list[Finding]:
    n, method = sample.size, "restricted maximum likelihood (MixedLM), crossed random effects"
    names = [*codes, RESIDUAL]
    if n > MOST_ROWS:
        why = f"not balanced, and {n} rows are more than the {MOST_ROWS} that the likelihood is computed for."
        return [unanswered("variance_shares", n, method, f"{name}: {why}", factor=name) for name in names]
    try:
        parts, complaints = mixed_model_components(sample, codes)
    except np.linalg.LinAlgError:
        parts, complaints = np.full(len(names), np.nan), ""
    if not np.isfinite(parts).all() or parts.sum() <= 0:
        why = f"not balanced, and {n} rows are too few for so many levels: no likelihood could be maximised."
        return [unanswered("variance_shares", n, method, f"{name}: {why}", factor=name) for name in names]
    shares = parts / parts.sum()
    assumptions = ("effects independent, normal and additive", f"optimiser: {complaints or 'converged'}")
    return [
        Finding(
            "variance_shares",
            float(share),
            None,
            n,
            method,
            f"{name}: {100 * share:.3g} % of the variance; no interval, since the table is not balanced.",
            assumptions=assumptions,
            details={"factor": name, "variance": float(part)},
        )
        for name, share, part in zip(names, shares, parts, strict=True)
    ]
