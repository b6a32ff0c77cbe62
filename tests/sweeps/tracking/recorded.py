"""A generator of sweeps on disk: record folders as a training leaves them, at any moment of it."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sweeps.document import assign

BEGIN = 1_760_000_000_000
EPOCH_MS = 700
VERSIONS = {"python": "3.12.1", "torch": "2.14.1", "mlflow": "3.17.2"}
POINTS: Mapping[str, list[Any]] = {
    "model.widths": [[64, 64], [128, 128]],
    "training.optimiser.lr": [0.01, 0.05],
    "prune.aggressiveness": [0.25, 0.75],
}


@dataclass(frozen=True)
class Replicate:
    """A replicate of a sweep on disk."""

    sweep: SweepOnDisk
    trial: Mapping[str, Any]
    replicate_id: str
    seed: int

    @property
    def folder(self) -> Path:
        return self.sweep.folder / "trials" / self.trial["trial_id"] / self.replicate_id

    @property
    def begin(self) -> int:
        return BEGIN + 10_000 * int(self.trial["number"])

    def rows(self, epochs: int) -> list[dict[str, Any]]:
        """History of a plausible training, the same each time it is asked for."""
        chance = random.Random(f"{self.replicate_id}")
        level = 0.9 - 0.02 * self.trial["number"] / 10 + chance.gauss(0, 0.01)
        pruned = self.trial["role"] == "pruned"
        kept = 1.0
        rows = []
        for epoch in range(1, epochs + 1):
            if pruned and epoch % 2 == 0:
                kept = max(0.4, kept - 0.2)
            loss = 2.3 * math.exp(-0.2 * epoch) + chance.uniform(0, 0.05)
            rows.append(
                {
                    "epoch": epoch,
                    "time": self.begin + EPOCH_MS * epoch,
                    "train_loss": loss,
                    "train_penalty": 0.01 * epoch,
                    "train_accuracy": min(1.0, level - loss / 20 + 0.02),
                    "validation_loss": loss * 1.1,
                    "validation_accuracy": level - loss / 20,
                    "learning_rate": 0.02 * 0.96**epoch,
                    "parameters_kept": kept,
                    "gradient_norm": 0.5 / epoch,
                    "weight_norm": 12.0 - 0.1 * epoch,
                    "dead_units": float(chance.randrange(3)),
                    "classes_never_predicted": 0.0,
                }
            )
        return rows

    def train(self, until: int, *, since: int = 0) -> None:
        """Append the epochs after `since` up to `until` to the history."""
        self.append(self.rows(until)[since:])

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows to the history as they are."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "history.jsonl").open("a", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row) + "\n")

    def finish(self, status: str = "finished", *, epochs: int | None = None, **changes: Any) -> dict[str, Any]:
        """Write the record and its files; the whole history first when there is none."""
        epochs = epochs or self.sweep.epochs
        broken = {"train_loss": None, "validation_loss": None} if status == "diverged" else {}
        if not (self.folder / "history.jsonl").exists():
            self.train(epochs - 1 if broken else epochs)
            self.append([self.rows(epochs)[-1] | broken] if broken else [])
        last = {k: v for k, v in (self.rows(epochs)[-1] | broken).items() if k not in ("epoch", "time")}
        test = {"test_accuracy": last["validation_accuracy"] - 0.01, "test_loss": 0.4, "parameters": 9000.0}
        layers = [_layer(f"layers.{i}", self.trial["role"]) for i in range(3)]
        record = {
            "format": 1,
            "sweep": self.sweep.folder.name,
            "trial_id": self.trial["trial_id"],
            "replicate_id": self.replicate_id,
            "status": status,
            "reason": "" if status == "finished" else f"{status} at epoch {epochs}",
            **({"traceback": "Traceback (most recent call last):\nValueError: no"} if status == "failed" else {}),
            "role": self.trial["role"],
            "twin": self.trial["twin"],
            "seeds": {"initialisation": self.seed, "data_order": 0, "split": 0},
            "config": self.trial["config"],
            "fingerprint": "f" * 64,
            "epochs": epochs,
            "metrics": last | (test if status in ("finished", "stopped") else {}),
            "measures": {"distance": 0.1 + self.seed / 100} if status == "finished" else {},
            "layers": layers if status == "finished" else [],
            "started": self.begin,
            "ended": self.begin + EPOCH_MS * epochs + 50,
            "wall_seconds": EPOCH_MS * epochs / 1000,
            "environment": {
                "host": "node-1",
                "device": "cpu",
                "threads": 1,
                "versions": VERSIONS,
                "commit": "c" * 40,
                "dirty": False,
            },
            "files": {},
        } | changes
        if status == "finished":
            (self.folder / "spectra.npz").write_bytes(_spectra())
        (self.folder.parent / "trial.json").write_text(json.dumps(self.trial), encoding="utf-8")
        temporary = self.folder / ".record.json.new"
        temporary.write_text(json.dumps(record, indent=1), encoding="utf-8")
        temporary.replace(self.folder / "record.json")
        return record


@dataclass
class SweepOnDisk:
    """A sweep's folder with its plan; replicates are trained when asked to be."""

    storage: Path
    name: str = "digits-variance"
    epochs: int = 6
    seeds: int = 3
    points: Mapping[str, list[Any]] = field(default_factory=lambda: POINTS)
    tracking: str = "{pictures: 0}"
    objective: Mapping[str, str] = field(
        default_factory=lambda: {"metric": "validation_accuracy", "statistic": "mean", "mode": "max"}
    )

    def __post_init__(self) -> None:
        self.folder = self.storage / self.name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.trials = list(self._trials())
        (self.folder / "spec.yaml").write_text(self.spec, encoding="utf-8")
        self.write_plan()

    @property
    def spec(self) -> str:
        return f"name: {self.name}\ntracking: {self.tracking}\n"

    def write_plan(self) -> None:
        plan = {
            "sweep": self.name,
            "dimensions": list(self.points),
            "objective": self.objective,
            "trials": self.trials,
        }
        (self.folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")

    def _trials(self) -> Iterator[dict[str, Any]]:
        own = {path: values for path, values in self.points.items() if not path.startswith("prune.")}
        twins = [dict(zip(own, values, strict=True)) for values in itertools.product(*own.values())]
        pruned = [dict(zip(self.points, v, strict=True)) for v in itertools.product(*self.points.values())]
        made: dict[str, str] = {}
        for number, (role, point) in enumerate([("twin", p) for p in twins] + [("pruned", p) for p in pruned]):
            config = _config(point, role, self.epochs)
            trial_id = _name(config)[:12]
            key = json.dumps({path: value for path, value in point.items() if not path.startswith("prune.")})
            twin = made.get(key) if role == "pruned" else None
            made.setdefault(key, trial_id)
            yield {
                "trial_id": trial_id,
                "number": number,
                "role": role,
                "twin": twin,
                "point": point,
                "config": config,
                "replicates": [
                    {
                        "replicate_id": _name([trial_id, seed])[:16],
                        "seeds": {"initialisation": seed, "data_order": 0, "split": 0},
                    }
                    for seed in range(self.seeds)
                ],
            }

    def replicates(self, trial: int | None = None) -> list[Replicate]:
        """Replicates of one trial by its number, or of all."""
        chosen = self.trials if trial is None else [self.trials[trial]]
        return [
            Replicate(self, t, r["replicate_id"], r["seeds"]["initialisation"])
            for t in chosen
            for r in t["replicates"]
        ]

    def finish(self) -> None:
        """Train everything to its end."""
        for replicate in self.replicates():
            replicate.finish()


def _name(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _config(point: Mapping[str, Any], role: str, epochs: int) -> dict[str, Any]:
    config = {
        "data": {"kind": "digits", "validation": 360, "train_size": None},
        "model": {"kind": "mlp", "widths": [64, 64], "output_activation": "none"},
        "initialisation": {"kind": "normal_fan_in"},
        "training": {
            "epochs": epochs,
            "batch_size": 128,
            "optimiser": {"kind": "sgd", "lr": 0.02, "momentum": 0.9},
            "schedule": {"kind": "constant"},
            "l1": 0.0,
            "l2": 0.0,
        },
        "prune": {
            "rule": "none" if role == "twin" else "mp_threshold",
            "aggressiveness": 0.5,
            "every": 2,
            "budget": None,
            "options": {},
            "noise": {"kind": "bema_two_pass", "beta": 0.1},
            "layers": [],
        },
        "measures": {"end": ["spectra"], "at_epochs": {}},
    }
    for path, value in point.items():
        config = assign(config, path, value)
    return config


def _layer(name: str, role: str) -> dict[str, Any]:
    rank = 64 if role == "twin" else 20
    return {
        "name": name,
        "rows": 64,
        "cols": 64,
        "rank": rank,
        "factored": rank < 32,
        "parameters": 64 * 64 if rank == 64 else 2 * 64 * rank,
        "spikes": 5,
        "edge": 2.1,
        "threshold": 2.2,
        "distance": 0.04,
        "status": "cut" if role == "pruned" else "kept",
        "reason": "",
    }


def _spectra() -> bytes:
    content = io.BytesIO()
    values = np.sort(np.random.default_rng(0).random(64))[::-1]
    fit = {
        "layer": "layers.0",
        "epoch": 2,
        "rows": 64,
        "cols": 64,
        "variance": 0.001,
        "edge": 0.5,
        "threshold": 0.52,
    }
    fit |= {"spikes": 30, "distance": 0.04, "rank_before": 64, "rank": 40, "status": "cut", "reason": ""}
    fits = np.array(json.dumps([fit]))
    arrays: dict[str, Any] = {
        "layers.0/0/singular_values": values,
        "layers.0/2/singular_values": values,
        "fits": fits,
    }
    np.savez(content, **arrays)
    return content.getvalue()
