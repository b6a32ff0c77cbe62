"""Networks of a sweep that was really trained: loaded, promoted to the registry, exported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import sweeps
from rmt import LowRankLinear
from sweeps import launch, mlflow_query, networks, tracking
from sweeps.cli import app
from sweeps.data import load
from sweeps.errors import SpecError, SweepNotFound, TrackingError
from sweeps.origin import origin_of
from sweeps.spec import build_spec
from sweeps.tracking.store import store_uri
from sweeps.trial import TrialRun
from tests.sweeps.tracking.stores import NOT_OURS, migrated_store, no_address_from_outside

__all__ = ["migrated_store", "no_address_from_outside"]
pytestmark = [
    *(pytest.mark.filterwarnings(warning) for warning in NOT_OURS),
    pytest.mark.filterwarnings("ignore:.torch.jit.load. is:FutureWarning"),
]
NAME = "networks"
SPEC = {
    "name": NAME,
    "trial": {
        "data": {"kind": "digits", "validation": 300, "train_size": 400},
        "model": {"kind": "mlp", "widths": [96, 64]},
        "training": {"epochs": 3, "batch_size": 32, "optimiser": {"kind": "sgd", "lr": 0.05}},
        "prune": {"rule": "mp_threshold", "aggressiveness": 1.0, "every": 1},
    },
    "replicates": {"initialisation": 2},
    "tracking": {"weights": "best", "best": 1, "pictures": 0},
}


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> Path:
    """A pruned trial and its twin, two seeds each, trained here and projected."""
    root = tmp_path_factory.mktemp("networks")
    shutil.copy(migrated_store, root / "mlflow.db")
    made, _ = launch.plan(build_spec(SPEC), storage=root)
    launch._write_plan(root / NAME, made)
    for trial in made:
        run = TrialRun(trial, trial.replicates, load(trial.spec.data), sweep=root / NAME)
        while run.step() is not None:
            pass
    assert tracking.project(root, NAME).is_complete
    return root


def test_a_loaded_network_has_low_rank_layers_and_the_recorded_accuracy(storage: Path) -> None:
    table = sweeps.replicates(NAME, where='role == "pruned"', storage=storage)
    for number, (_, row) in enumerate(table.iterrows()):
        chosen = networks.choose(origin_of(NAME, storage=storage), str(row["trial_id"])[:8], number)
        network = sweeps.load_model(NAME, trial=str(row["trial_id"]), replicate=number, storage=storage)
        assert any(isinstance(part, LowRankLinear) for part in network.modules())
        test = chosen.split().test
        assert networks.accuracy(network, test.inputs, test.labels) == row["test_accuracy"]
        assert sum(p.numel() for p in network.parameters()) == row["parameters"]


def test_weights_of_the_best_are_in_mlflow_and_the_same_network(storage: Path) -> None:
    recorded = sweeps.load_model(NAME, storage=storage)
    tracked = sweeps.load_model(NAME, source="mlflow", storage=storage)
    inputs = torch.randn(5, 1, 8, 8)
    assert torch.equal(recorded(inputs), tracked(inputs))
    best = sweeps.best(NAME, k=1, storage=storage)[0].trial_id
    others = sweeps.replicates(NAME, where=f'trial_id != "{best}"', storage=storage)
    with pytest.raises(SweepNotFound, match=r"no weights of replicate .*`tracking\.weights`"):
        sweeps.load_model(NAME, trial=others["trial_id"].iloc[0], source="mlflow", storage=storage)


def test_choices_that_are_not_there_list_those_that_are(storage: Path) -> None:
    origin = origin_of(NAME, storage=storage)
    with pytest.raises(SweepNotFound, match="no finished trial begins with 'zzz'; there: "):
        networks.choose(origin, "zzz")
    with pytest.raises(SweepNotFound, match="no replicate 7; finished are 0 to 1"):
        networks.choose(origin, None, 7)
    with pytest.raises(SweepNotFound, match="several replicates begin with ''"):
        networks.choose(origin, None, "")


@pytest.mark.slow
def test_a_promoted_network_loads_with_mlflow_and_gives_the_recorded_accuracy(
    storage: Path, tmp_path: Path
) -> None:
    import mlflow.pytorch
    from mlflow import MlflowClient

    uri = store_uri(storage)
    pruned = sweeps.replicates(NAME, where='role == "pruned"', storage=storage)
    trial = str(pruned["trial_id"].iloc[0])
    done = CliRunner().invoke(
        app,
        ["promote", NAME, "--trial", trial, "--replicate", "1", "--as", "digits net", "--storage", str(storage)],
        catch_exceptions=False,
    )
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("models:/digits net/1: ")
    mlflow.set_tracking_uri(uri)
    try:
        module = mlflow.pytorch.load_model("models:/digits net/1")
        info = mlflow.models.get_model_info("models:/digits net/1")
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    dataset = load(build_spec(SPEC).trial.data)
    raw, labels = torch.tensor(dataset.test_inputs).float(), torch.tensor(dataset.test_labels)
    assert networks.accuracy(module, raw, labels) == pruned["test_accuracy"].iloc[1]
    assert info.signature is not None
    assert info.saved_input_example_info is not None
    version = MlflowClient(tracking_uri=uri).get_model_version("digits net", "1")
    row = sweeps.trials(NAME, storage=storage).set_index("trial_id").loc[trial]
    assert version.tags["n"] == "2"
    assert float(version.tags["trial.validation_accuracy.ci_low"]) == pytest.approx(
        row["validation_accuracy.ci_low"]
    )
    assert float(version.tags["trial.parameters_kept.mean"]) == pytest.approx(row["parameters_kept.mean"])
    assert json.loads(version.tags["configuration"])["prune"]["aggressiveness"] == 1.0
    own = MlflowClient(tracking_uri=uri).get_run(str(version.run_id)).info
    assert (own.status, own.end_time) == ("FINISHED", pruned["ended"].iloc[1])
    assert version.run_id == mlflow_query.run_id(NAME, "replicate", str(pruned["replicate_id"].iloc[1]), uri)
    with pytest.raises(SpecError, match="'a/b' is not a model's name"):
        sweeps.promote(NAME, "a/b", storage=storage)
    other = tmp_path / "another storage"
    shutil.copytree(storage / NAME, other / NAME)
    (other / NAME / "projection.json").unlink()
    with pytest.raises(TrackingError, match="belongs to another sweep of that name"):
        sweeps.promote(NAME, "digits net", storage=other, uri=uri)


@pytest.mark.slow
@pytest.mark.parametrize("form", networks.FORMATS)
def test_an_exported_network_is_the_same_and_has_its_latency_measured(
    storage: Path, tmp_path: Path, form: str
) -> None:
    file = tmp_path / "network.pt"
    pruned = sweeps.replicates(NAME, where='role == "pruned"', storage=storage)
    done = CliRunner().invoke(
        app,
        [
            "export",
            NAME,
            "--trial",
            str(pruned["trial_id"].iloc[0]),
            "-o",
            str(file),
            "--format",
            form,
            "--storage",
            str(storage),
        ],
        catch_exceptions=False,
    )
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["parameters"]["pruned"] < said["parameters"]["dense"]
    assert all(
        said["milliseconds"][kind][size] > 0 for kind in ("dense", "pruned", "exported") for size in ("1", "256")
    )
    module = torch.jit.load(str(file)) if form == "torchscript" else torch.export.load(str(file)).module()
    dataset = load(build_spec(SPEC).trial.data)
    row = pruned.set_index("replicate_id").loc[said["replicate_id"]]
    raw, labels = torch.tensor(dataset.test_inputs).float(), torch.tensor(dataset.test_labels)
    assert networks.accuracy(module, raw, labels) == row["test_accuracy"]
