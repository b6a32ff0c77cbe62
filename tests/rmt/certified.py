"""What the tests of certificates remove from a layer, and how they read what is certified."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rmt.certificate import Certificate

DETERMINISTIC = ("realised", "pairwise", "coordinatewise", "norm_product")


def matrix(model: nn.Module, layer: str) -> Tensor:
    """The weight of a layer, rows are its outputs."""
    return model.get_parameter(f"{layer}.weight").detach().flatten(1).double()


def beyond(weight: Tensor, rank: int) -> Tensor:
    """What truncation to `rank` removes."""
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    values[:rank] = 0
    return (left * values) @ right


def share(certificate: Certificate, tier: str) -> float:
    """Of the samples, what is certified by a tier that applies."""
    found = certificate.tiers[tier].certified_share
    assert found is not None
    return found


def bound_of(certificate: Certificate, tier: str) -> float:
    """By how much a logit of the first sample may move."""
    bound = certificate.tiers[tier].bound
    assert bound is not None
    return float(bound[0])
