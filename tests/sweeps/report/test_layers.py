from __future__ import annotations

import json

import numpy as np
import pytest

from sweeps.report.evidence import Evidence
from sweeps.report.figures.spectra import _histogram, law_density, layer_spectrum
from sweeps.report.layers import LayerSpectrum, cut_layers, fits_of, ranks_of, read, representative, spectra_of
from sweeps.report.scales import Linear
from tests.sweeps.report.generator import DUE, EPOCHS, HEAD, LAYERS


def _best(evidence: Evidence) -> str:
    best = evidence.best_pruned
    assert best is not None
    return str(best["trial_id"])


def test_spectra_come_by_layer_in_the_order_of_epochs_with_their_fits(evidence: Evidence) -> None:
    trial = _best(evidence)
    replicate = representative(evidence, trial)
    assert replicate is not None
    arrays = read(evidence, trial, replicate)
    assert arrays is not None
    layers = spectra_of(arrays)
    assert list(layers) == list(LAYERS)
    for spectra in layers.values():
        assert [one.epoch for one in spectra] == [0, *DUE, EPOCHS]
        pruned = spectra[0].layer != HEAD
        assert [one.fit is not None for one in spectra] == [True, *[pruned] * len(DUE), True]
        assert [one.is_cut for one in spectra] == [False, *[pruned] * len(DUE), False]
    assert list(cut_layers(layers)) == [layer for layer in LAYERS if layer != HEAD]
    assert list(cut_layers({HEAD: layers[HEAD]})) == [HEAD]


def test_the_representative_replicate_is_the_median_one(evidence: Evidence) -> None:
    trial = _best(evidence)
    rows = evidence.replicates(trial).set_index("replicate_id")["validation_accuracy"]
    name = representative(evidence, trial)
    assert name is not None
    chosen = rows[name]
    assert (rows <= chosen).sum() >= len(rows) / 2
    assert (rows >= chosen).sum() >= len(rows) / 2


@pytest.mark.parametrize(
    "stored", [np.array(['{"layer": "a", "epoch": 1}']), np.array('[{"layer": "a", "epoch": 1}]')]
)
def test_fits_are_read_as_a_list_of_texts_or_one_text(stored: np.ndarray) -> None:
    assert fits_of({"fits": stored}).to_dict("records") == [{"layer": "a", "epoch": 1}]
    assert fits_of({}).empty


def test_layer_names_may_hold_slashes_and_dots() -> None:
    fit = json.dumps({"layer": "block.0/conv", "epoch": 3, "variance": 1.0})
    arrays = {"block.0/conv/3/singular_values": np.ones(2), "fits": np.array([fit])}
    (spectrum,) = spectra_of(arrays)["block.0/conv"]
    assert spectrum.epoch == 3
    assert spectrum.fit is not None


def test_the_drawn_law_and_the_histogram_account_for_every_value(evidence: Evidence) -> None:
    """The law carries the share of values below the threshold; the bars carry all that were not removed."""
    trial = _best(evidence)
    replicate = representative(evidence, trial)
    assert replicate is not None
    for spectra in spectra_of(read(evidence, trial, replicate) or {}).values():
        for one in spectra:
            total = min(LAYERS[one.layer])
            scale = Linear(0.0, float(one.values.max()) * 1.01)
            density, edges = _histogram(one, scale)
            assert (density * np.diff(edges)).sum() == pytest.approx(1 - one.removed / total)
            if one.fit:
                points = np.array(law_density(one))
                mass = np.trapezoid(points[:, 1], points[:, 0])
                assert mass == pytest.approx(1 - one.fit["spikes"] / total, abs=2e-3)


def test_removed_values_are_counted_whether_stored_as_zeros_or_left_out(evidence: Evidence) -> None:
    hardest = evidence.trials.sort_values("parameters_kept.mean")["trial_id"].iloc[0]
    replicate = representative(evidence, hardest)
    assert replicate is not None
    last = spectra_of(read(evidence, hardest, replicate) or {})["linear1"][-1]
    shorter = LayerSpectrum(last.layer, last.epoch, last.present, last.fit)
    assert last.removed == shorter.removed > 0


def test_ranks_fall_from_cut_to_cut_in_every_replicate(evidence: Evidence) -> None:
    fits = ranks_of(evidence, _best(evidence))
    assert fits["replicate_id"].nunique() == 6
    cut = fits[fits["status"] == "cut"]
    assert len(cut) == 6 * 2 * len(DUE)
    assert (cut["rank"] < cut["rank_before"]).all()


def test_a_single_cut_at_the_last_epoch_is_one_panel(evidence: Evidence) -> None:
    trial = _best(evidence)
    replicate = representative(evidence, trial)
    assert replicate is not None
    spectra = spectra_of(read(evidence, trial, replicate) or {})["linear1"]
    drawing = layer_spectrum([spectra[1]], "one")
    assert "First cut" in drawing.description
    assert "trained" not in drawing.description
