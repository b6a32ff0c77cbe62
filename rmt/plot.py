"""Pictures of spectra and landscapes, as matplotlib `Figure` objects.

No pyplot and no global state: a figure belongs to whoever asked for it (`figure.savefig(path)`). Colours are the
colour-blind-safe ones of Okabe and Ito (2008); what matters also differs in line style or marker. Sizes fit a
thesis page: 14 cm wide, 9-point text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from rmt.errors import InvalidOption
from rmt.landscape import Barrier, Slice, Surface
from rmt.marchenko_pastur import MarchenkoPastur, quantile_table
from rmt.noise import NoiseFit
from rmt.spectrum import Spectrum

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
CYCLE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
STYLES = ("-", "--", "-.", ":")
SIZE, SQUARE = (5.5, 3.4), (4.2, 3.4)
TEXT, SMALL = 9.0, 8.0
FAR = 3.0
"""On a linear axis spikes beyond FAR thresholds are counted at the border instead of squeezing the bulk."""


def spectrum(values: Spectrum, fit: NoiseFit, *, log: bool = False, title: str = "") -> Figure:
    """Histogram of the singular values with the fitted law, its edge, the threshold and the spikes.

    Args:
        values: Spectrum of one matrix.
        fit: What `rmt.fit` found in it.
        log: Logarithmic axes, for heavy tails and far spikes.
        title: Above the picture.
    """
    values = values.live
    singular = values.singular_values.numpy()[: values.smaller - fit.zeros]
    spikes, bulk = singular[: fit.spikes], singular[fit.spikes :]
    figure, axes = _canvas(title, "singular value s", "density")
    limit = _far_limit(singular, fit, log)
    bins = _bins(singular[singular <= limit], log)
    axes.hist(bulk, bins=bins.tolist(), weights=_weights(bulk, bins, values.smaller), color=SKY, label="bulk")
    # The law holds for the values that are not spikes, removed ones included: its area is their share.
    at, density = _law(values, fit, float(bins[0]) if log else 0.0)
    axes.plot(at, density * (1 - fit.spikes / values.smaller), color=BLUE, label="Marchenko–Pastur law")
    label = f"threshold {fit.singular_threshold:.3g} (β = {fit.beta:g})"
    axes.axvline(fit.singular_threshold, color=VERMILLION, linestyle="--", label=label)
    axes.axvline(fit.singular_edge, color=BLACK, linestyle=":", label=f"edge {fit.singular_edge:.3g}")
    if log:
        _logarithmic(axes, bottom=0.3 / values.smaller / float(np.diff(bins).max()))
    _mark_spikes(axes, spikes, limit)
    if fit.zeros:
        axes.plot([], [], " ", label=f"{fit.zeros} values removed earlier")
    figure.legend(loc="outside lower center", ncols=3, fontsize=SMALL, frameon=False)
    return figure


def quantiles(values: Spectrum, fit: NoiseFit, *, title: str = "") -> Figure:
    """Quantile–quantile picture: the singular values against those of the fitted law.

    Bulk points lie on the diagonal where the law fits; what rises above it at the right is signal or a heavy tail.
    """
    values = values.live
    count, other = values.smaller - fit.spikes, values.larger - fit.spikes
    expected = (other * fit.variance * quantile_table(count, other, 0.5)).sqrt().numpy()[fit.zeros :]
    observed = values.singular_values.numpy()[fit.spikes :][::-1][fit.zeros :]
    figure, axes = _canvas(title, "singular value under the fitted law", "observed singular value")
    ends = [0.0, float(max(expected.max(initial=0), observed.max(initial=0)))]
    axes.plot(ends, ends, color=BLACK, linewidth=0.8, label="law")
    axes.plot(expected, observed, ".", markersize=3, color=BLUE, label=f"bulk ({len(observed)} values)")
    spikes = values.singular_values.numpy()[: fit.spikes]
    if len(spikes):
        right = np.full(len(spikes), ends[1])
        axes.plot(right, spikes, "^", markersize=5, color=VERMILLION, label=_count_of(spikes))
    if len(spikes) and spikes[0] > FAR * fit.singular_threshold:
        axes.set_yscale("symlog", linthresh=max(fit.singular_threshold, 1e-12))
    text = f"distance {fit.distance:.3g}\n95 % of pure noise: below {fit.distance_null_quantile:.3g}"
    axes.text(0.97, 0.05, text, transform=axes.transAxes, ha="right", fontsize=SMALL)
    axes.legend(fontsize=SMALL, frameon=False, loc="upper left")
    return figure


def over_time(
    epochs: Sequence[int],
    singular_values: Sequence[ArrayLike],
    *,
    thresholds: Sequence[float | None] | None = None,
    leading: int = 10,
    log: bool | None = None,
    title: str = "",
) -> Figure:
    """How one layer's singular values move: the leading ones as lines, the others as bands of quantiles.

    Args:
        epochs: When each spectrum was taken, ascending.
        singular_values: One descending array an epoch; removed values may be zeros or missing.
        thresholds: The fitted threshold of each epoch, None where there is none.
        leading: How many of the largest are drawn as lines.
        log: Logarithmic axis of singular values; when None, if the largest is beyond FAR times the thresholds, or
            the others where there are none, which a linear axis would squeeze.
        title: Above the picture.

    Raises:
        InvalidOption: No epochs, or not one spectrum each.
    """
    if not epochs or len(epochs) != len(singular_values):
        raise InvalidOption(f"{len(epochs)} epochs and {len(singular_values)} spectra; one each, at least one")
    spectra = [np.asarray(values, dtype=float) for values in singular_values]
    rest = [_positive(values[leading:]) for values in spectra]
    figure, axes = _canvas(title, "epoch", "singular value")
    if _is_far(spectra, rest, thresholds) if log is None else log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    for low, high, shade in ((0.05, 0.95, 0.35), (0.25, 0.75, 0.75)):
        label = f"{100 * low:.0f}–{100 * high:.0f} % of the others"
        below, above = (
            [np.quantile(values, q) if len(values) else np.nan for values in rest] for q in (low, high)
        )
        axes.fill_between(epochs, below, above, color=SKY, alpha=shade, linewidth=0, label=label)
    for k in range(leading):
        line = [values[k] if k < len(values) and values[k] > 0 else np.nan for values in spectra]
        label = f"{leading} largest" if k == 0 else "_"
        axes.plot(epochs, line, color=BLUE, linewidth=0.9, marker=".", markersize=3, label=label)
    if thresholds is not None:
        fitted = [np.nan if value is None else value for value in thresholds]
        axes.plot(epochs, fitted, color=VERMILLION, linestyle="--", marker="s", markersize=3, label="threshold")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=SMALL, frameon=False)
    return figure


def slices(curves: Mapping[str, Slice], *, title: str = "") -> Figure:
    """Filter-normalised slices through one or several networks, by name."""
    figure, axes = _canvas(title, "distance along the direction (filter norms)", "loss")
    for index, (name, curve) in enumerate(curves.items()):
        _line(axes, curve.positions, curve.losses, index, name)
    axes.legend(fontsize=SMALL, frameon=False)
    return figure


def barriers(curves: Mapping[str, Barrier], *, title: str = "") -> Figure:
    """Loss on the line between two networks, one curve a pair, with the height of each barrier."""
    figure, axes = _canvas(title, "position between the two networks", "loss")
    for index, (name, curve) in enumerate(curves.items()):
        _line(axes, curve.positions, curve.losses, index, f"{name} (barrier {curve.height:.3g})")
    axes.legend(fontsize=SMALL, frameon=False)
    return figure


def surface(found: Surface, *, title: str = "") -> Figure:
    """Contours of the loss over two filter-normalised directions; the network is the cross in the middle."""
    figure, axes = _canvas(title, "first direction (filter norms)", "second direction", SQUARE)
    grid = found.losses.T
    filled = axes.contourf(found.positions, found.positions, grid, levels=20, cmap="cividis")
    axes.contour(found.positions, found.positions, grid, levels=10, colors="white", linewidths=0.4)
    axes.plot(0, 0, "+", color="white", markersize=9, markeredgewidth=2)
    axes.set_aspect("equal")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    bar = figure.colorbar(filled, ax=axes)
    bar.set_label("loss", fontsize=TEXT)
    bar.ax.tick_params(labelsize=SMALL)
    return figure


def _canvas(title: str, across: str, up: str, size: tuple[float, float] = SIZE) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, dpi=200, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=TEXT + 1)
    axes.set_xlabel(across, fontsize=TEXT)
    axes.set_ylabel(up, fontsize=TEXT)
    axes.tick_params(labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _line(axes: Axes, across: ArrayLike, up: ArrayLike, index: int, label: str) -> None:
    colour, style = CYCLE[index % len(CYCLE)], STYLES[index % len(STYLES)]
    axes.plot(across, up, color=colour, linestyle=style, marker=".", markersize=4, label=label)


def _positive(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[values > 0]


def _is_far(
    spectra: Sequence[NDArray[np.float64]],
    rest: Sequence[NDArray[np.float64]],
    thresholds: Sequence[float | None] | None,
) -> bool:
    """Whether some value is beyond FAR times what the picture is read against."""
    known = [value for value in thresholds or () if value is not None]
    against = known or [float(values.max()) for values in rest if len(values)]
    largest = max((float(values.max(initial=0)) for values in spectra), default=0.0)
    return bool(against) and largest > FAR * max(against)


def _far_limit(singular: NDArray[np.float64], fit: NoiseFit, log: bool) -> float:
    largest = float(singular[0])
    return largest if log else min(largest, FAR * max(fit.singular_threshold, fit.singular_edge))


def _bins(shown: NDArray[np.float64], log: bool) -> NDArray[np.float64]:
    """Bin edges over what is shown; as many as Freedman and Diaconis ask for, between 20 and 120."""
    positive = shown[shown > 0]
    low, high = (float(positive.min()), float(positive.max())) if len(positive) else (0.5, 1.0)
    if log:
        # The smallest values of a square matrix reach far down; three decades say enough.
        low = max(low, high * 1e-3)
        return np.geomspace(low, high * (1 + 1e-9), 61)
    automatic = len(np.histogram_bin_edges(positive, bins="fd")) if len(positive) > 1 else 1
    return np.linspace(0 if low < 0.1 * high else low, high * (1 + 1e-9), min(max(automatic, 20), 120) + 1)


def _weights(bulk: NDArray[np.float64], bins: NDArray[np.float64], total: int) -> NDArray[np.float64]:
    """Each value's share of the density in its own bin, so that all p values together have area one."""
    place = np.clip(np.searchsorted(bins, bulk, side="right") - 1, 0, len(bins) - 2)
    return 1 / (total * np.diff(bins)[place])


def _law(values: Spectrum, fit: NoiseFit, start: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Density of the singular values from `start` on: f(s²/n) · 2s/n."""
    law = MarchenkoPastur(values.aspect, fit.variance)
    low, high = (float((values.larger * end).sqrt()) for end in law.support)
    # At the origin of a square matrix the product is 0 · ∞: begin next to it.
    at = torch.linspace(max(low, start, 1e-5 * high), high, 800, dtype=torch.float64)
    density = law.pdf(at.square() / values.larger) * 2 * at / values.larger
    return at.numpy(), density.numpy()


def _logarithmic(axes: Axes, bottom: float) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(bottom=bottom)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _count_of(spikes: NDArray[np.float64]) -> str:
    return "1 spike" if len(spikes) == 1 else f"{len(spikes)} spikes"


def _mark_spikes(axes: Axes, spikes: NDArray[np.float64], limit: float) -> None:
    near, far = spikes[spikes <= limit], spikes[spikes > limit]
    foot = axes.get_xaxis_transform()
    if len(spikes):
        places = near if len(near) else [np.nan]
        height = np.full(len(places), 0.03)
        axes.plot(places, height, "^", transform=foot, color=VERMILLION, markersize=5, label=_count_of(spikes))
    if len(far):
        axes.set_xlim(right=limit * 1.05)
        text = f"{len(far)} more,\nup to {spikes[0]:.3g} →"
        axes.text(limit * 1.04, 0.08, text, transform=foot, ha="right", fontsize=SMALL, color=VERMILLION)
