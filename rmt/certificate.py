"""What a certificate says: per-tier bounds, the size of what was removed, and what really happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Bool, Float
from torch import Tensor

if TYPE_CHECKING:
    import pandas as pd

TIERS = ("realised", "pairwise", "coordinatewise", "norm_product", "gaussian")


@dataclass(frozen=True)
class Tier:
    """One kind of bound over the samples.

    Attributes:
        name: One of `TIERS`.
        reason: Why it does not apply; empty when it does. All other fields are None when it does not.
        probabilistic: True when the bound holds under an assumption on R only.
        bound: η, how far each sample's logits can move in ℓ∞; for `pairwise` half of the largest bound on a
            difference of logits.
        certified: Which samples are proven to keep their label.
        loss_bound: |ΔCE| ≤ 2 · mean η. None for `pairwise`, which bounds no single logit.
        accuracy_bound: |Δ accuracy| ≤ share of samples whose true-label margin is within 2 η; for `pairwise`
            the share that is not certified.
        objective_certified: Whether the objective is proven to fall: loss bound + change of the penalty < 0.
    """

    name: str
    reason: str = ""
    probabilistic: bool = False
    bound: Float[Tensor, " samples"] | None = None
    certified: Bool[Tensor, " samples"] | None = None
    certified_share: float | None = None
    certified_but_changed: int | None = None
    loss_bound: float | None = None
    accuracy_bound: float | None = None
    objective_certified: bool | None = None

    @property
    def applies(self) -> bool:
        """Whether the tier has a bound for this network."""
        return self.bound is not None


@dataclass(frozen=True)
class RemovedPart:
    """Size of R in one layer, entries unfolded to (rows, cols).

    Attributes:
        frobenius: ‖R‖_F.
        spectral: ‖R‖₂, the first dropped singular value for a truncation.
        row_sum: ‖R‖_∞, largest absolute row sum.
        entry_sum: Σ|R_ij|.
        inner_product: ⟨S, R⟩; 0 up to rounding for a truncation.
        energy_share: ‖R‖_F² / ‖A‖_F², None for a zero layer.
        squared_change: ‖S‖_F² − ‖A‖_F².
        absolute_change: Σ|S_ij| − Σ|A_ij|.
    """

    layer: str
    frobenius: float
    spectral: float
    row_sum: float
    entry_sum: float
    inner_product: float
    energy_share: float | None
    squared_change: float
    absolute_change: float


@dataclass(frozen=True)
class Certificate:
    """What `certify` found, for the layers together.

    Attributes:
        samples: Number of samples.
        margins: Quantiles (1, 5, 25, 50 %) of the true-label margin before the cut.
        misclassified: Share of samples with a negative true-label margin before the cut.
        removed: One entry a layer, in the order of the cuts.
        tiers: By name.
        changed: Number of samples whose label changed.
        accuracy_before, accuracy_after: Shares in 0..1.
        loss_before, loss_after: Mean cross-entropy.
        penalty_change: λ₂ Δ‖·‖_F² + λ₁ Δ‖·‖₁.
    """

    samples: int
    margins: dict[float, float]
    misclassified: float
    removed: tuple[RemovedPart, ...]
    tiers: dict[str, Tier]
    changed: int
    accuracy_before: float
    accuracy_after: float
    loss_before: float
    loss_after: float
    penalty_change: float

    @property
    def loss_change(self) -> float:
        """ΔCE, after minus before."""
        return self.loss_after - self.loss_before

    @property
    def objective_change(self) -> float:
        """ΔJ = ΔCE + λ₂ Δ‖·‖² + λ₁ Δ‖·‖₁, exact on these samples."""
        return self.loss_change + self.penalty_change

    @property
    def unchanged_share(self) -> float:
        """Share of samples that kept their label, in 0..1."""
        return 1 - self.changed / self.samples

    def table(self) -> pd.DataFrame:
        """A row a tier: applies, reason, mean bound, certified share, certified but changed, loss bound."""
        import pandas as pd  # not needed to certify, and slow to load

        rows = [
            {
                "tier": tier.name,
                "applies": tier.applies,
                "reason": tier.reason,
                "mean_bound": None if tier.bound is None else float(tier.bound.mean()),
                "certified_share": tier.certified_share,
                "certified_but_changed": tier.certified_but_changed,
                "loss_bound": tier.loss_bound,
                "accuracy_bound": tier.accuracy_bound,
                "objective_certified": tier.objective_certified,
            }
            for tier in self.tiers.values()
        ]
        return pd.DataFrame(rows).set_index("tier")

    def numbers(self) -> dict[str, float]:
        """Flat numbers for a log: `certified_share.realised`, `mean_bound.pairwise`, `loss_change`, ..."""
        found: dict[str, float] = {
            "unchanged_share": self.unchanged_share,
            "loss_change": self.loss_change,
            "objective_change": self.objective_change,
            "accuracy_change": self.accuracy_after - self.accuracy_before,
        }
        for tier in self.tiers.values():
            if tier.bound is None or tier.certified_share is None or tier.certified_but_changed is None:
                continue
            found[f"certified_share.{tier.name}"] = tier.certified_share
            found[f"mean_bound.{tier.name}"] = float(tier.bound.mean())
            found[f"certified_but_changed.{tier.name}"] = float(tier.certified_but_changed)
        return found
