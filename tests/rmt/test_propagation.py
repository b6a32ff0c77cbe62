"""Bounds on how far a change travels: never exceeded, and equal to hand-computed values on small networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet18

from rmt.propagation import Outcome, observe, propagate, trace
from rmt.propagation_rules import GELU_SLOPE, SILU_SLOPE, NoBound


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


def bounded(model: nn.Module, layer: str, change: Tensor, batch: Tensor) -> Outcome:
    graph = trace(model.eval())
    return propagate(graph, layer, change, observe(graph, batch)[1])


def test_a_two_layer_network_by_hand() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    with torch.no_grad():
        model.get_parameter("2.weight").copy_(torch.tensor([[1.0, -2.0], [3.0, 0.5]]))
    outcome = bounded(model, "0", torch.tensor([[0.1, 0.2]], dtype=torch.float64), torch.ones(1, 2).double())
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
    outcome = bounded(model, layer, change.abs(), images)
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
    outcome = bounded(model, "0", torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]), torch.ones(1, 1, 2, 2))
    assert outcome.before_head.tolist() == [[3.0]]


def test_a_residual_network_of_torchvision_has_bounds() -> None:
    model = resnet18(weights=None, num_classes=5).eval()
    change = torch.full((1, 128, 4, 4), 1e-3)
    outcome = bounded(model, "layer2.0.conv1", change, torch.zeros(1, 3, 32, 32))
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
        bounded(model, layer, torch.ones(2, 2), torch.ones(2, 2))


def test_always_active_dropout_has_no_bound() -> None:
    class Leaky(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return functional.dropout(self.layer(x), 0.35)

    with pytest.raises(NoBound, match="active in evaluation"):
        bounded(Leaky(), "layer", torch.ones(1, 2), torch.ones(1, 2))


def test_a_model_that_looks_at_values_has_no_graph() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) if x.sum() > 0 else x

    with pytest.raises(NoBound, match="no fixed graph"):
        trace(Branching())


class Step(nn.Module):
    """A change at `layer`, a step written by hand, and a head."""

    def __init__(self, step: Callable[[Any, Tensor, Tensor], Tensor], width: int = 4) -> None:
        super().__init__()
        self.layer, self.other, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(width, 3)
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.step(self, self.layer(x), x))
        return logits


def in_place(function: Callable[[Tensor], object]) -> Callable[[Any, Tensor, Tensor], Tensor]:
    """A step that changes the layer's output in place and goes on with its old name."""

    def step(net: Any, y: Tensor, x: Tensor) -> Tensor:
        function(y)
        return y

    return step


def later_added(net: Any, y: Tensor, x: Tensor) -> Tensor:
    y.add_(net.other(y))
    return y


def into_another(net: Any, y: Tensor, x: Tensor) -> Tensor:
    z = net.other(x)
    z.add_(y)
    return z


ALLOWED = {
    "twice": lambda net, y, x: y + y,
    "thrice": lambda net, y, x: y + (y + y),
    "minus itself": lambda net, y, x: torch.sub(y, y) + functional.relu(y),
    "added in place": lambda net, y, x: y.add_(y),
    "by two ways": lambda net, y, x: net.other(y) + torch.tanh(y),
    "layer again": lambda net, y, x: net.other(net.other(y)),
    "mean beside": lambda net, y, x: y - y.mean(1, keepdim=True),
    "broadcast": lambda net, y, x: y.mean(1, keepdim=True) + x,
    "size of the input": lambda net, y, x: y.view(x.size(0), 2, 2).flatten(1),
    "shape": lambda net, y, x: y.reshape(y.shape[0], -1),
    "relu in place": in_place(functional.relu_),
    "with a constant": lambda net, y, x: 1 - y,
}
REFUSED = {
    "scaled": (lambda net, y, x: 3 * y, "mul"),
    "scaled while added": (lambda net, y, x: torch.add(y, y, alpha=5), "alpha"),
    "product": (lambda net, y, x: y @ y.T @ y, "T|transpose|getattr|matmul"),
    "stale name": (later_added, "in place, and .* reads it again"),
    "into another": (into_another, "did not reach before"),
    "mean of the batch": (lambda net, y, x: y - y.mean(0), "mixes or moves the samples"),
    "mean of all": (lambda net, y, x: y - y.mean(), "mixes or moves the samples"),
    "samples moved": (lambda net, y, x: net.other(y.transpose(0, 1)).transpose(0, 1), "samples"),
    "permuted": (lambda net, y, x: net.other(y.permute(1, 0)).permute(1, 0), "samples"),
    "flattened": (lambda net, y, x: y.view(-1).view(4, 4), "shape"),
    "weight read": (lambda net, y, x: functional.linear(y, net.layer.weight), "layer.weight beside calling"),
    "a part": (lambda net, y, x: torch.cat([y[:, :2], y[:, :2]], 1), "getitem"),
    "chunks": (lambda net, y, x: torch.cat(y.chunk(2, 1), 1), "chunk"),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_a_step_does_to_a_change_is_within_its_bound(name: str) -> None:
    torch.manual_seed(0)
    model = Step(ALLOWED[name]).double().eval()
    batch = torch.randn(4, 4, dtype=torch.float64)
    change = 0.3 * torch.randn(4, 4, dtype=torch.float64)
    outcome = bounded(model, "layer", change.abs(), batch)
    before = model(batch)
    with model.layer.register_forward_hook(lambda *call: call[2] + change):
        moved = (model(batch) - before).abs()
    assert (moved <= outcome.reach.coordinates + 1e-12).all()
    assert (moved.amax(1) <= outcome.reach.gain * change.abs().amax(1) + 1e-12).all()


@pytest.mark.parametrize("name", REFUSED)
def test_a_step_that_no_rule_bounds_is_refused(name: str) -> None:
    step, reason = REFUSED[name]
    with pytest.raises(NoBound, match=reason):
        bounded(Step(step), "layer", torch.ones(4, 4), torch.ones(4, 4))


def test_an_activation_used_twice_counts_twice() -> None:
    outcome = bounded(Step(ALLOWED["twice"]), "layer", torch.ones(1, 4), torch.ones(1, 4))
    assert outcome.before_head.tolist() == [[2.0] * 4]


def test_hooks_and_parametrised_layers_are_refused() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].register_forward_hook(lambda *call: 10 * call[2])
    with pytest.raises(NoBound, match="hooks"):
        bounded(model, "0", torch.ones(1, 2), torch.ones(1, 2))
    normed = nn.Sequential(nn.Linear(2, 2), nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
    with pytest.raises(NoBound, match="parametrised"):
        bounded(normed, "0", torch.ones(1, 2), torch.ones(1, 2))
