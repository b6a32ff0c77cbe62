"""A comparison in words."""

from __future__ import annotations

from typing import NamedTuple

from sweeps.statistics import wording
from sweeps.statistics.columns import Columns
from sweeps.statistics.comparison import Comparison, Comparisons, Versus, shown
from sweeps.statistics.finding import Finding
from sweeps.statistics.many import CORRECTION_NAMES

ALSO_HEALTHY = "also among healthy seeds"


class Change(NamedTuple):
    """How spreads differ.

    Attributes:
        subject: What differs: the variance, or the typical deviation where they point in opposite directions.
        direction: higher or lower; empty where no difference is shown.
        cause: What collapsed seeds have to do with it, if any collapsed.
    """

    subject: str
    direction: str
    cause: str = ""

    @property
    def text(self) -> str:
        """`lower`, `lower by repaired collapses`, `lower, also among healthy seeds`."""
        if not self.cause:
            return self.direction
        return f"{self.direction}{' ' if self.cause.startswith('by ') else ', '}{self.cause}"

    @property
    def is_of_variance(self) -> bool:
        """Whether it is one of the variance that collapsed seeds do not explain."""
        return bool(self.direction) and self.subject == "variance" and self.cause in ("", ALSO_HEALTHY)


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
    parts = [_mean_verdict(row.versus, answers), _variance_verdict(row.versus, alpha)]
    return "; ".join([*parts, *_failure_verdicts(row.versus, alpha)])


def _mean_verdict(versus: Versus, answers: Comparisons) -> str:
    alpha = 1 - answers.level
    if versus.p_difference is None or versus.difference.estimate is None:
        return "means not tested"
    alike = versus.p_equivalence is not None and versus.p_equivalence <= alpha
    if versus.p_difference > alpha:
        return f"means equivalent within ±{answers.margin:g}" if alike else "no difference in means shown"
    direction = "mean higher" if versus.difference.estimate > 0 else "mean lower"
    return f"{direction}, but equivalent within ±{answers.margin:g}" if alike else direction


def _failure_verdicts(versus: Versus, alpha: float) -> list[str]:
    """What the corrected tests say about networks that broke; nothing where they show no difference."""
    found = []
    for finding, p, words in (
        (versus.divergence, versus.p_divergence, ("diverges more often", "diverges less often")),
        (versus.dead, versus.p_dead, ("dead networks more often", "dead networks less often")),
    ):
        if finding is not None and finding.estimate and p is not None and p <= alpha:
            found.append(words[0] if finding.estimate > 0 else words[1])
    return found


def variance_change(versus: Versus, alpha: float) -> Change | None:
    """What the corrected tests say about the variances; None if they were not tested.

    The direction of Brown and Forsythe's test is that of the typical deviation. Where the ratio of the variances
    points the other way (a few far values), no direction of the variance is claimed.
    """
    p, estimate = versus.p_variances, versus.equality.estimate
    if p is None or estimate is None:
        return None
    if p > alpha:
        return Change("variance", "")
    direction = "higher" if estimate > 0 else "lower"
    ratio = versus.ratio.estimate
    if ratio is not None and (ratio > 1) != (estimate > 0):
        return Change("typical deviation", direction)
    return Change("variance", direction, _cause(versus, direction, alpha))


def _cause(versus: Versus, direction: str, alpha: float) -> str:
    """What collapsed seeds have to do with a variance that differs; nothing where none collapsed."""
    healthy = versus.healthy_equality
    if healthy is None:
        return ""
    agrees = healthy.estimate is not None and ("higher" if healthy.estimate > 0 else "lower") == direction
    if agrees and versus.p_healthy is not None and versus.p_healthy <= alpha:
        return ALSO_HEALTHY
    of_baseline, of_arm = versus.broken
    if direction == "lower" and of_baseline > of_arm:
        return "by repaired collapses"
    if direction == "higher" and of_arm > of_baseline:
        return "by new collapses"
    return "not shown among healthy seeds"


def _variance_verdict(versus: Versus, alpha: float) -> str:
    change = variance_change(versus, alpha)
    if change is None:
        return "variances not tested"
    return f"{change.subject} {change.text}" if change.direction else "no difference in variances shown"


def sentence(row: Comparison, answers: Comparisons) -> str:
    """The whole comparison of one arm, numbers included, ready to be printed under a table."""
    parts = [f"{_place(row)}: {answers.metric}: {wording.lowered(row.location.sentence)}", *_broken(row)]
    parts += [row.spread.sentence] if row.versus is None else []
    if row.excess is not None:
        parts.append(row.excess.sentence + _adjusted(row.p_excess, "p_excess", answers, "arm"))
    parts += [row.obstacle] if row.versus is None else _against(row.versus, answers)
    return " ".join(part for part in [*parts, _conditions(answers)] if part)


def _place(row: Comparison) -> str:
    where = ", ".join(f"{name}={shown(value)}" for name, value in row.group.items())
    return f"{row.label} ({where})" if where else row.label


def _broken(row: Comparison) -> list[str]:
    """What did not end well, first: a mean over the finished ones says nothing about the others."""
    counts, parts = row.counts, []
    if counts.diverged:
        ended = counts.finished + counts.missing + counts.diverged
        text = f"{counts.diverged} of {wording.plural(ended, 'replicate')} diverged, in no mean"
        parts.append(f"{text}: {_rate(row.divergence)}.")
    for number, ending in ((counts.failed, "failed"), (counts.stopped, "stopped early")):
        if number:
            parts.append(f"{wording.plural(number, 'replicate')} {ending}, in no mean.")
    if counts.missing:
        parts.append(f"{wording.plural(counts.missing, 'replicate')} finished without the metric.")
    if row.dead is not None and row.dead.estimate:
        gone = round(row.dead.estimate * row.dead.n)
        parts.append(
            f"{gone} of {wording.plural(row.dead.n, 'seed')} never predict some class: {_rate(row.dead)}."
        )
    if row.healthy_spread is not None:
        parts.append(f"{row.collapsed} collapsed; without them: {wording.lowered(row.healthy_spread.sentence)}")
    if row.healthy_excess is not None:
        parts.append(f"Without them, in excess of the test set: {wording.lowered(row.healthy_excess.sentence)}")
    return parts


def _rate(finding: Finding) -> str:
    """`rate 0.2, 95 % interval [0.04, 0.48]`."""
    assert finding.estimate is not None  # noqa: S101 - asked by the caller
    assert finding.interval is not None  # noqa: S101 - a rate has one
    ends = f"[{finding.interval.low:.2g}, {finding.interval.high:.2g}]"
    return f"rate {finding.estimate:.2g} of seeds, {wording.percent(finding.interval.level)} interval {ends}"


def _failures(versus: Versus, answers: Comparisons) -> list[str]:
    """Whether arms differ in how often networks broke, where any did."""
    found = []
    for finding, name, what in (
        (versus.divergence, "p_divergence", "Divergence"),
        (versus.dead, "p_dead", "Dead networks"),
    ):
        if finding is not None and finding.estimate:
            adjusted = _adjusted(getattr(versus, name), name, answers)
            found.append(f"{what}: {wording.lowered(finding.sentence)}{adjusted}")
    return found


def _against(versus: Versus, answers: Comparisons) -> list[str]:
    """Difference, ratio, test and what could have been seen."""
    parts = [] if versus.paired else ["The arms have no seed in common, so nothing is paired."]
    parts += [versus.difference.sentence + _adjusted(versus.p_difference, "p_difference", answers)]
    if versus.equivalence is not None:
        parts.append(versus.equivalence.sentence)
        parts[-1] += _adjusted(versus.p_equivalence, "p_equivalence", answers)
    parts += [versus.ratio.sentence, *([versus.excess_ratio.sentence] if versus.excess_ratio else [])]
    parts.append(versus.equality.sentence)
    parts[-1] += _adjusted(versus.p_variances, "p_variances", answers)
    parts.append(versus.smallest_ratio.sentence + _corrected_level(answers))
    if versus.healthy_ratio is not None:
        parts.append(f"Among seeds healthy in both arms: {wording.lowered(versus.healthy_ratio.sentence)}")
    if versus.healthy_equality is not None:
        parts.append(f"Among these: {wording.lowered(versus.healthy_equality.sentence)}")
        parts[-1] += _adjusted(versus.p_healthy, "p_healthy", answers)
    if versus.healthy_excess_ratio is not None:
        parts.append(f"Among these: {wording.lowered(versus.healthy_excess_ratio.sentence)}")
    return [*parts, *_failures(versus, answers)]


def _corrected_level(answers: Comparisons) -> str:
    return "" if answers.correction == "none" or max(answers.family) < 2 else " This is at the corrected level."


def _adjusted(p: float | None, family: str, answers: Comparisons, what: str = "comparison") -> str:
    if p is None or answers.correction == "none":
        return ""
    name = CORRECTION_NAMES[answers.correction]
    return f" {name} over {wording.plural(answers.families[family], what)}: {wording.p_value(p)}."


def conditions(columns: Columns) -> str:
    """`one split and these 3 data orders`: the sources of chance that a finding says nothing beyond."""
    few = [f"these {wording.plural(count, SOURCES.get(name, name))}" for name, count in columns.crossed]
    return wording.listing([*(f"one {SOURCES[name]}" for name in columns.fixed), *few])


def _conditions(answers: Comparisons) -> str:
    """What was held fixed or averaged, which limits what the numbers are about."""
    held = conditions(answers.columns)
    averaged = [SOURCES.get(c, c) for c in answers.columns.averaged]
    parts = [f"conditional on {held}"] if held else []
    parts += [f"averaged over {wording.listing(averaged)} within a seed"] if averaged else []
    differing = answers.columns.confounded
    parts += (
        [f"not told apart from {wording.listing(differing)}, which differ with the factor"] if differing else []
    )
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "." if text else ""
