"""Which examples were right: read once, kept, and in the comparison's excess over the finite test set."""

import numpy as np
import pandas as pd
import pytest

from sweeps import records
from sweeps.correctness import CORRECT, FILE, Correctness, correctness_of
from sweeps.statistics import compare
from sweeps.statistics.excess import excess_variance

EXAMPLES = 203  # no multiple of eight


def planted(folder, *, data_orders=1, seeds=8):
    """Replicates on disk, as far as these questions look: bits, and the table's row."""
    generator = np.random.default_rng(0)
    hardness = generator.beta(4, 1, EXAMPLES)
    rows, bits = [], {}
    for rule, spread in (("none", 0.08), ("mp_threshold", 0.02)):
        for seed in range(seeds):
            quality = spread * generator.standard_normal()
            for order in range(data_orders):
                name = f"{rule}-{seed}-{order}"
                bits[name] = generator.random(EXAMPLES) < hardness + quality
                path = records.replicate_folder(folder, rule, name)
                path.mkdir(parents=True)
                (path / FILE).write_bytes(np.packbits(bits[name]).tobytes())
                rows.append(
                    {
                        "trial_id": rule, "replicate_id": name, "status": "finished", "prune.rule": rule,
                        "seeds.initialisation": seed, "seeds.data_order": order, "test_examples": float(EXAMPLES),
                        "test_accuracy": bits[name].mean(),
                    }
                )  # fmt: skip
    return pd.DataFrame(rows), bits


def test_bits_come_back_and_are_read_again_only_where_a_file_changed(tmp_path):
    table, bits = planted(tmp_path)
    found = correctness_of(tmp_path, table)
    assert set(found) == set(bits)
    assert all(np.array_equal(found[name], bits[name]) for name in bits)
    kept = (tmp_path / CORRECT).stat().st_mtime_ns
    assert set(correctness_of(tmp_path, table)) == set(bits)
    assert (tmp_path / CORRECT).stat().st_mtime_ns == kept
    changed = records.replicate_folder(tmp_path, "none", "none-3-0") / FILE
    changed.write_bytes(np.packbits(~bits["none-3-0"]).tobytes())
    assert np.array_equal(correctness_of(tmp_path, table)["none-3-0"], ~bits["none-3-0"])
    back = Correctness.of(found.frame())
    assert np.array_equal(back["none-0-0"], bits["none-0-0"])


@pytest.mark.parametrize("damage", ["missing", "torn", "cache"])
def test_a_missing_or_torn_file_leaves_one_replicate_out(tmp_path, damage):
    table, bits = planted(tmp_path)
    path = records.replicate_folder(tmp_path, "none", "none-3-0") / FILE
    if damage == "cache":
        (tmp_path / CORRECT).write_bytes(b"PAR1 torn")
    elif damage == "torn":
        path.write_bytes(b"x")
    else:
        path.unlink()
    assert len(bits) - len(correctness_of(tmp_path, table)) == (damage != "cache")


def test_a_comparison_has_the_excess_beside_the_raw_spread(tmp_path):
    table, bits = planted(tmp_path)
    found = correctness_of(tmp_path, table)
    answer = compare(table, factor="prune.rule", baseline="none", correct=found)
    alone = excess_variance(np.array([bits[f"none-{seed}-0"] for seed in range(8)]))
    assert answer["excess_sd"][0] == pytest.approx(float(alone.estimate or 0) ** 0.5, abs=1e-12)
    assert answer["test_set_sd"][0] == pytest.approx(float(alone.details["test_set_sd"] or 0), abs=1e-12)
    ratio = answer["excess_sd"][1] ** 2 / answer["excess_sd"][0] ** 2
    assert answer["excess_ratio"][1] == pytest.approx(ratio)
    assert "in excess" in answer["sentence"][0]
    other = compare(table.assign(loss=1 - table["test_accuracy"]), factor="prune.rule", baseline="none",
                    metric="loss", correct=found)  # fmt: skip
    assert other["excess_sd"].isna().all()
    partly = compare(table, factor="prune.rule", baseline="none", correct={"none-0-0": bits["none-0-0"]})
    assert partly["excess_sd"].isna().all()


def test_collapsed_replicates_are_shown_with_and_without_in_excess_too(tmp_path):
    table, bits = planted(tmp_path, seeds=10)
    generator = np.random.default_rng(1)
    bits |= {f"none-{seed}-0": generator.random(EXAMPLES) < 0.1 for seed in range(2)}
    table["test_accuracy"] = [bits[name].mean() for name in table["replicate_id"]]
    answer = compare(table, factor="prune.rule", baseline="none", correct=bits)
    assert answer["n_collapsed"][0] == 2
    assert answer["excess_sd_healthy"][0] < 0.5 * answer["excess_sd"][0]
    assert answer["excess_ratio_healthy"][1] > 4 * answer["excess_ratio"][1]


def test_crossed_seeds_average_the_bits_within_an_initialisation(tmp_path):
    table, bits = planted(tmp_path, data_orders=3)
    answer = compare(table, factor="prune.rule", baseline="none", correct=bits)
    rates = np.array([np.mean([bits[f"none-{seed}-{k}"] for k in range(3)], axis=0) for seed in range(8)])
    assert answer["test_set_sd"][0] ** 2 == pytest.approx(rates.var(axis=0, ddof=1).mean() / EXAMPLES)
