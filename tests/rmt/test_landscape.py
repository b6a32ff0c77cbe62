"""Curvature, sharpness, slices and barriers against exact values of networks small enough to have them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from rmt import landscape
from rmt.errors import InvalidOption, InvalidWeight
from rmt.landscape import Objective, Slice
from rmt.layers import low_rank
from rmt.matrices import Factors
from rmt.measures import ModuleSubject, measure

Data = tuple[Tensor, Tensor]


@pytest.fixture(scope="module")
def data() -> Data:
    torch.manual_seed(0)
    return torch.randn(40, 5, dtype=torch.float64), torch.randint(0, 3, (40,))


@pytest.fixture(scope="module")
def mlp() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)).double()


@pytest.fixture(scope="module")
def exact(mlp: nn.Sequential, data: Data) -> Tensor:
    """The dense Hessian of cross-entropy plus 0.01 Σθ², by a route of its own."""
    names = dict(mlp.named_parameters())
    shapes = [parameter.shape for parameter in names.values()]
    start = torch.cat([parameter.detach().flatten() for parameter in names.values()])

    def loss(vector: Tensor) -> Tensor:
        parts = vector.split([shape.numel() for shape in shapes])
        state = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        return (
            functional.cross_entropy(functional_call(mlp, state, data[0]), data[1]) + 0.01 * vector.square().sum()
        )

    hessian: Tensor = torch.autograd.functional.hessian(loss, start)
    return hessian


class Bowl(nn.Module):
    """Loss ½ Σ a_i θ_i²: everything about it is known."""

    def __init__(self, curvatures: list[float], at: list[float]) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.tensor(at, dtype=torch.float64))
        self.register_buffer("curvatures", torch.tensor(curvatures, dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        return 0.5 * (self.get_buffer("curvatures") * self.place.square()).sum() * torch.ones(len(inputs))


def bowl(curvatures: list[float], at: list[float]) -> Objective:
    nothing = torch.zeros(4, 1), torch.zeros(4)
    return Objective(Bowl(curvatures, at), nothing, loss=lambda output, _: output.mean())


@pytest.mark.parametrize("batch_size", [40, 7])
def test_hessian_products_are_those_of_the_dense_hessian(
    mlp: nn.Sequential, data: Data, exact: Tensor, batch_size: int
) -> None:
    objective = Objective(mlp, data, l2=0.01, batch_size=batch_size)
    for index in (0, 17, len(exact) - 1):
        unit = torch.zeros(len(exact), dtype=torch.float64)
        unit[index] = 1
        torch.testing.assert_close(objective.hessian_product(unit), exact[index], rtol=1e-9, atol=1e-12)


def test_top_eigenvalues_are_those_of_the_dense_hessian(mlp: nn.Sequential, data: Data, exact: Tensor) -> None:
    expected = torch.linalg.eigvalsh(exact).flip(0)[:3].tolist()
    found = landscape.top_eigenvalues(Objective(mlp, data, l2=0.01), 3, tolerance=1e-8)
    assert found.converged
    assert found.eigenvalues == pytest.approx(expected, rel=1e-7)
    assert max(found.residuals) < 1e-6
    assert found.products > 3


def test_a_bowl_has_its_own_curvatures() -> None:
    objective = bowl([3.0, 1.0, 0.5, 0.25], [1.0, 1.0, 1.0, 1.0])
    assert landscape.top_eigenvalues(objective, 2).eigenvalues == pytest.approx((3.0, 1.0))
    found = landscape.trace(objective, 4)
    assert found.estimate == pytest.approx(4.75)  # exact for a diagonal Hessian: z_i² = 1
    assert found.standard_error == pytest.approx(0, abs=1e-12)


def test_a_flat_landscape_has_zero_curvature() -> None:
    objective = bowl([0.0, 0.0, 0.0], [1.0, 2.0, 3.0])
    assert landscape.top_eigenvalues(objective).eigenvalues == (0.0,)
    assert landscape.sam(objective) == 0
    assert landscape.adaptive(objective) == 0


def test_the_trace_is_within_its_own_error(mlp: nn.Sequential, data: Data, exact: Tensor) -> None:
    found = landscape.trace(Objective(mlp, data, l2=0.01), 200, seed=3)
    # Var(zᵀHz) = 2 Σ_{i≠j} H_ij² for Rademacher z.
    off = 2 * float(exact.square().sum() - exact.diagonal().square().sum())
    assert found.standard_error == pytest.approx(math.sqrt(off / 200), rel=0.2)
    assert abs(found.estimate - float(exact.trace())) < 4 * found.standard_error


def test_an_iteration_that_ends_early_says_so(mlp: nn.Sequential, data: Data) -> None:
    wide = nn.Sequential(nn.Linear(5, 40), nn.Tanh(), nn.Linear(40, 3)).double()
    found = landscape.top_eigenvalues(Objective(wide, data), 8, tolerance=1e-14, max_products=1)
    assert not found.converged
    assert len(found.eigenvalues) < 8


def test_sharpness_of_a_bowl_by_hand() -> None:
    """θ = (1, 2), a = (3, 1): g = (3, 2), loss 3.5."""
    objective = bowl([3.0, 1.0], [1.0, 2.0])

    def loss(x: float, y: float) -> float:
        return 1.5 * x * x + 0.5 * y * y

    g, rho = math.hypot(3, 2), 0.1
    assert landscape.sam(objective, radius=rho) == pytest.approx(loss(1 + rho * 3 / g, 2 + rho * 2 / g) - 3.5)
    scaled = math.hypot(1 * 3, 2 * 2)  # ε = ρ θ² g / ‖θ g‖ = ρ (1·3, 4·2) / 5
    moved = loss(1 + rho * 3 / scaled, 2 + rho * 8 / scaled) - 3.5
    assert landscape.adaptive(objective, radius=rho) == pytest.approx(moved)


def test_adaptive_sharpness_does_not_see_a_rescaling_and_sam_does(data: Data) -> None:
    torch.manual_seed(2)
    plain = nn.Sequential(nn.Linear(5, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)).double()
    scaled = copy.deepcopy(plain)
    with torch.no_grad():
        scaled.get_parameter("0.weight").mul_(10)
        scaled.get_parameter("2.weight").div_(10)
    first, second = Objective(plain, data), Objective(scaled, data)
    assert landscape.adaptive(first) == pytest.approx(landscape.adaptive(second), rel=1e-9)
    assert landscape.sam(first) != pytest.approx(landscape.sam(second), rel=0.1)
    settings = {"scale": 0.2, "draws": 5, "seed": 4}
    averages = [landscape.expected(o, **settings).estimate for o in (first, second)]  # type: ignore[arg-type]
    assert averages[0] == pytest.approx(averages[1], rel=1e-9)


def test_expected_sharpness_of_a_quadratic_is_half_the_weighted_trace() -> None:
    """One filter of four entries of norm 2: entries move by N(0, (c · 2/√4)²), the mean rise is ½ c² Σ a."""
    layer = nn.Linear(4, 1, bias=False).double()
    with torch.no_grad():
        layer.weight.fill_(1.0)
    scales = torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)).sqrt()
    objective = Objective(layer, (scales, torch.zeros(4, 1)), loss=lambda out, _: 0.5 * out.square().sum())
    found = landscape.expected(objective, scale=0.3, draws=4000, seed=1)
    assert abs(found.estimate - 0.5 * 0.09 * 10) < 4 * found.standard_error
    assert found.standard_error < 0.1


def test_directions_have_the_filters_norms(data: Data) -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2)).double()
    objective = Objective(model, (torch.randn(6, 1, 3, 3).double(), torch.zeros(6, dtype=torch.long)))
    drawn = objective.unflatten(landscape.direction(objective, torch.Generator().manual_seed(0)))
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            assert not drawn[name].any()
        else:
            torch.testing.assert_close(
                drawn[name].flatten(1).norm(dim=1), parameter.detach().flatten(1).norm(dim=1)
            )


def test_the_summary_of_a_parabola() -> None:
    positions = np.linspace(-1, 1, 21)
    found = Slice(positions, 3 * positions**2 + 0.5)
    assert found.curvature == pytest.approx(6)
    assert found.roughness == pytest.approx(0, abs=1e-12)
    assert found.nonconvex_share == 0
    # 3 t² = 0.1 at t = 0.1826; between 0.1 (0.03) and 0.2 (0.12) linearly at 0.1 + 0.07/0.9.
    assert found.width == pytest.approx(2 * (0.1 + 0.07 / 0.9))
    assert not found.width_is_cut


def test_the_summary_of_what_is_no_parabola() -> None:
    positions = np.linspace(-1, 1, 41)
    wave = Slice(positions, 0.01 * np.cos(12 * positions))
    assert wave.nonconvex_share > 0.4
    assert wave.roughness == pytest.approx(0.01 / math.sqrt(2), rel=0.2)
    assert wave.width == 2
    assert wave.width_is_cut
    assert set(wave.summary()) == {"curvature", "width", "nonconvex_share", "roughness"}


def test_slices_go_through_the_network_itself(mlp: nn.Sequential, data: Data) -> None:
    objective = Objective(mlp, data)
    line = landscape.slice_1d(objective, points=5, seed=1)
    surface = landscape.slice_2d(objective, points=5, seed=1)
    assert line.losses[2] == pytest.approx(objective.loss())
    assert surface.losses[2, 2] == pytest.approx(objective.loss())
    assert surface.losses[:, 2] == pytest.approx(line.losses)  # the same first direction
    assert landscape.slice_1d(objective, points=5, seed=1).losses == pytest.approx(line.losses, abs=0)


def test_a_permuted_copy_has_a_barrier_that_matching_removes(data: Data) -> None:
    torch.manual_seed(5)
    model = nn.Sequential(nn.Linear(5, 30), nn.ReLU(), nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 3)).double()
    shuffled = copy.deepcopy(model)
    with torch.no_grad():
        for layer, following, units in (("0", "2", 30), ("2", "4", 20)):
            order = torch.randperm(units)
            for name in (f"{layer}.weight", f"{layer}.bias"):
                shuffled.get_parameter(name).copy_(shuffled.get_parameter(name)[order].clone())
            columns = shuffled.get_parameter(f"{following}.weight")
            columns.copy_(columns[:, order].clone())
    torch.testing.assert_close(shuffled(data[0]), model(data[0]))
    labels = model(data[0]).argmax(1)
    raw = landscape.barrier(model, shuffled, (data[0], labels))
    matched = landscape.barrier(model, shuffled, (data[0], labels), match=True)
    assert raw.height > 1e-3
    assert matched.height == pytest.approx(0, abs=1e-12)
    restored = landscape.match_neurons(model, shuffled)
    for name, parameter in model.named_parameters():
        assert torch.equal(restored.get_parameter(name), parameter)


def test_matching_never_changes_the_function_and_brings_networks_closer(data: Data) -> None:
    torch.manual_seed(6)
    first, second = (nn.Sequential(nn.Linear(5, 12), nn.GELU(), nn.Linear(12, 3)).double() for _ in range(2))
    matched = landscape.match_neurons(first, second)
    torch.testing.assert_close(matched(data[0]), second(data[0]))

    def apart(model: nn.Module) -> float:
        pairs = zip(first.parameters(), model.parameters(), strict=True)
        return sum(float((a - b).detach().square().sum()) for a, b in pairs)

    assert apart(matched) < apart(second)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (nn.Sequential(nn.Linear(3, 3)), "at least two"),
        (nn.Sequential(nn.Linear(3, 3), nn.Softmax(1), nn.Linear(3, 3)), "no elementwise"),
        (nn.Sequential(nn.Conv1d(1, 1, 1), nn.Linear(3, 3), nn.Linear(3, 3)), "outside the chain"),
    ],
)
def test_only_mlps_are_matched(model: nn.Module, reason: str) -> None:
    with pytest.raises(landscape.NotAnMlp, match=reason):
        landscape.match_neurons(model, model)


def test_a_barrier_by_hand() -> None:
    """Loss (θ² − 1)² between its two minima −1 and 1: the top is at 0, height 1."""
    ends = [nn.Linear(1, 1, bias=False).double() for _ in range(2)]
    for sign, end in zip((-1.0, 1.0), ends, strict=True):
        nn.init.constant_(end.weight, sign)
    one = torch.ones(1, 1, dtype=torch.float64)
    found = landscape.barrier(
        ends[0], ends[1], (one, torch.zeros(1)), loss=lambda out, _: (out.square() - 1).square().mean()
    )
    assert found.height == pytest.approx(1)
    assert found.losses[[0, -1]] == pytest.approx(0)


def test_factored_layers_are_measured_on_their_product(data: Data) -> None:
    """The gauge (W₂ c, W₁ / c) changes no number, and a pruned network meets its dense twin."""
    torch.manual_seed(8)
    dense = nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 3)).double()
    left, values, right = torch.linalg.svd(dense.get_parameter("0.weight").detach(), full_matrices=False)
    curvatures, heights = [], []
    for gauge in (1.0, 30.0):
        pruned = copy.deepcopy(dense)
        factors = Factors(left[:, :3] * values[:3] * gauge, right[:3] / gauge)
        pruned.set_submodule("0", low_rank(nn.Linear(5, 12).double(), factors))
        pruned.get_parameter("0.bias").data = dense.get_parameter("0.bias").data
        objective = Objective(pruned, data)
        assert list(objective.shapes) == [name for name, _ in dense.named_parameters()]
        curvatures.append(landscape.top_eigenvalues(objective, tolerance=1e-8).eigenvalues[0])
        heights.append(landscape.barrier(dense, pruned, data).height)
    assert curvatures[0] == pytest.approx(curvatures[1], rel=1e-6)
    assert heights[0] == pytest.approx(heights[1], abs=1e-9)


def test_batch_norm_statistics_are_interpolated() -> None:
    torch.manual_seed(7)
    ends = [nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)) for _ in range(2)]
    inputs, labels = torch.randn(50, 3), torch.randint(0, 2, (50,))
    for end in ends:
        end(3 * inputs + 1)
        end.eval()
    found = landscape.barrier(ends[0], ends[1], (inputs, labels), points=3)
    for position, end in ((0, ends[0]), (2, ends[1])):
        assert found.losses[position] == pytest.approx(
            float(functional.cross_entropy(end(inputs), labels).detach())
        )


def test_what_makes_no_sense_is_refused(mlp: nn.Sequential, data: Data) -> None:
    objective = Objective(mlp, data)
    with pytest.raises(InvalidOption, match="count is 0"):
        landscape.top_eigenvalues(objective, 0)
    with pytest.raises(InvalidOption, match="samples is 1"):
        landscape.trace(objective, 1)
    with pytest.raises(InvalidOption, match="radius is -1"):
        landscape.sam(objective, radius=-1.0)
    with pytest.raises(InvalidOption, match="points is 2"):
        landscape.slice_1d(objective, points=2)
    with pytest.raises(InvalidOption, match="points is 2"):
        landscape.barrier(mlp, mlp, data, points=2)
    with pytest.raises(InvalidOption, match="different names or shapes"):
        landscape.barrier(mlp, nn.Linear(5, 3).double(), data)
    with pytest.raises(InvalidOption, match="without parameters"):
        Objective(nn.ReLU(), data)
    with pytest.raises(InvalidOption, match="at least one"):
        Objective(mlp, (data[0][:0], data[1][:0]))


@pytest.mark.parametrize("name", ["hessian_top", "hessian_trace", "sam_sharpness", "loss_slice"])
def test_a_network_of_nan_has_no_landscape(data: Data, name: str) -> None:
    broken = nn.Sequential(nn.Linear(5, 6), nn.Linear(6, 3)).double()
    broken.get_parameter("1.weight").data[1, 2] = math.nan
    with pytest.raises(InvalidWeight, match=r"NaN or infinite parameters: 1 in 1\.weight"):
        measure(ModuleSubject(broken, *data), [name])


@pytest.mark.parametrize("of", [landscape.top_eigenvalues, landscape.trace])
def test_a_loss_of_nan_has_no_curvature(mlp: nn.Sequential, data: Data, of: Callable[[Objective], object]) -> None:
    inputs = data[0].clone()
    inputs[3, 1] = math.nan
    with pytest.raises(InvalidWeight, match="the loss at this network is nan"):
        of(Objective(mlp, (inputs, data[1])))


def test_numbers_of_a_loss_that_overflows_do_not_exist(data: Data) -> None:
    steep = nn.Sequential(nn.Linear(5, 3)).double()
    with torch.no_grad():
        steep.get_parameter("0.weight").copy_(torch.full((3, 5), 1e307, dtype=torch.float64))
    found = measure(ModuleSubject(steep, *data), {"loss_slice": {"points": 5}})
    assert set(found.values()) == {None}
