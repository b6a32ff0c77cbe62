"""Settings that reproduce published code."""

from __future__ import annotations

from typing import Any


def reference(
    *,
    horizon: int = 1000,
    wrong_width: bool = True,
    wrong_cdf: bool = True,
    left_index: bool = True,
    fit_zeros: bool = True,
) -> dict[str, Any]:
    """Arguments for `rmt.Pruner` that do what the public notebook of arXiv:2310.03165 does.

    α = 0.25, β = 0.1, a fit test that never fails, heads and small layers cut like all others, the kept fraction
    1 − epoch / `horizon`; it cuts with `every=13`. Pass `carry="reset"` to `Pruner.step` for its optimiser, which
    is made anew. Its faults are on, and each can be switched off to see what it does.

    Args:
        horizon: T of the schedule.
        wrong_width: (1 + √γ)⁴/3 in place of (1 + √γ)^(4/3) in the threshold.
        wrong_cdf: A distribution function that is 0 above the edge, in the fit distance.
        left_index: Quantiles at i/p, which bias the variance by 1/p.
        fit_zeros: Refits count values that were removed as observations.

    >>> reference(fit_zeros=False)["noise"]["censored"]
    True
    """
    return {
        "rule": "mp_threshold",
        "options": {"horizon": horizon},
        "noise": {
            "kind": "bema",
            "alpha": 0.25,
            "beta": 0.1,
            "index": "left" if left_index else "midpoint",
            "censored": not fit_zeros,
            "wrong_width": wrong_width,
            "wrong_cdf": wrong_cdf,
        },
        "gate": {"max_distance": "off", "skip_heads": False, "min_size": 1},
        "min_rank": 1,
    }
