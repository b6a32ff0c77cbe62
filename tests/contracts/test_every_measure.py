"""What every registered measure promises; registering one is what puts it here."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from rmt.errors import InvalidOption
from rmt.measures import MEASURES, LayerSubject, ModuleSubject, measure
from rmt.registry import Entry

LAYER = [name for name in MEASURES if MEASURES[name].traits["of"] == "layer"]
MODULE = [name for name in MEASURES if MEASURES[name].traits["of"] == "module"]
QUICK: dict[str, dict[str, Any]] = {"latency": {"seconds": 0.01}}


@pytest.fixture(scope="module")
def layer() -> LayerSubject:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(120, 80, generator=generator, dtype=torch.float64) / 120**0.5
    signal = torch.zeros_like(noise)
    signal[range(3), range(3)] = torch.tensor([5.0, 4.0, 3.0], dtype=torch.float64)
    return LayerSubject(noise + signal, previous=noise * 0.9 + signal)


@pytest.fixture(scope="module")
def module() -> ModuleSubject:
    torch.manual_seed(0)
    after = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    before = copy.deepcopy(after)
    with torch.no_grad():
        after.get_parameter("0.weight")[:, 0] = 0
    return ModuleSubject(after, torch.randn(50, 6), torch.randint(0, 3, (50,)), before)


def subject_of(entry: Entry[Any], layer: LayerSubject, module: ModuleSubject) -> LayerSubject | ModuleSubject:
    return layer if entry.traits["of"] == "layer" else module


@pytest.mark.parametrize("name", MEASURES)
def test_it_is_described(name: str) -> None:
    entry = MEASURES[name]
    assert entry.summary.endswith(".")
    assert entry.version >= 1
    assert entry.traits["of"] in {"layer", "module"}
    assert set(entry.traits["needs"]) <= {"fit", "previous", "inputs", "labels", "before"}
    assert entry.validate({}).keys() == entry.options.model_fields.keys()
    with pytest.raises(ValueError, match="no_such_option"):
        entry.validate({"no_such_option": 1})


@pytest.mark.parametrize("name", MEASURES)
def test_it_gives_finite_numbers_in_its_range(name: str, layer: LayerSubject, module: ModuleSubject) -> None:
    entry = MEASURES[name]
    found = measure(subject_of(entry, layer, module), {name: QUICK.get(name, {})})
    assert found
    for key, value in found.items():
        assert key.split(".")[0] == name
        assert isinstance(value, float)
        assert math.isfinite(value)
        if "." not in key:
            assert entry.traits.get("least", -math.inf) <= value <= entry.traits.get("most", math.inf)


@pytest.mark.parametrize("name", MEASURES)
def test_it_repeats(name: str, layer: LayerSubject, module: ModuleSubject) -> None:
    if name == "latency":
        pytest.skip("a measured time")
    subject = subject_of(MEASURES[name], layer, module)
    assert measure(subject, [name]) == measure(replace(subject), [name])


@pytest.mark.parametrize("name", MEASURES)
def test_it_says_what_it_lacks(name: str, layer: LayerSubject, module: ModuleSubject) -> None:
    entry = MEASURES[name]
    bare: LayerSubject | ModuleSubject
    wrong: LayerSubject | ModuleSubject
    if entry.traits["of"] == "layer":
        bare, wrong = LayerSubject(layer.weight), module
    else:
        bare, wrong = ModuleSubject(module.module), layer
    with pytest.raises(InvalidOption, match=f"{name}.* needs a {entry.traits['of']}"):
        measure(wrong, [name])
    for need in set(entry.traits["needs"]) - {"fit"}:
        with pytest.raises(InvalidOption, match=f"{name}.* needs"):
            measure(bare, [name])
        assert need not in measure(bare)


@pytest.mark.parametrize("name", LAYER)
@pytest.mark.parametrize("factor", [0.25, 8.0])
def test_it_scales_with_its_declared_power(name: str, factor: float, layer: LayerSubject) -> None:
    assert isinstance(layer.weight, torch.Tensor)
    scaled = replace(layer, weight=factor * layer.weight)
    expected = measure(layer, [name])[name]
    assert expected is not None
    power = MEASURES[name].traits["power"]
    assert measure(scaled, [name])[name] == pytest.approx(expected * factor**power, rel=1e-9)


@pytest.mark.parametrize("name", LAYER)
def test_it_does_not_see_permutations_or_transposition(name: str, layer: LayerSubject) -> None:
    weight, previous = layer.weight, layer.previous
    assert isinstance(weight, torch.Tensor)
    assert isinstance(previous, torch.Tensor)
    rows, cols = torch.randperm(120), torch.randperm(80)
    moved = replace(layer, weight=weight[rows][:, cols], previous=previous[rows][:, cols])
    assert measure(moved, [name]) == pytest.approx(measure(layer, [name]), rel=1e-9)
    if "previous" not in MEASURES[name].traits["needs"]:
        assert measure(LayerSubject(weight.T), [name]) == pytest.approx(measure(layer, [name]), rel=1e-9)


@pytest.mark.parametrize("name", LAYER)
def test_a_zero_matrix_has_a_number_or_none(name: str) -> None:
    zero = torch.zeros(60, 60)
    found = measure(LayerSubject(zero, previous=zero), [name])[name]
    assert found is None or found == 0


@pytest.mark.parametrize("name", MODULE)
def test_it_leaves_the_module_alone(name: str, module: ModuleSubject) -> None:
    subject = replace(module, module=copy.deepcopy(module.module).train())
    before = copy.deepcopy(subject.module.state_dict())
    measure(subject, {name: QUICK.get(name, {})})
    after: Mapping[str, torch.Tensor] = subject.module.state_dict()
    assert subject.module.training
    assert all(torch.equal(after[key], value) for key, value in before.items())
