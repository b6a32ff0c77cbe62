"""One arm described, and two arms set against each other: which statistic answers which column of a comparison."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sweeps.statistics.cells import Cell
from sweeps.statistics.collapse import collapsed_replicates
from sweeps.statistics.comparison import Comparison, VarianceTest, Versus
from sweeps.statistics.equivalence import equivalence, unpaired_equivalence
from sweeps.statistics.excess import excess_of, excess_ratio
from sweeps.statistics.failures import failure_difference, failure_rate
from sweeps.statistics.finding import Finding
from sweeps.statistics.groups import Arm, Group
from sweeps.statistics.improvement import (
    Mode,
    probability_of_improvement,
    unpaired_probability_of_improvement,
)
from sweeps.statistics.location import mean
from sweeps.statistics.paired import paired_difference, unpaired_difference
from sweeps.statistics.power import detectable_difference, detectable_ratio
from sweeps.statistics.samples import Array
from sweeps.statistics.spread import sd, unpaired_variance_ratio, variance_ratio
from sweeps.statistics.spread_tests import brown_forsythe, paired_brown_forsythe

Unit = tuple[Cell, ...]
# By replicate id, whether it was right on each test example.
Correct: TypeAlias = Mapping[str, NDArray[np.bool_]]


def broken_units(units: dict[Unit, float], arm: Arm, mode: Mode) -> set[Unit]:
    """Units that are dead, or lie beyond a gap on the bad side of the others."""
    values = np.array(list(units.values()))
    beyond = collapsed_replicates(values, worse="low" if mode == "max" else "high", resolution=arm.resolution)
    return {unit for unit, broken in zip(units, beyond, strict=True) if broken} | (arm.dead_units() & set(units))


def rates(arm: Arm, units: Collection[Unit], correct: Correct) -> NDArray[np.bool_] | Array | None:
    """How often each unit was right on each example, (units, examples); bool where a unit is one replicate.

    None if it is not known for all of them, their test sets differ in size, or a unit lacks a cell that others
    have: its examples would be averaged over other settings than theirs.
    """
    names: dict[Unit, list[str]] = {unit: [] for unit in units}
    for (unit, _), name in arm.replicates.items():
        if unit in names:
            names[unit].append(name)
    found = [[correct[name] for name in ours if name in correct] for ours in names.values()]
    complete = all(ours and len(bits) == len(ours) for ours, bits in zip(names.values(), found, strict=True))
    if (
        not complete
        or len({len(bits) for bits in found}) > 1
        or len({bits.size for ours in found for bits in ours}) != 1
    ):
        return None
    if all(len(bits) == 1 for bits in found):
        return np.array([bits[0] for bits in found])
    return np.array([np.mean(bits, axis=0) for bits in found])


def excess(arm: Arm, units: Collection[Unit], correct: Correct | None, level: float) -> Finding | None:
    """Variance in excess of the test set's over some units; None where correctness is not known."""
    known = rates(arm, units, correct) if correct is not None and len(units) > 1 else None
    return None if known is None else excess_of(known, level)


def describe(group: Group, arm: Arm, level: float, mode: Mode, correct: Correct | None = None) -> Comparison:
    """The arm on its own: counts, mean, spread, divergence, collapsed replicates and the spread without them."""
    units, counts = arm.units(), arm.counts
    broken = broken_units(units, arm, mode)
    values = np.array(list(units.values()))
    left = {unit: value for unit, value in units.items() if unit not in broken}
    return Comparison(
        group=group.settings,
        settings=arm.settings,
        is_baseline=False,
        counts=counts,
        location=mean(values, level=level),
        spread=sd(values, level=level),
        divergence=failure_rate(len(arm.diverged), len(arm.settled), level=level),
        dead=None if arm.dead is None else failure_rate(len(arm.dead_units()), len(units), level=level),
        collapsed=len(broken),
        healthy_spread=sd(np.array(list(left.values())), level=level) if broken else None,
        excess=excess(arm, units, correct, level),
        healthy_excess=excess(arm, left, correct, level) if broken else None,
    )


def shared(arm: Arm, baseline: Arm) -> tuple[dict[Unit, float], dict[Unit, float]]:
    """Metric by unit over the keys that both arms have, in one order."""
    keys = [key for key in arm.values if key in baseline.values]
    return arm.units(keys), baseline.units(keys)


def set_against(
    arm: Arm,
    baseline: Arm,
    levels: tuple[float, float],
    test: VarianceTest,
    mode: Mode,
    correct: Correct | None = None,
    margin: float | None = None,
) -> Versus:
    """The arm against its baseline: paired by seed if they share any, else as independent samples.

    `levels` are that of the intervals and the one at which something could have been seen.
    """
    level, strict = levels
    of_arm, of_baseline = shared(arm, baseline)
    paired = bool(of_arm)
    if not paired:
        of_arm, of_baseline = arm.units(), baseline.units()
    first, second = np.array(list(of_arm.values())), np.array(list(of_baseline.values()))
    compared = _paired(first, second, level, mode) if paired else _unpaired(first, second, level, mode)
    difference, ratio, better = compared
    in_baseline, in_arm = broken_units(baseline.units(), baseline, mode), broken_units(arm.units(), arm, mode)
    broken = in_baseline | in_arm
    healthy = _healthy(of_arm, of_baseline, broken)
    equality = paired_brown_forsythe if paired and test == "paired_brown_forsythe" else brown_forsythe
    spread = difference.details.get("sd_of_differences")
    return Versus(
        difference=difference,
        ratio=ratio,
        equality=equality(first, second),
        better=better,
        broken=(len(in_baseline & set(of_baseline)), len(in_arm & set(of_arm))),
        healthy_equality=equality(*healthy) if healthy else None,
        healthy_ratio=(variance_ratio if paired else unpaired_variance_ratio)(*healthy, level=level)
        if healthy
        else None,
        excess_ratio=_excess_ratio((arm, baseline), (of_arm, of_baseline), correct, level),
        healthy_excess_ratio=_excess_ratio((arm, baseline), (of_arm, of_baseline), correct, level, broken)
        if broken & (set(of_arm) | set(of_baseline))
        else None,
        smallest_ratio=detectable_ratio(first.size, baseline_n=second.size, level=strict),
        smallest_difference=detectable_difference(first.size, sd_of_differences=spread, level=strict)
        if isinstance(spread, float)
        else None,
        paired=paired,
        equivalence=None
        if margin is None
        else (equivalence if paired else unpaired_equivalence)(first, second, margin=margin, level=level),
        divergence=failure_difference(
            len(arm.diverged), len(arm.settled), len(baseline.diverged), len(baseline.settled)
        ),
        dead=_dead_difference(arm, baseline),
    )


def _dead_difference(arm: Arm, baseline: Arm) -> Finding | None:
    """Difference of the rates of dead networks among units that finished; None where that is not recorded."""
    if arm.dead is None or baseline.dead is None:
        return None
    finished = [len({unit for unit, _ in one.values}) for one in (arm, baseline)]
    return failure_difference(len(arm.dead_units()), finished[0], len(baseline.dead_units()), finished[1])


def _paired(arm: Array, baseline: Array, level: float, mode: Mode) -> tuple[Finding, Finding, Finding]:
    return (
        paired_difference(arm, baseline, level=level),
        variance_ratio(arm, baseline, level=level),
        probability_of_improvement(arm, baseline, level=level, mode=mode),
    )


def _unpaired(arm: Array, baseline: Array, level: float, mode: Mode) -> tuple[Finding, Finding, Finding]:
    return (
        unpaired_difference(arm, baseline, level=level),
        unpaired_variance_ratio(arm, baseline, level=level),
        unpaired_probability_of_improvement(arm, baseline, level=level, mode=mode),
    )


def _excess_ratio(
    arms: tuple[Arm, Arm],
    units: tuple[dict[Unit, float], dict[Unit, float]],
    correct: Correct | None,
    level: float,
    without: Collection[Unit] = (),
) -> Finding | None:
    """Ratio of excess variances over the units compared; None where correctness is not known."""
    found = [
        excess(arm, [unit for unit in ours if unit not in without], correct, level)
        for arm, ours in zip(arms, units, strict=True)
    ]
    return excess_ratio(found[0], found[1]) if found[0] and found[1] else None


def _healthy(arm: dict[Unit, float], baseline: dict[Unit, float], broken: set[Unit]) -> tuple[Array, Array] | None:
    """Both arms without the units that broke in either; None if none did."""
    if not broken & (set(arm) | set(baseline)):
        return None
    first = np.array([value for unit, value in arm.items() if unit not in broken])
    second = np.array([value for unit, value in baseline.items() if unit not in broken])
    return first, second
