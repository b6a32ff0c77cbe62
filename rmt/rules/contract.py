"""What a pruning rule receives and returns.

    @RULES.register(idempotent=True, random=False)
    def my_rule(spectrum, fit, strength, generator, *, my_option: Share | None = None) -> Tensor:

- `spectrum`: the layer's `Spectrum`; singular values descending, those removed earlier are zeros at the end.
- `fit`: its `NoiseFit`; None for a rule registered with `fit=False`, which gets by without.
- `strength` in [0, 1]: 0 removes nothing that matters, 1 the most the rule can, and more removes no less.
- `generator`: seeded for this layer, replicate and epoch; draw from it in the same order whatever the strength,
  so that what a weaker cut removes, a stronger one removes too.
- keyword-only parameters are the rule's own options; one that is `None` is derived from `strength`.

It returns either the singular values the layer shall have, float64 (p,), aligned with `spectrum.singular_values`
(a zero removes), or a mask, bool (rows, cols), of the entries that stay. It changes nothing.

Traits: `idempotent` (applied to its own result with the same fit it changes nothing more), `random` (uses
the generator), and optionally `fit` (False: no noise fit is made for it) and `allocate`, a function (spectra,
strength, options) -> a strength a layer, for rules that weigh layers against each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, TypeAlias

from annotated_types import Ge, Interval
from jaxtyping import Bool, Float64
from torch import Tensor

from rmt.registry import Registry
from rmt.spectrum import Spectrum

Rule: TypeAlias = Callable[..., Tensor]
Decision: TypeAlias = Float64[Tensor, " p"] | Bool[Tensor, "rows cols"]
Share: TypeAlias = Annotated[float, Interval(ge=0, le=1)]
Horizon: TypeAlias = Annotated[int, Ge(1)]
"""T of the published schedule, f = max(0, 1 − epoch / T), which a pruner puts in place of its own."""

RULES: Registry[Rule] = Registry("pruning rule")

ROUNDING = 1e-9
"""Added before rounding a count down: 0.7 · 10 is 7, not 6.999…"""


def share_of(count: int, share: float) -> int:
    """⌊share · count⌋."""
    return min(count, math.floor(share * count + ROUNDING))


def keep_largest(spectrum: Spectrum, count: int) -> Float64[Tensor, " p"]:
    """Singular values with all but the `count` largest set to zero."""
    values = spectrum.singular_values.clone()
    values[max(count, 0) :] = 0
    return values


def count_above(spectrum: Spectrum, threshold: float) -> int:
    """Number of eigenvalues above `threshold`."""
    return int((spectrum.eigenvalues > threshold).sum())


def kept_rank(spectrum: Spectrum, threshold: float, keep: float) -> int:
    """K₊ + ⌊keep (p − K₊)⌋, K₊ the number of eigenvalues above `threshold`.

    The p − K₊ below it include those removed earlier, so that repeated cuts do not compound.

    Source: arXiv:2310.03165 and its code.
    """
    spikes = count_above(spectrum, threshold)
    return spikes + share_of(spectrum.smaller - spikes, keep)


def keep_fraction_below(spectrum: Spectrum, threshold: float, keep: float) -> Float64[Tensor, " p"]:
    """All values above `threshold` (eigenvalue units), and of the others the largest, a share `keep` of them."""
    return keep_largest(spectrum, kept_rank(spectrum, threshold, keep))
