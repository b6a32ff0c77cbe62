"""A network that no rule can prune is told of before it is trained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sweeps.cautions import cautions
from sweeps.errors import SpecError
from sweeps.launch import plan as make_launch_plan
from sweeps.launch import run
from sweeps.planning import Plan, make_plan
from sweeps.spec import build_spec
from sweeps.training_memory import memory_of, need_of

TINY = {"kind": "synthetic", "shape": [1, 2, 2], "classes": 2, "rank": 1, "train_examples": 50, "validation": 10}


def plan(data: dict[str, Any], widths: list[int], **prune: Any) -> Plan:
    trial = {
        "data": data,
        "model": {"kind": "mlp", "widths": widths},
        "training": {"epochs": 4, "batch_size": 10},
        "prune": {"every": 2, **prune},
    }
    space = {"training.optimiser.lr": {"grid": [0.01, 0.1]}}
    return make_plan(build_spec({"name": "tiny", "trial": trial, "space": space}), lambda data: "fingerprint")


def test_a_network_whose_layers_are_all_too_small_is_named_once_with_the_reasons() -> None:
    [said] = cautions(plan(TINY, [3]))
    assert said.startswith("model mlp is too small for rule mp_threshold: every layer is skipped: linear1 (")
    assert "head (" in said
    assert "its smaller side is 3, below" in said


@pytest.mark.parametrize("widths", [[64, 16], [200]])
def test_a_network_that_can_be_pruned_is_not(widths: list[int]) -> None:
    assert cautions(plan({**TINY, "shape": [1, 8, 8]}, widths)) == []


@pytest.mark.parametrize(("batch", "wrong"), [(13, True), (12, False)])
def test_a_last_batch_of_one_is_refused_where_batch_normalisation_needs_two(
    tmp_path: Path, batch: int, wrong: bool
) -> None:
    trial = {
        "data": {**TINY, "shape": [3, 8, 8]},
        "model": {"kind": "resnet18", "width": 4, "normalisation": "batch"},
        "training": {"epochs": 4, "batch_size": batch},
        "prune": {"every": 2},
    }
    spec = build_spec({"name": "last", "trial": trial})
    if not wrong:
        make_launch_plan(spec, storage=tmp_path)
        return
    with pytest.raises(SpecError, match=r"batch_size: with 13 the last batch of 40 training examples has one"):
        make_launch_plan(spec, storage=tmp_path)


def test_a_trial_larger_than_the_memory_of_this_machine_is_named_once() -> None:
    [said] = cautions(plan(TINY, [600_000, 600_000]))
    assert said.startswith("not for this machine: ")
    assert "GiB even one replicate at a time" in said


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.9, r"resources.stack: \d+ replicates at once may be more than this machine's memory holds; auto would"),
        (
            1.2,
            r"not for this machine: .*resources.stack: \d+ replicates at once need .* GiB; allowed: 1 to \d+, or",
        ),
    ],
)
def test_a_stack_that_is_asked_for_and_does_not_fit_is_named(share: float, said: str, tmp_path: Path) -> None:
    trial = plan(TINY, [20_000]).trials[0].spec
    need = need_of(trial, (1, 2, 2), 2)
    count = int(share * memory_of("cpu") / (need.kept + need.passing))
    about = {"name": "tiny", "trial": trial.document(), "replicates": {"initialisation": count}}
    spec = build_spec({**about, "resources": {"stack": count}})
    [sentence] = cautions(make_plan(spec, lambda data: "fingerprint"))
    assert re.match(said, sentence.replace("\n", " "))
    assert cautions(make_plan(build_spec(about), lambda data: "fingerprint")) == []
    if share > 1:
        with pytest.raises(SpecError, match=f"resources.stack: {count} replicates at once need"):
            run(spec, storage=tmp_path)
        assert not (tmp_path / "tiny" / "plan.json").exists()


LR = {"training.optimiser.lr": {"grid": [0.01, 0.1]}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"stopper": {"kind": "statistical", "best": 2}},
            "stopper.best: the best 2 are never stopped, and the sweep has 2 trials that may be: nothing is ever",
        ),
        ({"stopper": {"kind": "statistical"}}, None),
        (
            {"design": {"kind": "random", "points": 10}},
            "design.points: of 10 draws 2 differ; the others are points that are there already",
        ),
        ({"design": {"kind": "random", "points": 1}}, None),
        (
            {"design": {"kind": "random", "points": 9}, "space": {"training.l1": {"uniform": [0, 0.1]}}},
            None,
        ),
        ({"resources": {"cpus": 4096}}, "not for this machine: resources.cpus: a trial wants 4096, and it has "),
        (
            {"budget": {"max_hours": 0.01}, "limits": {"trial_minutes": 60}},
            "limits.trial_minutes: 60 ends no trial: a launch ends after 0.6 minutes (budget.max_hours: 0.01)",
        ),
        ({"budget": {"max_hours": 1}, "limits": {"trial_minutes": 60}}, None),
    ],
)
def test_what_has_no_effect_is_told(changes: dict[str, Any], said: str | None) -> None:
    trial = {
        "data": {**TINY, "shape": [1, 8, 8]},
        "model": {"kind": "mlp", "widths": [64]},
        "training": {"epochs": 4, "batch_size": 10},
        "prune": {"every": 2},
    }
    spec = build_spec({"name": "tiny", "trial": trial, "space": LR, **changes})
    found = cautions(make_plan(spec, lambda data: "fingerprint"))
    assert len(found) == (said is not None)
    assert said is None or found[0].startswith(said)
