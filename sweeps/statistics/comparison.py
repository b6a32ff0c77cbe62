"""The answer to "does it help, and is it less a matter of luck?", arm by arm, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sweeps.statistics.cells import Cell
from sweeps.statistics.columns import Columns
from sweeps.statistics.finding import Finding
from sweeps.statistics.groups import Counts
from sweeps.statistics.improvement import Mode
from sweeps.statistics.many import Correction

VarianceTest = Literal["brown_forsythe", "paired_brown_forsythe"]


@dataclass(frozen=True)
class Versus:
    """What an arm and its baseline say about each other.

    Attributes:
        difference: Mean difference, by seed where seeds are shared.
        ratio: Ratio of variances.
        equality: Test of equal variances.
        better: Probability of improvement.
        broken: Seeds that collapsed in the baseline, and in the arm.
        healthy_equality: The test without the seeds that collapsed in either arm, if any did: a variance that
            drops because collapsed seeds were repaired is another finding than one that drops among healthy ones.
        healthy_ratio: The ratio without the seeds that collapsed in either arm, if any did.
        excess_ratio: Ratio of the variances in excess of the test set's; None where correctness is not known.
        healthy_excess_ratio: The same without the seeds that collapsed in either arm, if any did.
        smallest_ratio: What ratio could have been seen.
        smallest_difference: What difference could have been seen.
        paired: Whether the arms share seeds; if not, they are compared as independent samples.
        equivalence: Whether the means are within a margin; None if no margin was stated.
        divergence, dead: Differences of the rates of diverged and of dead units; None where not recorded.
        p_difference, p_variances, p_healthy, p_equivalence, p_divergence, p_dead: p values, each corrected over
            its family.
    """

    difference: Finding
    ratio: Finding
    equality: Finding
    better: Finding
    broken: tuple[int, int]
    healthy_equality: Finding | None
    healthy_ratio: Finding | None
    excess_ratio: Finding | None
    healthy_excess_ratio: Finding | None
    smallest_ratio: Finding
    smallest_difference: Finding | None
    paired: bool
    equivalence: Finding | None
    divergence: Finding
    dead: Finding | None
    p_difference: float | None = None
    p_variances: float | None = None
    p_healthy: float | None = None
    p_equivalence: float | None = None
    p_divergence: float | None = None
    p_dead: float | None = None


@dataclass(frozen=True)
class Comparison:
    """One arm of one group.

    Attributes:
        group: Configuration that the group's arms share, by column.
        settings: The factor and what goes with it, by column.
        is_baseline: Whether this is the arm that the others are compared with.
        counts: Replicates by how they ended.
        location, spread: Mean and standard deviation of the arm.
        divergence, dead: Rates of units (seeds) with a replicate that diverged, among those that finished or
            diverged, and with a dead network, among those that finished; None where that is not recorded.
        collapsed: Finished replicates that are dead or lie beyond a gap below the healthy ones.
        healthy_spread: Standard deviation without them, if there are any.
        excess: Variance in excess of the test set's; None where it is not known which examples were right.
        p_excess: The p value of there being none, corrected over all arms.
        healthy_excess: The same without collapsed replicates, if there are any.
        versus: The comparison with the baseline; None for the baseline, or where there is none.
        obstacle: Why `versus` is None.
    """

    group: Mapping[str, Cell]
    settings: Mapping[str, Cell]
    is_baseline: bool
    counts: Counts
    location: Finding
    spread: Finding
    divergence: Finding
    dead: Finding | None
    collapsed: int
    healthy_spread: Finding | None
    excess: Finding | None
    healthy_excess: Finding | None
    versus: Versus | None = None
    p_excess: float | None = None
    obstacle: str = ""

    @property
    def label(self) -> str:
        """The arm in a few words."""
        return label_of(self.settings)


@dataclass(frozen=True)
class Comparisons:
    """All arms of all groups, and how they were compared.

    Attributes:
        rows: One a group and arm, the baseline first in its group.
        columns: What each column of the table was.
        metric, mode, level, correction: As asked for.
        families: Number of tests that each p value is corrected over, by its name in `Versus` or `Comparison`.
        margin: Within which means count as equivalent in practice; None if not asked.
        ranking: Mean ranks of three arms or more, best first.
    """

    rows: tuple[Comparison, ...]
    columns: Columns
    baseline: object
    metric: str
    mode: Mode
    level: float
    correction: Correction
    variance_test: VarianceTest
    families: Mapping[str, int]
    margin: float | None = None
    ranking: tuple[Finding, ...] = ()

    @property
    def family(self) -> tuple[int, int]:
        """Number of comparisons of means, and of variances."""
        return self.families["p_difference"], self.families["p_variances"]


def label_of(settings: Mapping[str, Cell]) -> str:
    """An arm in a few words: the factor's value, then what goes with it."""
    first, *others = settings.items()
    parts = [f"{name.rpartition('.')[2]}={shown(value)}" for name, value in others if value is not None]
    return ", ".join([shown(first[1]), *parts])


def shown(value: Cell) -> str:
    """A setting in a label; a missing one is `unset`."""
    return "unset" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
