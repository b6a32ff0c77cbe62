"""The numbers of each pruned trial against its twin: means, variances, and where the methods are doubtful."""

from __future__ import annotations

from sweeps.report.arms import UNPRUNED
from sweeps.report.blocks import Block, Column, Paragraph, Table, csv_download
from sweeps.report.contrasts import BASELINE, Contrast, Contrasts, Estimate
from sweeps.report.evidence import Evidence
from sweeps.report.numbers import DASH, plain
from sweeps.report.words import metric_words, plural, shorten, value_text
from sweeps.statistics import Finding, Versus, wording
from sweeps.statistics.verdict import variance_change

ROWS = 20
COLLAPSED = (
    ("collapsed", True, "replicates, unpruned and pruned"),
    ("sd without them", True, "unpruned → pruned, without replicates that collapsed"),
    ("ratio without them", True, "without seeds that collapsed in either arm"),
)
BEYOND = (
    ("sd beyond test set", True, "beyond what the finite test set alone gives, unpruned → pruned"),
    ("ratio beyond it", True, "of the variances beyond what the finite test set alone gives"),
)
# Measured: `benchmarks/calibration.py`.
SKEW = (
    "arms of equal variance keep the level of the paired t test even so, but with variances fourfold apart it "
    "rejects 8 % of true nulls under mild skew and up to 19 % under strong skew, instead of 5 %"
)
RATIO = "under strong skew a 95 % interval of a ratio of variances covers 86–91 %"


def means(evidence: Evidence, contrasts: Contrasts) -> Table:
    """Differences of the means, with the whole comparison to download."""
    family, alpha = _family(contrasts)
    caption = (
        f"{_which(contrasts)} of mean {metric_words(contrasts.metric)}, pruned minus twin, paired by seed. p "
        f"values are {_corrected(contrasts)} over {plural(family[0], 'test')} (paired t)."
    )
    columns = [
        *_places(evidence),
        Column("pairs", True, "seeds that finished in both"),
        Column("diverged", True, "replicates, unpruned and pruned"),
        Column("difference [95 %]", True),
        Column("p", True, "corrected; with the direction where it is shown"),
        Column("effect", True, "Hedges' g of the differences"),
        Column("P(better)", True, "probability of improvement"),
        Column("detectable", True, "difference that 80 % of such experiments would find"),
    ]
    rows = [[*_settings(evidence, one), *_of_means(one, alpha)] for one in contrasts.all[:ROWS]]
    margin = None if contrasts.answers is None else contrasts.answers.margin
    if margin is not None:
        columns.append(Column(f"within ±{margin:g}", True, "corrected p of two one-sided tests of equivalence"))
        rows = [
            [*row, _p_equivalent(one.versus.p_equivalence, alpha)]
            for row, one in zip(rows, contrasts.all, strict=False)
        ]
    return Table(caption, columns, rows, csv_download(f"{evidence.sweep}-comparison", contrasts.frame))


def _of_means(one: Contrast, alpha: float) -> list[str]:
    versus = one.versus
    smallest = versus.smallest_difference.estimate if versus.smallest_difference else None
    return [
        str(versus.difference.n if versus.paired else 0),
        f"{one.baseline.counts.diverged}, {one.row.counts.diverged}",
        _between(one.difference),
        _p(versus.p_difference, versus.difference.estimate, alpha),
        DASH if versus.difference.effect is None else wording.signed(versus.difference.effect, 0.1),
        plain(versus.better.estimate, 0.1) if versus.better.estimate is not None else DASH,
        _sd(smallest),
    ]


def ranks(contrasts: Contrasts) -> list[Block]:
    """Arms ranked over the seeds that all of them finished, where there are three or more."""
    answers = contrasts.answers
    found = [] if answers is None else [one for one in answers.ranking if one.interval is not None]
    if not found:
        return []
    first = found[0]
    critical = wording.ratio(float(first.details["critical_difference"] or 0.0))
    caption = (
        f"Arms ranked by {metric_words(contrasts.metric)}, 1 is best: mean rank over the {first.n:,} seeds of all "
        f"groups that every arm finished (Friedman {wording.p_value(first.p or 0.0)}), with Nemenyi's critical "
        f"difference of {critical}: arms whose mean ranks are closer are not told apart."
    )
    columns = [Column("arm"), Column("mean rank", True), Column("not told apart from")]
    rows = [
        [_arm(str(one.details["arm"])), f"{one.estimate:.2f}", _arm(str(one.details["alike"])) or "no other"]
        for one in found
    ]
    return [Table(caption, columns, rows)]


def _arm(names: str) -> str:
    """Arms as the comparison calls them, the baseline as the report does."""
    return "; ".join(UNPRUNED if name == BASELINE else name for name in names.split("; "))


def variances(evidence: Evidence, contrasts: Contrasts) -> Table:
    """Ratios of the variances: of all seeds, without collapsed ones, and beyond the test set's."""
    family, alpha = _family(contrasts)
    caption = (
        f"{_which(contrasts)} of the variance of {metric_words(contrasts.metric)} over seeds, pruned over twin. p "
        f"values are {_corrected(contrasts)} over {plural(family[1], 'test')} (Brown–Forsythe)."
    )
    broken = any(one.row.collapsed or one.baseline.collapsed for one in contrasts.all)
    known = any(one.excess for one in contrasts.all)
    columns = [
        *_places(evidence),
        Column("sd unpruned → pruned", True),
        Column("variance ratio [95 %]", True),
        Column("p", True, "corrected; with the direction where it is shown"),
        Column("detectable", True, "ratio that 80 % of such experiments would find"),
    ]
    columns += [Column(*title) for title in COLLAPSED if broken] + [Column(*title) for title in BEYOND if known]
    rows = [
        [
            *_settings(evidence, one),
            *_of_variances(one, alpha),
            *(_without_collapsed(one) if broken else []),
            *(_beyond_test_set(one) if known else []),
        ]
        for one in contrasts.all[:ROWS]
    ]
    return Table(caption, columns, rows)


def _of_variances(one: Contrast, alpha: float) -> list[str]:
    versus, smallest = one.versus, one.versus.smallest_ratio.estimate
    return [
        f"{_sd(one.baseline.spread.estimate)} → {_sd(one.row.spread.estimate)}",
        _ratio(one.ratio),
        _p_of_variances(versus, alpha),
        "none" if smallest is None else wording.ratio(smallest),
    ]


def _without_collapsed(one: Contrast) -> list[str]:
    healthy = [(arm.healthy_spread or arm.spread).estimate for arm in (one.baseline, one.row)]
    return [
        f"{one.baseline.collapsed}, {one.row.collapsed}",
        " → ".join(_sd(value) for value in healthy),
        _ratio(Estimate.of(one.versus.healthy_ratio or one.versus.ratio)),
    ]


def _beyond_test_set(one: Contrast) -> list[str]:
    return [
        " → ".join(_sd(arm.value) for arm in one.excess) if one.excess else DASH,
        DASH if one.excess_ratio is None else wording.ratio(one.excess_ratio),
    ]


def _places(evidence: Evidence) -> list[Column]:
    named = (Column(shorten(short, 24), note=path) for path, short in evidence.dimensions.items())
    return [Column("#", True), *named]


def _settings(evidence: Evidence, one: Contrast) -> list[str]:
    trial = evidence.trials[evidence.trials["trial_id"] == one.trial_id].iloc[0]
    return [f"{one.number}", *(shorten(value_text(trial.get(path)), 40) for path in evidence.dimensions)]


def _family(contrasts: Contrasts) -> tuple[tuple[int, int], float]:
    """Sizes of the families of means and of variances, and the level of the verdicts."""
    answers = contrasts.answers
    return ((0, 0), 0.05) if answers is None else (answers.family, 1 - answers.level)


def _corrected(contrasts: Contrasts) -> str:
    return (
        "Holm-corrected" if contrasts.answers is None else f"{contrasts.answers.correction.capitalize()}-corrected"
    )


def _which(contrasts: Contrasts) -> str:
    total = plural(len(contrasts.all), "comparison")
    return f"The first {ROWS} of {total}" if len(contrasts.all) > ROWS else f"All {total}"


def doubts(contrasts: Contrasts) -> list[Block]:
    """Where the methods' assumptions are doubtful, and by how much they then miss their level."""
    total = len(contrasts.all)
    skewed = [one for one in contrasts.all if _doubtful(one.versus.difference)]
    both = [one for one in skewed if one.versus.p_variances is not None and one.versus.p_variances <= 0.05]
    ratios = [one for one in contrasts.all if _doubtful(one.versus.ratio)]
    found = []
    if skewed:
        differ = f", in {len(both)} of them with variances that differ (p ≤ 5 % alone)" if both else ""
        found.append(f"{_have(len(skewed))} differences by seed that do not look normal{differ}: {SKEW}")
    if ratios:
        found.append(f"{_have(len(ratios))} an arm that does not look normal: {RATIO}")
    chance = "About 5 in 100 normal samples look so by chance (Shapiro–Wilk)."
    text = f"Of {plural(total, 'comparison')}, {'; '.join(found)}. {chance}"
    return [Paragraph(text, strong="Assumptions.")] if found else []


def _have(count: int) -> str:
    return f"{count} {'has' if count == 1 else 'have'}"


def _doubtful(finding: Finding) -> bool:
    return any("doubtful" in assumption for assumption in finding.assumptions)


def _between(estimate: Estimate | None) -> str:
    if estimate is None:
        return DASH
    if estimate.span is None:
        return wording.signed(estimate.value)
    half = (estimate.span[1] - estimate.span[0]) / 2
    ends = ", ".join(wording.signed(end, half) for end in estimate.span)
    return f"{wording.signed(estimate.value, half)} [{ends}]"


def _ratio(estimate: Estimate | None) -> str:
    if estimate is None:
        return DASH
    ends = f" [{', '.join(wording.ratio(end) for end in estimate.span)}]" if estimate.span else ""
    return f"{wording.ratio(estimate.value)}{ends}"


def _p(value: float | None, estimate: float | None, alpha: float) -> str:
    """A p value, followed by the direction if it is at most `alpha`."""
    if value is None:
        return DASH
    text = wording.p_value(value).removeprefix("p = ").removeprefix("p ")
    return f"{text}, {'higher' if estimate > 0 else 'lower'}" if estimate and value <= alpha else text


def _p_equivalent(value: float | None, alpha: float) -> str:
    text = _p(value, None, alpha)
    return f"{text}, equivalent" if value is not None and value <= alpha else text


def _p_of_variances(versus: Versus, alpha: float) -> str:
    change = variance_change(versus, alpha)
    if change is None or not change.direction:
        return _p(versus.p_variances, None, alpha)
    kind = "" if change.subject == "variance" else f"{change.subject} "
    return f"{_p(versus.p_variances, None, alpha)}, {kind}{change.text}"


def _sd(value: float | None) -> str:
    return DASH if value is None else wording.number(value, value) if value else "0"
