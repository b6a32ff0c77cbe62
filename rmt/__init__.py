"""Marchenko–Pastur pruning of torch modules.

    fit = rmt.fit(layer.weight)                       # what of the spectrum is noise
    report = rmt.prune(module, rule="mp_threshold")   # remove it, in place, from every layer that allows it

The mathematics in words, as the code uses it (W is the matrix of one layer, out × in):

    rows, cols            sides of W                     p, n           `smaller`, `larger` of the two sides
    aspect       γ        p / n, in (0, 1]               variance  σ²   of one entry of the noise
    eigenvalues  λ        of W Wᵀ / n, descending        singular values  s = √(n λ)
    edge         λ₊       σ² (1 + √γ)²: where noise ends as the matrix grows
    threshold             the edge with its Tracy–Widom term at β: what noise exceeds with probability β
    spikes       K₊       number of eigenvalues above the threshold; the other p − K₊ are the bulk
    window       α        central order statistics, α p … (1 − α) p, that a fit looks at
    distance     μ        Kolmogorov–Smirnov distance between spectrum and law on the window
    keep fraction f       share of the bulk that a rule keeps, 1 − strength for the threshold rules
    strength              aggressiveness at this epoch, in [0, 1]
    factors      W₂ W₁    `left` (rows, k) and `right` (k, cols), balanced: U √S and √S Vᵀ

Everything is computed in double precision. Names below are loaded when first used.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmt.analyse import analyse as analyse
    from rmt.certificate import Certificate as Certificate
    from rmt.certify import certify as certify
    from rmt.cut import Cut as Cut
    from rmt.edges import detection_limit as detection_limit
    from rmt.edges import noise_edge as noise_edge
    from rmt.edges import noise_threshold as noise_threshold
    from rmt.estimators import NOISE as NOISE
    from rmt.gate import Gate as Gate
    from rmt.layers import LowRankConv2d as LowRankConv2d
    from rmt.layers import LowRankLinear as LowRankLinear
    from rmt.layers import match_structure as match_structure
    from rmt.marchenko_pastur import MarchenkoPastur as MarchenkoPastur
    from rmt.matrices import Factors as Factors
    from rmt.matrices import Layer as Layer
    from rmt.matrices import pad_factors as pad_factors
    from rmt.matrices import parameters as parameters
    from rmt.measures import MEASURES as MEASURES
    from rmt.measures import measure as measure
    from rmt.memory import Memory as Memory
    from rmt.module_layers import layers_of as layers_of
    from rmt.module_layers import matrices_of as matrices_of
    from rmt.module_pruning import prune as prune
    from rmt.noise import NoiseFit as NoiseFit
    from rmt.noise import fit as fit
    from rmt.noise import fit_stack as fit_stack
    from rmt.optimiser_state import carry_state as carry_state
    from rmt.optimiser_state import project_momentum as project_momentum
    from rmt.presets import reference as reference
    from rmt.pruner import Pruner as Pruner
    from rmt.report import PruneReport as PruneReport
    from rmt.rules import RULES as RULES
    from rmt.sparsify import sparsify_entries as sparsify_entries
    from rmt.sparsify import sparsify_vectors as sparsify_vectors
    from rmt.sparsify import sparsify_vectors_below as sparsify_vectors_below
    from rmt.spectrum import Spectrum as Spectrum
    from rmt.spectrum import hill_alpha as hill_alpha
    from rmt.spectrum import spectrum as spectrum

# Module -> the names it gives to `rmt`; an entry here needs its line above, for type checkers.
_EXPORTS: dict[str, tuple[str, ...]] = {
    "analyse": ("analyse",),
    "certificate": ("Certificate",),
    "certify": ("certify",),
    "cut": ("Cut",),
    "edges": ("detection_limit", "noise_edge", "noise_threshold"),
    "estimators": ("NOISE",),
    "gate": ("Gate",),
    "landscape": (),
    "layers": ("LowRankConv2d", "LowRankLinear", "match_structure"),
    "marchenko_pastur": ("MarchenkoPastur",),
    "matrices": ("Factors", "Layer", "pad_factors", "parameters"),
    "measures": ("MEASURES", "measure"),
    "memory": ("Memory",),
    "module_layers": ("layers_of", "matrices_of"),
    "module_pruning": ("prune",),
    "noise": ("NoiseFit", "fit", "fit_stack"),
    "optimiser_state": ("carry_state", "project_momentum"),
    "plot": (),
    "presets": ("reference",),
    "pruner": ("Pruner",),
    "report": ("PruneReport",),
    "rules": ("RULES",),
    "sparsify": ("sparsify_entries", "sparsify_vectors", "sparsify_vectors_below"),
    "spectrum": ("Spectrum", "hill_alpha", "spectrum"),
    "tracy_widom": (),
}
_HOME = {name: module for module, names in _EXPORTS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f"rmt.{_HOME[name]}"), name)
    elif name in _EXPORTS:
        value = importlib.import_module(f"rmt.{name}")
    else:
        raise AttributeError(f"module 'rmt' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_EXPORTS})


class _Package(ModuleType):
    """A function that shares its module's name (`rmt.spectrum`) stays the function, whoever imports the module."""

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and _HOME.get(name) == name:
            value = getattr(value, name, value)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
