from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import rmt
from rmt.errors import InvalidOption


def fit() -> rmt.NoiseFit:
    found = rmt.fit(torch.randn(60, 80, generator=torch.Generator().manual_seed(0)))
    return replace(found, distance=0.1, distance_null_quantile=0.04)


@pytest.mark.parametrize("off", ["off", False, None])
def test_off_lets_everything_pass_however_yaml_spells_it(off: object) -> None:
    assert rmt.Gate.model_validate({"max_distance": off}).refusal_after_fit(replace(fit(), distance=1.0)) is None


@pytest.mark.parametrize(
    ("limit", "unit", "passes"),
    [(0.11, "absolute", True), (0.09, "absolute", False), (0, "absolute", False),
     (3, "null_quantile", True), (2, "null_quantile", False)],
)  # fmt: skip
def test_distance_is_judged_in_its_unit(limit: float, unit: str, passes: bool) -> None:
    gate = rmt.Gate.model_validate({"max_distance": limit, "unit": unit})
    assert (gate.refusal_after_fit(fit()) is None) == passes


def test_heads_and_small_layers_are_refused_by_default_only() -> None:
    gate = rmt.Gate()
    assert gate.refusal_before_fit(head=False, smaller=50) is None
    assert "head" in str(gate.refusal_before_fit(head=True, smaller=500))
    assert "49, below 50" in str(gate.refusal_before_fit(head=False, smaller=49))
    assert rmt.Gate(skip_heads=False, min_size=1).refusal_before_fit(head=True, smaller=2) is None


@pytest.mark.parametrize("wrong", [{"max_distance": -1}, {"unit": "sigma"}, {"min_size": 0}, {"tau": 1}])
def test_impossible_gates_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidOption, match=f"gate: {next(iter(wrong))}.* is "):
        rmt.Gate(**wrong)
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}.* is "):
        rmt.Gate.model_validate(wrong)
