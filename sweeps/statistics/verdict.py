"""A comparison in words."""

from __future__ import annotations

from sweeps.statistics import wording
from sweeps.statistics.comparison import Comparison, Comparisons, Versus, shown
from sweeps.statistics.many import CORRECTION_NAMES

SOURCES = {
    "seeds.initialisation": "initialisation",
    "seeds.data_order": "data order",
    "seeds.split": "split",
}


def verdict(row: Comparison, answers: Comparisons) -> str:
    """What the corrected tests say, in a few words; empty for a baseline with something to compare."""
    if row.versus is None:
        return "" if row.is_baseline and not row.obstacle else "not compared"
    alpha = 1 - answers.level
    return f"{_mean_verdict(row.versus, alpha)}; {_variance_verdict(row.versus, alpha)}"


def _mean_verdict(versus: Versus, alpha: float) -> str:
    if versus.p_difference is None or versus.difference.estimate is None:
        return "means not tested"
    if versus.p_difference > alpha:
        return "no difference in means shown"
    return "mean higher" if versus.difference.estimate > 0 else "mean lower"


def _variance_verdict(versus: Versus, alpha: float) -> str:
    if versus.p_variances is None or versus.equality.estimate is None:
        return "variances not tested"
    if versus.p_variances > alpha:
        return "no difference in variances shown"
    return "variance higher" if versus.equality.estimate > 0 else "variance lower"


def sentence(row: Comparison, answers: Comparisons) -> str:
    """The whole comparison of one arm, numbers included, ready to be printed under a table."""
    parts = [f"{_place(row)}: {answers.metric}: {wording.lowered(row.location.sentence)}", *_broken(row)]
    parts += [row.spread.sentence] if row.versus is None else []
    parts += [row.excess.sentence] if row.excess is not None else []
    parts += [row.obstacle] if row.versus is None else _against(row.versus, answers)
    return " ".join(part for part in [*parts, _conditions(answers)] if part)


def _place(row: Comparison) -> str:
    where = ", ".join(f"{name}={shown(value)}" for name, value in row.group.items())
    return f"{row.label} ({where})" if where else row.label


def _broken(row: Comparison) -> list[str]:
    """What did not end well, first: a mean over the finished ones says nothing about the others."""
    counts, parts = row.counts, []
    if counts.diverged:
        parts.append(f"{counts.diverged} of {wording.plural(row.divergence.n, 'replicate')} diverged, in no mean.")
    for number, ending in ((counts.failed, "failed"), (counts.stopped, "stopped early")):
        if number:
            parts.append(f"{wording.plural(number, 'replicate')} {ending}, in no mean.")
    if counts.missing:
        parts.append(f"{wording.plural(counts.missing, 'replicate')} finished without the metric.")
    if row.healthy_spread is not None:
        parts.append(f"{row.collapsed} collapsed; without them: {wording.lowered(row.healthy_spread.sentence)}")
    if row.healthy_excess is not None:
        parts.append(f"Without them, in excess of the test set: {wording.lowered(row.healthy_excess.sentence)}")
    return parts


def _against(versus: Versus, answers: Comparisons) -> list[str]:
    """Difference, ratio, test and what could have been seen."""
    parts = [] if versus.paired else ["The arms have no seed in common, so nothing is paired."]
    parts += [versus.difference.sentence + _adjusted(versus.p_difference, answers.family[0], answers)]
    parts += [versus.ratio.sentence, *([versus.excess_ratio.sentence] if versus.excess_ratio else [])]
    parts.append(versus.equality.sentence)
    parts[-1] += _adjusted(versus.p_variances, answers.family[1], answers)
    parts.append(versus.smallest_ratio.sentence)
    if versus.healthy_ratio is not None:
        parts.append(f"Among seeds healthy in both arms: {wording.lowered(versus.healthy_ratio.sentence)}")
    if versus.healthy_excess_ratio is not None:
        parts.append(f"Among these: {wording.lowered(versus.healthy_excess_ratio.sentence)}")
    return parts


def _adjusted(p: float | None, family: int, answers: Comparisons) -> str:
    if p is None or answers.correction == "none":
        return ""
    name = CORRECTION_NAMES[answers.correction]
    return f" {name} over {wording.plural(family, 'comparison')}: {wording.p_value(p)}."


def _conditions(answers: Comparisons) -> str:
    """What was held fixed or averaged, which limits what the numbers are about."""
    fixed = [f"one {SOURCES[c]}" for c in answers.columns.fixed]
    averaged = [SOURCES.get(c, c) for c in answers.columns.averaged]
    parts = [f"conditional on {wording.listing(fixed)}"] if fixed else []
    parts += [f"averaged over {wording.listing(averaged)} within a seed"] if averaged else []
    differing = answers.columns.confounded
    parts += (
        [f"not told apart from {wording.listing(differing)}, which differ with the factor"] if differing else []
    )
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "." if text else ""
