import numpy as np
import pytest
from statsmodels.stats.weightstats import ttost_ind, ttost_paired

from sweeps.statistics.equivalence import equivalence, unpaired_equivalence

GENERATOR = np.random.default_rng(7)
BASELINE = GENERATOR.standard_normal(12)
ARM = BASELINE + 0.1 + 0.2 * GENERATOR.standard_normal(12)


@pytest.mark.parametrize("margin", [0.05, 0.2, 0.5])
def test_it_is_statsmodels_and_the_interval_decides_alike(margin):
    finding = equivalence(ARM, BASELINE, margin=margin)
    assert finding.p == pytest.approx(ttost_paired(ARM, BASELINE, -margin, margin)[0], abs=1e-10)
    assert finding.interval is not None
    assert finding.interval.level == pytest.approx(0.9)
    within = -margin < finding.interval.low and finding.interval.high < margin
    assert within == (finding.p is not None and finding.p < 0.05)
    assert finding.sentence.startswith("Equivalent within" if within else "Equivalence not shown within")


@pytest.mark.parametrize("margin", [0.1, 0.5, 1.5])
def test_without_pairs_it_is_statsmodels_with_unequal_variances(margin):
    finding = unpaired_equivalence(ARM, 2 * BASELINE[:9], margin=margin)
    expected = ttost_ind(ARM, 2 * BASELINE[:9], -margin, margin, usevar="unequal")[0]
    assert finding.p == pytest.approx(expected, abs=1e-10)
    assert finding.interval is not None
    within = -margin < finding.interval.low and finding.interval.high < margin
    assert within == finding.sentence.startswith("Equivalent within")
