"""Whole networks as a table, from a module or from a file, with a row and a reason for whatever is left."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import mobilenet_v3_small

from rmt.__main__ import main
from rmt.analyse import DEFAULT_MEASURES, analyse
from rmt.checkpoint import UnreadableCheckpoint, load_state
from rmt.errors import InvalidOption, UnknownName
from rmt.layers import low_rank
from rmt.matrices import Factors
from rmt.noise import fit


class Block(nn.Module):
    """One of everything that an analysis meets."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.tokens = nn.Parameter(torch.zeros(1, 3, 60))
        self.embed = nn.Embedding(100, 60)
        self.attention = nn.MultiheadAttention(60, 2)
        self.norm = nn.LayerNorm(60)
        self.conv = nn.Conv2d(8, 64, 3)
        self.grouped = nn.Conv2d(120, 120, 3, groups=2)
        self.depthwise = nn.Conv2d(64, 64, 3, groups=64)
        dense = nn.Linear(70, 90)
        self.factored = low_rank(dense, Factors(torch.randn(90, 20), torch.randn(20, 70)))
        self.empty = nn.Linear(64, 64)
        self.broken = nn.Linear(64, 64)
        self.head = nn.Linear(60, 10)
        nn.init.zeros_(self.empty.weight)
        nn.init.constant_(self.broken.weight[3], math.nan)


def rows(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index("layer")


def test_every_layer_has_a_row_with_numbers_or_a_reason() -> None:
    table = rows(analyse(Block()))
    assert table.index.is_unique
    fitted = table[table.reason == ""]
    assert list(fitted.index) == [
        *("embed", "attention[q]", "attention[k]", "attention[v]", "attention.out_proj"),
        *("conv", "grouped[0]", "grouped[1]", "factored"),
    ]
    assert fitted[["spikes", "singular_threshold", "stable_rank", "null_distance"]].notna().all(axis=None)
    reasons = table.reason.to_dict()
    assert "tokens" in reasons["Block"]
    assert "LayerNorm" in reasons["norm"]
    assert "64 groups" in reasons["depthwise"]
    assert "smaller side is 10" in reasons["head"]
    assert "are 0" in reasons["empty"]
    assert "64 NaN" in reasons["broken"]


def test_numbers_are_those_of_the_single_layer() -> None:
    block = Block()
    table = rows(analyse(block, beta=0.2))
    alone = fit(block.conv.weight.detach().flatten(1), beta=0.2)
    row = table.loc["conv"]
    assert (row["rows"], row["cols"]) == (64, 72)
    assert row["singular_threshold"] == pytest.approx(alone.singular_threshold)
    assert row["fit_distance"] == pytest.approx(alone.distance)
    assert table.loc["factored", "rank"] == 20


def test_measures_are_columns() -> None:
    table = analyse(Block(), measures=["stable_rank"])
    assert list(table.columns) == ["layer", "kind", "rows", "cols", "stable_rank", "null_distance", "reason"]
    with pytest.raises(UnknownName, match="unknown measure 'rnak'"):
        analyse(Block(), measures=["rnak"])
    with pytest.raises(UnknownName, match="unknown noise estimator"):
        analyse(Block(), noise="bemma")
    small = nn.Linear(4, 2)  # no law is fitted to it, and the slips are told all the same
    with pytest.raises(UnknownName, match="unknown noise estimator"):
        analyse(small, noise="bemma")
    with pytest.raises(InvalidOption, match="beta is 2"):
        analyse(small, beta=2)
    with pytest.raises(InvalidOption, match="min_size is 0"):
        analyse(small, min_size=0)


def test_a_module_without_matrices_has_an_empty_analysis_that_says_why() -> None:
    table = analyse(nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2)))
    assert len(table) == 2
    assert (table.reason != "").all()
    assert table.spikes.isna().all()
    assert len(analyse(nn.ReLU())) == 0


def test_tied_and_parametrised_weights_are_named() -> None:
    first, second, third = (nn.Linear(60, 60) for _ in range(3))
    second.weight = first.weight
    torch.nn.utils.parametrizations.orthogonal(third)
    reasons = rows(analyse(nn.Sequential(first, second, third))).reason
    assert reasons["0"] == ""
    assert "shares" in reasons["1"]
    assert any("parametrised" in reason for reason in reasons)


def test_a_network_of_torchvision() -> None:
    table = analyse(mobilenet_v3_small(weights=None))
    fitted = table[table.reason == ""]
    assert len(fitted) == 18
    assert (fitted.fit_distance < 0.1).all()
    assert fitted.spikes.sum() < 15  # freshly initialised: all but nothing but noise


@pytest.mark.parametrize("form", ["safetensors", "state", "wrapped"])
def test_a_file_gives_the_rows_of_the_module(tmp_path: Path, form: str) -> None:
    module = nn.Sequential(Block().factored, nn.LayerNorm(90), nn.Linear(90, 60), nn.Linear(60, 10))
    path = tmp_path / ("net.safetensors" if form == "safetensors" else "net.pt")
    state = {name: value.contiguous() for name, value in module.state_dict().items()}
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save({"epoch": 3, "state_dict": state} if form == "wrapped" else state, path)
    expected, found = (rows(analyse(source)) for source in (module, load_state(path)))
    assert list(found.index) == list(expected.index)
    columns = [*DEFAULT_MEASURES]
    pd.testing.assert_frame_equal(found[columns], expected[columns], check_dtype=False)


def test_the_command_prints_a_table_and_writes_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = nn.Sequential(nn.Linear(80, 60), nn.ReLU(), nn.Linear(60, 10))
    save_file(module.state_dict(), tmp_path / "net.safetensors")
    assert main(["analyse", str(tmp_path / "net.safetensors"), "--csv", str(tmp_path / "table.csv")]) == 0
    printed = capsys.readouterr().out
    assert "below 50 (min_size)" in printed
    pictures = sorted(path.name for path in (tmp_path / "net-spectra").iterdir())
    assert pictures == ["0.quantiles.png", "0.spectrum-log.png", "0.spectrum.png"]
    assert list(pd.read_csv(tmp_path / "table.csv").layer) == [0, 2]
    assert main(["analyse", str(tmp_path / "net.safetensors"), "--no-pictures", "--beta", "2"]) == 2
    assert "beta" in capsys.readouterr().err


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this must not run",)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"weight": Bomb()}, tmp_path / "bomb.pt")
    assert main(["analyse", str(tmp_path / "bomb.pt")]) == 2
    captured = capsys.readouterr()
    assert "must not run" not in captured.out
    assert "state_dict" in captured.err


NOT_CHECKPOINTS = (
    b"",
    b"hello",
    b"layer,rows\n0,10\n",
    b"{}",
    b"\x80\x02K",
    b"PK\x03\x04",
    b"\x80\x02}q\x00.",
    b"(lp0\n",
)


def test_weights_of_a_file_that_are_no_matrices_keep_their_rows(tmp_path: Path) -> None:
    state = {
        "a.in_proj_weight": torch.randn(100, 64),
        "empty.weight": torch.zeros(0, 5),
        "complex.weight": torch.ones(60, 60, dtype=torch.complex64),
        "whole.weight": torch.ones(60, 60, dtype=torch.int8),
        "odd.left": torch.randn(80, 20),
        "odd.right": torch.randn(19, 70),
        "flat.left": torch.randn(80, 20),
        "flat.right": torch.randn(20),
        "left": torch.randn(80, 20),
        "right": torch.randn(20, 70),
    }
    torch.save(state, tmp_path / "odd.pt")
    assert main(["analyse", str(tmp_path / "odd.pt"), "--no-pictures"]) == 0
    reasons = rows(analyse(load_state(tmp_path / "odd.pt"))).reason.to_dict()
    assert "not three projections" in reasons.pop("a")
    assert "is empty" in reasons.pop("empty")
    assert "complex64" in reasons.pop("complex")
    assert "int8" in reasons.pop("whole")
    assert "not the factors" in reasons.pop("odd")
    assert "not the factors" in reasons.pop("flat")
    assert reasons == {"left": ""}


def test_a_table_without_numbers_has_empty_cells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file(nn.Linear(4, 2).state_dict(), tmp_path / "net.safetensors")
    assert main(["analyse", str(tmp_path / "net.safetensors"), "--no-pictures"]) == 0
    assert "None" not in capsys.readouterr().out


def test_a_size_out_of_range_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file(nn.Linear(80, 60).state_dict(), tmp_path / "net.safetensors")
    assert main(["analyse", str(tmp_path / "net.safetensors"), "--no-pictures", "--min-size", "0"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_other_files_are_named_for_what_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "text.safetensors").write_text("hello")
    for number, content in enumerate(NOT_CHECKPOINTS):
        file = tmp_path / f"{number}.pt"
        file.write_bytes(content)
        assert main(["analyse", str(file)]) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") <= 2
    with pytest.raises(UnreadableCheckpoint, match="holds a list"):
        load_state(tmp_path / "list.pt")
    with pytest.raises(UnreadableCheckpoint, match="can not be read"):
        load_state(tmp_path / "text.safetensors")
    assert main(["analyse", str(tmp_path / "absent.pt")]) == 2
    assert "no file" in capsys.readouterr().err
