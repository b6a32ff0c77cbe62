import json

import pytest

from sweeps.statistics import wording
from sweeps.statistics.finding import Finding, Interval, unanswered


def test_a_finding_is_plain_json():
    finding = Finding("mean", 0.5, Interval(0.4, 0.6, 0.95), 10, "Student t", "Mean 0.50.", details={"sd": 0.1})
    document = json.loads(json.dumps(finding.to_dict()))
    assert document["interval"] == {"low": 0.4, "high": 0.6, "level": 0.95}
    assert document["details"] == {"sd": 0.1}


def test_an_unanswered_question_has_a_sentence_and_no_interval():
    finding = unanswered("mean", 1, "Student t", "One replicate.", 0.5, more=3)
    assert (finding.estimate, finding.interval, finding.p) == (0.5, None, None)
    assert finding.details == {"more": 3}


def test_an_interval_knows_its_width_and_what_it_holds():
    interval = Interval(1.0, 3.0, 0.9)
    assert interval.width == 2
    assert 1.0 in interval
    assert 3.1 not in interval


@pytest.mark.parametrize(
    ("value", "uncertainty", "text"),
    [
        (0.89123, 0.0042, "0.8912"),
        (0.89123, 0.31, "0.89"),
        (1234.5, 21, "1,234"),
        (0.0, None, "0"),
        (0.5, None, "0.5000"),
        (3e-9, None, "3.00 × 10^−9"),
        (-2e8, None, "−2.00 × 10^8"),
    ],
)
def test_numbers_show_what_their_uncertainty_warrants(value, uncertainty, text):
    assert wording.number(value, uncertainty) == text


def test_signs_p_values_and_lists():
    assert wording.signed(-0.0123, 0.004) == "−0.0123"
    assert wording.signed(0.0, 0.1) == "+0.00"
    assert wording.p_value(3e-7) == "p < 0.0001"
    assert wording.p_value(0.0312) == "p = 0.031"
    assert wording.plural(1, "seed") == "1 seed"
    assert wording.listing(["a", "b", "c"]) == "a, b and c"
    assert wording.listing([]) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(18412.3, "18,410"), (999.6, "1,000"), (0.5, "0.5"), (0.0000123, "0.0000123"), (-3.21, "−3.21"), (0, "0"),
     (1.234e12, "1.23 × 10^12")],
)  # fmt: skip
def test_ratios_have_no_exponents_that_people_have_to_decode(value, text):
    assert wording.ratio(value) == text
