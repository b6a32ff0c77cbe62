"""What is the same up to the first cut is trained once, and nobody can tell from the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweeps import load_spec
from sweeps.forks import FOLDER, Forks, Leftovers, adopt, family_of, plan_forks, tidy
from sweeps.overview import log_of
from sweeps.planned import PlannedTrial
from sweeps.planning import Plan, make_plan
from sweeps.seeds import Seeds
from sweeps.spec_means import Resources
from sweeps.trial_spec import TrialSpec
from tests.sweeps.small_sweeps import SEEDS, Undisturbed, about, open_run, outcome, planned, poison, train
from tests.sweeps.small_trials import digits, training, trial


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed(tmp_path_factory.mktemp("scratch"))


def train_twin(sweep: Path, sibling: TrialSpec, *, at: int, seeds: list[Seeds] = SEEDS) -> PlannedTrial:
    twin = planned(sibling.twin, seeds)
    train(sweep, twin, fork_epochs=[at])
    return twin


@pytest.mark.parametrize(
    "optimiser", [{"kind": "sgd", "lr": 0.05, "momentum": 0.9}, {"kind": "adam", "lr": 0.003}]
)
def test_a_sibling_that_begins_where_its_twin_was_ends_as_from_scratch(
    optimiser: dict[str, Any], scratch: Undisturbed, tmp_path: Path
) -> None:
    """Its own noise estimator included, which the twin knows nothing of."""
    spec = trial(
        training__optimiser=optimiser,
        prune__start=2,
        prune__noise={"kind": "median"},
        measures={"end": ["certify"]},
    )
    one = planned(spec)
    twin = train_twin(tmp_path / "forked", spec, at=2)
    run = train(tmp_path / "forked", one, epochs=1)
    assert run.epoch == 3
    train(tmp_path / "forked", one)
    assert about(tmp_path / "forked", one, "forked_from") == [{"trial_id": twin.trial_id, "epoch": 2}] * 2
    assert outcome(tmp_path / "forked", one) == scratch(one)
    assert about(tmp_path / "forked", twin, "forked_from") == [None, None]
    (tmp_path / "forked" / "spec.yaml").write_text("name: forked")
    assert f"forked from {twin.trial_id} after epoch 2" in log_of("forked", one.trial_id, tmp_path)


def test_siblings_fork_from_a_sibling_where_there_is_no_twin_and_remember_it_over_a_crash(
    scratch: Undisturbed, tmp_path: Path
) -> None:
    donor, one = planned(trial(prune__start=3)), planned(trial(prune__start=2))
    train(tmp_path / "forked", donor, fork_epochs=[2])
    train(tmp_path / "forked", one, epochs=3).save()
    train(tmp_path / "forked", one)
    assert about(tmp_path / "forked", one, "forked_from") == [{"trial_id": donor.trial_id, "epoch": 2}] * 2
    assert about(tmp_path / "forked", one, "resumed_at") == [[3], [3]]
    assert outcome(tmp_path / "forked", one) == scratch(one)


@pytest.mark.parametrize("damage", ["torn", "gone", "too late", "other seeds"])
def test_without_a_usable_prefix_a_sibling_trains_from_scratch(
    damage: str, scratch: Undisturbed, tmp_path: Path
) -> None:
    spec = trial(training__epochs=3, prune__start=1)
    one = planned(spec)
    seeds = [Seeds(7), Seeds(8)] if damage == "other seeds" else SEEDS
    train_twin(tmp_path / "forked", spec, at=2 if damage == "too late" else 1, seeds=seeds)
    (tensors,) = (tmp_path / "forked" / FOLDER).rglob("*.safetensors")
    if damage == "torn":
        tensors.write_bytes(tensors.read_bytes()[:100])
    if damage == "gone":
        tensors.unlink()
    train(tmp_path / "forked", one)
    assert about(tmp_path / "forked", one, "forked_from") == [None, None]
    assert outcome(tmp_path / "forked", one) == scratch(one)


def test_a_replicate_that_diverged_before_the_fork_is_recorded_by_the_sibling_too(tmp_path: Path) -> None:
    spec = trial(training__epochs=3, prune__start=2)
    one, twin = planned(spec), planned(spec.twin)
    for folder, chosen in (("scratch", one), ("forked", twin)):
        run = open_run(tmp_path / folder, chosen, fork_epochs=[2])
        run.step()
        poison(run, 1)
        while run.step() is not None:
            pass
    train(tmp_path / "forked", one)
    assert about(tmp_path / "forked", one, "status") == ["finished", "diverged"]
    assert outcome(tmp_path / "forked", one) == outcome(tmp_path / "scratch", one)


def test_where_spectra_are_recorded_on_the_way_only_those_with_the_same_noise_fit_share_them(
    scratch: Undisturbed, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {"measures": {"at_epochs": {1: ["spectra"]}}, "prune__noise": {"kind": "bema"}}
    one = planned(trial(training__epochs=3, prune__start=2, **changes))
    other = planned(trial(training__epochs=3, prune__start=2, prune__aggressiveness=0.5, **changes))
    twin = train_twin(tmp_path / "forked", one.spec, at=2)
    assert family_of(twin) != family_of(one) == family_of(other)
    train(tmp_path / "forked", one, fork_epochs=[2])
    assert about(tmp_path / "forked", one, "forked_from") == [None, None]
    assert outcome(tmp_path / "forked", one) == scratch(one)
    train(tmp_path / "forked", other)
    assert about(tmp_path / "forked", other, "forked_from") == [{"trial_id": one.trial_id, "epoch": 2}] * 2
    assert outcome(tmp_path / "forked", other) == scratch(other)


def test_spectra_of_another_noise_fit_are_not_taken_even_where_the_first_fits_agree() -> None:
    spec = trial(prune__start=3, measures={"at_epochs": {1: ["spectra"]}})
    donor, own = (
        training(trial(**{**changes, "prune__start": 3, "measures": spec.measures}), [0])
        for changes in ({"prune__noise": {"kind": "bema_two_pass"}}, {"prune__noise": {"kind": "bema"}})
    )
    first = [one["fits"] for one in donor.state().document["spectra"]]
    assert first == [one["fits"] for one in own.state().document["spectra"]]
    donor.run_epoch()
    with pytest.raises(ValueError, match=r"spectra of epochs \[1\], fitted for another trial"):
        adopt(donor.state(), own.spec.prune.noise.model_dump(), own.state)


SPEC: dict[str, Any] = {
    "name": "small",
    "trial": trial().document() | {"prune": {"start": 2}},
    "space": {"prune.start": {"grid": [2, 3]}, "training.l1": {"grid": [0.0, 0.1]}},
    "replicates": {"initialisation": [0, 1]},
}


def plan_of(sweep: Path, **changes: Any) -> tuple[Plan, Forks]:
    made = make_plan(load_spec({**SPEC, **changes}), lambda data: digits().fingerprint)
    return made, plan_forks(made, made.progress(sweep), sweep, Resources())


def test_the_plan_says_who_saves_what_for_whom_and_what_that_saves(tmp_path: Path) -> None:
    made, forks = plan_of(tmp_path)
    twins = [one for one in made if one.role == "twin"]
    assert forks.saves == {twin.trial_id: [2, 3] for twin in twins}
    assert forks.waits == {one.trial_id: {one.twin: one.spec.first_cut} for one in made if one.role == "pruned"}
    assert (forks.saved, forks.total) == (2 * 2 * (2 + 3), 6 * 2 * 4)
    assert "4 trials can start where another" in forks.line()
    assert "20 of 48 replicate-epochs (42%)" in forks.line()


def test_without_twins_the_sibling_that_is_cut_last_saves_for_the_others(tmp_path: Path) -> None:
    made, forks = plan_of(tmp_path, baseline=False)
    late = {family_of(one): one.trial_id for one in made if one.spec.first_cut == 3}
    early = {one.trial_id: {late[family_of(one)]: 2} for one in made if one.spec.first_cut == 2}
    assert forks.waits == early
    assert set(forks.saves) == set(late.values())


def test_nobody_waits_for_a_twin_that_is_recorded_and_what_it_left_is_used(tmp_path: Path) -> None:
    made, _ = plan_of(tmp_path)
    for one in made:
        if one.role == "twin":
            train(tmp_path, one, fork_epochs=[3])
    _, forks = plan_of(tmp_path)
    assert forks.waits == {}
    assert set(forks.starts.values()) == {3}
    assert forks.saved == 2 * 2 * 3, "those cut after epoch 2 need a state that nobody comes past any more"
    for folder in (tmp_path / FOLDER).iterdir():
        folder.rename(folder.with_name(f"x{folder.name}"))
    _, alone = plan_of(tmp_path, space={"training.l1": {"grid": [0.0, 0.1]}})
    assert alone.waits == {}
    assert alone.saved == 0


def test_the_plan_counts_on_no_state_that_a_resumed_trial_is_past(scratch: Undisturbed, tmp_path: Path) -> None:
    """A sibling then trains from scratch, and saves for those that come after it."""
    space = {"prune.start": {"grid": [2, 3]}, "prune.aggressiveness": {"grid": [0.5, 1.0]}}
    made, _ = plan_of(tmp_path, space=space)
    [twin] = [one for one in made if one.role == "twin"]
    early, late = ([one for one in made if one.spec.first_cut == cut] for cut in (2, 3))
    train(tmp_path, twin, epochs=2).save()
    _, forks = plan_of(tmp_path, space=space)
    other, donor = sorted(early, key=lambda one: one.trial_id)
    assert forks.saves == {twin.trial_id: [3], donor.trial_id: [2]}
    assert forks.waits == {other.trial_id: {donor.trial_id: 2}} | {
        one.trial_id: {twin.trial_id: 3} for one in late
    }
    assert (forks.saved, forks.total) == (2 * (3 + 3 + 2), 2 * (5 * 4 - 2))
    for one in (twin, donor, other):
        train(tmp_path, one, fork_epochs=forks.saves.get(one.trial_id, ()))
    assert about(tmp_path, donor, "forked_from") == [None, None]
    assert about(tmp_path, other, "forked_from") == [{"trial_id": donor.trial_id, "epoch": 2}] * 2
    assert outcome(tmp_path, donor) == scratch(donor)


def test_states_go_when_no_trial_of_the_family_needs_them(tmp_path: Path) -> None:
    made, forks = plan_of(tmp_path, space={})
    twin, sibling = made
    train(tmp_path, twin, fork_epochs=forks.saves[twin.trial_id])
    leftovers = Leftovers(tmp_path, made)
    leftovers.end(twin)
    tidy(tmp_path, made, made.progress(tmp_path))
    assert list((tmp_path / FOLDER).glob("*/*/*.json"))
    train(tmp_path, sibling)
    leftovers.end(sibling)
    assert list((tmp_path / FOLDER).glob("*")) == []
    train(tmp_path / "again", twin, fork_epochs=forks.saves[twin.trial_id])
    train(tmp_path / "again", sibling)
    tidy(tmp_path / "again", made, made.progress(tmp_path / "again"))
    assert list((tmp_path / "again" / FOLDER).glob("*")) == []
