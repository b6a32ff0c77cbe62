from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import rmt
from rmt.errors import InvalidWeight
from rmt.rebuild import rebuild

CONVOLUTIONS: list[dict[str, Any]] = [
    {"padding": 1},
    {"stride": 2, "padding": (2, 1), "dilation": (1, 2), "bias": False},
    {"padding": "same", "dilation": 2},
    {"padding": "valid"},
    {"padding": 1, "padding_mode": "reflect"},
    {"padding": 2, "padding_mode": "circular", "stride": (1, 2)},
    {"kernel_size": (2, 4), "padding": "same"},
]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def exact_factors(weight: Tensor) -> rmt.Factors:
    """Factors of full rank: the layer must stay the same function."""
    matrix = weight.detach().flatten(1).double()
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    return rmt.Factors((u * s.sqrt()).to(weight.dtype), (s.sqrt()[:, None] * v).to(weight.dtype))


def convolution(options: dict[str, Any]) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(6, 10, **{"kernel_size": 3, **options})


@pytest.mark.parametrize("bias", [True, False])
def test_linear_is_the_same_function(bias: bool) -> None:
    torch.manual_seed(0)
    dense = nn.Linear(30, 20, bias=bias)
    made = rmt.LowRankLinear.from_dense(dense, exact_factors(dense.weight))
    x = noise(4, 7, 30)
    torch.testing.assert_close(made(x), dense(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(made.compose()(x), dense(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(made.weight, dense.weight, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
def test_convolution_is_the_same_function(options: dict[str, Any]) -> None:
    dense = convolution(options)
    made = rmt.LowRankConv2d.from_dense(dense, exact_factors(dense.weight))
    x = noise(3, 6, 11, 12)
    expected = dense(x)
    torch.testing.assert_close(made(x), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(made.compose()(x), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(made.weight, dense.weight, rtol=1e-4, atol=1e-6)


@settings(max_examples=20)
@given(rows=st.integers(5, 40), cols=st.integers(5, 40), seed=st.integers(0, 99))
def test_split_and_merge_give_the_truncation_back(rows: int, cols: int, seed: int) -> None:
    weight = noise(rows, cols, seed=seed)
    spectrum = rmt.spectrum(weight)
    values = spectrum.singular_values.clone()
    values[max(1, rows * cols // (rows + cols) - 1) :] = 0
    factors = rebuild(spectrum, values)
    u, _, v = torch.linalg.svd(weight.double(), full_matrices=False)
    truncated = (u * values) @ v
    if isinstance(factors, rmt.Factors):
        product = rmt.LowRankLinear(factors).compose().weight.detach().double()
        assert float((product - truncated).norm()) < 1e-6 * float(weight.norm())


def test_grouped_convolutions_do_not_factor() -> None:
    grouped = nn.Conv2d(4, 4, 3, groups=2)
    with pytest.raises(InvalidWeight, match="2 groups"):
        rmt.LowRankConv2d.from_dense(grouped, rmt.Factors(noise(4, 2), noise(2, 18)))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding="same"), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(64, 60), nn.ReLU(), nn.Linear(60, 10),
    )  # fmt: skip


def pruned() -> nn.Sequential:
    module = network()
    rmt.prune(module, aggressiveness=0.8, gate={"min_size": 20})
    kinds = [type(part) for part in module]
    assert kinds.count(rmt.LowRankConv2d) == 2
    assert kinds.count(rmt.LowRankLinear) == 1
    return module.eval()


@pytest.mark.slow
def test_export_gives_the_same_function() -> None:
    module, x = pruned(), noise(2, 3, 8, 8)
    exported = torch.export.export(module, (x,)).module()
    torch.testing.assert_close(exported(x), module(x))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
def test_torchscript_gives_the_same_function() -> None:
    module, x = pruned(), noise(2, 3, 8, 8)
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(module), buffer)
    buffer.seek(0)
    torch.testing.assert_close(torch.jit.load(buffer)(x), module(x))


def test_state_dict_goes_into_a_network_fresh_from_its_code(tmp_path: Any) -> None:
    module, x = pruned(), noise(2, 3, 8, 8)
    save_file(module.state_dict(), tmp_path / "weights.safetensors")
    state = load_file(tmp_path / "weights.safetensors")
    fresh = rmt.match_structure(network(), state).eval()
    fresh.load_state_dict(state)
    torch.testing.assert_close(fresh(x), module(x))
    # … and into one that was factored at other ranks.
    other = network()
    rmt.prune(other, aggressiveness=0.5, gate={"min_size": 20})
    rmt.match_structure(other, state).load_state_dict(state)
    torch.testing.assert_close(other.eval()(x), module(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_computes_in_the_lower_type(dtype: torch.dtype) -> None:
    module, x = pruned(), noise(2, 3, 8, 8)
    with torch.autocast("cpu", dtype=dtype):
        lower = module(x)
    assert lower.dtype == dtype
    torch.testing.assert_close(lower.float(), module(x), rtol=0.05, atol=0.05)


def test_both_factors_and_the_bias_learn() -> None:
    layer = rmt.LowRankLinear(rmt.Factors(noise(5, 2), noise(2, 7)), torch.zeros(5))
    layer(noise(3, 7)).square().sum().backward()
    assert all(parameter.grad is not None and bool(parameter.grad.any()) for parameter in layer.parameters())


def test_frozen_layers_stay_frozen_and_keep_their_mode() -> None:
    module = network().eval()
    module.requires_grad_(False)
    rmt.prune(module, aggressiveness=0.8, gate={"min_size": 20})
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert not any(part.training for part in module.modules())


def test_layers_say_their_sizes() -> None:
    assert "64 → " in repr(pruned()[5])
    assert "(3×3)" in repr(pruned()[0])
