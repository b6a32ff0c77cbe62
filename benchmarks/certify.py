"""Time of a certificate: one layer of a 784-512-512-10 network on 2,000 samples, all tiers, at most 1 s.

python benchmarks/certify.py
"""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn

from rmt.certify import certify


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))


def half_of(weight: torch.Tensor) -> torch.Tensor:
    """What a truncation to half the rank removes."""
    left, values, right = torch.linalg.svd(weight.detach(), full_matrices=False)
    drop = values.clone()
    drop[: len(values) // 2] = 0
    return (left * drop) @ right


def main() -> None:
    model = network()
    data = torch.randn(2000, 784), torch.randint(0, 10, (2000,))
    for layer in ("0", "2", "4"):
        removed = half_of(model.get_submodule(layer).weight)
        certify(model, layer, removed, data)
        wall, processor = [], []
        for _ in range(15):
            started, used = time.perf_counter(), time.process_time()
            certify(model, layer, removed, data)
            wall.append(time.perf_counter() - started)
            processor.append(time.process_time() - used)
        print(
            f"layer {layer}: median of 15: {statistics.median(wall):.3f} s, worst {max(wall):.3f} s, "
            f"processor time {statistics.median(processor):.3f} s; target 1 s"
        )


if __name__ == "__main__":
    main()
