"""The grid of `examples/fashion.yaml` as a user of the libraries writes it: a training a seed, by hand."""

from __future__ import annotations

import gzip
import random
import shutil
import time
from pathlib import Path
from typing import Any

from sweeps.ray_session import session

RATES = (0.005, 0.01, 0.02, 0.04)
STRENGTHS = (None, 0.25, 0.5, 0.6, 0.75, 0.9)


def seconds_by_hand(folder: Path, epochs: int, trainings: int) -> float:
    """Wall time of some of the grid's trainings, chosen at random.

    Args:
        folder: For what they write.
        epochs: Of each.
        trainings: How many of the grid's 120.
    """
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    root = torchvision_copy(folder / "torchvision")
    grid = [(rate, strength, seed) for rate in RATES for strength in STRENGTHS for seed in range(5)]
    chosen = random.Random(0).sample(grid, trainings)
    columns = ("lr", "strength", "seed")
    cells = [{"root": str(root), "epochs": epochs, **dict(zip(columns, one, strict=True))} for one in chosen]
    logger = MLflowLoggerCallback(tracking_uri=f"sqlite:///{folder}/by-hand.db", experiment_name="by-hand")
    with session() as scratch:
        tuner = tune.Tuner(
            tune.with_resources(by_hand, {"cpu": 1}),
            param_space=tune.grid_search(cells),
            run_config=tune.RunConfig(name="by-hand", storage_path=str(scratch), callbacks=[logger], verbose=0),
        )
        begun = time.perf_counter()
        results = tuner.fit()
        seconds = time.perf_counter() - begun
    assert not results.errors, results.errors
    return seconds


def torchvision_copy(root: Path) -> Path:
    """Fashion-MNIST in the form in which torchvision keeps it."""
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for packed in Path("/usr/share/datasets/fashion-mnist").glob("*.gz"):
        with gzip.open(packed) as source, (raw / packed.stem).open("wb") as target:
            shutil.copyfileobj(source, target)
    return root


def by_hand(config: dict[str, Any]) -> None:
    """One seed's training: the usual loop, with the singular values below the noise's edge removed."""
    import torch
    from ray import tune
    from torch import nn
    from torch.utils.data import DataLoader, random_split
    from torchvision import datasets, transforms

    torch.manual_seed(config["seed"])
    torch.set_num_threads(1)
    whole = datasets.FashionMNIST(config["root"], train=True, transform=transforms.ToTensor())
    tested = datasets.FashionMNIST(config["root"], train=False, transform=transforms.ToTensor())
    trained, validated = random_split(whole, [50_000, 10_000])
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
    )
    optimiser = torch.optim.SGD(model.parameters(), lr=config["lr"], momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, 1, 0.96)

    def accuracy(examples: Any) -> float:
        right = 0
        with torch.no_grad():
            for images, labels in DataLoader(examples, batch_size=1000):
                right += int((model(images).argmax(1) == labels).sum())
        return right / len(examples)

    for epoch in range(1, config["epochs"] + 1):
        for images, labels in DataLoader(trained, batch_size=128, shuffle=True):
            penalty = sum(5e-6 * (value.abs().sum() + value.square().sum()) for value in model.parameters())
            loss = nn.functional.cross_entropy(model(images), labels) + penalty
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
        if config["strength"] is not None and epoch < config["epochs"]:
            for layer in model:
                if isinstance(layer, nn.Linear):
                    left, values, right = torch.linalg.svd(layer.weight.data, full_matrices=False)
                    edge = 2 * config["strength"] * values.median()
                    layer.weight.data = left @ torch.diag(values * (values > edge)) @ right
        found = {"epoch": epoch, "loss": float(loss), "validation_accuracy": accuracy(validated)}
        tune.report(found | ({"test_accuracy": accuracy(tested)} if epoch == config["epochs"] else {}))
