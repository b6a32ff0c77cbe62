"""Measures of layers and modules whose numbers can be worked out by hand."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.prune import l1_unstructured

from rmt.errors import InvalidWeight, UnknownName
from rmt.matrices import Factors
from rmt.measures import LayerSubject, ModuleSubject, Number, measure
from rmt.measures.change import removed_parts


def of_layer(weight: Tensor | Factors, *names: str, previous: Tensor | None = None) -> list[Number]:
    return list(measure(LayerSubject(weight, previous), names).values())


def diagonal(*values: float) -> Tensor:
    return torch.diag(torch.tensor(values, dtype=torch.float64))


def planted(*strengths: float, size: int = 300, seed: int = 0) -> Tensor:
    noise = torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    noise /= size**0.5
    for index, strength in enumerate(strengths):
        noise[index, index] += strength
    return noise


def test_ranks_of_a_diagonal_matrix() -> None:
    stable, entropy, rank = of_layer(diagonal(2, 1, 1, 0), "stable_rank", "entropy_rank", "rank")
    assert stable == pytest.approx(6 / 4)
    shares = [4 / 6, 1 / 6, 1 / 6]
    assert entropy == pytest.approx(math.exp(-sum(share * math.log(share) for share in shares)))
    assert rank == 3


def test_an_identity_has_full_ranks() -> None:
    assert of_layer(torch.eye(50), "stable_rank", "entropy_rank") == pytest.approx([50, 50])


def test_factored_share_counts_the_rank() -> None:
    factors = Factors(torch.randn(100, 7), torch.randn(7, 60))
    assert of_layer(factors, "rank", "factored_share") == pytest.approx([7, 7 * 160 / 6000])


def test_spikes_and_their_mass() -> None:
    weight = planted(6, 4)
    values = torch.linalg.svdvals(weight)
    count, mass, ratio, energy, bulk = of_layer(
        weight, "spikes", "spike_mass", "outlier_ratio", "spike_to_bulk_energy", "bulk_fraction"
    )
    assert count == 2
    assert bulk == pytest.approx(1 - 2 / 300)
    share = float(values[:2].square().sum() / values.square().sum())
    assert mass == pytest.approx(share)
    assert energy == pytest.approx(share / (1 - share))
    threshold = of_layer(weight, "singular_threshold")[0]
    assert threshold == pytest.approx(2, rel=0.02)
    assert ratio == pytest.approx(float(values[:2].mean()) / (threshold or 0))


def test_white_noise_has_no_outliers_to_speak_of() -> None:
    weight = planted(seed=3)
    variance, edge, ratio, mass, distance, randomness = of_layer(
        weight,
        *("noise_variance", "singular_edge", "outlier_ratio", "spike_mass", "fit_distance", "bulk_randomness"),
    )
    assert variance == pytest.approx(1 / 300, rel=0.03)
    assert edge == pytest.approx(2, rel=0.02)
    assert ratio is None
    assert mass == 0
    assert randomness == pytest.approx(1 - (distance or 0))


def test_hill_recovers_a_power_law() -> None:
    """Eigenvalues at the quantiles of a density ∝ λ^(−3) above 1: (i/p)^(−1/2)."""
    levels = torch.arange(1, 801, dtype=torch.float64) / 801
    weight = torch.diag(levels**-0.25)  # singular values are roots of the eigenvalues
    alpha = measure(LayerSubject(weight), {"hill_alpha": {"top": 200}})["hill_alpha"]
    assert alpha == pytest.approx(3, rel=0.03)
    assert of_layer(torch.eye(50), "hill_alpha") == [None]


def test_overlap_is_one_with_itself_and_nothing_with_other_directions() -> None:
    weight = planted(6, 5, size=200)
    elsewhere = weight.roll(100, dims=0)  # the spikes' left vectors move to other rows
    assert of_layer(weight, "spike_overlap", previous=weight) == pytest.approx([1])
    found = of_layer(weight, "spike_overlap", previous=elsewhere)[0]
    assert found is not None
    assert found < 0.05
    tall = torch.cat([planted(6, 5, size=100), planted(size=100, seed=9)])
    before = tall + 0.05 * planted(size=200, seed=5)[:, :100]
    new, old = (torch.linalg.svd(matrix, full_matrices=False)[0][:, :2] for matrix in (tall, before))
    expected = float((old.T @ new).square().sum() / 2)
    assert of_layer(tall, "spike_overlap", previous=before) == pytest.approx([expected])


class Net(nn.Module):
    """One channel of the convolution and one unit of the hidden layer are dead; class 2 is never the largest."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.hidden = nn.Linear(3 * 16, 5)
        self.head = nn.Linear(5, 4)
        with torch.no_grad():
            self.conv.bias[1] = -1e3  # type: ignore[index]
            self.hidden.bias[4] = -1e3
            self.head.bias[2] = -1e3

    def forward(self, images: Tensor) -> Tensor:
        features = functional.relu(self.conv(images)).flatten(1)
        logits: Tensor = self.head(self.hidden(features).relu())
        return logits


def test_size_of_a_small_network() -> None:
    torch.manual_seed(0)
    net = Net()
    with torch.no_grad():
        net.hidden.weight[0] = 0
    names = ["parameters", "non_zeros", "bytes", "macs"]
    found = measure(ModuleSubject(net, torch.randn(8, 1, 4, 4)), names)
    parameters = (27 + 3) + (48 * 5 + 5) + (5 * 4 + 4)
    assert found == {
        "parameters": parameters,
        "non_zeros": parameters - 48,
        "bytes": 4 * parameters,
        "macs": 27 * 16 + 48 * 5 + 5 * 4,
    }


def test_latency_grows_with_the_work() -> None:
    subject = ModuleSubject(nn.Sequential(*(nn.Linear(256, 256) for _ in range(8))), torch.randn(512, 256))
    times = [measure(subject, {"latency": {"batch_size": size, "seconds": 0.05}})["latency"] for size in (1, 512)]
    assert times[0] is not None
    assert times[1] is not None
    assert 0 < 3 * times[0] < times[1]


def test_dead_units_and_classes() -> None:
    torch.manual_seed(1)
    subject = ModuleSubject(Net(), torch.randn(2500, 1, 4, 4))
    found = measure(subject, ["dead_units", "classes_never_predicted"])
    assert found["dead_units"] == 2
    assert subject.inputs is not None
    named = set(subject.module(subject.inputs).argmax(1).tolist())
    assert 2 not in named
    assert found["classes_never_predicted"] == 4 - len(named)


def test_a_unit_is_alive_if_any_batch_wakes_it() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True), nn.Linear(2, 2))
    with torch.no_grad():
        model.get_parameter("0.weight").copy_(torch.eye(2))
        model.get_parameter("0.bias").zero_()
    inputs = torch.tensor([[1.0, -1.0]]).repeat(1500, 1)
    assert measure(ModuleSubject(model, inputs), ["dead_units"]) == {"dead_units": 1}
    inputs[-1] = torch.tensor([-1.0, 1.0])
    assert measure(ModuleSubject(model, inputs), ["dead_units"]) == {"dead_units": 0}


def test_a_cut_is_certified_from_the_two_networks() -> None:
    torch.manual_seed(2)
    before = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 3))
    after = copy.deepcopy(before)
    with torch.no_grad():
        after.get_parameter("0.weight").mul_(0.9)
    inputs = torch.randn(80, 6)
    subject = ModuleSubject(after, inputs, before(inputs).argmax(1), before)
    found = measure(subject, ["certify", "barrier_to_before"])
    changed = float((after(inputs).argmax(1) != before(inputs).argmax(1)).double().mean())
    assert found["certify.unchanged_share"] == pytest.approx(1 - changed)
    assert found["certify.certified_but_changed.coordinatewise"] == 0
    assert found["barrier_to_before"] is not None
    same = ModuleSubject(before, inputs, before(inputs).argmax(1), before)
    assert measure(same, ["certify"]) == {}


def test_weights_that_are_computed_do_not_hide_what_was_cut() -> None:
    torch.manual_seed(2)
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(20, 20))
    before = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), normed, nn.Linear(20, 3))
    after = copy.deepcopy(before)
    with torch.no_grad():
        after.get_parameter("0.weight").mul_(0.9)
    assert list(removed_parts(before, after)) == ["0"]
    with pytest.raises(InvalidWeight, match="can not be copied"):
        removed_parts(l1_unstructured(nn.Linear(20, 20), "weight", 0.2), normed)


def test_an_unknown_measure_names_the_known() -> None:
    with pytest.raises(UnknownName, match=r"unknown measure 'rnak'; known: .*stable_rank"):
        of_layer(torch.eye(50), "rnak")
