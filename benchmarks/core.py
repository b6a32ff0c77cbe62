"""Speed of the pruning core against its base, side by side: `python benchmarks/core.py [repeats]`.

The base of a fit is what no fit can do without: conversion to float64, the Gram product and `eigvalsh`.
Contestants take turns, so that a busy machine slows all of them alike; ratios of medians are printed.
WeightWatcher is compared where it can be imported; it is no dependency and best kept in a folder of its own.
"""

from __future__ import annotations

import importlib
import logging
import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from scipy.integrate import quad
from scipy.optimize import brentq
from torch import Tensor, nn

import rmt
from rmt.rebuild import rebuild

SHAPES = ((784, 1000), (1000, 1000), (3000, 784))


def take_turns(contestants: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each, measured in turns after one warm-up."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(repeats + 1):
        for name, call in contestants.items():
            started = time.perf_counter()
            call()
            if turn:
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def base(weight: Tensor) -> Tensor:
    """Conversion, Gram product of the smaller side, eigenvalues."""
    matrix = weight.double()
    return torch.linalg.eigvalsh(matrix @ matrix.mT if len(matrix) <= matrix.shape[1] else matrix.mT @ matrix)


def fit_by_root_finding(weight: Tensor) -> float:
    """Variance and distance as public code finds them: index by index, by roots of an integrated density."""
    values = base(weight).numpy() / max(weight.shape)
    count, aspect = len(values), min(weight.shape) / max(weight.shape)
    low, high = (1 - aspect**0.5) ** 2, (1 + aspect**0.5) ** 2

    def density(x: float) -> float:
        return math.sqrt(max((high - x) * (x - low), 0.0)) / (2 * math.pi * aspect * x)

    def quantile(probability: float) -> float:
        return brentq(lambda x: quad(density, low, x)[0] - probability, low + 1e-12, high)

    window = range(int(0.2 * count), int(0.8 * count))
    quantiles = np.array([quantile((i + 0.5) / count) for i in window])
    inside = values[window.start : window.stop]
    variance = quantiles @ inside / (quantiles @ quantiles)
    fitted = [quad(density, low, min(x / variance, high))[0] for x in inside]
    return max(abs(share - i / count) for share, i in zip(fitted, window, strict=True))


def prune(weight: Tensor) -> object:
    """One prune step with 10 % kept: fit, the kept vectors, factors."""
    spectrum = rmt.spectrum(weight)
    fit = rmt.fit(spectrum)
    values = spectrum.singular_values.clone()
    values[max(fit.spikes, len(values) // 10) :] = 0
    return rebuild(spectrum, values)


def show(what: str, ratio: float, limit: str, seconds: str) -> None:
    print(f"{what:<58}{ratio:>8.2f}   must be {limit:<9}{seconds}", flush=True)


def milliseconds(*times: float) -> str:
    return " / ".join(f"{1000 * value:.1f} ms" for value in times)


def fits(repeats: int) -> None:
    for rows, cols in SHAPES:
        weight = torch.randn(rows, cols) / cols**0.5
        times = take_turns({"fit": lambda w=weight: rmt.fit(w), "base": lambda w=weight: base(w)}, repeats)
        ratio = times["fit"] / times["base"]
        show(f"fit of {rows} x {cols}: fit / base", ratio, "<= 1.15", milliseconds(times["fit"], times["base"]))
        slow = take_turns(
            {"fit": lambda w=weight: rmt.fit(w), "roots": lambda w=weight: fit_by_root_finding(w)}, 3
        )
        show(
            f"fit of {rows} x {cols}: per-index root finding / fit",
            slow["roots"] / slow["fit"],
            ">= 4",
            milliseconds(slow["roots"], slow["fit"]),
        )
        weight_watcher(weight, rows, cols)


def weight_watcher(weight: Tensor, rows: int, cols: int) -> None:
    try:
        watcher = importlib.import_module("weightwatcher")
    except ImportError:
        print(f"fit of {rows} x {cols}: WeightWatcher can not be imported here: not compared")
        return
    logging.disable(logging.CRITICAL)
    layer = nn.Linear(cols, rows, bias=False)
    layer.weight = nn.Parameter(weight)
    module = nn.Sequential(layer)
    times = take_turns(
        {
            "theirs": lambda: watcher.WeightWatcher(model=module).analyze(mp_fit=True),
            "fit": lambda: rmt.fit(weight),
        },
        3,
    )
    show(
        f"fit of {rows} x {cols}: WeightWatcher / fit",
        times["theirs"] / times["fit"],
        ">= 8",
        milliseconds(times["theirs"], times["fit"]),
    )


def cuts(repeats: int) -> None:
    weight = torch.randn(1000, 1000) / 1000**0.5
    symmetric = (weight.double() @ weight.double().mT).contiguous()
    times = take_turns({"prune": lambda: prune(weight), "eigh": lambda: torch.linalg.eigh(symmetric)}, repeats)
    show(
        "prune step of 1000 x 1000, 10 % kept / one float64 eigh",
        times["prune"] / times["eigh"],
        "<= 1.5",
        milliseconds(times["prune"], times["eigh"]),
    )


def stacks(repeats: int) -> None:
    stack = torch.randn(10, 256, 256) / 16
    times = take_turns(
        {"stack": lambda: rmt.fit_stack(stack), "singles": lambda: [rmt.fit(weight) for weight in stack]}, repeats
    )
    show(
        "10 replicates of 256 x 256: as a stack / one by one",
        times["stack"] / times["singles"],
        "<= 1",
        milliseconds(times["stack"], times["singles"]),
    )


def main(repeats: int) -> None:
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, medians of {repeats}")
    fits(repeats)
    cuts(repeats)
    stacks(2 * repeats)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
