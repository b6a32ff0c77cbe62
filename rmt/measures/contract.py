"""What a measure receives and returns.

A measure takes one subject, a layer's matrix or a whole module, with what it needs beside it, and returns a
number, or several by name. Its options are keyword-only. A number that does not exist for this subject (the mean
ratio of no spikes) is None, never a stand-in.

It is registered with traits:

- `of`: "layer" or "module".
- `needs`: which fields of the subject must be there, beyond the weight or the module itself.
- `power`: for layers, the exponent k with which W → cW multiplies the measure by c^k (contract-tested).
- `least`, `most`: range of the number, where it has one.

    @MEASURES.register(of="layer", needs=("fit",), power=0, least=0)
    def spikes(layer: LayerSubject) -> Number: ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

from torch import Tensor, nn

from rmt.errors import DegenerateSpectrum, InvalidOption
from rmt.matrices import Weight
from rmt.noise import NoiseFit, fit
from rmt.registry import Registry
from rmt.spectrum import Spectrum, spectrum

Number: TypeAlias = float | None
Result: TypeAlias = Number | Mapping[str, Number]
Measure: TypeAlias = Callable[..., Result]
MEASURES: Registry[Measure] = Registry("measure")


@dataclass(frozen=True)
class LayerSubject:
    """The matrix of one layer; spectrum and fit are computed once, when a measure first asks.

    Attributes:
        weight: (rows, cols), or factors.
        previous: The same layer's matrix at an earlier time.
        noise: Name of the noise estimator.
        options: Its options.
    """

    weight: Weight
    previous: Weight | None = None
    noise: str = "bema_two_pass"
    options: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def spectrum(self) -> Spectrum:
        """Eigenvalues of the matrix."""
        return spectrum(self.weight)

    @property
    def fit(self) -> NoiseFit | None:
        """The noise in it; None for a matrix that no law can be fitted to, such as zero."""
        return self._attempt if isinstance(self._attempt, NoiseFit) else None

    @property
    def degenerate(self) -> str:
        """Why there is no fit; empty when there is one."""
        return str(self._attempt) if isinstance(self._attempt, DegenerateSpectrum) else ""

    @cached_property
    def _attempt(self) -> NoiseFit | DegenerateSpectrum:
        try:
            return fit(self.spectrum, self.noise, **self.options)
        except DegenerateSpectrum as error:
            return error


@dataclass(frozen=True)
class ModuleSubject:
    """A whole network, measured in evaluation mode.

    Attributes:
        module: The network. No measure changes it.
        inputs: Samples, (samples, ...).
        labels: Their classes, (samples,).
        before: The network before it was cut.
    """

    module: nn.Module
    inputs: Tensor | None = None
    labels: Tensor | None = None
    before: nn.Module | None = None

    @property
    def data(self) -> tuple[Tensor, Tensor]:
        """(inputs, labels) of a subject that has both."""
        if self.inputs is None or self.labels is None:
            raise InvalidOption("this measure needs inputs and labels")
        return self.inputs, self.labels


Subject: TypeAlias = LayerSubject | ModuleSubject


def measure(
    subject: Subject, names: Iterable[str] | Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Number]:
    """Take measures of one subject.

    Args:
        subject: A layer or a module.
        names: Which, with options if it is a mapping; all that the subject has what they need for when None.

    Returns:
        Numbers by name; the parts of a measure of several numbers as `measure.part`.

    Raises:
        UnknownName: No such measure.
        InvalidOption: The subject lacks what a measure needs.
    """
    chosen: Mapping[str, Mapping[str, Any]]
    if names is None:
        chosen = {name: {} for name in MEASURES if lacking(name, subject) is None}
    else:
        chosen = names if isinstance(names, Mapping) else {name: {} for name in names}
    found: dict[str, Number] = {}
    for name, options in chosen.items():
        found.update(_named(name, _take(name, subject, options)))
    return found


def lacking(name: str, subject: Subject) -> str | None:
    """What a measure needs and the subject does not have, or None."""
    traits = MEASURES[name].traits
    of = "layer" if isinstance(subject, LayerSubject) else "module"
    if traits["of"] != of:
        return f"a {traits['of']}"
    # A fit that does not exist is a result (None), not a lack.
    needed = (need for need in traits["needs"] if need != "fit")
    return next((need for need in needed if getattr(subject, need) is None), None)


def _take(name: str, subject: Subject, options: Mapping[str, Any]) -> Result:
    missing = lacking(name, subject)
    if missing is not None:
        raise InvalidOption(f"measure {name!r} needs {missing}, which this subject does not have")
    entry = MEASURES[name]
    if "fit" in entry.traits["needs"] and isinstance(subject, LayerSubject) and subject.fit is None:
        return None
    return entry.function(subject, **entry.validate(options))


def _named(name: str, result: Result) -> dict[str, Number]:
    if isinstance(result, Mapping):
        return {f"{name}.{part}": value for part, value in result.items()}
    return {name: result}
