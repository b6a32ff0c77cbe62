"""Spectra: a layer's singular values, the Marchenko–Pastur law fitted to them, its edge and the threshold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sweeps.report.drawing import Drawing, Marks, Path, Text, rectangle
from sweeps.report.layers import LayerSpectrum
from sweeps.report.legends import Stroke, line_legend
from sweeps.report.panel import Panel
from sweeps.report.scales import Linear

FAR = 2.0  # times the threshold: spikes beyond are counted at the rim, or the bulk would shrink to a line

STROKES = [
    Stroke("fitted Marchenko–Pastur law", "ink", 1.8),
    Stroke("its edge", "ink", 1.2, (5.0, 3.0)),
    Stroke("threshold", "vermillion", 1.6),
]
LAST = Stroke("last threshold", "vermillion", 1.4, (2.0, 4.0))


def layer_spectrum(spectra: Sequence[LayerSpectrum], name: str) -> Drawing:
    """One layer before its first cut, before its last cut, and after training.

    Args:
        spectra: Of one layer, in the order of epochs, at least one with a fit.
        name: Of the drawing, unique on the page.
    """
    shown = _moments(spectra)
    reach, height = _reach(shown), _tallest(shown)
    first = shown[0][1]
    drawing = Drawing(
        name, 860, 322, f"Singular values of layer {first.layer}", " ".join(_describe(*moment) for moment in shown)
    )
    _legend(drawing, STROKES if shown[-1][1].fit else [*STROKES, LAST])
    gap, width = 30.0, (860 - 62 - 18 - 30.0 * (len(shown) - 1)) / max(len(shown), 2)
    last = next(one.fit for _, one in reversed(shown) if one.fit)
    for place, (title, spectrum) in enumerate(shown):
        left = 62 + place * (width + gap)
        panel = Panel(drawing, left, 62, width, 186, Linear(0, reach, 5), Linear(0, height, 4))
        panel.frame(
            "singular value",
            "density" if place == 0 else "",
            grid="y",
            title=f"{title}, epoch {spectrum.epoch}",
            y_values=place == 0,
        )
        _draw(panel, spectrum)
        if not spectrum.fit:
            panel.vertical(last["threshold"], "vermillion", (2.0, 4.0), 1.4)
        lines = enumerate(_notes(spectrum))
        drawing.add(*(Text(left, 301 + 15 * line, text, size=10.5, colour="muted") for line, text in lines))
    return drawing


def _moments(spectra: Sequence[LayerSpectrum]) -> list[tuple[str, LayerSpectrum]]:
    """First and last cut and the end; of a layer that was never cut, the first and last fit."""
    cuts = [one for one in spectra if one.is_cut]
    chosen = cuts or [one for one in spectra if one.fit]
    names = ("first cut", "last cut") if cuts else ("first fit", "last fit")
    moments = [(names[0], chosen[0])] + ([(names[1], chosen[-1])] if len(chosen) > 1 else [])
    return moments + ([("trained", spectra[-1])] if spectra[-1].epoch > chosen[-1].epoch else [])


def _draw(panel: Panel, spectrum: LayerSpectrum) -> None:
    density, edges = _histogram(spectrum, panel.x)
    corners = [(edges[0], 0.0)]
    for value, low, high in zip(density, edges[:-1], edges[1:], strict=True):
        corners += [(low, value), (high, value)]
    panel.area([*corners, (edges[-1], 0.0)], "sky", 0.45)
    panel.line([*corners, (edges[-1], 0.0)], "sky", 0.8)
    if spectrum.fit:
        panel.line(law_density(spectrum), "ink", 1.8)
        panel.vertical(spectrum.fit["edge"], "ink", (5.0, 3.0), 1.2)
        panel.vertical(spectrum.fit["threshold"], "vermillion", (), 1.6)
    _spikes(panel, spectrum)


def _spikes(panel: Panel, spectrum: LayerSpectrum) -> None:
    """A small triangle for each value above the threshold; those beyond the rim are counted there."""
    if not spectrum.fit:
        return
    spikes = spectrum.present[spectrum.present > spectrum.fit["threshold"]]
    inside = spikes[spikes <= panel.x.high] if isinstance(panel.x, Linear) else spikes
    places = [panel.at(float(value), 0.0) for value in inside]
    panel.drawing.add(Marks([(x, y - 6) for x, y in places], "down", "green", 7))
    beyond = len(spikes) - len(inside)
    if beyond:
        right, bottom = panel.left + panel.width, panel.top + panel.height
        text = f"{beyond} more, to {spikes.max():.3g} →"
        panel.drawing.add(Text(right - 2, bottom - 17, text, "end", 10, "green", halo=True))


def _histogram(spectrum: LayerSpectrum, scale: object) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Density over all p values, removed ones included in p, so that what a cut took is seen as missing."""
    reach = scale.high if isinstance(scale, Linear) else float(spectrum.values.max())
    counts, edges = np.histogram(spectrum.present, bins=_bins(spectrum), range=(0.0, reach))
    total = len(spectrum.present) + spectrum.removed
    return counts / (total * (edges[1] - edges[0])), edges


def law_density(spectrum: LayerSpectrum) -> list[tuple[float, float]]:
    """Density of singular values under the fitted law, carrying the share of values that are no spikes.

    With λ = s²/n and n the larger side, the density of s is f(s²/n) · 2s/n.
    """
    import torch

    from rmt import MarchenkoPastur

    fit = spectrum.fit or {}
    # The law is that of the part without rows and columns of zeros; older records do not tell it apart.
    smaller, larger = sorted((fit.get("live_rows", fit["rows"]), fit.get("live_cols", fit["cols"])))
    law = MarchenkoPastur(smaller / larger, fit["variance"])
    low, high = (float(np.sqrt(larger * float(end))) for end in law.support)
    # Dense at both ends, where the density rises like a square root.
    s = low + (high - low) * (1 - np.cos(np.linspace(1e-3, np.pi, 160))) / 2
    bulk = (smaller - fit["spikes"]) / min(fit["rows"], fit["cols"])
    density = law.pdf(torch.from_numpy(s**2 / larger)).numpy() * 2 * s / larger * bulk
    return list(zip(s.tolist(), density.tolist(), strict=True))


def _reach(shown: Sequence[tuple[str, LayerSpectrum]]) -> float:
    thresholds = [one.fit["threshold"] for _, one in shown if one.fit]
    largest = max(float(one.values.max(initial=0.0)) for _, one in shown)
    return 1.04 * min(max(largest, 1.1 * max(thresholds)), FAR * max(thresholds))


def _tallest(shown: Sequence[tuple[str, LayerSpectrum]]) -> float:
    scale = Linear(0.0, _reach(shown))
    tops = [float(_histogram(one, scale)[0].max()) for _, one in shown]
    laws = [max(density for _, density in law_density(one)) for _, one in shown if one.fit]
    return 1.08 * max([*tops, *laws])


def _bins(spectrum: LayerSpectrum) -> int:
    """About four values a bin, so that a bar is more than chance, within what the eye can use."""
    return min(max((len(spectrum.present) + spectrum.removed) // 4, 16), 60)


def _notes(spectrum: LayerSpectrum) -> list[str]:
    total = len(spectrum.present) + spectrum.removed
    removed = (
        f"{spectrum.removed} of {total} removed before" if spectrum.removed else f"all {total} values present"
    )
    if not spectrum.fit:
        return [removed]
    return [f"{spectrum.fit['spikes']} above the threshold, fit distance {spectrum.fit['distance']:.3g}", removed]


def _legend(drawing: Drawing, strokes: Sequence[Stroke]) -> None:
    bar = rectangle(62, 11, 22, 12)
    drawing.add(Path([bar], "sky", 0.8, fill="sky", opacity=0.5), Text(90, 21, "singular values", size=12))
    end = line_legend(drawing, strokes, 198, 21)
    drawing.add(Marks([(end + 5, 17)], "down", "green", 7), Text(end + 14, 21, "spike", size=12))


def _describe(title: str, spectrum: LayerSpectrum) -> str:
    largest = spectrum.values.max(initial=0.0)
    count = len(spectrum.present)
    at = f"{title.capitalize()}, epoch {spectrum.epoch}: {count} singular values up to {largest:.3g}"
    if not spectrum.fit:
        return f"{at}."
    fit = spectrum.fit
    return (
        f"{at}; fitted edge {fit['edge']:.3g}, threshold {fit['threshold']:.3g}, {fit['spikes']} above it; "
        f"rank {fit.get('rank_before', '?')} before and {fit.get('rank', '?')} after the cut."
    )
