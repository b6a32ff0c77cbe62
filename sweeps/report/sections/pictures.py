"""Sections that are a picture or two with a caption each."""

from __future__ import annotations

import pandas as pd

from sweeps.report.blocks import Block, Figure, Paragraph, Section
from sweeps.report.evidence import CROWD, Evidence
from sweeps.report.figures.curves import learning_curves
from sweeps.report.figures.heatmaps import PAIRS, heat_maps
from sweeps.report.figures.ranks import ranks_over_epochs
from sweeps.report.figures.replicates import LISTED, distributions
from sweeps.report.figures.size import accuracy_against_size
from sweeps.report.figures.spectra import layer_spectrum
from sweeps.report.layers import cut_layers, ranks_of, read, representative, spectra_of
from sweeps.report.words import metric_words, plural

LAYERS = 8
NOTHING = "Nothing to draw yet."


def size(evidence: Evidence) -> Section:
    """Accuracy against parameters kept."""
    metric = evidence.metric
    drawing = accuracy_against_size(evidence, metric)
    if drawing is None:
        return Section("size", "Accuracy against size", [Paragraph(NOTHING)])
    caption = (
        f"Mean {metric_words(metric)} of each trial against the mean share of the unpruned network's parameters "
        "that it keeps (biases included). "
    )
    caption += (
        f"More than {CROWD} trials: points are translucent, and the cross shows the median 95 % interval both "
        "ways."
        if evidence.is_crowded
        else "Bars: 95 % intervals over replicates, both ways; a thin line joins a pruned trial to its unpruned "
        "twin; trials of exactly equal size stand side by side."
    )
    return Section("size", "Accuracy against size", [Figure(drawing, caption + _ringed(evidence))])


def _ringed(evidence: Evidence) -> str:
    best = evidence.best
    if best is None:
        return ""
    objective = evidence.objective
    name = f"{objective.statistic} of its {metric_words(objective.metric)}"
    return f" Ringed: trial #{best['number']}, the best by the {name}."


def replicates(evidence: Evidence) -> Section:
    """Distributions over replicates."""
    drawing = distributions(evidence, evidence.metric)
    if drawing is None:
        return Section("replicates", "Every replicate", [Paragraph(NOTHING)])
    few = len(evidence.trials) <= LISTED
    caption = (
        f"The {metric_words(evidence.metric)} of every replicate that has one, trials in the order of the "
        "objective" + ("; the upright line is the mean, the broad bar its 95 % interval." if few else ".")
    )
    return Section("replicates", "Every replicate", [Figure(drawing, caption)])


def space(evidence: Evidence) -> list[Section]:
    """Heat maps; no section with fewer than two dimensions that vary."""
    drawing = heat_maps(evidence)
    if drawing is None:
        return []
    dimensions = len(evidence.dimensions)
    shown = f"the first {PAIRS} pairs" if dimensions * (dimensions - 1) // 2 > PAIRS else "each pair"
    caption = (
        f"{evidence.objective.statistic.capitalize()} {metric_words(evidence.objective.metric)} of the pruned "
        f"trials over {shown} of swept dimensions, averaged over the others. The stronger the colour, the "
        "higher."
    )
    return [Section("space", "Across the space", [Figure(drawing, caption)])]


def inside(evidence: Evidence) -> Section:
    """The best pruned trial from inside: spectra with the fitted law, ranks, learning curves."""
    title = "Inside the best pruned trial"
    best = evidence.best_pruned
    if best is None:
        return Section("inside", title, [Paragraph(NOTHING)])
    settings = evidence.settings(best)
    blocks: list[Block] = [Paragraph(f"Trial #{best['number']}" + (f": {settings}." if settings else "."))]
    blocks += _spectra(evidence, best) + _ranks(evidence, best)
    curves = learning_curves(evidence, best)
    if curves is not None:
        caption = (
            "Learning curves of the trial and its twin: thin lines are replicates, broad ones their mean. A "
            "replicate that ended early is drawn as far as it went, and is in the mean until then."
        )
        blocks.append(Figure(curves, caption))
    return Section("inside", title, blocks)


def _spectra(evidence: Evidence, trial: pd.Series) -> list[Block]:
    replicate = representative(evidence, str(trial["trial_id"]))
    arrays = read(evidence, str(trial["trial_id"]), replicate) if replicate else None
    layers = cut_layers(spectra_of(arrays)) if arrays else {}
    if not layers:
        return [Paragraph("No spectra are recorded for it.")]
    blocks: list[Block] = []
    for place, (layer, spectra) in enumerate(list(layers.items())[:LAYERS]):
        fit = next(one.fit for one in spectra if one.fit)
        size = f"{fit['rows']} × {fit['cols']}"
        caption = (
            f"Layer {layer} ({size}) of the replicate with the median {metric_words(evidence.objective.metric)}."
        )
        if place == 0:
            caption += (
                " Histogram of singular values, the Marchenko–Pastur law fitted to them (its mass is the share "
                "of values that are no spikes), its edge, and the threshold with the Tracy–Widom term. Values "
                "that earlier cuts removed are missing from the histogram but counted in its scale."
            )
        blocks.append(Figure(layer_spectrum(spectra, f"spectrum-{place + 1}"), caption))
    if len(layers) > LAYERS:
        blocks.append(
            Paragraph(f"The first {LAYERS} of {plural(len(layers), 'pruned layer')}; the records hold all.")
        )
    return blocks


def _ranks(evidence: Evidence, trial: pd.Series) -> list[Block]:
    fits = ranks_of(evidence, str(trial["trial_id"]))
    epochs = int(evidence.replicates(str(trial["trial_id"]))["epochs"].max())
    drawing = ranks_over_epochs(fits, epochs)
    if drawing is None:
        return []
    caption = (
        "Rank of each pruned layer over epochs, a line a replicate. A layer that is left dense fills up again "
        "after a cut; below the dashed line two factors have fewer parameters than the layer itself."
    )
    return [Figure(drawing, caption)]
