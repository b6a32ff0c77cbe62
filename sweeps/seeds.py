"""The seeds of a replicate, and the generators made from them."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from sweeps.spec_replicates import Replicates

SOURCES = ("initialisation", "data_order", "split")


@dataclass(frozen=True, order=True)
class Seeds:
    """One triple of seeds: what makes a replicate that replicate.

    Attributes:
        initialisation: Draws the weights, and whatever a pruning rule draws.
        data_order: Shuffles the training examples; replicates of one stack share it.
        split: Chooses which training examples are held out for validation.
    """

    initialisation: int
    data_order: int = 0
    split: int = 0

    def document(self) -> dict[str, int]:
        """Plain values, as records hold them."""
        return asdict(self)

    @classmethod
    def from_document(cls, plain: Mapping[str, Any]) -> Seeds:
        """Inverse of `document`."""
        return cls(**{source: int(plain[source]) for source in SOURCES})

    def generator(self, purpose: str, source: str = "initialisation", device: str = "cpu") -> torch.Generator:
        """A generator of its own for one purpose, the same whatever the other replicates are.

        The seed is hashed together with the purpose, so that weights drawn for seed 1 and a shuffle by seed 1
        come from unrelated streams.
        """
        import torch

        if source not in SOURCES:
            raise ValueError(f"source is {source!r}; allowed: {', '.join(SOURCES)}")
        text = f"{source}:{getattr(self, source)}:{purpose}"
        digest = hashlib.sha256(text.encode()).digest()
        return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def crossed(replicates: Replicates) -> list[Seeds]:
    """All triples of a spec's replicates, sources of chance crossed."""
    return [Seeds(*triple) for triple in itertools.product(*(replicates.seeds(source) for source in SOURCES))]
