"""Comparisons as a table.

| column | meaning |
|---|---|
| the group's columns, the factor, the arm's columns | configuration, under its dotted names |
| `arm`, `is_baseline` | the arm in words |
| `n`, `n_collapsed` | units averaged, and those among them that are broken |
| `n_diverged`, `n_failed`, `n_stopped`, `n_missing` | replicates that are in no average |
| `divergence_rate`, `…_low`, `…_high` | of units with a replicate that diverged; Clopper–Pearson |
| `n_dead`, `dead_rate`, `…_low`, `…_high` | units that finished with a network that never predicts some class |
| `mean`, `…_low`, `…_high` | Student t |
| `sd`, `…_low`, `…_high`, `sd_healthy` | Bonett; without collapsed replicates |
| `test_set_sd` | what a finite test set alone gives; this and the excess where correctness is recorded |
| `excess_sd`, `…_low`, `…_high`, `excess_sd_healthy` | in excess of it; without collapsed replicates |
| `p_excess`, `p_excess_corrected` | of none in excess, corrected over all arms |
| `n_pairs` | seeds in both arms; 0: compared as independent samples |
| `difference`, `…_low`, `…_high`, `effect`, `p_difference`, `p_difference_corrected` | arm minus baseline |
| `equivalence_low`, `…_high`, `p_equivalence`, `…_corrected` | with a margin: two one-sided tests |
| `divergence_difference`, `p_divergence`, `…_corrected` | of the rates, arm minus baseline; Fisher exact |
| `dead_difference`, `p_dead`, `…_corrected` | the same of dead networks |
| `better`, `…_low`, `…_high` | probability of improvement |
| `variance_ratio`, `…_low`, `…_high`, `variance_ratio_healthy` | arm over baseline |
| `excess_ratio`, `excess_ratio_healthy` | ratio of the variances in excess |
| `p_variances`, `p_variances_corrected` | Brown–Forsythe |
| `p_variances_healthy`, `…_corrected` | the same among seeds healthy in both arms |
| `detectable_ratio`, `detectable_difference` | what 80 % of such experiments find at the corrected level |
| `verdict`, `sentence` | in words |

Numbers that do not exist are missing (`pandas.NA`), never NaN; the sentence says why.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import asdict, fields
from typing import Any

import pandas as pd

from sweeps.statistics.comparison import Comparison, Comparisons, Versus, shown
from sweeps.statistics.finding import Finding
from sweeps.statistics.many import CORRECTION_NAMES
from sweeps.statistics.verdict import sentence, verdict

COUNTS = ("n", "n_diverged", "n_failed", "n_stopped", "n_missing", "n_collapsed", "n_dead", "n_pairs")
NUMBERS = (
    *(f"divergence_rate{end}" for end in ("", "_low", "_high")),
    *(f"dead_rate{end}" for end in ("", "_low", "_high")),
    *(f"mean{end}" for end in ("", "_low", "_high")),
    *(f"sd{end}" for end in ("", "_low", "_high", "_healthy")),
    "test_set_sd",
    *(f"excess_sd{end}" for end in ("", "_low", "_high", "_healthy")),
    "p_excess",
    "p_excess_corrected",
    *(f"difference{end}" for end in ("", "_low", "_high")),
    "effect",
    "p_difference",
    "p_difference_corrected",
    "equivalence_low",
    "equivalence_high",
    "p_equivalence",
    "p_equivalence_corrected",
    "divergence_difference",
    "p_divergence",
    "p_divergence_corrected",
    "dead_difference",
    "p_dead",
    "p_dead_corrected",
    *(f"better{end}" for end in ("", "_low", "_high")),
    *(f"variance_ratio{end}" for end in ("", "_low", "_high", "_healthy")),
    "excess_ratio",
    "excess_ratio_healthy",
    "p_variances",
    "p_variances_corrected",
    "p_variances_healthy",
    "p_variances_healthy_corrected",
    "detectable_ratio",
    "detectable_difference",
)


def comparison_frame(answers: Comparisons) -> pd.DataFrame:
    """A row a comparison; see the module's table of columns."""
    settings = [*answers.columns.group, answers.columns.factor, *answers.columns.arm]
    order = [*settings, "arm", "is_baseline", *COUNTS, *NUMBERS, "verdict", "sentence"]
    frame = pd.DataFrame([_row(row, answers) for row in answers.rows], columns=order)
    frame[settings] = frame[settings].convert_dtypes()
    frame[list(COUNTS)] = frame[list(COUNTS)].astype("Int64")
    frame[list(NUMBERS)] = frame[list(NUMBERS)].astype("Float64")
    frame.attrs = _provenance(answers)
    return frame


def _provenance(answers: Comparisons) -> dict[Hashable | None, Any]:
    kept: dict[Hashable | None, Any] = {}
    names = [field.name for field in fields(answers) if field.name not in ("rows", "columns", "ranking")]
    kept |= {name: getattr(answers, name) for name in names}
    kept["family"] = answers.family
    kept["columns"] = asdict(answers.columns)
    kept["ranking"] = [finding.sentence for finding in answers.ranking]
    kept["correction"] = CORRECTION_NAMES[answers.correction]
    kept["baseline"] = shown(answers.baseline)
    return kept


def _row(row: Comparison, answers: Comparisons) -> dict[str, object]:
    healthy = row.spread if row.healthy_spread is None else row.healthy_spread
    numbers: dict[str, object] = {
        **row.group,
        **row.settings,
        "arm": row.label,
        "is_baseline": row.is_baseline,
        "n": row.location.n,
        "n_diverged": row.counts.diverged,
        "n_failed": row.counts.failed,
        "n_stopped": row.counts.stopped,
        "n_missing": row.counts.missing,
        "n_collapsed": row.collapsed,
        **_ends("divergence_rate", row.divergence),
        "n_dead": None if row.dead is None else round((row.dead.estimate or 0.0) * row.dead.n),
        **(_ends("dead_rate", row.dead) if row.dead else {}),
        **_ends("mean", row.location),
        **_ends("sd", row.spread),
        "sd_healthy": healthy.estimate,
        **_excess(row),
        "verdict": verdict(row, answers),
        "sentence": sentence(row, answers),
    }
    return numbers | (_versus(row.versus) if row.versus else {})


def _excess(row: Comparison) -> dict[str, float | None]:
    """Standard deviations, since people read those; a negative excess variance is none."""
    if row.excess is None or row.excess.estimate is None:
        return {}
    interval = row.excess.interval
    healthy = row.excess if row.healthy_excess is None else row.healthy_excess
    alone = row.excess.details.get("test_set_sd", 0.0)
    return {
        "test_set_sd": float(alone) if alone is not None else None,
        "excess_sd": _deviation(row.excess.estimate),
        "excess_sd_low": _deviation(interval.low) if interval else None,
        "excess_sd_high": _deviation(interval.high) if interval else None,
        "excess_sd_healthy": _deviation(healthy.estimate),
        "p_excess": row.excess.p,
        "p_excess_corrected": row.p_excess,
    }


def _deviation(variance: float | None) -> float | None:
    return None if variance is None else float(max(variance, 0.0) ** 0.5)


def _versus(versus: Versus) -> dict[str, object]:
    healthy = versus.ratio if versus.healthy_ratio is None else versus.healthy_ratio
    smallest = versus.smallest_difference
    return {
        "n_pairs": versus.difference.n if versus.paired else 0,
        **_ends("difference", versus.difference),
        "effect": versus.difference.effect,
        "p_difference": versus.difference.p,
        "p_difference_corrected": versus.p_difference,
        **_equivalence(versus),
        "divergence_difference": versus.divergence.estimate,
        "p_divergence": versus.divergence.p,
        "p_divergence_corrected": versus.p_divergence,
        "dead_difference": _estimate(versus.dead),
        "p_dead": None if versus.dead is None else versus.dead.p,
        "p_dead_corrected": versus.p_dead,
        **_ends("better", versus.better),
        **_ends("variance_ratio", versus.ratio),
        "variance_ratio_healthy": healthy.estimate,
        "excess_ratio": _estimate(versus.excess_ratio),
        "excess_ratio_healthy": _estimate(versus.healthy_excess_ratio or versus.excess_ratio),
        "p_variances": versus.equality.p,
        "p_variances_corrected": versus.p_variances,
        "p_variances_healthy": (versus.healthy_equality or versus.equality).p,
        "p_variances_healthy_corrected": versus.p_healthy,
        "detectable_ratio": versus.smallest_ratio.estimate,
        "detectable_difference": None if smallest is None else smallest.estimate,
    }


def _equivalence(versus: Versus) -> dict[str, object]:
    if versus.equivalence is None:
        return {}
    ends = _ends("equivalence", versus.equivalence)
    return {
        "equivalence_low": ends["equivalence_low"],
        "equivalence_high": ends["equivalence_high"],
        "p_equivalence": versus.equivalence.p,
        "p_equivalence_corrected": versus.p_equivalence,
    }


def _estimate(finding: Finding | None) -> float | None:
    return None if finding is None else finding.estimate


def _ends(name: str, finding: Finding) -> dict[str, float | None]:
    """A finding's estimate and interval under three names."""
    interval = finding.interval
    return {
        name: finding.estimate,
        f"{name}_low": None if interval is None else interval.low,
        f"{name}_high": None if interval is None else interval.high,
    }
