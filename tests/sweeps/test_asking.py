"""The same question has the same answer from the records and from MLflow, and says what it leaves out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import sweeps
from sweeps import tracking
from sweeps.cli import app, show, tables
from sweeps.cli.terminal import console
from sweeps.errors import SelectionOnTest, SpecError, SweepNotFound, TrackingError
from sweeps.expression import ExpressionError
from sweeps.origin import Source
from sweeps.overview import status_of, sync_sweep
from sweeps.tracking.store import store_uri
from tests.sweeps.tracking.recorded import SweepOnDisk
from tests.sweeps.tracking.stores import NOT_OURS, migrated_store, no_address_from_outside
from tests.sweeps.tracking.test_store import answering

__all__ = ["migrated_store", "no_address_from_outside"]
pytestmark = [pytest.mark.filterwarnings(warning) for warning in NOT_OURS]
SOURCES = get_args(Source)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> SweepOnDisk:
    """Twelve trials of two architectures; one replicate has diverged, one is not there."""
    storage = tmp_path_factory.mktemp("asking")
    shutil.copy(migrated_store, storage / "mlflow.db")
    made = SweepOnDisk(storage, seeds=5, epochs=3)
    for number, replicate in enumerate(made.replicates()):
        if number != 4:
            replicate.finish("diverged" if number == 7 else "finished")
    assert tracking.project(storage, made.name).is_complete
    return made


def ask(sweep: SweepOnDisk, source: str, **question: Any) -> sweeps.Answers:
    return sweeps.best(sweep.name, source=source, storage=sweep.storage, **question)  # type: ignore[arg-type]


QUESTIONS: list[dict[str, Any]] = [
    {},
    {"statistic": "iqm", "k": 2},
    {"statistic": "sd", "mode": "min"},
    {"metric": "validation_loss", "mode": "min", "statistic": "ci_high"},
    {"where": 'prune.rule == "mp_threshold" and training.optimiser.lr < 0.02'},
    {"where": "model.widths == [64, 64] and n_diverged == 0", "k": 50},
    {"per": "model", "k": 1},
    {"per": "prune.aggressiveness", "k": 2, "allow_diverged": True},
    {"pareto": "validation_accuracy,parameters_kept"},
    {"pareto": "validation_accuracy,test_loss:max", "select_on_test": True, "where": "n == 5"},
]


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
def test_both_sources_give_the_same_answers(sweep: SweepOnDisk, question: dict[str, Any]) -> None:
    recorded, tracked = (ask(sweep, source, **question) for source in SOURCES)
    assert recorded
    assert [a.trial_id for a in tracked] == [a.trial_id for a in recorded]
    for one, other in zip(tracked, recorded, strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-12)
        assert (one.config, one.point, one.group) == (other.config, other.point, other.group)
        assert (one.n, one.n_diverged, one.selected_on_test) == (other.n, other.n_diverged, other.selected_on_test)


def test_tables_of_both_sources_are_equal(sweep: SweepOnDisk) -> None:
    where = 'role == "pruned" and seeds.initialisation in [0, 3]'
    for question in (sweeps.replicates, sweeps.history, sweeps.spectra):
        recorded, tracked = (
            question(sweep.name, where=where, source=source, storage=sweep.storage) for source in SOURCES
        )
        assert len(recorded)
        assert set(recorded) == set(tracked)
        pd.testing.assert_frame_equal(tracked[recorded.columns], recorded, check_dtype=False, check_names=False)
        assert tracked.attrs == recorded.attrs


def test_history_is_long_and_whole(sweep: SweepOnDisk) -> None:
    table = sweeps.history(sweep.name, metrics=["validation_accuracy"], storage=sweep.storage)
    replicate = sweep.replicates()[0]
    own = table[table["replicate_id"] == replicate.replicate_id]
    assert list(own["value"]) == [row["validation_accuracy"] for row in replicate.rows(sweep.epochs)]


def test_spectra_are_a_row_a_layer_and_epoch(sweep: SweepOnDisk) -> None:
    table = sweeps.spectra(sweep.name, where='status == "finished"', storage=sweep.storage)
    assert len(table) == 2 * (12 * 5 - 2)
    assert list(table["epoch"][:2]) == [0, 2]
    assert table["edge"][:2].isna().tolist() == [True, False]
    values = table["singular_values"].iloc[0]
    assert values.shape == (64,)
    assert (np.diff(values) <= 0).all()


def test_what_is_left_out_is_said(sweep: SweepOnDisk) -> None:
    table = sweeps.replicates(sweep.name, where='role == "pruned"', storage=sweep.storage)
    assert table.attrs["left_out"] == [
        "1 planned replicate not ended or not there yet",
        '19 replicates for which not: role == "pruned"',
    ]
    assert ask(sweep, "records", k=3).left_out == ("9 trials after these",)
    for source in SOURCES:
        assert ask(sweep, source, k=12).left_out == ask(sweep, source, k=50).left_out == ()
        [said] = ask(sweep, source, k=11).left_out
        assert "after these" in said, "the trial with the diverged replicate"
    front = ask(sweep, "mlflow", pareto="validation_accuracy,parameters_kept")
    assert "1 trial with a diverged or failed replicate" in front.left_out


def test_what_the_present_plan_does_not_ask_for_is_said_and_left_out_when_asked_to(tmp_path: Path) -> None:
    """A grid that lost a value, and replicates that were more before."""
    made = SweepOnDisk(tmp_path, points={"training.optimiser.lr": [0.01, 0.05]}, seeds=3)
    made.finish()
    *kept, gone = made.trials
    made.trials = [trial | {"replicates": trial["replicates"][:2]} for trial in kept]
    made.write_plan()
    everything = sweeps.best(made.name, storage=tmp_path)
    assert {answer.n for answer in everything} == {3}
    names = ", ".join(sorted(trial["trial_id"] for trial in [*kept, gone]))
    assert everything.included == (f"6 replicates of 4 trials that the present plan does not ask for: {names}",)
    present = sweeps.best(made.name, planned=True, storage=tmp_path)
    assert {answer.n for answer in present} == {2}
    assert {answer.trial_id for answer in present} == {trial["trial_id"] for trial in kept}
    assert present.included == ()
    assert sweeps.trials(made.name, storage=tmp_path).attrs["included"] == list(everything.included)
    [said] = sweeps.replicates(made.name, where="seeds.initialisation == 2", storage=tmp_path).attrs["included"]
    assert said.startswith("4 replicates of 4 trials")
    done = CliRunner().invoke(app, ["best", made.name, "--storage", str(tmp_path)])
    assert f"included: {everything.included[0]}" in done.stderr
    with pytest.raises(SpecError, match="planned: MLflow does not hold the plan; ask the records"):
        sweeps.best(made.name, planned=True, source="mlflow", storage=tmp_path)


def test_a_front_holds_the_trials_that_no_other_beats_in_everything(sweep: SweepOnDisk) -> None:
    front = {a.trial_id for a in ask(sweep, "records", pareto=["validation_accuracy", "parameters_kept:min"])}
    table = sweeps.trials(sweep.name, where="n_diverged == 0", storage=sweep.storage).set_index("trial_id")
    numbers = {
        str(name): (row["validation_accuracy.mean"], -row["parameters_kept.mean"])
        for name, row in table.iterrows()
    }
    beaten = {
        name
        for name, own in numbers.items()
        if any(other != own and other[0] >= own[0] and other[1] >= own[1] for other in numbers.values())
    }
    assert front == set(numbers) - beaten
    assert 0 < len(front) < len(numbers)


def test_best_of_each_group_are_one_of_each(sweep: SweepOnDisk) -> None:
    answers = ask(sweep, "records", per="model", k=1)
    assert [a.group["model.widths"] for a in answers] in ([[64, 64], [128, 128]], [[128, 128], [64, 64]])
    assert answers[0].value >= answers[1].value


@pytest.mark.parametrize("source", SOURCES)
def test_bad_questions_teach_the_good_ones(sweep: SweepOnDisk, source: str) -> None:
    with pytest.raises(ExpressionError, match=r"training\.lr is not known here; .*training\.optimiser\.lr"):
        ask(sweep, source, where="training.lr < 0.1")
    with pytest.raises(ExpressionError, match=r"known: .*validation_accuracy\.mean"):
        ask(sweep, source, where="validation_acc > 0.5")
    with pytest.raises(ExpressionError):
        ask(sweep, source, where="__import__('os').system('true') == 0")
    with pytest.raises(SelectionOnTest, match="reports, it does not choose"):
        ask(sweep, source, where="test_accuracy.mean > 0.5")
    with pytest.raises(SelectionOnTest):
        ask(sweep, source, pareto="test_accuracy,parameters_kept")
    with pytest.raises(SelectionOnTest):
        sweeps.replicates(sweep.name, where="test_loss < 1", source=source, storage=sweep.storage)  # type: ignore[arg-type]
    place: dict[str, Any] = {"source": source, "storage": sweep.storage}
    with pytest.raises(SpecError, match=r"unknown metric 'loss' of an epoch; known: .*validation_loss"):
        sweeps.history(sweep.name, metrics=["train_loss", "loss"], **place)
    with pytest.raises(SpecError, match=r"unknown metric 'loss'; known: .*validation_loss"):
        sweeps.trials(sweep.name, metric="loss", **place)
    with pytest.raises(SpecError, match=r"unknown path 'modell' to group by; known: .*model, .*model\.widths"):
        ask(sweep, source, per="modell")
    with pytest.raises(SpecError, match="two metrics or more; got validation_accuracy"):
        ask(sweep, source, pareto="validation_accuracy")
    with pytest.raises(SpecError, match="unknown direction 'up' of parameters_kept; known: max, min"):
        ask(sweep, source, pareto="validation_accuracy,parameters_kept:up")
    with pytest.raises(SweepNotFound, match=r"no trial .* meets the condition n > 9"):
        ask(sweep, source, where="n > 9")
    with pytest.raises(SweepNotFound, match=f"no sweep 'other' .*there: {sweep.name}"):
        sweeps.best("other", source=source, storage=sweep.storage)  # type: ignore[arg-type]
    for hostile in ("x" * 10_000, "a\0b", f"../{sweep.storage.name}/{sweep.name}", "<b>", "' or '1' = '1"):
        with pytest.raises(SweepNotFound, match=f"there: {sweep.name}"):
            sweeps.best(hostile, source=source, storage=sweep.storage)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="unknown source 'wandb' of answers; known: records, mlflow"):
        ask(sweep, "wandb")


def test_address_in_the_spec_is_asked_and_what_is_given_comes_first(
    sweep: SweepOnDisk, tmp_path: Path, migrated_store: Path
) -> None:
    own = SweepOnDisk(tmp_path / "storage", "elsewhere", seeds=1, points={"training.optimiser.lr": [0.1]})
    own.finish()
    other = f"sqlite:///{shutil.copy(migrated_store, tmp_path / 'other.db')}"
    (own.folder / "spec.yaml").write_text(f"name: {own.name}\ntracking: {{uri: '{other}', pictures: 0}}\n")
    assert sync_sweep(own.name, own.storage).is_complete
    assert not (own.storage / "mlflow.db").exists()
    assert len(sweeps.replicates(own.name, source="mlflow", storage=own.storage)) == 2
    with pytest.raises(SweepNotFound, match=f"no sweep 'elsewhere' .*there: {sweep.name}"):
        sweeps.replicates(own.name, source="mlflow", storage=own.storage, uri=store_uri(sweep.storage))


def test_a_server_that_is_too_old_is_said_to_who_asks(sweep: SweepOnDisk) -> None:
    search = (200, "application/json", json.dumps({"experiments": []}))
    answers = {"/version": (200, "text/plain", "2.9.2"), "/api/2.0/mlflow/experiments/search": search}
    with answering(answers) as address, pytest.raises(TrackingError, match=r"3\.0 or newer is needed"):
        ask(sweep, "mlflow", uri=address)


def test_the_shell_prints_answers_in_every_format(sweep: SweepOnDisk) -> None:
    question = [
        "best",
        sweep.name,
        "--pareto",
        "validation_accuracy,parameters_kept",
        "--storage",
        str(sweep.storage),
    ]
    shown = {}
    for form in ("table", "json", "csv", "yaml"):
        done = CliRunner().invoke(app, [*question, "--format", form, "--from", "mlflow"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert "left out: 1 trial with a diverged or failed replicate" in done.stderr
        shown[form] = done.stdout
    names = [answer["trial_id"] for answer in json.loads(shown["json"])]
    assert names
    for text in shown.values():
        assert all(name in text for name in names)
    assert len(shown["csv"].splitlines()) == 1 + len(names)
    listed = CliRunner().invoke(
        app,
        ["history", sweep.name, "--metrics", "train_loss", "--storage", str(sweep.storage)],
        catch_exceptions=False,
    )
    assert len(listed.stdout.splitlines()) == 1 + sum(r.folder.exists() for r in sweep.replicates()) * sweep.epochs


def test_the_shell_shows_the_metric_that_trials_are_asked_for(sweep: SweepOnDisk) -> None:
    question = ["trials", sweep.name, "--metric", "validation_loss", "--storage", str(sweep.storage)]
    done = CliRunner().invoke(app, [*question, "--format", "csv"], catch_exceptions=False)
    assert "validation_loss.ci_low" in done.stdout.splitlines()[0].split(",")
    table = sweeps.trials(sweep.name, metric="validation_loss", storage=sweep.storage)
    shown = []
    for metric in ("validation_loss", None):
        with console.capture() as captured:
            tables.frame(table, metric)
        shown.append(captured.get())
    number = f"{table['validation_loss.ci_low'].iloc[0]:.4g}"
    assert [number in text for text in shown] == [True, False]


WITHOUT_RAY = """
import sys

class NoRay:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "ray":
            raise ImportError("there is no Ray here")

sys.meta_path.insert(0, NoRay())
import sweeps

name, uri = sys.argv[1:]
best = sweeps.best(name, source="mlflow", uri=uri, where="prune.aggressiveness > 0.5", k=2)
print(best[0].trial_id, best[0].to_spec("again").trial.prune.aggressiveness)
print(len(sweeps.trials(name, source="mlflow", uri=uri)), len(sweeps.replicates(name, source="mlflow", uri=uri)))
"""


@pytest.mark.slow
def test_a_machine_without_ray_and_records_asks_mlflow(sweep: SweepOnDisk, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_RAY, sweep.name, store_uri(sweep.storage)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=480,
    )
    assert done.returncode == 0, done.stderr
    wanted = ask(sweep, "records", where="prune.aggressiveness > 0.5", k=1)[0]
    assert done.stdout.split() == [wanted.trial_id, "0.75", "12", "59"]
    assert not list(tmp_path.iterdir())


def test_watching_goes_on_until_every_replicate_has_ended(
    tmp_path: Path, migrated_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = SweepOnDisk(tmp_path, seeds=1, points={"training.optimiser.lr": [0.1]})
    waiting = sweep.replicates()

    def ask_and_go_on() -> dict[str, Any]:
        found = status_of(sweep.name, tmp_path)
        if waiting:
            waiting.pop().finish()
        return found

    assert show.watch(ask_and_go_on, every=0.0)["recorded"] == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{sweep.name}: 0/2 replicates (2 new)"
    assert lines[-1] == f"{sweep.name}: 2/2 replicates (2 finished)"
    asked = CliRunner().invoke(app, ["status", sweep.name, "--watch", "--json", "--storage", str(tmp_path)])
    assert json.loads(asked.stdout)["recorded"] == 2
    assert asked.stderr.splitlines() == lines[-1:]
