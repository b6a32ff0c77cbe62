"""Where noise ends: the asymptotic edge, the threshold of a finite matrix, and what can rise above them."""

from __future__ import annotations

from functools import lru_cache

from rmt import tracy_widom


def noise_edge(rows: int, cols: int, variance: float = 1.0) -> float:
    """Upper edge of the law, σ²(1 + √γ)², in eigenvalue units."""
    aspect = min(rows, cols) / max(rows, cols)
    return float(variance * (1 + aspect**0.5) ** 2)


def noise_threshold(rows: int, cols: int, beta: float, variance: float = 1.0) -> float:
    """Eigenvalue that the largest one of pure noise exceeds with probability β.

    λ = σ² [(1 + √γ)² + t n^(−2/3) γ^(−1/6) (1 + √γ)^(4/3)], t the 1 − β quantile of the Tracy–Widom law. For β
    above about 0.83 the quantile is negative and the threshold lies inside the bulk.

    Source: Johnstone 2001, theorem 1.1, expanded; Ke, Ma and Lin 2021 (arXiv:2006.00436), algorithm 1.
    """
    smaller, larger = sorted((rows, cols))
    aspect = smaller / larger
    width = larger ** (-2 / 3) * aspect ** (-1 / 6) * (1 + aspect**0.5) ** (4 / 3)
    return float(variance * ((1 + aspect**0.5) ** 2 + width_quantile(beta) * width))


def detection_limit(rows: int, cols: int, variance: float = 1.0) -> float:
    """Smallest planted singular value that separates from the noise, σ √n γ^(1/4).

    Source: Baik, Ben Arous and Péché 2005; Benaych-Georges and Nadakuditi 2012.
    """
    smaller, larger = sorted((rows, cols))
    return float((variance * larger) ** 0.5 * (smaller / larger) ** 0.25)


@lru_cache(maxsize=64)
def width_quantile(beta: float) -> float:
    """t, the 1 − β quantile of the Tracy–Widom law of order 1."""
    return float(tracy_widom.ppf(1 - beta))
