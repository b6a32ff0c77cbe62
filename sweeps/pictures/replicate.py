"""Pictures of one replicate: its layers' spectra over the prunings, and what was left of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sweeps.pictures import COLOURS, SMALL, canvas, label, legend, plain, spread, style
from sweeps.report.figures.spectra import law_density
from sweeps.report.layers import LayerSpectrum, cut_layers, fits_of, spectra_of

MOST_LAYERS, MOST_EPOCHS = 6, 4
FAR = 2.0  # times the threshold: what is beyond is counted at the rim, or the bulk would shrink to a line
BINS = 40
NARROWEST = 5.6  # inches that the title and the legend need


def spectra(arrays: Mapping[str, Any], title: str) -> Figure | None:
    """Each layer's singular values with law, edge and threshold, at up to `MOST_EPOCHS` of the fitted epochs.

    Args:
        arrays: Of a `spectra.npz`.
        title: Above the picture.

    Returns:
        None when nothing was fitted.
    """
    layers = {name: [one for one in found if one.fit] for name, found in cut_layers(spectra_of(arrays)).items()}
    names = [name for name, found in layers.items() if found]
    if not names:
        return None
    shown = [names[place] for place in spread(names, MOST_LAYERS)]
    columns = max(min(len(layers[name]), MOST_EPOCHS) for name in shown)
    said = f"{title}, {len(shown)} of {len(names)} layers" if len(shown) < len(names) else title
    figure = canvas(
        said, len(shown), columns, width=max(NARROWEST, 2.9 * columns + 0.6), height=2.1 * len(shown) + 0.8
    )
    for row, name in enumerate(shown):
        for column in range(columns):
            axes = figure.axes[row * columns + column]
            places = spread(layers[name], MOST_EPOCHS)
            if column >= len(places):
                axes.set_axis_off()
                continue
            _spectrum(axes, layers[name][places[column]])
            if column == 0:
                axes.set_ylabel(plain(name, 24), fontsize=SMALL + 1)
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=SMALL, frameon=False)
    return figure


def _spectrum(axes: Axes, spectrum: LayerSpectrum) -> None:
    fit = spectrum.fit or {}
    reach = min(float(spectrum.values.max(initial=0.0)), FAR * fit["threshold"]) or 1.0
    reach = max(reach, 1.1 * fit["threshold"])
    total = len(spectrum.present) + spectrum.removed
    counts, edges = np.histogram(spectrum.present, bins=BINS, range=(0.0, reach))
    density = counts / (total * (edges[1] - edges[0]))
    axes.stairs(density, edges, fill=True, color=COLOURS["sky"], alpha=0.55, label="singular values")
    s, law = zip(*law_density(spectrum), strict=True)
    axes.plot(s, law, color=COLOURS["ink"], linewidth=1.2, label="Marchenko–Pastur law")
    axes.axvline(fit["edge"], color=COLOURS["ink"], linestyle=":", linewidth=1.0, label="edge")
    axes.axvline(fit["threshold"], color=COLOURS["vermillion"], linestyle="--", linewidth=1.2, label="threshold")
    beyond = int((spectrum.present > reach).sum())
    above = f"{fit['spikes']} above" + (f", {beyond} beyond →" if beyond else "")
    axes.text(0.98, 0.95, above, transform=axes.transAxes, ha="right", va="top", fontsize=SMALL - 1)
    axes.set_title(f"epoch {spectrum.epoch}{', cut' if spectrum.is_cut else ''}", fontsize=SMALL + 0.5)
    axes.set_xlim(0, reach)
    axes.set_yticks([])


def sizes(arrays: Mapping[str, Any], history: Sequence[Mapping[str, Any]], title: str) -> Figure | None:
    """Rank of each layer after each pruning, and the share of parameters kept, by epoch; None of nothing."""
    fits = fits_of(arrays)
    kept = [(row["epoch"], row["parameters_kept"]) for row in history if row.get("parameters_kept") is not None]
    if not kept and fits.empty:
        return None
    figure = canvas(title, 1, 2, width=8.2, height=3.2)
    left, right = figure.axes
    label(left, "epoch", "rank / full rank", "rank of each layer")
    if "rank" in fits:
        rows = fits.dropna(subset=["rank"])
        names = list(rows["layer"].drop_duplicates())
        for number, place in enumerate(spread(names, 12)):
            own = rows[rows["layer"] == names[place]]
            full = own[["rows", "cols"]].min(axis=1)
            colour, dashes = style(number)
            name = plain(names[place], 24)
            left.plot(own["epoch"], own["rank"] / full, marker=".", color=colour, linestyle=dashes, label=name)
        legend(left, len(names))
    label(right, "epoch", "share", "parameters kept")
    if kept:
        right.step(*zip(*kept, strict=True), where="post", color=COLOURS["blue"])
    for axes in (left, right):
        axes.set_ylim(0, 1.05)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure
