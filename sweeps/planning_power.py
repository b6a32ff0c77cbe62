"""What the replicates of a plan can show: the smallest effects that this many seeds detect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sweeps.planning import Plan
from sweeps.seeds import SOURCES
from sweeps.spec_replicates import Replicates
from sweeps.wording import counted

LEVEL, POWER = 0.95, 0.8
"""The level of the comparisons that reports make, and the share of experiments that would find the effect."""


@dataclass(frozen=True)
class Detectable:
    """What a comparison of two trials with the same seeds detects with the probability `POWER`.

    Attributes:
        seeds: Of each of the two: the unit of comparisons, over which crossed replicates are averaged.
        comparisons: Size of the family that the level is corrected for; 1 for a comparison on its own.
        level: Of each comparison in it, such that the family's is `LEVEL`.
        difference: Of means, in standard deviations of the differences by seed; None if none is detected.
        ratio: Of variances, above 1, between normal arms; None if none is detected.
    """

    seeds: int
    comparisons: int
    level: float
    difference: float | None
    ratio: float | None

    def line(self) -> str:
        """One line for a terminal."""
        where = "one comparison" if self.comparisons == 1 else f"all {self.comparisons:,} comparisons with a twin"
        difference = (
            "no difference in means"
            if self.difference is None
            else f"a difference in means of {self.difference:.2f} standard deviations (of the differences by seed)"
        )
        ratio = "no ratio of variances" if self.ratio is None else f"a ratio of variances of {self.ratio:.3g}"
        seeds = counted(self.seeds, "seed")
        return f"{seeds}, {where}: {difference} and {ratio} are found in {POWER:.0%} of experiments"

    def document(self) -> dict[str, Any]:
        """Plain values."""
        from dataclasses import asdict

        return {**asdict(self), "power": POWER}


def detectable(made: Plan) -> list[Detectable]:
    """What this plan can show: in one comparison, and in all comparisons of pruned trials with their twins.

    The second is at Bonferroni's level, the one that the smallest p value of Holm's correction is held to, as in
    the report. Where seeds are added as the sweep goes, it is what the first ones show; the last line is of the
    most that a trial can have.
    """
    replicates = made.spec.replicates
    sizes = [_units(replicates)]
    if replicates.until is not None:
        sizes.append(replicates.until.max)
    planned = {trial.trial_id for trial in made if trial.role == "twin"}  # a search has twins of its best only
    family = sum(trial.twin in planned and trial.role == "pruned" for trial in made)
    families = [1, family] if family > 1 else [1]
    return [_of(n, comparisons) for n in dict.fromkeys(sizes) for comparisons in families]


def _units(replicates: Replicates) -> int:
    """Seeds of the first source of chance that varies: what is crossed with it is averaged over."""
    return next((n for source in SOURCES if (n := len(replicates.seeds(source))) > 1), 1)


def _of(seeds: int, comparisons: int) -> Detectable:
    from sweeps.statistics.power import detectable_difference, detectable_ratio

    level = 1 - (1 - LEVEL) / comparisons
    difference = detectable_difference(seeds, level=level, power=POWER).estimate
    ratio = detectable_ratio(seeds, level=level, power=POWER).estimate
    return Detectable(seeds, comparisons, level, difference, ratio)
