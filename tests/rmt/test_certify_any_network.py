"""No certified label changes, whatever the network, the weights and what is removed from them."""

from __future__ import annotations

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rmt.certificate import TIERS
from rmt.certify import certify
from tests.rmt.certified import DETERMINISTIC, matrix


@given(
    seed=st.integers(0, 2**31),
    widths=st.lists(st.integers(2, 12), min_size=2, max_size=4),
    size=st.floats(1e-4, 2.0),
    activation=st.sampled_from([nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.ELU]),
)
@settings(max_examples=30, deadline=None)
def test_no_certified_label_changes_in_any_network(
    seed: int, widths: list[int], size: float, activation: type[nn.Module]
) -> None:
    torch.manual_seed(seed)
    layers = [(nn.Linear(a, b), activation()) for a, b in itertools.pairwise([5, *widths, 3])]
    model = nn.Sequential(*itertools.chain(*layers))[:-1]
    names = [str(2 * k) for k in range(0, len(layers), 2)]
    removed = [size * torch.randn_like(matrix(model, name)) for name in names]
    data = torch.randn(60, 5), torch.randint(0, 3, (60,))
    certificate = certify(model, names, removed, data, batch_size=25)
    for name in DETERMINISTIC:
        tier = certificate.tiers[name]
        assert tier.applies
        assert tier.certified_but_changed == 0
        assert tier.loss_bound is None or abs(certificate.loss_change) <= tier.loss_bound + 1e-12


class Tangled(nn.Module):
    """Layers whose activations meet again: added to themselves and to each other, as they are drawn."""

    def __init__(self, steps: list[str], width: int = 4) -> None:
        super().__init__()
        self.first = nn.Linear(5, width)
        self.middle = nn.ModuleList(nn.Linear(width, width) for _ in steps)
        self.head = nn.Linear(width, 3)
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        early = y
        for step, layer in zip(self.steps, self.middle, strict=True):
            match step:
                case "double":
                    y = y + y
                case "residual":
                    y = y + torch.relu(layer(y))
                case "less early":
                    y = layer(y) - early
                case "centred":
                    y = y - y.mean(1, keepdim=True)
                case "in place":
                    y = layer(y).add_(y)
                case "again":
                    y = layer(torch.tanh(layer(y)))
        return self.head(y)


STEPS = ("double", "residual", "less early", "centred", "in place", "again")


@given(seed=st.integers(0, 2**31), steps=st.lists(st.sampled_from(STEPS), max_size=4), size=st.floats(1e-3, 1.0))
@settings(max_examples=40, deadline=None)
def test_no_certified_label_changes_where_activations_meet_again(seed: int, steps: list[str], size: float) -> None:
    torch.manual_seed(seed)
    model = Tangled(steps)
    removed = size * torch.randn_like(model.first.weight)
    data = torch.randn(80, 5), torch.randint(0, 3, (80,))
    certificate = certify(model, "first", removed, data)
    realised = certificate.tiers["realised"].bound
    assert realised is not None
    for name in DETERMINISTIC:
        tier = certificate.tiers[name]
        assert tier.applies, tier.reason
        assert tier.certified_but_changed == 0
        assert tier.bound is not None
        if name != "pairwise":
            assert bool((realised <= tier.bound + 1e-9).all())


def test_a_model_that_its_graph_misses_has_only_the_exact_tier() -> None:
    class Stale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.other, self.head = nn.Linear(5, 4), nn.Linear(5, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            z = self.other(x)
            early = z
            z += self.layer(x)  # a tracer takes this for a new tensor; here it changes `early`
            return self.head(early)

    torch.manual_seed(0)
    data = torch.randn(20, 5), torch.randint(0, 3, (20,))
    certificate = certify(Stale(), "layer", torch.randn(4, 5), data)
    assert certificate.tiers["realised"].applies
    for name in TIERS[1:]:
        assert "does not give its logits" in certificate.tiers[name].reason
