"""Pictures draw what was computed, for every kind of spectrum, without touching matplotlib's global state."""

from __future__ import annotations

import io
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib._pylab_helpers import Gcf
from matplotlib.figure import Figure
from torch import Tensor

from rmt import plot
from rmt.errors import InvalidOption
from rmt.landscape import Barrier, Slice, Surface
from rmt.noise import fit
from rmt.spectrum import spectrum


def planted(rows: int, cols: int, *strengths: float) -> Tensor:
    weight = torch.randn(rows, cols, generator=torch.Generator().manual_seed(0)) / max(rows, cols) ** 0.5
    for index, strength in enumerate(strengths):
        weight[index, index] += strength
    return weight


def truncated() -> Tensor:
    left, values, right = torch.linalg.svd(planted(120, 120, 5))
    values[40:] = 0
    return (left * values) @ right


CASES = {
    "noise": planted(100, 300),
    "spikes": planted(150, 200, 4, 3),
    "square": planted(150, 150, 3),
    "far": planted(100, 100, 100, 50, 3),
    "truncated": truncated(),
    "small": planted(8, 8),
}


def png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=50)
    return file.getvalue()


def labels(figure: Figure) -> list[str]:
    return [str(artist.get_label()) for artist in figure.axes[0].get_children() if artist.get_label()]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("log", [False, True])
def test_every_spectrum_can_be_drawn(case: str, log: bool) -> None:
    values = spectrum(CASES[case])
    found = fit(values)
    figure = plot.spectrum(values, found, log=log, title=case)
    assert png(figure).startswith(b"\x89PNG")
    assert figure.axes[0].get_xscale() == ("log" if log else "linear")
    shown = labels(figure)
    assert f"edge {found.singular_edge:.3g}" in shown
    assert f"threshold {found.singular_threshold:.3g} (β = 0.1)" in shown
    assert any("spike" in label for label in shown) == (found.spikes > 0)


@pytest.mark.parametrize("case", ["noise", "spikes", "square", "far"])
def test_histogram_and_law_have_the_area_of_the_bulk(case: str) -> None:
    values = spectrum(CASES[case])
    found = fit(values)
    axes = plot.spectrum(values, found).axes[0]
    histogram = sum(bar.get_width() * bar.get_height() for bar in axes.patches)  # type: ignore[attr-defined]
    assert histogram == pytest.approx(found.bulk_fraction)
    across, up = (np.asarray(part) for part in axes.lines[0].get_data())
    assert np.trapezoid(up, across) == pytest.approx(found.bulk_fraction, rel=2e-3)


def test_far_spikes_are_counted_at_the_border() -> None:
    values = spectrum(CASES["far"])
    axes = plot.spectrum(values, fit(values)).axes[0]
    assert axes.get_xlim()[1] < 10
    assert [text.get_text() for text in axes.texts] == [f"2 more,\nup to {values.singular_values[0]:.3g} →"]


@pytest.mark.parametrize("case", CASES)
def test_quantiles_of_noise_lie_on_the_diagonal(case: str) -> None:
    values = spectrum(CASES[case])
    found = fit(values)
    figure = plot.quantiles(values, found)
    assert png(figure)
    expected, observed = (np.asarray(part) for part in figure.axes[0].lines[1].get_data())
    assert len(observed) == values.smaller - found.spikes - found.zeros
    if case != "small":
        assert np.abs(expected - observed).max() < 0.06 * observed.max()


def test_a_layer_over_time() -> None:
    spectra = [spectrum(planted(60, 80, 0.5 * k)).singular_values.numpy() for k in range(4)]
    spectra[3] = spectra[3][:8]  # the others were removed
    figure = plot.over_time([0, 4, 8, 12], spectra, thresholds=[1.9, None, 1.9, 1.9], leading=5)
    assert png(figure)
    lines = [np.asarray(line.get_ydata()) for line in figure.axes[0].lines]
    assert len(lines) == 6
    assert lines[0] == pytest.approx([values[0] for values in spectra])
    assert np.isnan(lines[5][1])
    with pytest.raises(InvalidOption, match="2 epochs and 4 spectra"):
        plot.over_time([0, 1], spectra)


def test_a_far_spike_over_time_leaves_the_bulk_readable() -> None:
    usual, far = (spectrum(planted(60, 80, size)).singular_values.numpy() for size in (1.0, 60.0))
    thresholds = [2.0, None]

    def scale(*spectra: Any, **options: Any) -> str:
        figure = plot.over_time([0, 4], spectra, **options)
        assert png(figure)
        return figure.axes[0].get_yscale()

    assert scale(usual, usual) == scale(usual, usual, thresholds=thresholds) == "linear"
    assert scale(usual, far) == scale(usual, far, thresholds=thresholds) == "log"
    assert scale(usual, far, log=False) == "linear"
    assert scale(usual, usual, log=True) == "log"
    assert scale(usual * 0, usual[:0]) == "linear"


def test_landscapes_can_be_drawn() -> None:
    positions = np.linspace(-1, 1, 9)
    curve = Slice(positions, positions**2)
    assert labels(plot.slices({"dense": curve, "pruned": curve}))[:2] == ["dense", "pruned"]
    ends = np.linspace(0, 1, 3)
    figure = plot.barriers({"raw": Barrier(ends, np.array([0.0, 2.0, 1.0]))})
    assert labels(figure)[0] == "raw (barrier 1.5)"
    grid = positions[:, None] ** 2 + positions[None, :] ** 2
    for drawn in (figure, plot.surface(Surface(positions, grid)), plot.slices({"dense": curve})):
        assert png(drawn)


def test_nothing_global_is_touched() -> None:
    settings = dict(matplotlib.rcParams)
    values = spectrum(CASES["spikes"])
    png(plot.spectrum(values, fit(values)))
    assert dict(matplotlib.rcParams) == settings
    assert Gcf.get_all_fig_managers() == []
