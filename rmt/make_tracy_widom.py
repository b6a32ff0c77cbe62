"""Makes `rmt/tracy_widom.csv`: `python -m rmt.make_tracy_widom [FILE]`.

The distribution function of order 1 as a Fredholm determinant, F₁(s) = det(I − K) on L²(s, ∞) with the kernel
K(x, y) = ½ Ai((x + y)/2), by Gauss–Legendre quadrature.

Source: Ferrari and Spohn 2005 (the kernel); Bornemann 2010, "On the numerical evaluation of Fredholm determinants"
(the quadrature). The density is the derivative of the same determinant: F₁′ = F₁ · tr((I − K)⁻¹ · −∂K/∂s). The
other method, Painlevé II, checks the table in `tests/rmt/test_tracy_widom.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import airy

NODES = 80
LENGTH = 36.0
"""The kernel at s + LENGTH is below 1e-17 for every s of the table, so the half-line ends there."""
FIRST, LAST, STEP = -8.0, 12.0, 0.01
"""F₁ is below 1e-10 at the first point and above 1 − 1e-12 at the last."""

_UNIT_NODES, _UNIT_WEIGHTS = np.polynomial.legendre.leggauss(NODES)


def cdf_and_pdf(s: float) -> tuple[float, float]:
    """F₁ and its derivative at `s`."""
    nodes = s + LENGTH * (_UNIT_NODES + 1) / 2
    weights = np.sqrt(LENGTH / 2 * _UNIT_WEIGHTS)
    ai, ai_prime, _, _ = airy((nodes[:, None] + nodes[None, :]) / 2)
    identity_minus = np.eye(NODES) - weights[:, None] * ai / 2 * weights[None, :]
    # The nodes move with s, so K changes by ½ Ai′((x + y)/2) per unit of s (both x and y move by one, halved).
    change = weights[:, None] * ai_prime / 2 * weights[None, :]
    cdf = float(np.linalg.det(identity_minus))
    return cdf, -cdf * float(np.trace(np.linalg.solve(identity_minus, change)))


def table() -> NDArray[np.float64]:
    """Rows of s, F₁(s), F₁′(s) on the grid."""
    grid = np.linspace(FIRST, LAST, round((LAST - FIRST) / STEP) + 1)
    return np.array([(s, *cdf_and_pdf(float(s))) for s in grid])


def main(path: Path) -> None:
    """Write the table as text, with 17 significant digits."""
    header = "Tracy-Widom law of order 1, made by rmt/make_tracy_widom.py\ns,cdf,pdf"
    np.savetxt(path, table(), delimiter=",", fmt=["%.2f", "%.17g", "%.17g"], header=header)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("tracy_widom.csv"))
