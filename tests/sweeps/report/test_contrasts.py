from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sweeps.report.blocks import Paragraph
from sweeps.report.contrasts import contrasts
from sweeps.report.evidence import Evidence
from sweeps.report.sections.answer import answer
from tests.sweeps.report.conftest import evidence_of
from tests.sweeps.report.generator import Recipe, make


def test_each_pruned_trial_is_set_against_its_own_twin_seed_by_seed(evidence: Evidence) -> None:
    found = contrasts(evidence)
    pruned = evidence.trials[evidence.trials["arm"] == "pruned"]
    assert [one.trial_id for one in found.all] == list(pruned["trial_id"])
    for one, (_, trial) in zip(found.all, pruned.iterrows(), strict=True):
        own, twin = (
            evidence.replicates(name)["test_accuracy"].to_numpy() for name in (one.trial_id, trial["twin"])
        )
        assert one.difference is not None
        assert one.ratio is not None
        assert one.difference.value == pytest.approx(np.mean(own - twin))
        assert one.ratio.value == pytest.approx(own.var(ddof=1) / twin.var(ddof=1))
        assert one.baseline.location.estimate == pytest.approx(twin.mean())


def test_collapsed_networks_are_told_apart_from_luck(storage: Path) -> None:
    """A broken twin blows up the variance; the answer gives the ratio without it too."""
    made = make(storage, Recipe(grid={"prune.aggressiveness": [0.4]}, seeds=8, files=False))
    broken = (made.table["role"] == "twin") & (made.table["seeds.initialisation"] == 0)
    made.table.loc[broken, ["test_accuracy", "classes_never_predicted"]] = [0.31, 5]
    evidence = evidence_of(made)
    found = contrasts(evidence)
    (one,) = found.all
    assert one.versus.healthy_ratio is not None
    assert one.ratio is not None
    assert one.versus.healthy_ratio.estimate is not None
    assert one.versus.healthy_ratio.estimate > 10 * one.ratio.value
    texts = [block.text for block in answer(evidence, found).blocks if isinstance(block, Paragraph)]
    assert any("In 1 comparison some networks collapsed" in text for text in texts)


def test_several_rules_share_a_twin(storage: Path) -> None:
    made = make(storage, Recipe(grid={"prune.rule": ["mp_threshold", "magnitude"]}, seeds=4, files=False))
    found = contrasts(evidence_of(made))
    assert {one.arm for one in found.all} == {"mp_threshold", "magnitude"}
    assert not found.obstacles


def test_without_twins_it_says_why_nothing_is_compared(storage: Path) -> None:
    found = contrasts(evidence_of(make(storage, Recipe(baseline=False, seeds=3, files=False))))
    assert not found.all
    assert "prune.rule = none" in found.obstacles[0]


def test_an_empty_table_is_an_obstacle_and_no_error(storage: Path) -> None:
    grid = {"prune.aggressiveness": [0.5]}
    nothing = frozenset({(0, 0), (1, 0)})
    found = contrasts(evidence_of(make(storage, Recipe(grid=grid, seeds=1, unrecorded=nothing, files=False))))
    assert not found.all
    assert found.answers is None
    assert found.obstacles
