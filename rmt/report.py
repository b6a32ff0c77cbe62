"""What one pruning of an ordinary module did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rmt.cut import Cut

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PruneReport:
    """The cuts of one module at one epoch.

    Attributes:
        epoch: The epoch that had ended; 0 for a one-shot pruning.
        cuts: One a matrix, in the module's order, those left alone included, each with its reason.
        without_matrix: Other layers with parameters, and why they have no matrix to prune.
        parameters_before, parameters_after: Of the whole module; entries that are zero do not count.
    """

    epoch: int
    cuts: tuple[Cut, ...]
    without_matrix: Mapping[str, str]
    parameters_before: int
    parameters_after: int

    @property
    def masks(self) -> dict[str, Tensor]:
        """Masks by layer name, where a rule removed entries."""
        return {cut.name: cut.mask for cut in self.cuts if cut.mask is not None}

    @property
    def changed(self) -> tuple[Cut, ...]:
        """Cuts that changed their layer."""
        return tuple(cut for cut in self.cuts if cut.status == "cut")

    def rows(self) -> list[dict[str, Any]]:
        """A row a matrix: name, status, reason, ranks and what the fit found (singular values).

        Groups of a convolution that were skipped for one reason share a row: depthwise ones have hundreds.
        """
        parts = (list(cuts) for _, cuts in groupby(self.cuts, key=lambda cut: cut.name.partition("[")[0]))
        return [row for cuts in parts for row in _rows(cuts)] + [
            {"layer": name, "status": "skipped", "reason": reason} for name, reason in self.without_matrix.items()
        ]

    def to_frame(self) -> pd.DataFrame:
        """The rows as a table."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def apply_masks(self, module: nn.Module) -> None:
        """Put removed entries back to zero, for use after every step of the optimiser."""
        from rmt.module_layers import places_of

        masks = self.masks
        for place in places_of(module):
            weight = place.read(module)
            if place.layer.name in masks and isinstance(weight, Tensor):
                with torch.no_grad():
                    place.write(module, torch.where(masks[place.layer.name], weight, 0.0))


def _rows(cuts: list[Cut]) -> list[dict[str, Any]]:
    """Rows of the matrices of one layer."""
    if len(cuts) == 1 or {(cut.status, cut.reason) for cut in cuts} != {("skipped", cuts[0].reason)}:
        return [_row(cut) for cut in cuts]
    name = cuts[0].name.partition("[")[0]
    return [{"layer": name, "status": "skipped", "reason": f"{len(cuts)} groups, of each {cuts[0].reason}"}]


def _row(cut: Cut) -> dict[str, Any]:
    row: dict[str, Any] = {"layer": cut.name, "status": cut.status, "reason": cut.reason}
    row |= {"rank_before": cut.rank_before, "rank": cut.rank}
    if cut.fit is not None:
        row |= {
            "spikes": cut.fit.spikes,
            "edge": cut.fit.singular_edge,
            "threshold": cut.fit.singular_threshold,
            "variance": cut.fit.variance,
            "distance": cut.fit.distance,
        }
    return row
