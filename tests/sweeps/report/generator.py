"""Sweeps as they lie on a storage, without training any: record directories, plan and tables as documented.

Accuracy, divergence and sizes follow simple laws with known truth; spectra are those of real matrices (noise with
planted spikes, truncated at each pruning), so that what the report draws looks like what it will be given.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from sweeps.aggregate import trials_of
from sweeps.table import NAMES, row_of

EPOCHS, EVERY = 12, 3
DUE = range(EVERY, EPOCHS, EVERY)
HEAD = "head"
LAYERS = {"linear1": (64, 96), "linear2": (64, 64), HEAD: (10, 64)}
GRID: Mapping[str, Sequence[Any]] = {
    "model.widths": [[64, 64], [128, 128]],
    "training.optimiser.lr": [0.02, 0.1],
    "initialisation": [{"kind": "normal_fan_in"}, {"kind": "kaiming_uniform", "gain": 1.4}],
    "prune.aggressiveness": [0.4, 0.8],
}
CONFIG: dict[str, Any] = {
    "data": {"kind": "digits", "validation": 360, "train_size": None},
    "model": {"kind": "mlp", "widths": [64, 64], "output_activation": "none"},
    "initialisation": {"kind": "normal_fan_in"},
    "training": {
        "epochs": EPOCHS,
        "batch_size": 64,
        "optimiser": {"kind": "sgd", "lr": 0.02, "momentum": 0.9},
        "schedule": {"kind": "step", "factor": 0.96, "every": 1},
        "l1": 5e-6,
        "l2": 5e-6,
    },
    "prune": {
        "rule": "mp_threshold",
        "aggressiveness": 0.5,
        "every": EVERY,
        "noise": {"kind": "bema_two_pass", "beta": 0.1},
        "gate": {"max_distance": "off"},
        "layers": [],
    },
    "measures": {"end": ["spectra"], "at_epochs": {}},
}
ENVIRONMENT = {
    "host": "laptop",
    "device": "cpu",
    "threads": 1,
    "versions": {"python": "3.11.7", "torch": "2.14.1", "numpy": "2.4.6"},
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "dirty": False,
}
FINGERPRINT = "9f" * 32
Config = dict[str, Any]


@dataclass(frozen=True)
class Made:
    """A sweep on disk with its tables; `spectra` and `histories` read the files, as the service does."""

    storage: Path
    sweep: str
    plan: dict[str, Any]
    table: pd.DataFrame

    @cached_property
    def trials(self) -> pd.DataFrame:
        return trials_of(self.table, objective="validation_accuracy")

    def folder(self, trial_id: str, replicate_id: str) -> Path:
        return self.storage / self.sweep / "trials" / trial_id / replicate_id

    def spectra(self, trial_id: str, replicate_id: str) -> Mapping[str, Any]:
        with np.load(self.folder(trial_id, replicate_id) / "spectra.npz") as arrays:
            return dict(arrays)

    def histories(self, trial_id: str, replicate_id: str) -> list[dict[str, Any]]:
        lines = (self.folder(trial_id, replicate_id) / "history.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


@dataclass
class Recipe:
    """What to make.

    Attributes:
        endings: Status and reason of single replicates, by (number of the trial, seed).
        unrecorded: Replicates that are planned and not there yet.
        files: Write the record directories; tables alone are enough for very large sweeps.
        gain: What pruning adds to the mean accuracy; `calm` is by what it divides the standard deviation.
    """

    name: str = "quickstart"
    grid: Mapping[str, Sequence[Any]] = field(default_factory=lambda: dict(GRID))
    seeds: int = 5
    baseline: bool = True
    endings: Mapping[tuple[int, int], tuple[str, str]] = field(default_factory=dict)
    unrecorded: frozenset[tuple[int, int]] = frozenset()
    files: bool = True
    gain: float = 0.006
    calm: float = 1.6


def make(storage: Path, recipe: Recipe | None = None) -> Made:
    """Write a sweep and give its tables."""
    recipe = recipe or Recipe()
    plan = _plan(recipe)
    records = list(_records(plan, recipe))
    made = Made(storage, recipe.name, plan, _table(records))
    if recipe.files:
        (storage / recipe.name).mkdir(parents=True, exist_ok=True)
        (storage / recipe.name / "plan.json").write_text(json.dumps(plan))
        for record in records:
            _write(made.folder(record["trial_id"], record["replicate_id"]), record)
    return made


def _table(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    seeds = ["seeds.initialisation", "seeds.data_order", "seeds.split"]
    return pd.DataFrame([row_of(record) for record in records], columns=None if records else [*NAMES, *seeds])


def _plan(recipe: Recipe) -> dict[str, Any]:
    trials: dict[str, dict[str, Any]] = {}
    for values in itertools.product(*recipe.grid.values()):
        point = dict(zip(recipe.grid, values, strict=True))
        config = json.loads(json.dumps(CONFIG))
        for path, value in point.items():
            _assign(config, path, value)
        twin_config = config | {"prune": config["prune"] | {"rule": "none"}}
        twin_config["prune"].pop("aggressiveness")
        twin = _digest(twin_config) if recipe.baseline else None
        if twin:
            shared = {path: value for path, value in point.items() if not path.startswith("prune.")}
            trials.setdefault(twin, _planned(twin, "twin", None, shared, twin_config, recipe.seeds))
        trial = _digest(config)
        trials[trial] = _planned(trial, "pruned", twin, point, config, recipe.seeds)
    return {
        "sweep": recipe.name,
        "trials": list(trials.values()),
        "dimensions": list(recipe.grid),
        "objective": {"metric": "validation_accuracy", "statistic": "mean", "mode": "max"},
    }


def _planned(trial: str, role: str, twin: str | None, point: Config, config: Config, seeds: int) -> dict[str, Any]:
    triples = [{"initialisation": seed, "data_order": 0, "split": 0} for seed in range(seeds)]
    replicates = [{"replicate_id": _digest([trial, seeds]), "seeds": seeds} for seeds in triples]
    return {
        "trial_id": trial, "role": role, "twin": twin, "point": point, "fingerprint": FINGERPRINT,
        "config": config, "replicates": replicates,
    }  # fmt: skip


def _records(plan: dict[str, Any], recipe: Recipe) -> Iterator[dict[str, Any]]:
    for number, trial in enumerate(plan["trials"]):
        for replicate in trial["replicates"]:
            seed = replicate["seeds"]["initialisation"]
            if (number, seed) not in recipe.unrecorded:
                ending = recipe.endings.get((number, seed), ("finished", "all epochs done"))
                yield _record(recipe, trial, replicate, *ending)


def _record(
    recipe: Recipe, trial: dict[str, Any], replicate: dict[str, Any], status: str, reason: str
) -> dict[str, Any]:
    record = {
        "format": 1, "sweep": recipe.name,
        "trial_id": trial["trial_id"], "replicate_id": replicate["replicate_id"],
        "status": status, "reason": reason, "role": trial["role"], "twin": trial["twin"],
        "config": trial["config"], "seeds": replicate["seeds"], "epochs": EPOCHS if status == "finished" else 4,
        "metrics": _metrics(recipe, trial, replicate["seeds"]["initialisation"]) if status == "finished" else {},
        "measures": {}, "started": 1_790_000_000_000, "ended": 1_790_000_004_200, "wall_seconds": 4.2,
        "environment": ENVIRONMENT, "fingerprint": FINGERPRINT, "files": {},
    }  # fmt: skip
    if status == "failed":
        record["traceback"] = f"Traceback (most recent call last):\n  <script>alert(1)</script>\n{reason}"
    return record


def _metrics(recipe: Recipe, trial: dict[str, Any], seed: int) -> dict[str, float]:
    config = trial["config"]
    pruned = config["prune"]["rule"] != "none"
    strength = config["prune"].get("aggressiveness", 0.0) if pruned else 0.0
    luck = np.random.default_rng([seed, 17]).standard_normal()  # of the seed: shared by trial and twin
    own = np.random.default_rng([seed, *trial["trial_id"].encode()]).standard_normal(4)
    centre = (
        0.935
        + 0.008 * (config["model"]["widths"][0] > 64)
        + 0.006 * (config["training"]["optimiser"]["lr"] > 0.05)
    )
    centre += recipe.gain * (1 - (strength - 0.4) ** 2 * 4) * pruned
    spread = 0.008 / (recipe.calm if pruned else 1.0)
    accuracy = centre + spread * (0.7 * luck + 0.7 * own[0])
    kept = float(np.clip(1.0 - 0.75 * strength + 0.03 * own[2] * pruned, 0.05, 1.0)) if pruned else 1.0
    return {
        "train_loss": 0.11 - 0.01 * own[3], "train_accuracy": min(1.0, accuracy + 0.03),
        "validation_loss": 0.25 - accuracy / 8, "validation_accuracy": _grid(accuracy + 0.002 * own[1], 360),
        "test_accuracy": _grid(accuracy - 0.004 + 0.002 * own[2], 360), "test_loss": 0.26 - accuracy / 8,
        "test_examples": 360, "parameters_kept": kept, "parameters": round(kept * 13_000),
        "classes_never_predicted": 0,
    }  # fmt: skip


def _grid(accuracy: float, examples: int) -> float:
    return round(min(accuracy, 1.0) * examples) / examples


def _write(folder: Path, record: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "history.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in _history(record)))
    if record["status"] == "finished":
        with threadpool_limits(1):  # small matrices: more threads only wait for each other
            np.savez(folder / "spectra.npz", **spectra_of(record))
    (folder / "record.json").write_text(json.dumps(record))


def _history(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    end = record["metrics"].get("validation_accuracy", 0.4)
    kept = record["metrics"].get("parameters_kept", 1.0)
    for epoch in range(1, record["epochs"] + 1):
        share = (len([due for due in DUE if due <= epoch])) / len(DUE)
        yield {
            "epoch": epoch, "time": 1_790_000_000_000 + 350 * epoch, "learning_rate": 0.02 * 0.96**epoch,
            "validation_accuracy": end - 0.5 * float(np.exp(-epoch / 2)),
            "train_accuracy": end + 0.02 - 0.6 * float(np.exp(-epoch / 2)),
            "train_loss": 0.1 + float(np.exp(-epoch / 3)), "parameters_kept": 1 - (1 - kept) * share,
        }  # fmt: skip


def spectra_of(record: dict[str, Any]) -> dict[str, Any]:
    """Arrays of `spectra.npz`: noise with four spikes a layer, part of the bulk removed at each pruning.

    The head is left alone; a layer whose factors would not be smaller fills up again, as training makes it.
    """
    arrays: dict[str, Any] = {}
    fits: list[dict[str, Any]] = []
    pruned = record["config"]["prune"]["rule"] != "none"
    strength = record["config"]["prune"].get("aggressiveness", 0.0) if pruned else 0.0
    rng = np.random.default_rng(list(record["replicate_id"].encode()))
    for layer, (rows, cols) in LAYERS.items():
        sigma = 1 / np.sqrt(cols)
        noise = rng.standard_normal((rows, cols)) * sigma
        left, right = (np.linalg.qr(rng.standard_normal((side, 4)))[0] for side in (rows, cols))
        strengths = np.array([4.5, 3.6, 3.0, 2.6])
        full = min(rows, cols)
        first_bulk, rank = 0, full
        for index, epoch in enumerate([0, *DUE, EPOCHS]):
            signal = (left * strengths * index / len(DUE)) @ right.T
            values = np.linalg.svd(noise + signal, compute_uv=False)
            values[rank:] = 0.0
            arrays[f"{layer}/{epoch}/singular_values"] = values
            edge = float(sigma * (np.sqrt(rows) + np.sqrt(cols)))
            spikes = int((values > edge * 1.02).sum())
            fit: dict[str, Any] = {"variance": float(sigma**2), "edge": edge, "threshold": edge * 1.02}
            fit |= {"spikes": spikes, "distance": 0.02 + 0.01 * index}
            status, before = "measured", rank
            if pruned and epoch in DUE and layer == HEAD:
                status, fit = "skipped", dict.fromkeys(fit)
            elif pruned and epoch in DUE:
                first_bulk = first_bulk or full - spikes
                status, rank = "cut", spikes + int((1 - strength * index / len(DUE)) * first_bulk)
            about = {"layer": layer, "epoch": epoch, "rows": rows, "cols": cols}
            fits.append(about | fit | {"rank_before": before, "rank": rank, "status": status, "reason": ""})
            if rank * (rows + cols) >= rows * cols:
                rank = full
    return arrays | {"fits": np.array(json.dumps(fits))}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def _assign(config: Config, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for part in parents:
        config = config[part]
    config[last] = value
