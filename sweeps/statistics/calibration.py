"""How often intervals cover and tests reject, measured: what the choice of defaults rests on.

`benchmarks/calibration.py` writes the whole table; the tests check its default methods in the cells that
matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sweeps.statistics.bootstrap import ONE, TWO
from sweeps.statistics.equivalence import tost_p_value
from sweeps.statistics.location import mean_interval, median_ranks, trimmed_interval
from sweeps.statistics.paired import paired_t_p_value, welch
from sweeps.statistics.resampling import (
    bca_interval,
    permutation_p_value,
    permuted_log_ratios,
    permuted_mean_differences,
    sign_flips,
)
from sweeps.statistics.samples import Array, Estimates
from sweeps.statistics.simulation import Setting, draw, true_iqm, true_median
from sweeps.statistics.spread import (
    bonett_interval,
    jackknife_sd_interval,
    log_variance,
    paired_ratio_interval,
    unpaired_ratio_interval,
)
from sweeps.statistics.spread_tests import brown_forsythe_test, paired_brown_forsythe_test, pitman_morgan_test

# Resamples and random permutations in the calibration: enough for its own standard error of half a point.
RESAMPLES = 999
# True mean difference, in standard deviations of the baseline, at the edge of the equivalence margin.
MARGIN = 1.0

Outcome = NDArray[np.bool_]
Method = Callable[[Array, Array, Setting, float], Outcome]


@dataclass(frozen=True)
class Calibrated:
    """A method and what is counted about it.

    Attributes:
        kind: `coverage`, or `rejection` (size where the null holds, power where not).
        question: What is estimated or tested.
        method: Shapes (simulations, n) twice, setting and level, to one bool a simulation.
        default: Whether findings use it unless told otherwise.
        arms: Whether it looks at one arm only, so that correlation and ratio do not matter, or at two.
        null: For rejections, whether the null hypothesis holds in a setting.
    """

    kind: str
    question: str
    method: Method
    default: bool = False
    arms: int = 2
    null: Callable[[Setting], bool] = lambda setting: True


def _covers(ends: Estimates, truth: float) -> Outcome:
    return np.asarray((ends.low <= truth) & (truth <= ends.high))


def _mean(arm: Array, baseline: Array, setting: Setting, level: float) -> Outcome:
    return _covers(mean_interval(baseline, level), 0.0)


def _median(arm: Array, baseline: Array, setting: Setting, level: float) -> Outcome:
    rank = max(1, median_ranks(setting.n, level))
    ordered = np.sort(baseline, axis=-1)
    truth = true_median(setting.distribution)
    return np.asarray((ordered[:, rank - 1] <= truth) & (truth <= ordered[:, -rank]))


def _iqm(arm: Array, baseline: Array, setting: Setting, level: float) -> Outcome:
    return _covers(trimmed_interval(baseline, level), true_iqm(setting.distribution))


def _bonett(arm: Array, baseline: Array, setting: Setting, level: float) -> Outcome:
    return _covers(bonett_interval(baseline, level), 1.0)


def _jackknife_sd(arm: Array, baseline: Array, setting: Setting, level: float) -> Outcome:
    return _covers(jackknife_sd_interval(baseline, level), 1.0)


def _difference(arm: Array, baseline: Array, setting: Setting, level: float) -> Outcome:
    return _covers(mean_interval(arm - baseline, level), 0.0)


def _welch(arm: Array, baseline: Array, setting: Setting, level: float) -> Outcome:
    return _covers(welch(arm, baseline, level)[0], 0.0)


def _ratio(arm: Array, baseline: Array, setting: Setting, level: float) -> Outcome:
    return _covers(paired_ratio_interval(arm, baseline, level), setting.ratio)


def _unpaired_ratio(arm: Array, baseline: Array, setting: Setting, level: float) -> Outcome:
    return _covers(unpaired_ratio_interval(arm, baseline, level), setting.ratio)


def _bca_one(arm: Array, baseline: Array, setting: Setting, level: float, of: str, truth: float) -> Outcome:
    return _covers(bca_interval(ONE[of], (baseline,), level, RESAMPLES, 0), truth)


def _bca_two(arm: Array, baseline: Array, setting: Setting, level: float, of: str) -> Outcome:
    truth = setting.ratio if of == "variance_ratio" else 0.0
    return _covers(bca_interval(TWO[of], (arm, baseline), level, RESAMPLES, 0), truth)


def _rejects(p: Array, level: float) -> Outcome:
    return np.asarray(p <= 1 - level)


def _paired_t(arm: Array, baseline: Array, setting: Setting, level: float) -> Outcome:
    return _rejects(paired_t_p_value(arm - baseline), level)


def _wilcoxon(arm: Array, baseline: Array, setting: Setting, level: float) -> Outcome:
    return _rejects(np.asarray(stats.wilcoxon(arm - baseline, axis=-1).pvalue), level)


def _permutation(arm: Array, baseline: Array, setting: Setting, level: float) -> Outcome:
    signs, differences = sign_flips(setting.n, RESAMPLES + 25, 0), arm - baseline
    permuted = permuted_mean_differences(differences, signs)
    return _rejects(permutation_p_value(differences.mean(axis=-1), permuted, signs.exact), level)


def _variance_permutation(arm: Array, baseline: Array, setting: Setting, level: float) -> Outcome:
    signs = sign_flips(setting.n, RESAMPLES + 25, 0)
    observed = log_variance(arm) - log_variance(baseline)
    permuted = permuted_log_ratios(arm, baseline, signs)
    return _rejects(permutation_p_value(observed, permuted, signs.exact), level)


def _brown_forsythe(arm: Array, baseline: Array, setting: Setting, level: float) -> Outcome:
    return _rejects(brown_forsythe_test(arm, baseline).p, level)


def _paired_brown_forsythe(arm: Array, baseline: Array, setting: Setting, level: float) -> Outcome:
    return _rejects(paired_brown_forsythe_test(arm, baseline).p, level)


def _pitman_morgan(arm: Array, baseline: Array, setting: Setting, level: float) -> Outcome:
    return _rejects(pitman_morgan_test(arm, baseline).p, level)


def _ratio_excludes_one(arm: Array, baseline: Array, setting: Setting, level: float) -> Outcome:
    return ~_covers(paired_ratio_interval(arm, baseline, level), 1.0)


def _equivalence(arm: Array, baseline: Array, setting: Setting, level: float) -> Outcome:
    return _rejects(tost_p_value(arm - baseline + MARGIN, MARGIN), level)


def _equal_variances(setting: Setting) -> bool:
    return setting.ratio == 1.0


METHODS: dict[str, Calibrated] = {
    "Student t": Calibrated("coverage", "mean", _mean, True, arms=1),
    "BCa": Calibrated("coverage", "mean", partial(_bca_one, of="mean", truth=0.0), arms=1),
    "order statistics": Calibrated("coverage", "median", _median, True, arms=1),
    "Tukey–McLaughlin": Calibrated("coverage", "interquartile mean", _iqm, True, arms=1),
    "Bonett": Calibrated("coverage", "standard deviation", _bonett, True, arms=1),
    "jackknife t on the log": Calibrated("coverage", "standard deviation", _jackknife_sd, arms=1),
    "BCa of the sd": Calibrated("coverage", "standard deviation", partial(_bca_one, of="sd", truth=1.0), arms=1),
    "paired t interval": Calibrated("coverage", "difference", _difference, True),
    "Welch t interval": Calibrated("coverage", "difference", _welch),
    "BCa of the difference": Calibrated("coverage", "difference", partial(_bca_two, of="difference")),
    "paired jackknife t": Calibrated("coverage", "variance ratio", _ratio, True),
    "unpaired jackknife t": Calibrated("coverage", "variance ratio", _unpaired_ratio),
    "BCa of the ratio": Calibrated("coverage", "variance ratio", partial(_bca_two, of="variance_ratio")),
    "paired t": Calibrated("rejection", "equal means", _paired_t, True),
    "Wilcoxon": Calibrated("rejection", "equal means", _wilcoxon),
    "paired permutation": Calibrated("rejection", "equal means", _permutation),
    "TOST at the margin": Calibrated("rejection", "means further apart", _equivalence, True),
    "Brown–Forsythe": Calibrated("rejection", "equal variances", _brown_forsythe, True, null=_equal_variances),
    "paired Brown–Forsythe": Calibrated(
        "rejection", "equal variances", _paired_brown_forsythe, null=_equal_variances
    ),
    "Pitman–Morgan": Calibrated("rejection", "equal variances", _pitman_morgan, null=_equal_variances),
    "permutation of the log ratio": Calibrated(
        "rejection", "equal variances", _variance_permutation, null=_equal_variances
    ),
    "jackknife interval excludes 1": Calibrated(
        "rejection", "equal variances", _ratio_excludes_one, null=_equal_variances
    ),
}


def measure(
    setting: Setting, names: tuple[str, ...], simulations: int = 2000, seed: int = 0, level: float = 0.95
) -> dict[str, float]:
    """Share of simulated experiments in which each method covers the truth, or rejects the null; in 0..1."""
    arm, baseline = draw(setting, simulations, seed)
    return {name: float(METHODS[name].method(arm, baseline, setting, level).mean()) for name in names}
