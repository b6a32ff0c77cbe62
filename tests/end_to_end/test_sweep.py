"""The main job: launch a spec, look at it in MLflow, ask for the best, launch again."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import mlflow
import pandas as pd
import psutil
import pytest
import torch

import sweeps
from sweeps import launches, layout, records
from sweeps.seeds import Seeds
from sweeps.tracking.store import store_uri
from tests.cluster.observed import runs
from tests.end_to_end.conftest import SPEC, Launched, command, launch
from tests.end_to_end.faults import driver

pytestmark = pytest.mark.slow


def test_every_planned_replicate_has_one_sound_record(launched: Launched):
    plan = json.loads((launched.folder / "plan.json").read_text())
    planned = {r["replicate_id"] for trial in plan["trials"] for r in trial["replicates"]}
    found = {folder.name: records.read_record(folder) for folder in records.folders(launched.folder)}
    assert set(found) == planned
    assert len(planned) == 9 * 3
    for folder in records.folders(launched.folder):
        record = found[folder.name]
        assert record is not None
        assert records.damaged(folder, record) == []


def test_spec_as_resolved_and_what_it_ran_with_are_on_the_sweeps_run(launched: Launched):
    client = mlflow.MlflowClient(store_uri(launched.storage))
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    [run] = client.search_runs([experiment.experiment_id], "tags.level = 'sweep'")
    shown = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert shown >= {"spec.yaml", "resolved.yaml", "plan.json", "packages.txt", "environment.json", "report.html"}
    assert f"mlflow=={mlflow.__version__}" in (launched.folder / "packages.txt").read_text().splitlines()
    given, resolved = (sweeps.load_spec(launched.folder / name) for name in ("spec.yaml", "resolved.yaml"))
    assert resolved == given


def test_the_terminal_shows_plan_progress_best_with_error_bars_and_where_to_go_on(launched: Launched):
    shown = launched.output
    assert "small: 9 trials (3 unpruned twins), 27 replicates" in shown
    assert "9/9 trials" in shown
    assert "3 diverged" in shown
    assert " ± " in shown
    assert "report.html" in shown
    assert "sweeps ui small --storage" in shown


def test_the_exploding_learning_rate_is_counted_and_never_the_best(launched: Launched):
    table = sweeps.trials("small", storage=launched.storage)
    broken = table[table["training.optimiser.lr"] == 1e30]
    assert (broken["n_diverged"] == 3).all()
    assert (broken["n"] == 0).all()
    answers = sweeps.best("small", k=9, storage=launched.storage)
    assert {a.trial_id for a in answers}.isdisjoint(broken["trial_id"])
    story = launched.ask("logs", "small", broken["trial_id"].iloc[0])
    assert "diverged" in story
    assert "epoch 1, step" in story


def test_statistics_over_replicates_are_those_of_the_replicates(launched: Launched):
    replicates = sweeps.replicates("small", storage=launched.storage)
    trials = sweeps.trials("small", storage=launched.storage).set_index("trial_id")
    for name, group in replicates[replicates["status"] == "finished"].groupby("trial_id"):
        values = group["validation_accuracy"]
        assert trials.loc[str(name), "n"] == 3
        assert trials.loc[str(name), "validation_accuracy.mean"] == pytest.approx(values.mean(), abs=1e-12)
        assert trials.loc[str(name), "validation_accuracy.sd"] == pytest.approx(values.std(ddof=1), abs=1e-12)
        half = 4.302652729911275 * values.std(ddof=1) / 3**0.5  # Student t, two degrees of freedom, 97.5 %
        assert trials.loc[str(name), "validation_accuracy.ci_high"] == pytest.approx(
            values.mean() + half, abs=1e-9
        )


def test_shell_and_python_give_the_same_answers(launched: Launched):
    shell = json.loads(launched.ask("best", "small", "--json", "-k", "3"))
    python = sweeps.best("small", k=3, storage=launched.storage)
    assert [a["trial_id"] for a in shell] == [a.trial_id for a in python]
    assert [a["value"] for a in shell] == [a.value for a in python]
    assert python[0].value == max(a.value for a in python)
    csv = launched.ask("replicates", "small", "--format", "csv")
    assert len(csv.splitlines()) == 1 + 27
    assert len(json.loads(launched.ask("trials", "small", "--json"))) == 9
    parquet = launched.storage / "trials.parquet"
    launched.ask("trials", "small", "--parquet", str(parquet))
    assert len(pd.read_parquet(parquet)) == 9


def test_choosing_on_the_test_set_is_refused_unless_asked_for_and_then_stamped(launched: Launched):
    refused = command("best", "small", "--metric", "test_accuracy", "--storage", launched.storage)
    assert refused.returncode == 2
    assert "test_accuracy reports, it does not choose" in refused.stderr
    stamped = launched.ask("best", "small", "--metric", "test_accuracy", "--select-on-test")
    assert "selected on the test set" in stamped


def test_mlflow_shows_the_tree_of_sweep_trials_and_replicates(launched: Launched):
    client = mlflow.MlflowClient(f"sqlite:///{launched.storage / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    parents = {run.info.run_id: run.data.tags.get("mlflow.parentRunId") for run in runs}
    roots = [run_id for run_id, parent in parents.items() if parent is None]
    assert len(roots) == 1
    trials = [run for run in runs if parents[run.info.run_id] == roots[0]]
    replicates = [run for run in runs if parents[run.info.run_id] in {t.info.run_id for t in trials}]
    assert (len(trials), len(replicates)) == (9, 27)
    table = sweeps.trials("small", storage=launched.storage).set_index("trial_id")
    for run in trials:
        row = table.loc[run.data.tags["identity"]]
        if row["n"]:
            assert run.data.metrics["validation_accuracy.mean"] == pytest.approx(row["validation_accuracy.mean"])
            assert run.data.metrics["n"] == row["n"]
    one = next(run for run in replicates if run.data.tags["status"] == "finished")
    history = client.get_metric_history(one.info.run_id, "validation_accuracy")
    assert [point.step for point in history] == [1, 2, 3, 4]
    assert one.data.params["training.epochs"] == "4"


def test_the_report_is_one_file_that_loads_nothing(launched: Launched):
    text = (launched.folder / "report.html").read_text()
    assert "<svg" in text
    assert "small" in text
    assert 'src="http' not in text
    assert 'href="http' not in text
    assert launched.ask("report", "small").strip() == str(launched.folder / "report.html")


def test_compare_answers_with_intervals_and_a_sentence(launched: Launched):
    rows = json.loads(
        launched.ask("compare", "small", "--factor", "prune.rule", "--baseline", "none", "--format", "json")
    )
    rows = rows["rows"]
    versus = [r for r in rows if not r["is_baseline"] and r["n"]]
    assert len(versus) == 4
    for row in versus:
        assert row["difference_low"] < row["difference"] < row["difference_high"]
        assert "Difference" in row["sentence"]
    assert all("diverged" in r["sentence"] for r in rows if r["training.optimiser.lr"] == 1e30)


def test_launching_again_trains_nothing_and_says_so(launched: Launched):
    before = {path: path.stat().st_mtime_ns for path in launched.folder.glob("trials/*/*/record.json")}
    begun = os.times().children_user
    done = command("run", launched.spec, "--storage", launched.storage)
    assert done.returncode == 0, done.stderr
    assert "nothing to train" in done.stdout
    assert os.times().children_user - begun < 60, "seconds of computing, which a busy machine does not change"
    assert {path: path.stat().st_mtime_ns for path in launched.folder.glob("trials/*/*/record.json")} == before


def test_the_best_configuration_is_written_out_as_a_spec_that_plans_the_same_trial(
    launched: Launched, tmp_path: Path
):
    launched.ask("best", "small", "--write", str(tmp_path / "best.yaml"))
    best = sweeps.best("small", k=1, storage=launched.storage)[0]
    made, _ = sweeps.plan(tmp_path / "best.yaml")
    assert best.trial_id in [trial.trial_id for trial in made]
    assert made.spec.space == {}


def test_a_changed_spec_under_the_same_name_reuses_what_it_can(launched: Launched):
    overrides = ["--set", "space.prune.aggressiveness={grid: [0.8, 1.0]}"]
    shown = command("plan", launched.spec, "--storage", launched.storage, *overrides).stdout
    assert "states: 6 diverged, 12 finished, 9 new; a launch trains 9" in shown
    assert "records of other configurations stay as they are" in shown


def test_a_storage_lists_its_sweeps_and_says_how_far_they_are(launched: Launched):
    assert "small" in launched.ask("list")
    state = json.loads(launched.ask("status", "small", "--json"))
    assert state["recorded"] == state["replicates"] == 27
    assert state["states"] == {"diverged": 9, "finished": 18}


@pytest.mark.fault
def test_ctrl_c_keeps_what_is_finished_says_how_to_go_on_and_going_on_trains_the_rest(tmp_path: Path):
    with driver(tmp_path, SPEC.replace("epochs: 4", "epochs: 60").replace("name: small", "name: long")) as run:
        run.wait_for(lambda: list(run.folder.glob("trials/*/*/record.json")), "record")
        children = run.family()
        run.process.send_signal(signal.SIGINT)
        output, _ = run.process.communicate(timeout=300)
    assert run.process.returncode == 130
    assert "interrupted; everything finished is kept. Go on with: sweeps run" in output
    assert not [child for child in psutil.wait_procs(children, timeout=60)[1] if runs(child)]
    finished = {path: path.read_bytes() for path in run.folder.glob("trials/*/*/record.json")}
    assert finished
    assert all(json.loads(content)["status"] in ("finished", "diverged") for content in finished.values())
    again = command("run", run.spec, "--storage", run.storage)
    assert again.returncode == 0, again.stderr
    assert len(list(run.folder.glob("trials/*/*/record.json"))) == 27
    assert {path: path.read_bytes() for path in finished} == finished


def test_delete_asks_first_and_takes_records_and_runs_together(tmp_path: Path):
    text = (
        SPEC.replace("name: small", "name: gone")
        .replace("[0.05, 0.1, 1.0e+30]", "[0.05]")
        .replace("[0.5, 0.8]", "[0.8]")
    )
    gone = launch(tmp_path, text)
    asked = command("delete", "gone", "--storage", gone.storage)
    assert asked.returncode != 0
    assert gone.folder.exists()
    gone.ask("delete", "gone", "--yes")
    assert not gone.folder.exists()
    client = mlflow.MlflowClient(f"sqlite:///{gone.storage / 'mlflow.db'}")
    assert client.get_experiment_by_name("gone") is None


def test_more_than_the_machine_has_is_refused_at_once(tmp_path: Path):
    (tmp_path / "spec.yaml").write_text(SPEC)
    done = command("run", tmp_path / "spec.yaml", "--storage", tmp_path / "s", "--set", "resources.cpus=10000")
    assert done.returncode == 2
    assert "resources.cpus: a trial wants 10000, the largest of 1 nodes has" in done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="the GPU is there")
def test_where_only_ray_has_a_gpu_each_replicate_fails_in_words(tmp_path: Path):
    """Trials go where nodes say that GPUs are, and never train on the processor in their place."""
    spec = tmp_path / "spec.yaml"
    one = SPEC.replace("[0.05, 0.1, 1.0e+30]", "[0.05]").replace("[0.5, 0.8]", "[0.5]")
    spec.write_text(one + "resources: {gpus: 1}\nlimits: {retries: 0}\n")
    offered = {"RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": 2, "GPU": 1})}
    done = command("run", spec, "--storage", tmp_path, environment=offered)
    assert done.returncode == 1, done.stdout + done.stderr
    found = [record for folder in records.folders(tmp_path / "small") if (record := records.read_record(folder))]
    assert [record["status"] for record in found] == ["failed"] * 6
    assert all(record["reason"].startswith("GpuMissing: resources.gpus: a GPU was given to") for record in found)
    assert not list((tmp_path / "small").glob("trials/*/layout.json")), "how to train is settled where it can be"


HALVES = """
name: halves
plugins: [meeting]
trial:
  data: {kind: digits, validation: 300, train_size: 400}
  model: {kind: mlp, widths: [16]}
  training: {epochs: 2, batch_size: 50}
  initialisation: {kind: that_meets_another}
  prune: {rule: none}
space: {training.optimiser.lr: {grid: [0.01, 0.02, 0.03, 0.04]}}
replicates: {initialisation: 1}
resources: {gpus: 0.5}
limits: {retries: 0}
tracking: {pictures: 0}
"""
MEETING = """
import os
import time
from pathlib import Path
from sweeps.initialisations import INITIALISATIONS

@INITIALISATIONS.register(version=1)
def that_meets_another(module, generator, inputs):
    \"\"\"Waits until it has been called in two processes.\"\"\"
    place, until = Path(os.environ["MEETING"]), time.monotonic() + 120
    (place / str(os.getpid())).touch()
    while len(list(place.iterdir())) < 2:
        if time.monotonic() > until:
            raise TimeoutError("no other trial came")
        time.sleep(0.05)
"""


def test_two_trials_share_a_gpu_in_halves_and_no_third_joins_them(tmp_path: Path):
    """Ray's own bookkeeping, on a GPU it is only told of: that trials use the CPU is settled before."""
    place = tmp_path / "meeting"
    place.mkdir()
    (tmp_path / "meeting.py").write_text(MEETING)
    spec = tmp_path / "spec.yaml"
    spec.write_text(HALVES)
    environment = {
        "RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": 4, "GPU": 1}),
        "MEETING": str(place),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
    }
    planned = json.loads(command("plan", spec, "--storage", tmp_path, "--json", environment=environment).stdout)
    for trial in planned["trials"]:
        [one] = trial["replicates"]
        stack = layout.Stack((one["replicate_id"],), (Seeds.from_document(one["seeds"]),), threads=1, device="cpu")
        folder = records.trial_folder(tmp_path / "halves", trial["trial_id"])
        layout.write(folder, [stack])
        (folder / "trial.json").write_text(json.dumps(trial))
    done = command("run", spec, "--storage", tmp_path, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    found = list(records.records(tmp_path / "halves"))
    assert [record["status"] for record in found] == ["finished"] * 4
    at_once = [sum(one["started"] <= other["started"] < one["ended"] for one in found) for other in found]
    assert max(at_once) == 2


def test_the_report_sets_each_launch_s_plan_against_its_outcome(launched: Launched):
    [entry] = launches.read(launched.folder)[:1]
    planned, outcome = entry["planned"], entry["outcome"]
    assert (planned["trials_to_train"], planned["replicates_to_train"]) == (9, 27)
    assert planned["price"]["seconds"] is None  # nothing of these shapes was recorded yet
    assert outcome["statuses"] == {"diverged": 9, "finished": 18}
    assert outcome["trials"] == 9
    assert 0 < outcome["training_seconds"] <= outcome["wall_seconds"]
    forked = [record for record in records.records(launched.folder) if record.get("forked_from")]
    assert outcome["forked"] == len(forked)
    report = (launched.folder / "report.html").read_text()
    assert "What each launch set out to do, and what came of it." in report
    assert "18 finished" in report
