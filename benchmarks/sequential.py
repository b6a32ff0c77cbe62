"""What adding seeds until an interval is narrow does to its coverage: `python benchmarks/sequential.py [trials]`.

Seeds are added as a sweep adds them (`replicates.until`). Per cent of intervals that cover the true mean, at a
nominal 95 %: of the one that ended the looking (its level corrected for the looks there may be), of the ordinary
one that reports show of the seeds there are then, and of looking with ordinary intervals. A second table compares
such an arm with a twin of equal variance that was given the same seeds (correlation 0.5): the median ratio of the
variances, intervals of it and of the mean difference that cover the truth, and rejections by Brown and Forsythe's
test at 5 %.
"""

from __future__ import annotations

import sys

from sweeps.statistics.simulation import MILD
from sweeps.statistics.stopping import stopped, stopped_pairs

PLANS = ((3, 30), (5, 50), (10, 50))
WIDTHS = (0.4, 0.8, 1.2, 2.0, 3.0)


def main(simulations: int) -> None:
    head = ("distribution", "seeds", "width", "corrected", "ordinary", "naive", "mean seeds", "at most")
    print("| " + " | ".join(head) + " |", "|---" * len(head) + "|", sep="\n")
    for distribution in MILD:
        for first, most in PLANS:
            for width in WIDTHS:
                found = stopped(distribution, first, most, width, simulations)
                shares = " | ".join(f"{100 * share:.1f}" for share in found[:3])
                last = f"{found.seeds:.1f} | {100 * found.exhausted:.0f} %"
                print(f"| {distribution} | {first} to {most} | {width:g} sd | {shares} | {last} |", flush=True)
    print()
    compared(simulations)


def compared(simulations: int) -> None:
    """Print the second table."""
    head = ("distribution", "seeds", "width", "median ratio", "ratio covered", "rejected", "difference covered")
    print("| " + " | ".join(head) + " |", "|---" * len(head) + "|", sep="\n")
    for distribution in MILD:
        for first, most in PLANS:
            for width in WIDTHS:
                found = stopped_pairs(distribution, first, most, width, simulations=simulations)
                shares = " | ".join(f"{100 * share:.1f}" for share in found[1:])
                print(
                    f"| {distribution} | {first} to {most} | {width:g} sd | {found.ratio:.3f} | {shares} |",
                    flush=True,
                )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
