"""Time of `rmt.analyse` on torchvision's resnet18 against its base cost: at most 1.3 times.

The base is what no analysis can avoid: for each fitted matrix its conversion to float64, the Gram product of the
smaller side and `eigvalsh`. Both are timed in turn, so that a busy machine slows both.

    python benchmarks/analyse.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.models import resnet18

from rmt import analyse
from rmt.candidates import candidates_of


def base(matrices: list[Tensor]) -> None:
    for matrix in matrices:
        double = matrix.double()
        gram = double @ double.T if double.shape[0] <= double.shape[1] else double.T @ double
        torch.linalg.eigvalsh(gram)


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> None:
    torch.manual_seed(0)
    module = resnet18(weights=None)
    weights = [candidate.weight for candidate in candidates_of(module)]
    matrices = [weight.detach() for weight in weights if isinstance(weight, Tensor) and min(weight.shape) >= 50]
    base(matrices)
    analyse(module)
    pairs = [(seconds(lambda: analyse(module)), seconds(lambda: base(matrices))) for _ in range(15)]
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"analyse {ours:.2f} s, base {theirs:.2f} s, median ratio of 15 pairs {ratio:.2f}; target 1.3")


if __name__ == "__main__":
    main()
