"""Where noise ends: the asymptotic edge, the threshold of a finite matrix, and what can rise above them."""

from __future__ import annotations

import math
from functools import lru_cache

from rmt import tracy_widom
from rmt.errors import InvalidOption


def noise_edge(rows: int, cols: int, variance: float = 1.0) -> float:
    """Upper edge of the law, σ²(1 + √γ)², in eigenvalue units.

    Raises:
        InvalidOption: A side below 1, or a variance that is negative or not finite.
    """
    smaller, larger = _sides(rows, cols, variance)
    aspect = smaller / larger
    return float(variance * (1 + aspect**0.5) ** 2)


def noise_threshold(rows: int, cols: int, beta: float, variance: float = 1.0) -> float:
    """Eigenvalue that the largest one of pure noise exceeds with probability β.

    λ = σ² [(1 + √γ)² + t n^(−2/3) γ^(−1/6) (1 + √γ)^(4/3)], t the 1 − β quantile of the Tracy–Widom law. For β
    above about 0.83 the quantile is negative and the threshold lies inside the bulk.

    Raises:
        InvalidOption: β outside (0, 1), a side below 1, or a variance that is negative or not finite.

    Source: Johnstone 2001, theorem 1.1, expanded; Ke, Ma and Lin 2021 (arXiv:2006.00436), algorithm 1.
    """
    smaller, larger = _sides(rows, cols, variance)
    aspect = smaller / larger
    width = larger ** (-2 / 3) * aspect ** (-1 / 6) * (1 + aspect**0.5) ** (4 / 3)
    return float(variance * ((1 + aspect**0.5) ** 2 + width_quantile(beta) * width))


def detection_limit(rows: int, cols: int, variance: float = 1.0) -> float:
    """Smallest planted singular value that separates from the noise, σ √n γ^(1/4).

    Raises:
        InvalidOption: A side below 1, or a variance that is negative or not finite.

    Source: Baik, Ben Arous and Péché 2005; Benaych-Georges and Nadakuditi 2012.
    """
    smaller, larger = _sides(rows, cols, variance)
    return float((variance * larger) ** 0.5 * (smaller / larger) ** 0.25)


@lru_cache(maxsize=64)
def width_quantile(beta: float) -> float:
    """t, the 1 − β quantile of the Tracy–Widom law of order 1."""
    if not 0 < beta < 1:
        raise InvalidOption(f"beta is {beta}; it must lie in (0, 1)")
    return float(tracy_widom.ppf(1 - beta))


def _sides(rows: int, cols: int, variance: float) -> tuple[int, int]:
    """The smaller and the larger side, once all is in range."""
    if min(rows, cols) < 1:
        raise InvalidOption(f"a matrix of {rows} × {cols} has no spectrum; both sides must be at least 1")
    if not 0 <= variance < math.inf:
        raise InvalidOption(f"variance is {variance}; it must be finite and at least 0")
    return min(rows, cols), max(rows, cols)
