"""Certificates are kept by what really happens, and agree with values worked out by hand."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from rmt.certificate import TIERS
from rmt.certify import certify
from rmt.errors import InvalidOption, InvalidWeight
from rmt.layers import low_rank
from rmt.matrices import Factors
from tests.rmt.certified import DETERMINISTIC, beyond, bound_of, matrix, share


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images[:600] / 16).float(), torch.tensor(labels[:600])


def train(model: nn.Sequential, inputs: Tensor, labels: Tensor, steps: int = 60) -> nn.Sequential:
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        functional.cross_entropy(model(inputs), labels).backward()
        optimiser.step()
    return model


@pytest.fixture(scope="module")
def mlp(digits: tuple[Tensor, Tensor]) -> nn.Sequential:
    torch.manual_seed(1)
    widths = (64, 96, 96, 10)
    layers = [(nn.Linear(a, b), nn.ReLU()) for a, b in itertools.pairwise(widths)]
    return train(nn.Sequential(*itertools.chain(*layers))[:-1], *digits)


@pytest.fixture(scope="module")
def cnn(digits: tuple[Tensor, Tensor]) -> nn.Sequential:
    torch.manual_seed(2)
    model = nn.Sequential(
        *(nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(144, 10)),
    )
    return train(model, *digits, steps=25)


@pytest.mark.parametrize("kept", [0.9, 0.6, 0.1])
@pytest.mark.parametrize("layer", ["0", "2", "4"])
def test_the_tiers_are_ordered_and_no_certified_label_changes(
    mlp: nn.Module, digits: tuple[Tensor, Tensor], layer: str, kept: float
) -> None:
    weight = matrix(mlp, layer)
    certificate = certify(mlp, layer, beyond(weight, int(kept * len(weight))), digits)
    bounds = [certificate.tiers[name].bound for name in ("realised", "coordinatewise", "norm_product")]
    for tighter, looser in itertools.pairwise(bounds):
        assert tighter is not None
        assert looser is not None
        assert (tighter <= looser + 1e-12).all()  # equal at the last layer, up to cancellation
    shares = [share(certificate, name) for name in DETERMINISTIC]
    assert shares[1:] == sorted(shares[1:], reverse=True)
    assert shares[0] >= shares[2]
    for name in DETERMINISTIC:
        tier = certificate.tiers[name]
        assert tier.certified_but_changed == 0
        assert tier.accuracy_bound is not None
        drift = abs(certificate.accuracy_after - certificate.accuracy_before)
        assert drift <= tier.accuracy_bound + 1e-12
        if tier.loss_bound is not None:
            assert abs(certificate.loss_change) <= tier.loss_bound
    assert abs(certificate.removed[0].inner_product) < 1e-10


def test_less_is_certified_the_more_is_cut(mlp: nn.Module, digits: tuple[Tensor, Tensor]) -> None:
    weight = matrix(mlp, "2")
    found = [certify(mlp, "2", beyond(weight, rank), digits) for rank in (94, 80, 40, 5)]
    for name in TIERS:
        shares = [share(certificate, name) for certificate in found]
        assert shares == sorted(shares, reverse=True)
    assert share(found[0], "coordinatewise") > 0.5
    assert share(found[2], "norm_product") < share(found[2], "realised")


def test_logits_objective_and_labels_are_those_of_the_cut_network(
    mlp: nn.Module, digits: tuple[Tensor, Tensor]
) -> None:
    inputs, labels = digits[0].double(), digits[1]
    l1, l2 = 3e-4, 2e-3

    def objective(model: nn.Module) -> float:
        penalty = sum(l1 * p.abs().sum() + l2 * p.square().sum() for p in model.parameters())
        return float(functional.cross_entropy(model(inputs), labels) + penalty)

    dense = copy.deepcopy(mlp).double()
    cut = copy.deepcopy(dense)
    removed = beyond(matrix(dense, "2"), 8)
    with torch.no_grad():
        cut.get_parameter("2.weight").sub_(removed)
        moved = (cut(inputs) - dense(inputs)).abs().amax(1)
        flips = int((cut(inputs).argmax(1) != dense(inputs).argmax(1)).sum())
        change = objective(cut) - objective(dense)
    certificate = certify(mlp, "2", removed, digits, l1=l1, l2=l2, batch_size=100)
    realised = certificate.tiers["realised"].bound
    assert realised is not None
    torch.testing.assert_close(realised, moved, rtol=1e-10, atol=1e-10)
    assert certificate.changed == flips > 0
    assert certificate.objective_change == pytest.approx(change, abs=1e-10)


def test_one_sample_by_hand() -> None:
    """Logits (3, 1) move by W₃ R v = (0.5, 0.2) · 1; the margin of 2 survives every deterministic tier."""
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model.get_parameter("0.weight").copy_(torch.tensor([[1.0], [1.0]]))
        model.get_parameter("2.weight").copy_(torch.tensor([[2.0, 1.0], [1.0, 0.0]]))
    removed = torch.tensor([[0.2], [0.1]])
    certificate = certify(model, "0", removed, (torch.ones(1, 1), torch.tensor([0])))
    tiers = certificate.tiers
    assert certificate.margins[0.5] == pytest.approx(2.0)
    assert bound_of(certificate, "realised") == pytest.approx(0.5)  # 2·0.2 + 1·0.1
    assert bound_of(certificate, "pairwise") == pytest.approx(0.15)  # (|2−1|·0.2 + |1−0|·0.1) / 2
    assert bound_of(certificate, "coordinatewise") == pytest.approx(0.5)
    assert bound_of(certificate, "norm_product") == pytest.approx(0.6)  # 3 · 0.2
    assert all(tiers[name].certified_share == 1 for name in DETERMINISTIC)
    assert certificate.removed[0].row_sum == pytest.approx(0.2)
    assert certificate.removed[0].entry_sum == pytest.approx(0.3)
    assert certificate.removed[0].spectral == pytest.approx(0.05**0.5)
    assert certificate.removed[0].inner_product == pytest.approx(0.2 * 0.8 + 0.1 * 0.9)


def test_a_row_of_ones_needs_the_row_sum_norm() -> None:
    """‖R‖₂ ‖ψ‖_∞ = 1 would miss a true change of 10; the bounds must not."""
    model = nn.Sequential(nn.Linear(100, 1, bias=False), nn.Linear(1, 2, bias=False))
    with torch.no_grad():
        model.get_parameter("1.weight").copy_(torch.tensor([[1.0], [0.0]]))
    removed = torch.full((1, 100), 0.1, dtype=torch.float64)
    certificate = certify(model, "0", removed, (torch.ones(1, 100), torch.tensor([0])))
    assert bound_of(certificate, "realised") == pytest.approx(10)
    assert bound_of(certificate, "norm_product") == pytest.approx(10)


def test_convolutions_are_certified_too(cnn: nn.Module, digits: tuple[Tensor, Tensor]) -> None:
    certificates = [
        certify(cnn, layer, beyond(matrix(cnn, layer), rank), digits) for layer, rank in (("1", 7), ("4", 15))
    ]
    for certificate in certificates:
        assert all(tier.applies for tier in certificate.tiers.values())
        assert all(certificate.tiers[name].certified_but_changed == 0 for name in DETERMINISTIC)
        assert abs(certificate.loss_change) <= (certificate.tiers["realised"].loss_bound or 0)
        assert share(certificate, "realised") > 0.5


def test_the_cut_of_several_layers_adds_up(mlp: nn.Module, digits: tuple[Tensor, Tensor]) -> None:
    removed = [beyond(matrix(mlp, name), 40) for name in ("0", "2")]
    both = certify(mlp, ["0", "2"], removed, digits)
    first = certify(mlp, "0", removed[0], digits)
    assert [part.layer for part in both.removed] == ["0", "2"]
    for name in DETERMINISTIC:
        total, part = both.tiers[name], first.tiers[name].bound
        assert total.bound is not None
        assert part is not None
        assert (total.bound >= part - 1e-12).all()
        assert total.certified_but_changed == 0
    assert abs(both.loss_change) <= (both.tiers["realised"].loss_bound or 0)


def test_gaussian_noise_stays_within_its_bound_as_often_as_promised() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(20, 40), nn.ReLU(), nn.Linear(40, 4)).double()
    data = torch.randn(30, 20, dtype=torch.float64), torch.zeros(30, dtype=torch.long)
    exceeded = 0
    for _ in range(20):
        noise = 0.1 * torch.randn(40, 20, dtype=torch.float64)
        certificate = certify(model, "0", noise, data, noise_variance=0.01, failure_probability=0.2)
        assert certificate.tiers["gaussian"].probabilistic
        realised, random = (certificate.tiers[name].bound for name in ("realised", "gaussian"))
        assert realised is not None
        assert random is not None
        exceeded += int((realised > random).any())
    assert exceeded <= 4  # 0.2 of 20, and the operator norm makes it far fewer


def test_the_gaussian_bound_is_the_lemma() -> None:
    """‖W₃‖_∞ ‖v‖₂ √(2 g log(2N|T|/δ) / N) with N = 8, g/N = 0.04, |T| = 1, δ = 0.1."""
    model = nn.Sequential(nn.Linear(3, 8, bias=False), nn.ReLU(), nn.Linear(8, 2, bias=False))
    vector = torch.tensor([[2.0, 3.0, 6.0]])
    certificate = certify(
        model,
        "0",
        torch.ones(8, 3),
        (vector, torch.tensor([0])),
        noise_variance=0.04,
        failure_probability=0.1,
    )
    norm = float(matrix(model, "2").abs().sum(1).max())
    expected = norm * 7.0 * (2 * 0.04 * torch.tensor(2 * 8 * 1 / 0.1).double().log()).sqrt()
    assert bound_of(certificate, "gaussian") == pytest.approx(float(expected))


def test_tiers_that_do_not_apply_say_why(digits: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(4)
    normalised = nn.Sequential(nn.Linear(64, 16), nn.LayerNorm(16), nn.Linear(16, 10))
    rectified = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10), nn.ReLU())
    first = certify(normalised, "0", beyond(matrix(normalised, "0"), 15), digits)
    assert first.tiers["realised"].applies
    for name in TIERS[1:]:
        assert not first.tiers[name].applies
        assert "LayerNorm" in first.tiers[name].reason
    second = certify(rectified, "0", beyond(matrix(rectified, "0"), 15), digits)
    assert "ReLU" in second.tiers["pairwise"].reason
    assert second.tiers["coordinatewise"].applies
    table = first.table()
    assert list(table.index) == list(TIERS)
    assert set(first.numbers()) >= {"certified_share.realised", "objective_change"}


def test_a_factored_layer_counts_as_its_product(mlp: nn.Module, digits: tuple[Tensor, Tensor]) -> None:
    left, values, right = torch.linalg.svd(matrix(mlp, "2"), full_matrices=False)
    factors = Factors((left[:, :60] * values[:60]).float(), right[:60].float())
    dense, factored = copy.deepcopy(mlp), copy.deepcopy(mlp)
    dense.get_parameter("2.weight").data = factors.compose()
    factored.set_submodule("2", low_rank(nn.Linear(96, 96), factors))
    bias = dense.get_parameter("2.bias").data
    factored.get_parameter("2.bias").data = bias
    removed = beyond(factors.compose().double(), 30)
    for name in DETERMINISTIC:
        first, second = (certify(model, "2", removed, digits).tiers[name] for model in (dense, factored))
        assert first.bound is not None
        assert second.bound is not None
        torch.testing.assert_close(first.bound, second.bound, rtol=1e-5, atol=1e-5)


def test_masks_can_certify_the_objective() -> None:
    """A weight that no input reaches: removing it changes nothing but the penalty."""
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    inputs = torch.tensor([[1.0, 0.0], [2.0, 0.0]])
    removed = matrix(model, "0") * torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    certificate = certify(model, "0", removed, (inputs, torch.tensor([0, 1])), l1=1e-3, l2=1e-3)
    size = removed.double()
    expected = -1e-3 * float(size.abs().sum() + size.square().sum())
    assert certificate.objective_change == pytest.approx(expected, rel=1e-6)
    assert certificate.tiers["norm_product"].objective_certified
    assert certificate.tiers["norm_product"].loss_bound == 0


def test_the_model_is_left_as_it_was(cnn: nn.Module, digits: tuple[Tensor, Tensor]) -> None:
    before = {name: value.clone() for name, value in cnn.state_dict().items()}
    training = cnn.training
    certify(cnn, "4", beyond(matrix(cnn, "4"), 3), digits)
    assert cnn.training is training
    assert all(torch.equal(value, before[name]) for name, value in cnn.state_dict().items())


@pytest.mark.parametrize(
    ("layers", "removed", "message"),
    [
        ("9", torch.zeros(2, 2), "no layer '9'"),
        ("1", torch.zeros(2, 2), "is a ReLU"),
        ("0", torch.zeros(3, 2), r"\(3, 2\)"),
    ],
)
def test_what_can_not_be_certified_is_refused(layers: str, removed: Tensor, message: str) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with pytest.raises(InvalidWeight, match=message):
        certify(model, layers, removed, (torch.ones(1, 2), torch.tensor([0])))


def test_options_out_of_range_are_refused() -> None:
    model, removed = nn.Sequential(nn.Linear(2, 2)), torch.zeros(2, 2)
    data = torch.ones(1, 2), torch.tensor([0])
    with pytest.raises(InvalidOption, match="failure_probability"):
        certify(model, "0", removed, data, failure_probability=0.0)
    with pytest.raises(InvalidOption, match="penalty"):
        certify(model, "0", removed, data, l1=-1.0)
    with pytest.raises(InvalidOption, match="at least one"):
        certify(model, "0", removed, (torch.ones(0, 2), torch.zeros(0, dtype=torch.long)))
    with pytest.raises(InvalidOption, match="labels run from 0 to 7; the model has classes 0 to 1"):
        certify(model, "0", removed, (torch.ones(2, 2), torch.tensor([0, 7])))
    with pytest.raises(InvalidWeight, match=r"R of '0' has 1 NaN"):
        certify(model, "0", torch.tensor([[0.0, float("nan")], [0.0, 0.0]]), data)
    with pytest.raises(InvalidOption, match=r"gives \(1, 3, 2\) for one sample"):
        certify(nn.Sequential(nn.Linear(2, 2)), "0", removed, (torch.ones(4, 3, 2), torch.zeros(4).long()))
    tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    with pytest.raises(InvalidWeight, match=r"shared by 0.weight, 1.weight"):
        certify(tied, "0", removed, data)
    with pytest.raises(InvalidOption, match="no layer twice"):
        certify(model, ["0", "0"], [removed, removed], data)
