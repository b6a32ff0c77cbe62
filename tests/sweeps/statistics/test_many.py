import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from sweeps.statistics.errors import InvalidSample
from sweeps.statistics.many import adjusted, benjamini_hochberg, holm

# One test, many, ties, the ends of the range.
FAMILIES = [
    [0.3],
    [0.0, 1.0, 0.5, 0.5],
    [0.01] * 5,
    *(np.random.default_rng(m).beta(0.3, 1, m).tolist() for m in (2, 7, 30)),
]


@pytest.mark.parametrize("p_values", FAMILIES)
def test_holm_is_statsmodels(p_values):
    assert adjusted(p_values, "holm") == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-10)


@pytest.mark.parametrize("p_values", FAMILIES)
def test_benjamini_hochberg_is_scipys(p_values):
    expected = stats.false_discovery_control(p_values, method="bh")
    assert adjusted(p_values, "benjamini_hochberg") == pytest.approx(expected, abs=1e-10)


def test_findings_count_what_stands():
    p_values = [0.001, 0.02, 0.04, 0.5]
    assert holm(p_values).estimate == 1
    assert benjamini_hochberg(p_values).estimate == 2
    assert (
        holm(p_values).sentence == "1 of 4 comparisons stand at 5 % after Holm; the smallest corrected p = 0.004."
    )
    assert holm([]).estimate is None


@pytest.mark.parametrize("wrong", [[-0.1], [1.5], [np.nan]])
def test_what_is_no_p_value_is_refused(wrong):
    with pytest.raises(InvalidSample):
        adjusted(wrong, "holm")
