import json
from typing import Any

import pandas as pd
import pytest

from sweeps import records
from sweeps.aggregate import trials_of
from sweeps.choosing import rank
from sweeps.errors import SelectionOnTest, SpecError, SweepNotFound
from sweeps.query import replicates, trials
from sweeps.ranking import best
from sweeps.table import TABLE, replicates_of

CONFIG: dict[str, Any] = {
    "model": {"kind": "mlp", "widths": [8, 8]},
    "prune": {"rule": "mp_threshold", "aggressiveness": 0.5},
}
PLAN = {
    "sweep": "s",
    "dimensions": [],
    "objective": {"metric": "validation_accuracy", "statistic": "mean", "mode": "max"},
    "trials": [],
}


def add(sweep, trial, number, *, status="finished", role="pruned", accuracy=0.9, **extra):
    """A record as a trial writes it, with made-up numbers."""
    config = CONFIG if role == "pruned" else {**CONFIG, "prune": {"rule": "none", "aggressiveness": 0.5}}
    metrics = {"validation_accuracy": accuracy, "test_accuracy": accuracy - 0.01} if status != "failed" else {}
    record = {
        "sweep": "s",
        "trial_id": trial,
        "replicate_id": f"{trial}-{number}",
        "status": status,
        "reason": "",
        "role": role,
        "twin": None,
        "seeds": {"initialisation": number, "data_order": 0, "split": 0},
        "config": config,
        "metrics": metrics,
        "measures": {"macs": 10},
        "epochs": 3,
        "wall_seconds": 1.0,
        "started": 1,
        "ended": 2,
        **extra,
    }
    records.Recorder(records.replicate_folder(sweep, trial, record["replicate_id"])).finish(record, {})


@pytest.fixture
def sweep(tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "spec.yaml").write_text("name: s\n")
    (folder / "plan.json").write_text(json.dumps(PLAN))
    for number, accuracy in enumerate((0.90, 0.92, 0.94)):
        add(folder, "good", number, accuracy=accuracy)
        add(folder, "twin", number, accuracy=accuracy - 0.05, role="twin")
        add(folder, "torn", number, accuracy=0.99, status="diverged" if number == 2 else "finished")
    for trial in ("good", "twin", "torn"):
        document: dict[str, Any] = {"trial_id": trial, "point": {}, "config": {}}
        (folder / "trials" / trial / "trial.json").write_text(json.dumps(document))
    return folder


def test_a_row_has_names_seeds_configuration_and_numbers(sweep):
    row = replicates_of(sweep).set_index("replicate_id").loc["good-1"]
    assert row["seeds.initialisation"] == 1
    assert row["model.widths"] == "[8, 8]"
    assert row["prune.aggressiveness"] == 0.5
    assert row["validation_accuracy"] == 0.92
    assert row["macs"] == 10


def test_what_makes_no_difference_to_a_twin_is_missing(sweep):
    row = replicates_of(sweep).set_index("replicate_id").loc["twin-1"]
    assert row["prune.rule"] == "none"
    assert pd.isna(row["prune.aggressiveness"])


def test_the_table_is_a_cache_that_follows_the_records(sweep):
    first = replicates_of(sweep)
    assert (sweep / TABLE).exists()
    pd.testing.assert_frame_equal(replicates_of(sweep), first)
    add(sweep, "good", 3, accuracy=0.5)
    assert len(replicates_of(sweep)) == len(first) + 1
    (sweep / TABLE).write_bytes(b"torn")
    assert len(replicates_of(sweep)) == len(first) + 1
    changed = sweep / "trials" / "good" / "good-3" / "record.json"
    changed.write_text(changed.read_text().replace('"validation_accuracy": 0.5', '"validation_accuracy": 0.55555'))
    row = replicates_of(sweep).set_index("replicate_id").loc["good-3"]
    assert row["validation_accuracy"] == 0.55555


def test_a_column_of_text_and_numbers_is_text_and_the_same_from_the_cache(sweep):
    for number, value in enumerate(("off", 0.1)):
        gate = {**CONFIG, "prune": {**CONFIG["prune"], "gate": {"max_distance": value}}}
        add(sweep, f"gate{number}", 0, config=gate)
    first = replicates_of(sweep)
    assert set(first["prune.gate.max_distance"].dropna()) == {"off", "0.1"}
    pd.testing.assert_frame_equal(replicates_of(sweep), first)


def test_broken_replicates_are_counted_and_not_averaged(sweep):
    table = trials_of(replicates_of(sweep)).set_index("trial_id")
    assert [table.loc["torn", name] for name in ("n", "n_diverged", "n_failed")] == [2, 1, 0]
    assert table.loc["torn", "validation_accuracy.mean"] == pytest.approx(0.99)
    assert table.loc["good", "validation_accuracy.sd"] == pytest.approx(0.02)


def test_one_replicate_has_a_mean_and_no_spread(sweep):
    add(sweep, "single", 0, accuracy=0.7)
    table = trials_of(replicates_of(sweep)).set_index("trial_id")
    assert table.loc["single", "validation_accuracy.mean"] == 0.7
    assert table["validation_accuracy.sd"].isna()["single"]
    assert table["validation_accuracy.ci_low"].isna()["single"]


def test_a_trial_with_a_diverged_replicate_ranks_last_unless_allowed(sweep):
    table = trials_of(replicates_of(sweep))
    assert rank(table, "validation_accuracy.mean", "max")["trial_id"].tolist() == ["good", "twin", "torn"]
    allowed = rank(table, "validation_accuracy.mean", "max", allow_diverged=True)
    assert allowed["trial_id"].tolist() == ["torn", "good", "twin"]
    assert rank(table, "validation_accuracy.sd", "min")["trial_id"].iloc[0] in ("good", "twin")


def test_best_answers_and_refuses(sweep):
    found = best("s", k=2, storage=sweep.parent)
    assert [answer.trial_id for answer in found] == ["good", "twin"]
    assert found[0].ranked_by == "validation_accuracy.mean"
    assert found[0].value == pytest.approx(0.92)
    assert found[0].n == 3
    assert found[0].document()["statistics"]["validation_accuracy.sd"] == pytest.approx(0.02)
    with pytest.raises(SelectionOnTest, match="reports, it does not choose"):
        best("s", metric="test_accuracy", storage=sweep.parent)
    assert best("s", metric="test_accuracy", select_on_test=True, storage=sweep.parent)[0].selected_on_test
    with pytest.raises(SpecError, match="unknown metric 'validation_acc'; known: "):
        best("s", metric="validation_acc", storage=sweep.parent)
    with pytest.raises(SpecError, match="unknown statistic 'max'; known: mean"):
        best("s", statistic="max", storage=sweep.parent)
    with pytest.raises(SpecError, match="k is 0"):
        best("s", k=0, storage=sweep.parent)
    with pytest.raises(SweepNotFound, match=r"has no trial with a train_loss\.mean yet"):
        best("s", metric="train_loss", storage=sweep.parent)


def test_a_sweep_without_records_has_empty_tables(tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "spec.yaml").write_text("name: s\n")
    (folder / "plan.json").write_text(json.dumps(PLAN))
    assert replicates("s", storage=tmp_path).empty
    assert trials("s", storage=tmp_path).empty
