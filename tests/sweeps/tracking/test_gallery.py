"""Pictures and weights on the runs of an ended sweep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run
from scipy import stats

from sweeps import pictures, tracking
from sweeps.pictures.sweep import importances, parallel
from sweeps.tracking import lag as lags
from sweeps.tracking.client import Client
from sweeps.tracking.gallery import hang
from sweeps.tracking.source import read_plan
from sweeps.tracking.store import store_uri
from sweeps.tracking.tree import open_tree
from tests.sweeps.tracking.recorded import SweepOnDisk
from tests.sweeps.tracking.seen import Seen

PNG = b"\x89PNG\r\n\x1a\n"
OF_SWEEP = {"parallel.png", "parallel.html", "heat-maps.png", "importance.png", "accuracy-against-size.png"}


@pytest.mark.slow
def test_best_trials_get_pictures_and_weights_once_and_few_names_are_logged(
    storage: Path, seen: Seen, tmp_path: Path
) -> None:
    points = {"training.optimiser.lr": [0.01, 0.05], "prune.aggressiveness": [0.25, 0.75]}
    sweep = SweepOnDisk(storage, points=points, tracking="{weights: best, best: 1, pictures: 2}")
    sweep.finish()
    for replicate in sweep.replicates():
        (replicate.folder / "weights.safetensors").write_bytes(b"weights of " + replicate.replicate_id.encode())
    assert tracking.project(storage, sweep.name).is_complete
    trials, replicates = seen.level(sweep.name, "trial"), seen.level(sweep.name, "replicate")
    root = seen.level(sweep.name, "sweep")[sweep.name]
    assert set(seen.artifacts(root)) >= OF_SWEEP | {"environment.json"}
    assert root.inputs is not None
    [data] = root.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("digits", "f" * 36)
    assert root.data.tags["git_commit"] == "c" * 40
    means = {name: run.data.metrics["validation_accuracy.mean"] for name, run in trials.items()}
    best = sorted(means, key=lambda name: -means[name])
    assert [name for name in trials if "curves.png" in seen.artifacts(trials[name])] == [
        name for name in trials if name in best[:2]
    ]
    drawn = [run for run in replicates.values() if "spectra.png" in seen.artifacts(run)]
    assert {run.data.tags["trial"] for run in drawn} == set(best[:2])
    assert len(drawn) == 2
    for name in ("spectra.png", "rank-and-size.png"):
        assert seen.download(drawn[0], name, tmp_path).startswith(PNG)
    weighty = [run for run in replicates.values() if "weights.safetensors" in seen.artifacts(run)]
    assert {run.data.tags["trial"] for run in weighty} == {best[0]}
    assert len(weighty) == sweep.seeds
    assert all(len(run.data.metrics) < 60 for run in seen.runs(sweep.name))
    files = {path: path.stat().st_mtime_ns for path in storage.glob("artifacts/**/*.png")}
    before = seen.tree(sweep.name)
    assert tracking.project(storage, sweep.name).is_complete
    assert {path: path.stat().st_mtime_ns for path in storage.glob("artifacts/**/*.png")} == files
    assert seen.tree(sweep.name) == before


class Counting(Client):
    """The writer, counting what it asks for."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.asked: list[str] = []
        self.uploaded: list[str] = []

    def runs(self, experiment: str, condition: str) -> Iterator[Run]:
        self.asked.append(condition)
        return super().runs(experiment, condition)

    def upload(self, run: str, path: Path) -> None:
        self.uploaded.append(path.read_text())
        super().upload(run, path)


def test_all_weights_are_hung_with_a_question_a_trial_and_those_of_a_new_record_again(
    storage: Path, seen: Seen
) -> None:
    points = {"training.optimiser.lr": [0.05]}
    sweep = SweepOnDisk(storage, points=points, tracking="{weights: all, pictures: 0}")
    sweep.finish()
    for replicate in sweep.replicates():
        (replicate.folder / "weights.safetensors").write_text(replicate.replicate_id)
    assert tracking.project(storage, sweep.name).is_complete
    runs = seen.level(sweep.name, "replicate")
    assert all("weights.safetensors" in seen.artifacts(run) for run in runs.values())
    again = sweep.replicates()[1]
    again.finish(ended=again.begin + 99_999)
    client = Counting(store_uri(storage))
    tree = open_tree(client, sweep.name, lags.identity(sweep.folder), None)
    hang(tree, sweep.folder, read_plan(sweep.folder))
    assert client.uploaded == [again.replicate_id]
    assert len(client.asked) == len(sweep.trials)


def test_importance_is_the_share_that_the_analysis_of_variance_gives() -> None:
    chance = np.random.default_rng(0)
    rates = np.repeat([0.1, 0.2, 0.3], 8)
    kinds = np.tile(["a", "b"], 12)
    values = rates + (kinds == "b") * 0.05 + chance.normal(0, 0.05, 24)
    table = pd.DataFrame({"lr": rates, "kind": kinds, "same": 1.0, "x.mean": values})
    shares = importances(table, ["lr", "kind", "same", "absent"], "x.mean")
    assert set(shares.index) == {"lr", "kind"}
    for name in shares.index:
        groups = [values[table[name] == value] for value in table[name].unique()]
        between, within = len(groups) - 1, len(values) - len(groups)
        f = stats.f_oneway(*groups).statistic
        assert shares[name] == pytest.approx(f * between / (f * between + within), rel=1e-9)


def test_names_of_any_kind_are_drawn_as_text() -> None:
    hostile = ["<script>alert(1)</script>", "$\\frac{1}{$", "line\nbreak \x00", "x" * 10_000]
    table = pd.DataFrame({"model.kind": hostile, "x.mean": [0.1, 0.2, 0.3, 0.4]})
    figure = parallel(table, ["model.kind"], "x.mean", hostile[1])
    assert figure is not None
    assert pictures.png(figure).startswith(PNG)
