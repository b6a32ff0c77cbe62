"""Which trials go through one process together, and what each of them keeps to itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sweeps import layout, records
from sweeps.errors import SpecError
from sweeps.forks import plan_forks
from sweeps.pack_run import PackRun, Packs
from sweeps.packing import LEFT, UNLIKE, Pack, Packed, plan_packs
from sweeps.planning import Plan, make_plan
from sweeps.spec import load_spec
from sweeps.stacking import FOLDER
from sweeps.trial import TrialRun
from tests.sweeps.small_sweeps import NEVER, planned
from tests.sweeps.small_trials import digits, trial

SPEC: dict[str, Any] = {
    "name": "small",
    "trial": trial(model={"kind": "mlp", "widths": [16]}).document() | {"prune": {"start": 2}},
    "space": {"training.optimiser.lr": {"grid": [0.01, 0.02, 0.03, 0.04, 0.05]}, "prune.start": {"grid": [2, 3]}},
    "replicates": {"initialisation": [0, 1]},
    "resources": {"pack": 3},
}


def plan_of(**changes: Any) -> Plan:
    return make_plan(load_spec({**SPEC, **changes}), lambda data: digits().fingerprint)


def packed(sweep: Path, made: Plan, *, room: int = 1, measure: bool = True) -> Packed:
    progress = made.progress(sweep)
    trials = [one for one in made if progress.to_train(one)]
    forks = plan_forks(trials, progress, sweep, made.spec.resources)
    data = {one.fingerprint: digits() for one in made}
    return plan_packs(trials, progress, sweep, made.spec, forks, data, room=room, measure=measure)


def packs_of(sweep: Path, made: Plan, *, room: int = 1) -> list[Pack]:
    return packed(sweep, made, room=room).packs


def together(sweep: Path, trials: Pack) -> PackRun:
    packs, names = Packs(), [one.trial_id for one in trials]
    options: dict[str, Any] = {"sweep": sweep, "checkpoints": NEVER, "pack": names, "packs": packs}
    return PackRun([TrialRun(one, one.replicates, digits(), share=1 / len(trials), **options) for one in trials])


def test_twins_go_with_twins_and_siblings_with_those_that_fork_at_the_same_epoch(tmp_path: Path) -> None:
    packs = packs_of(tmp_path, plan_of())
    assert sorted(map(len, packs)) == [2, 2, 2, 3, 3, 3]
    for pack in packs:
        assert len({(one.role, one.spec.first_cut) for one in pack}) == 1
        assert len({one.spec.training.optimiser.options["lr"] for one in pack}) == len(pack)


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("training.batch_size", [16, 32]),
        ("training.epochs", [4, 5]),
        ("training.label_smoothing", [0.0, 0.1]),
        ("training.optimiser.momentum", [0.0, 0.9]),
        ("model.widths", [[16], [24]]),
        ("data.train_size", [300, 320]),
    ],
)
def test_what_changes_data_order_or_shapes_is_not_packed(tmp_path: Path, path: str, values: list[Any]) -> None:
    made = plan_of(space={path: {"grid": values}}, trial=trial(prune={"rule": "none"}).document())
    assert [len(pack) for pack in packs_of(tmp_path, made)] == [1, 1]


def test_what_may_differ_is_packed(tmp_path: Path) -> None:
    space = {
        "training.l1": {"grid": [0.0, 1e-4]},
        "initialisation.kind": {"grid": ["orthogonal", "xavier_normal"]},
        "prune.aggressiveness": {"grid": [0.5, 1.0]},
    }
    made = plan_of(space=space, baseline=False, resources={"pack": 8})
    assert [len(pack) for pack in packs_of(tmp_path, made)] == [4, 4], "half of them fork from the others"


def test_packing_is_asked_for(tmp_path: Path) -> None:
    assert {len(pack) for pack in packs_of(tmp_path, plan_of(resources={}))} == {1}


def test_memory_and_the_size_of_a_stack_limit_a_pack(tmp_path: Path) -> None:
    packs = packs_of(tmp_path, plan_of(resources={"pack": 3, "stack": 4}))
    assert max(map(len, packs)) == 2


def test_what_can_not_be_stacked_is_not_packed(tmp_path: Path) -> None:
    resnet = trial(
        model={"kind": "resnet18", "normalisation": "batch", "width": 2}, prune={"rule": "none"}
    ).document()
    made = plan_of(trial=resnet, space={"training.l1": {"grid": [0.0, 1e-4]}})
    assert [len(pack) for pack in packs_of(tmp_path, made)] == [1, 1]


def test_auto_measures_once_and_leaves_no_room_empty(tmp_path: Path) -> None:
    made = plan_of(resources={"pack": "auto"})
    packs_of(tmp_path, made)
    for path in (tmp_path / FOLDER).iterdir():
        told = json.loads(path.read_text())
        assert told["pays"] == (told["pack_seconds"] <= 0.9 * told["apart_seconds"])
        path.write_text(json.dumps({**told, "pays": True}))
    assert sorted(map(len, packs_of(tmp_path, made))) == [5, 5, 5], "the first answer counts"
    assert {len(pack) for pack in packs_of(tmp_path, made, room=5)} == {1}
    stopper = {"kind": "median"}
    assert {len(pack) for pack in packs_of(tmp_path, plan_of(resources={"pack": "auto"}, stopper=stopper))} == {1}


def test_a_trial_that_is_large_is_not_packed_and_not_measured(tmp_path: Path) -> None:
    large = trial(model={"kind": "mlp", "widths": [1000, 1000]}, prune={"rule": "none"}).document()
    made = plan_of(trial=large, space={"training.l1": {"grid": [0.0, 1e-4]}}, resources={"pack": "auto"})
    assert [len(pack) for pack in packs_of(tmp_path, made)] == [1, 1]
    assert not (tmp_path / FOLDER).exists()


def test_what_a_launch_would_pack_is_said_without_measuring(tmp_path: Path) -> None:
    asked = packed(tmp_path, plan_of(), measure=False)
    assert asked.document() == {"packs": {"3": 3, "2": 3}, "unmeasured": 0, "alone": {}}
    assert asked.line() == "packs: 3 of 3 trials, 3 of 2 trials"
    made = plan_of(resources={"pack": "auto"})
    auto = packed(tmp_path, made, measure=False)
    assert auto.line() == "packs: 3 of 5 trials (15 trials only if a launch measures that to be faster)"
    assert not (tmp_path / FOLDER).exists()
    measured = packed(tmp_path, made)
    again = packed(tmp_path, made, measure=False)
    assert (again.packs, again.unmeasured, again.alone) == (measured.packs, 0, measured.alone)


GRID = {"training.l1": {"grid": [0.0, 1e-4, 1e-3]}}


@pytest.mark.parametrize(
    ("changes", "room", "alone"),
    [
        ({"space": {"model.widths": {"grid": [[16], [24]]}}}, 1, {UNLIKE: 2}),
        ({"space": GRID, "resources": {"pack": 2, "stack": 4}}, 1, {LEFT: 1}),
        ({"space": GRID, "resources": {"pack": 2, "stack": 3}}, 1, {"resources.stack: 3 holds no two of them": 3}),
        ({"space": GRID, "resources": {"pack": "auto"}}, 3, {"there is room for 3 at once": 3}),
        (
            {"space": GRID, "resources": {"pack": "auto"}, "stopper": {"kind": "median"}},
            1,
            {"a stopper would leave their places in a pack empty": 3},
        ),
        (
            {"space": GRID, "resources": {"pack": "auto"}, "trial": {"kind": "mlp", "widths": [1000, 1000]}},
            1,
            {"only small perceptrons gain by it on a CPU": 3},
        ),
        (
            {"space": GRID, "trial": {"kind": "resnet18", "normalisation": "batch", "width": 2}},
            1,
            {"replicates of resnet18 are not computed as one": 3},
        ),
    ],
)
def test_why_a_trial_is_not_packed_is_said(
    tmp_path: Path, changes: dict[str, Any], room: int, alone: dict[str, int]
) -> None:
    model = changes.get("trial", {"kind": "mlp", "widths": [16]})
    made = plan_of(**changes | {"trial": trial(model=model, prune={"rule": "none"}).document()})
    found = packed(tmp_path, made, room=room, measure=False)
    assert found.alone == alone
    [[why, count]] = alone.items()
    assert found.line().endswith(f"; {count} trial{'s' * (count > 1)} alone: {why}")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resources": {"pack": 1}}, "resources.pack: "),
        ({"resources": {"pack": "sometimes"}}, "resources.pack: "),
        ({"resources": {"pack": 4, "stack": 3}}, r"resources.pack: 4 trials are more than 3 replicates"),
        ({"design": {"kind": "tpe", "trials": 4}}, r"resources.pack: 3 at once, and tpe chooses one by one"),
    ],
)
def test_what_can_not_be_packed_is_refused(changes: dict[str, Any], message: str) -> None:
    space = {"training.l1": {"uniform": [0.0, 0.1]}} if "design" in changes else SPEC["space"]
    with pytest.raises(SpecError, match=message):
        load_spec({**SPEC, "space": space, **changes})


def test_a_pack_is_kept_where_it_has_begun_and_its_time_is_shared(tmp_path: Path) -> None:
    specs = [trial(training__optimiser={"kind": "sgd", "lr": lr}, prune__start=3) for lr in (0.01, 0.02, 0.05)]
    trials = tuple(planned(spec) for spec in specs)
    names = tuple(one.trial_id for one in trials)
    whole, first = together(tmp_path / "whole", trials), together(tmp_path / "killed", trials)
    while whole.step():
        pass
    for _ in range(2):
        first.step()
    first.save()
    again = together(tmp_path / "killed", trials)
    assert [run.open() for run in again.runs] == [2, 2, 2]
    while again.step():
        pass
    for one in trials:
        [stack] = layout.read(records.trial_folder(tmp_path / "killed", one.trial_id))
        assert stack.pack == names
        for replicate in one.replicates:
            found = [
                records.replicate_folder(tmp_path / name, one.trial_id, replicate.replicate_id)
                for name in ("whole", "killed")
            ]
            record, resumed = (records.read_record(folder) or {} for folder in found)
            for volatile in ("train_seconds", "evaluation_seconds"):
                del record["metrics"][volatile], resumed["metrics"][volatile]
            assert record["metrics"] == resumed["metrics"]
            assert resumed["resumed_at"] == [2]
            assert record["config"] == one.spec.document()
            apart = (record["ended"] - record["started"]) / 1000
            assert record["wall_seconds"] == pytest.approx(apart / 3, abs=0.02)
    layout.unpack(records.trial_folder(tmp_path / "killed", names[0]))
    assert [stack.pack for stack in layout.read(records.trial_folder(tmp_path / "killed", names[0]))] == [()]


def test_a_launch_goes_on_with_the_packs_that_have_begun(tmp_path: Path) -> None:
    made = plan_of(baseline=False, space={"training.l1": {"grid": [0.0, 1e-5, 1e-4, 1e-3]}})
    first, _ = packs_of(tmp_path, made)
    assert [len(pack) for pack in packs_of(tmp_path, made)] == [2, 2]
    together(tmp_path, first).step()
    assert packed(tmp_path, made, measure=False).line() == "packs: 2 of 2 trials"
    again = plan_of(baseline=False, space={"training.l1": {"grid": [1e-5, 0.0, 1e-4, 1e-3]}}, resources={})
    assert sorted(map(len, packs_of(tmp_path, again))) == [1, 1, 2]
    assert {one.trial_id for one in first} in [
        {one.trial_id for one in pack} for pack in packs_of(tmp_path, again)
    ]
