"""Bounds on how far a change travels: never exceeded, and equal to hand-computed values on small networks."""

from __future__ import annotations

import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet18

from rmt.propagation import GELU_SLOPE, SILU_SLOPE, NoBound, propagate, trace


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.head = nn.Linear(16, 3)

    def forward(self, image: Tensor) -> Tensor:
        early = functional.relu(self.norm(self.first(image)))
        late = functional.max_pool2d(torch.cat([early + self.second(early)], 1), 2)
        logits: Tensor = self.head(functional.dropout(late.view(late.size(0), -1), 0.5, self.training))
        return logits


def test_a_two_layer_network_by_hand() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    with torch.no_grad():
        model.get_parameter("2.weight").copy_(torch.tensor([[1.0, -2.0], [3.0, 0.5]]))
    outcome = propagate(trace(model), "0", torch.tensor([[0.1, 0.2]], dtype=torch.float64))
    assert outcome.reach.coordinates.tolist()[0] == pytest.approx([0.5, 0.4])
    assert outcome.reach.gain == pytest.approx(3.5)
    assert outcome.head is model[2]
    assert outcome.before_head.tolist() == [[0.1, 0.2]]


@pytest.mark.parametrize("layer", ["first", "second"])
def test_no_perturbation_exceeds_its_bound(layer: str) -> None:
    torch.manual_seed(0)
    model = Residual().double()
    images = torch.randn(64, 2, 4, 4, dtype=torch.float64)
    model(images)  # gives the normalisation its statistics
    model.eval()
    target = model.get_submodule(layer)
    shape = (64, 4, 4, 4)
    change = 0.1 * torch.randn(shape, dtype=torch.float64)
    before = model(images)
    handle = target.register_forward_hook(lambda *call: call[2] + change)
    after = model(images)
    handle.remove()
    outcome = propagate(trace(model), layer, change.abs())
    moved = (after - before).abs().detach()
    assert (moved <= outcome.reach.coordinates.detach() + 1e-12).all()
    assert (outcome.reach.coordinates.amax(1) <= outcome.reach.gain * change.abs().flatten(1).amax(1)).all()


def test_stretches_of_smooth_activations_are_least_upper_bounds() -> None:
    for function, bound in ((functional.gelu, GELU_SLOPE), (functional.silu, SILU_SLOPE)):

        def slope(x: float, function: object = function) -> float:
            point = torch.tensor(x, dtype=torch.float64, requires_grad=True)
            function(point).backward()  # type: ignore[operator]
            return -float(point.grad)  # type: ignore[arg-type]

        steepest = -minimize_scalar(slope, bounds=(0.5, 4), method="bounded", options={"xatol": 1e-9}).fun
        assert bound - 1e-4 < steepest <= bound


def test_average_pooling_is_bounded_by_itself() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(1, 2))
    outcome = propagate(trace(model), "0", torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]))
    assert outcome.before_head.tolist() == [[3.0]]


def test_a_residual_network_of_torchvision_has_bounds() -> None:
    model = resnet18(weights=None, num_classes=5).eval()
    change = torch.full((1, 128, 4, 4), 1e-3)
    outcome = propagate(trace(model), "layer2.0.conv1", change)
    assert outcome.reach.coordinates.shape == (1, 5)
    assert outcome.head is model.fc


@pytest.mark.parametrize(
    ("model", "layer", "reason"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), "0", "LayerNorm"),
        (
            nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, track_running_stats=False)),
            "0",
            "mixes the samples",
        ),
        (nn.Sequential(nn.Linear(2, 2)), "1", "0 times"),
    ],
)
def test_what_has_no_rule_is_named(model: nn.Module, layer: str, reason: str) -> None:
    with pytest.raises(NoBound, match=reason):
        propagate(trace(model.eval()), layer, torch.ones(1, 2))


def test_always_active_dropout_has_no_bound() -> None:
    class Leaky(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return functional.dropout(self.layer(x), 0.35)

    with pytest.raises(NoBound, match="active in evaluation"):
        propagate(trace(Leaky().eval()), "layer", torch.ones(1, 2))


def test_a_model_that_looks_at_values_has_no_graph() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) if x.sum() > 0 else x

    with pytest.raises(NoBound, match="no fixed graph"):
        trace(Branching())
