"""An adaptive sweep as it goes, with real trainings in this process: log, crashes, cells, twins, objectives."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

import sweeps
from sweeps import storage
from sweeps.aggregate import trials_of
from sweeps.data import load
from sweeps.errors import SpecError
from sweeps.goal import statistic_of
from sweeps.planned import PlannedTrial
from sweeps.search import adaptive
from sweeps.search.adaptive import Search
from sweeps.spec import SweepSpec, build_spec
from sweeps.stopping import recorded
from sweeps.table import replicates_of
from sweeps.trainable import pending
from sweeps.trial import TrialRun

DATA = {"kind": "digits", "validation": 100, "train_size": 60}
SPEC: dict[str, Any] = {
    "name": "searched",
    "trial": {
        "data": DATA,
        "model": {"kind": "mlp", "widths": [8]},
        "training": {"epochs": 2, "batch_size": 30},
        "prune": {"every": 1},
    },
    "space": {
        "training.optimiser.lr": {"loguniform": [0.001, 1.0]},
        "prune.aggressiveness": {"uniform": [0.0, 1.0]},
    },
    "replicates": {"initialisation": 2},
    "baseline": False,
}
DESIGNS = {
    "tpe": {"kind": "tpe", "trials": 7, "startup": 3},
    "gp": {"kind": "gp", "trials": 6, "startup": 3},
    "cmaes": {"kind": "cmaes", "trials": 9, "population": 4},
    "nsga2": {"kind": "nsga2", "trials": 9, "population": 4},
}


def spec_of(kind: str = "tpe", **changes: Any) -> SweepSpec:
    return build_spec({**SPEC, "design": DESIGNS[kind], **changes})


def opened(spec: SweepSpec, sweep: Path) -> Search:
    search = Search(spec, sweep, lambda data: load(data).fingerprint)
    storage.write_json(sweep / "plan.json", search.plan.document())
    return search


def train(search: Search, sweep: Path, trial: PlannedTrial) -> None:
    """What a worker does."""
    folder = sweep / "trials" / trial.trial_id
    told = PlannedTrial.from_document(json.loads((folder / "trial.json").read_text()))
    assert told == trial
    run = TrialRun(told, pending(sweep, told, since=0), load(told.spec.data), sweep=sweep)
    while run.step() is not None:
        pass


def carry_on(search: Search, sweep: Path, *, most: int | None = None) -> int:
    """Train one trial after the other; stops dead after `most`, in different places of the work."""
    done = 0
    while (trial := search.next()) is not None:
        if done == most and most % 3 == 0:
            return done  # chosen, not trained
        train(search, sweep, trial)
        done += 1
        if done == most:
            return done  # recorded, not told
        search.end(trial)
    assert search.is_over
    return done


def points(search: Search) -> list[dict[str, Any]]:
    return [trial.point for trial in search.trials.values()]


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(DESIGNS))
def test_after_any_crash_the_same_points_are_searched_once_each(kind: str, tmp_path: Path):
    spec = spec_of(kind)
    whole = opened(spec, tmp_path / "whole")
    assert carry_on(whole, tmp_path / "whole") == whole.most == len(points(whole))
    sweep, trained = tmp_path / "crashed", 0
    for most in (1, 2, 3, None):
        trained += carry_on(opened(spec, sweep), sweep, most=most)
    assert trained == whole.most
    assert points(opened(spec, sweep)) == points(whole)
    assert opened(spec, sweep).is_over
    for point in points(whole):
        assert 0.001 <= point["training.optimiser.lr"] <= 1.0
        assert 0.0 <= point["prune.aggressiveness"] <= 1.0
    assert len({trial.trial_id for trial in whole.plan}) == whole.most


@pytest.mark.slow
def test_while_a_damaged_record_is_made_again_nothing_is_drawn_and_then_what_would_have_been(tmp_path: Path):
    spec = spec_of()
    whole = opened(spec, tmp_path / "whole")
    carry_on(whole, tmp_path / "whole")
    sweep = tmp_path / "crashed"
    carry_on(opened(spec, sweep), sweep, most=5)  # of the fifth, which is recorded, it was not told
    first, *_, fifth = opened(spec, sweep).trials.values()
    cut(sweep, first)
    cut(sweep, fifth)
    search = opened(spec, sweep)
    beside = [search.next(), search.next(), search.next()]
    assert beside == [first, fifth, None], "it is not known yet what the first is worth"
    for trial in (fifth, first):
        train(search, sweep, trial)
        search.end(trial)
    carry_on(search, sweep)
    assert points(search) == points(whole)
    cut(sweep, first)
    again = opened(spec_of(design={**DESIGNS["tpe"], "trials": whole.most + 1}), sweep)
    assert again.next() == first
    again.end(first)  # every worker that trained it was lost
    assert again.next() not in (first, None)


def cut(sweep: Path, trial: PlannedTrial) -> None:
    """Cut a record of a trial off."""
    path = sweep / "trials" / trial.trial_id / trial.replicates[0].replicate_id / "record.json"
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.slow
def test_more_trials_go_on_and_another_space_begins_anew(tmp_path: Path):
    carry_on(opened(spec_of(), tmp_path), tmp_path)
    before = points(opened(spec_of(), tmp_path))
    more = opened(spec_of(design={**DESIGNS["tpe"], "trials": 9}), tmp_path)
    assert not more.is_over
    assert carry_on(more, tmp_path) == 2
    assert points(more)[:7] == before
    space = {"training.optimiser.lr": {"loguniform": [0.01, 0.1]}}
    assert points(opened(spec_of(space=space), tmp_path)) == []


@pytest.mark.slow
def test_cells_take_turns_each_with_a_study_and_a_twin_of_its_best(tmp_path: Path):
    space = {**SPEC["space"], "model.widths": {"grid": [[8], [12]]}}
    design = {"kind": "cmaes", "trials": 5, "cross": ["model.widths"]}
    search = opened(spec_of(space=space, design=design, baseline=True), tmp_path)
    assert carry_on(search, tmp_path) == 5 + 2
    widths = [point["model.widths"] for point in points(search)]
    assert widths == [[8], [12], [8], [12], [8]]
    for width in ([8], [12]):
        mine = [t for t in search.trials.values() if t.point["model.widths"] == width]
        best = max(mine, key=lambda trial: search.scores(trial)[0])
        assert best.twin in search.twins
        assert search.twins[best.twin].role == "twin"
    again = opened(spec_of(space=space, design=design, baseline=True), tmp_path)
    assert again.is_over
    assert len(again.plan) == 7


@pytest.mark.slow
def test_several_objectives_give_a_front_and_its_twins(tmp_path: Path):
    goals = [{"metric": "validation_accuracy"}, {"metric": "parameters_kept", "mode": "min"}]
    spec = spec_of("nsga2", objectives=goals, baseline=True)
    assert spec.objective.metric == "validation_accuracy"
    search = opened(spec, tmp_path)
    carry_on(search, tmp_path)
    scores = {name: search.scores(trial) for name, trial in search.trials.items()}
    assert all(-1 <= kept <= 0 for _, kept in scores.values())
    front = [
        name
        for name, mine in scores.items()
        if not any(s != mine and s[0] >= mine[0] and s[1] >= mine[1] for s in scores.values())
    ]
    assert {search.trials[name].twin for name in front} == set(search.twins)
    storage.write_atomically(tmp_path / "spec.yaml", spec.to_yaml())
    best = sweeps.best(tmp_path.name, k=1, storage=tmp_path.parent)[0]
    assert best.to_spec().trial == search.trials[best.trial_id].spec
    assert build_spec(spec.document(resolved=True)) == spec


@pytest.mark.slow
def test_a_diverged_trial_is_the_worst_and_no_number_stands_for_it(tmp_path: Path):
    space = {"training.optimiser.lr": {"grid": [0.1, 1e30, 0.3]}}
    search = opened(spec_of(space=space, design={"kind": "tpe", "trials": 3}), tmp_path)
    assert carry_on(search, tmp_path) == 3
    by_rate = {t.point["training.optimiser.lr"]: search.scores(t) for t in search.trials.values()}
    assert by_rate[1e30] == [-math.inf]
    assert all(scores[0] > 0 for rate, scores in by_rate.items() if rate < 1)
    assert "Infinity" not in "".join(path.read_text() for path in tmp_path.rglob("*.json"))


@pytest.mark.slow
def test_trials_are_judged_by_initialisation_where_seeds_are_crossed(tmp_path: Path):
    goal = {"metric": "validation_accuracy", "statistic": "ci_low"}
    spec = spec_of(replicates={"initialisation": 3, "data_order": 2}, objective=goal)
    search = opened(spec, tmp_path)
    trial = search.next()
    assert trial is not None
    train(search, tmp_path, trial)
    table = replicates_of(tmp_path)
    units = table.groupby("seeds.initialisation")["validation_accuracy"].mean().tolist()
    assert len(units) == 3
    expected = statistic_of(units, "ci_low")
    assert search.scores(trial) == pytest.approx([expected])
    curve = recorded(tmp_path, trial, spec.objective).curve
    assert curve.samples[-1] == pytest.approx(units)
    assert curve.scores[-1] == pytest.approx(expected)
    assert trials_of(table)["validation_accuracy.ci_low"].tolist() == pytest.approx([expected])


@pytest.mark.slow
def test_a_small_space_is_searched_through_and_what_is_excluded_is_not_tried(tmp_path: Path):
    space = {
        "training.batch_size": {"grid": [15, 20, 30]},
        "prune.rule": {"grid": ["mp_threshold", "magnitude"]},
        "prune.noise.beta": {"grid": [0.1, 0.2], "when": {"prune.rule": "mp_threshold"}},
    }
    design = {"kind": "tpe", "trials": 50}
    spec = spec_of(space=space, design=design, exclude=["training.batch_size == 20"])
    search = opened(spec, tmp_path)
    trained = carry_on(search, tmp_path)
    assert 0 < trained <= 2 * (2 + 1)
    assert all(point["training.batch_size"] != 20 for point in points(search))
    assert all(("prune.noise.beta" in p) == (p["prune.rule"] == "mp_threshold") for p in points(search))
    assert opened(spec, tmp_path).is_over, "a relaunch does not draw in vain again"


@pytest.mark.slow
def test_seeds_added_later_are_trained_and_the_points_stay(tmp_path: Path):
    carry_on(opened(spec_of("cmaes"), tmp_path), tmp_path)
    before = points(opened(spec_of("cmaes"), tmp_path))
    more = opened(spec_of("cmaes", replicates={"initialisation": 3}), tmp_path)
    assert carry_on(more, tmp_path) == len(before)
    design = {**DESIGNS["cmaes"], "trials": len(before) + 1}
    longer = opened(spec_of("cmaes", replicates={"initialisation": 3}, design=design), tmp_path)
    assert carry_on(longer, tmp_path) == 1, "it goes on from the recorded trials, whatever it would draw now"
    assert points(longer)[:-1] == before


def test_what_it_decides_rests_on_the_spec_and_not_on_where_it_runs():
    spec = spec_of()
    assert adaptive._key(spec) == adaptive._key(spec_of(name="other", resources={"cpus": 2}))
    assert adaptive._key(spec) != adaptive._key(spec_of(objective={"metric": "train_loss", "mode": "min"}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"space": {"model.widths": {"grid": [[8], [16]]}}, "design": DESIGNS["cmaes"]},
            "space.model.widths: cmaes draws numbers only, not one of [[8], [16]]",
        ),
        (
            {"objective": {"metric": "test_accuracy"}},
            "objective.metric: test_accuracy reports, it does not",
        ),
        ({"objectives": [{"metric": "test_loss"}]}, "objectives.0.metric: test_loss reports"),
        ({"space": {}}, "space: leaves nothing for tpe to draw"),
        ({"design": {"kind": "tpe"}}, "design.trials: is required and not given"),
        ({"design": {"kind": "tbe", "trials": 3}}, "design.kind: unknown design 'tbe'; known: cmaes, gp, grid"),
        ({"budget": {"max_trials": 3}}, "budget.max_trials: 3 contradicts design.trials, 7"),
        (
            {"objective": {"statistic": "ci_low"}, "replicates": {"initialisation": 1}},
            "replicates: validation_accuracy.ci_low needs 2 or more",
        ),
        (
            {"objectives": [{"metric": "train_loss"}, {"metric": "parameters_kept"}], "design": DESIGNS["cmaes"]},
            "objectives: cmaes follows one objective; got 2",
        ),
        (
            {"objectives": [{"metric": "train_loss"}, {"metric": "parameters_kept"}], "design": {"kind": "grid"}},
            "objectives: 2 are followed by a search algorithm only",
        ),
        (
            {
                "space": {**SPEC["space"], "model.widths": {"grid": [[8], [9]]}},
                "design": {"kind": "tpe", "trials": 1, "cross": ["model.widths"]},
            },
            "design.trials: 1 leaves cells of the crossed dimensions without a trial; allowed: 2 or more",
        ),
    ],
)
def test_what_can_not_be_searched_is_refused(changes: dict[str, Any], said: str):
    with pytest.raises(SpecError) as refused:
        spec_of(**changes)
    assert said in str(refused.value)
