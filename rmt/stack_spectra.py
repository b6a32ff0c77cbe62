"""Spectra of the layers of many replicates, in as few eigenvalue computations as there are shapes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from rmt.errors import InvalidOption, InvalidWeight
from rmt.matrices import Factors, Layer, Weight, dense, shape_of, why_unusable
from rmt.spectrum import Spectrum, spectrum


def stack_spectra(
    weights: Mapping[str, Sequence[Weight]], layers: Mapping[str, Layer]
) -> dict[str, list[Spectrum]]:
    """Spectra of all matrices, finite dense ones of one shape in one batch.

    A weight with NaN or infinite entries stays out of every batch (one such matrix fails a whole batched
    `eigvalsh`) and gets a spectrum of NaN.

    Raises:
        InvalidOption: A name that is no layer.
        InvalidWeight: A weight that does not have its layer's shape.
    """
    found: dict[tuple[str, int], Spectrum] = {}
    batches: dict[Any, list[tuple[str, int]]] = defaultdict(list)
    for name, column in weights.items():
        for r, weight in enumerate(column):
            _check(name, weight, layers)
            if why_unusable(weight) is not None:
                found[name, r] = _unknown(weight)
            elif isinstance(weight, Factors):
                found[name, r] = spectrum(weight)
            else:
                batches[weight.shape, weight.dtype, weight.device].append((name, r))
    for places in batches.values():
        stack = torch.stack([dense(weights[name][r]).detach() for name, r in places])
        for (name, r), single in zip(places, spectrum(stack).unstack(), strict=True):
            found[name, r] = replace(single, weight=weights[name][r])
    return {name: [found[name, r] for r in range(len(column))] for name, column in weights.items()}


def _check(name: str, weight: Weight, layers: Mapping[str, Layer]) -> None:
    if name not in layers:
        raise InvalidOption(f"{name!r} is no layer of this pruner; known: {', '.join(layers)}")
    layer = layers[name]
    if shape_of(weight) != (layer.rows, layer.cols):
        raise InvalidWeight(f"{name} has shape {shape_of(weight)}, not {(layer.rows, layer.cols)}")


def _unknown(weight: Weight) -> Spectrum:
    rows, cols = shape_of(weight)
    return Spectrum(weight, rows, cols, torch.full((min(rows, cols),), torch.nan, dtype=torch.float64))
