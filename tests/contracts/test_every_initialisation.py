"""Every registered initialisation draws from its own generator only, and keeps what it promises."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from sweeps.initialisations import INITIALISATIONS, initialise
from sweeps.trial_spec import Initialisation

FAN_IN, FAN_OUT = 300, 200
ENTRIES = FAN_IN * FAN_OUT


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 5),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(5),
        nn.GroupNorm(2, 8),
        nn.Flatten(),
        nn.Linear(200, FAN_IN),
        nn.ReLU(),
        nn.Linear(FAN_IN, FAN_OUT),
        nn.Linear(FAN_OUT, 10, bias=False),
    )


def images() -> Tensor:
    return torch.randn(64, 3, 12, 12, generator=torch.Generator().manual_seed(9))


def drawn(kind: str, seed: int = 1, **options: Any) -> nn.Sequential:
    module = network()
    choice = Initialisation.model_validate({"kind": kind, **options})
    initialise(module, choice, torch.Generator().manual_seed(seed), images())
    return module


def matrix(kind: str) -> Tensor:
    """The weight of 200 outputs and 300 inputs."""
    return drawn(kind).state_dict()["7.weight"].double()


def assert_variance(weight: Tensor, wanted: float) -> None:
    """Mean 0 and the wanted variance, within five standard errors of each."""
    centred = weight - weight.mean()
    kurtosis = float((centred**4).mean() / (centred**2).mean() ** 2)
    assert abs(float(weight.mean())) < 5 * math.sqrt(wanted / ENTRIES)
    assert float((weight**2).mean()) == pytest.approx(wanted, rel=5 * math.sqrt((kurtosis - 1) / ENTRIES))


def normal(deviation: float) -> Callable[[Tensor], None]:
    def check(weight: Tensor) -> None:
        assert_variance(weight, deviation**2)
        assert stats.kstest(weight.flatten().numpy() / deviation, "norm").pvalue > 1e-3

    return check


def uniform(bound: float) -> Callable[[Tensor], None]:
    def check(weight: Tensor) -> None:
        assert_variance(weight, bound**2 / 3)
        assert stats.kstest(weight.flatten().numpy() / bound, stats.uniform(-1, 2).cdf).pvalue > 1e-3

    return check


def truncated(weight: Tensor) -> None:
    assert_variance(weight, 1 / FAN_IN)
    scale = float(weight.abs().max()) / 2
    assert stats.kstest(weight.flatten().numpy() / scale, stats.truncnorm(-2, 2).cdf).pvalue > 1e-3


def is_orthogonal(weight: Tensor) -> None:
    torch.testing.assert_close(weight @ weight.mT, torch.eye(FAN_OUT).double(), atol=1e-5, rtol=0)


def is_student(weight: Tensor) -> None:
    unit = weight.flatten().numpy() * math.sqrt(FAN_IN) * math.sqrt(3)  # t3 has variance 3
    assert stats.kstest(unit, stats.t(3).cdf).pvalue > 1e-3


def is_sparse(weight: Tensor) -> None:
    count = round(0.1 * FAN_IN)
    assert (torch.count_nonzero(weight, dim=1) == count).all()
    values = weight[weight != 0]
    assert float(values.std()) == pytest.approx(1 / math.sqrt(count), rel=0.05)


def has_planted_rank(weight: Tensor) -> None:
    values = torch.linalg.svdvals(weight)
    edge = (math.sqrt(FAN_IN) + math.sqrt(FAN_OUT)) / math.sqrt(FAN_IN)
    assert (values[:4] > 2.5 * edge).all()
    assert float(values[4]) < 1.1 * edge


def has_orthogonal_rows(weight: Tensor) -> None:
    gram = weight @ weight.mT
    torch.testing.assert_close(gram / gram[0, 0], torch.eye(FAN_OUT).double(), atol=1e-4, rtol=0)


PROMISES: dict[str, Callable[[Tensor], None]] = {
    "normal_fan_in": normal(1 / math.sqrt(FAN_IN)),
    "normal_fan_in_squared": normal(1 / FAN_IN),
    "kaiming_normal": normal(math.sqrt(2 / FAN_IN)),
    "kaiming_uniform": uniform(math.sqrt(6 / FAN_IN)),
    "xavier_normal": normal(math.sqrt(2 / (FAN_IN + FAN_OUT))),
    "xavier_uniform": uniform(math.sqrt(6 / (FAN_IN + FAN_OUT))),
    "torch_default": uniform(1 / math.sqrt(FAN_IN)),
    "truncated_normal": truncated,
    "orthogonal": is_orthogonal,
    "student_t": is_student,
    "sparse": is_sparse,
    "low_rank_plus_noise": has_planted_rank,
    "lsuv": has_orthogonal_rows,
}


@pytest.mark.parametrize("kind", INITIALISATIONS)
def test_it_keeps_its_promise(kind: str) -> None:
    assert kind in PROMISES, f"say here what {kind} promises"
    PROMISES[kind](matrix(kind))


@pytest.mark.parametrize("kind", INITIALISATIONS)
def test_it_draws_from_its_own_generator_only(kind: str) -> None:
    torch.manual_seed(0)
    first = drawn(kind).state_dict()
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    module = network()
    choice = Initialisation.model_validate({"kind": kind})
    middle = torch.random.get_rng_state()
    initialise(module, choice, torch.Generator().manual_seed(1), images())
    assert torch.equal(torch.random.get_rng_state(), middle)
    assert not torch.equal(before, middle), "torch's layers draw; the initialisation must not"
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, first[name])
    other = drawn(kind, seed=2).state_dict()
    assert not torch.equal(other["7.weight"], first["7.weight"])


@pytest.mark.parametrize("kind", INITIALISATIONS)
def test_gain_scales_and_bias_is_set(kind: str) -> None:
    small, large = (drawn(kind, gain=gain, bias=0.25).state_dict() for gain in (0.5, 1.0))
    assert torch.equal(small["7.bias"], torch.full((FAN_OUT,), 0.25))
    if kind != "lsuv":  # scales what goes in as well, through what lies before
        torch.testing.assert_close(large["7.weight"], 2 * small["7.weight"], rtol=1e-5, atol=1e-7)


def test_lsuv_gives_every_layer_unit_variance() -> None:
    module, inputs = drawn("lsuv"), images()
    for position, part in enumerate(module):
        inputs = part(inputs)
        if position in (0, 5, 7, 8):
            assert float(inputs.detach().std()) == pytest.approx(1.0, abs=0.06)


def test_what_is_no_layers_weight_is_the_same_for_all() -> None:
    values = drawn("student_t").state_dict()
    assert torch.equal(values["3.weight"], torch.ones(8))
    assert torch.equal(values["3.bias"], torch.zeros(8))


def test_convolutions_count_as_unfolded_matrices() -> None:
    layer = drawn("normal_fan_in")[0]
    assert isinstance(layer, nn.Conv2d)
    values = layer.weight.detach().flatten().numpy() * math.sqrt(3 * 5 * 5)
    assert np.std(values) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("kind", ["xavier_normal", "xavier_uniform"])
@pytest.mark.parametrize(("kernel", "groups"), [(3, 1), (1, 1), (3, 4)])
def test_xavier_counts_all_outputs_that_an_input_of_a_convolution_reaches(
    kind: str, kernel: int, groups: int
) -> None:
    layer = nn.Conv2d(64, 128, kernel, padding=1, groups=groups, bias=False)
    impulse = torch.zeros(1, 64, 9, 9)
    impulse[0, 0, 4, 4] = 1.0
    nn.init.ones_(layer.weight)
    reached = int(layer(impulse).count_nonzero())
    weight = layer.weight.detach()
    feeding = weight[0].numel()
    initialise(layer, Initialisation.model_validate({"kind": kind}), torch.Generator().manual_seed(3), images())
    assert float(weight.var()) == pytest.approx(2 / (feeding + reached), rel=0.05)
    if groups == 1:
        reference = getattr(nn.init, f"{kind}_")(torch.empty_like(weight))
        assert float(weight.var()) == pytest.approx(float(reference.var()), rel=0.05)


class Scaled(nn.Module):
    """What is no layer: a scale, a slope, an offset, a token at zero and a drawn table."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((8, 1, 1), 1e-6))
        self.slope = nn.PReLU(4)
        self.offset = nn.Parameter(torch.zeros(5))
        self.token = nn.Parameter(torch.zeros(1, 1, 400))
        self.table = nn.Parameter(torch.randn(20, 20))


@pytest.mark.parametrize("kind", ["torch_default", "normal_fan_in"])
def test_constants_of_the_code_stay_and_embeddings_are_drawn(kind: str) -> None:
    module = Scaled()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    for seed in (1, 2):
        choice = Initialisation.model_validate({"kind": kind})
        initialise(module, choice, torch.Generator().manual_seed(seed), images())
        for name in ("scale", "slope.weight", "offset"):
            assert torch.equal(module.state_dict()[name], before[name])
        for name in ("token", "table"):
            assert float(module.state_dict()[name].std()) == pytest.approx(0.02, rel=0.2)
        before |= {name: tensor.clone() for name, tensor in module.state_dict().items()}
