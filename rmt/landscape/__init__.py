"""The loss around a trained network: curvature, sharpness, slices and barriers (SCIENCE §4).

Everything is measured on an `Objective`: a module in evaluation mode on a fixed set of samples, factored
layers as their products, so that dense and pruned networks are comparable.

>>> objective = Objective(module, (inputs, labels), l2=5e-6)        # doctest: +SKIP
>>> top_eigenvalues(objective).eigenvalues, trace(objective).estimate, sam(objective)  # doctest: +SKIP
>>> barrier(dense, pruned, (inputs, labels)).height                 # doctest: +SKIP
"""

from rmt.landscape.barrier import Barrier, barrier
from rmt.landscape.hessian import TopEigenvalues, Trace, top_eigenvalues, trace
from rmt.landscape.matching import NotAnMlp, match_neurons
from rmt.landscape.objective import Objective
from rmt.landscape.sharpness import ExpectedSharpness, adaptive, expected, sam
from rmt.landscape.slices import Slice, Surface, direction, slice_1d, slice_2d

__all__ = [
    "Barrier",
    "ExpectedSharpness",
    "NotAnMlp",
    "Objective",
    "Slice",
    "Surface",
    "TopEigenvalues",
    "Trace",
    "adaptive",
    "barrier",
    "direction",
    "expected",
    "match_neurons",
    "sam",
    "slice_1d",
    "slice_2d",
    "top_eigenvalues",
    "trace",
]
