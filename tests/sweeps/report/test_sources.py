"""What the scatter comes from, and the spread beyond the test set: planted, and found again on the page."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sweeps.report.blocks import Figure, Paragraph, Table
from sweeps.report.contrasts import contrasts
from sweeps.report.evidence import Evidence
from sweeps.report.figures.forest import forest
from sweeps.report.sections.comparisons import variances
from sweeps.report.sections.overall import of_all
from sweeps.report.sections.sources import sources
from sweeps.report.sections.twins import against_twins

EXAMPLES = 800


@pytest.fixture(scope="module")
def with_bits(evidence: Evidence) -> Evidence:
    """Twins scatter by 0.06 beyond the test set, pruned trials not at all."""
    generator = np.random.default_rng(0)
    hardness = generator.beta(6, 1, EXAMPLES)
    luck = np.random.default_rng(1).standard_normal(6)
    correct, accuracy = {}, []
    for _, row in evidence.table.iterrows():
        shift = 0.06 * luck[int(row["seeds.initialisation"])] if row["role"] == "twin" else 0.0
        bits = generator.random(EXAMPLES) < hardness - 0.1 + shift
        correct[row["replicate_id"]] = bits
        accuracy.append(bits.mean())
    return replace(evidence, table=evidence.table.assign(test_accuracy=accuracy), correct=correct)


def tables(blocks: Any) -> list[Table]:
    return [block for block in blocks if isinstance(block, Table)]


def test_spread_beyond_the_test_set_is_drawn_and_written_beside_the_raw_one(with_bits: Evidence) -> None:
    found = contrasts(with_bits)
    assert all(len(one.excess) == 2 for one in found.all)
    assert all(one.excess[0].value > 0.02 > one.excess[1].value for one in found.all)
    assert all(one.excess_ratio is not None and one.excess_ratio < 0.2 for one in found.all)
    drawing = forest(with_bits, found.all, found.metric)
    assert drawing is not None
    texts = {item.text for item in drawing.items if hasattr(item, "text")}
    assert {"sd beyond what the test set alone gives", "variance, pruned ÷ unpruned"} <= texts
    titles = [column.title for column in variances(with_bits, found).columns]
    assert titles[-2:] == ["sd beyond test set", "ratio beyond it"]
    luck = next(b.text for b in of_all(found) if isinstance(b, Paragraph) and b.strong == "Luck.")
    assert re.search(r"alone makes \d+ % of a trial's variance", luck)
    caption = next(block.caption for block in against_twins(with_bits, found).blocks if isinstance(block, Figure))
    assert "open diamond" in caption


def test_without_correctness_nothing_is_said_of_it(evidence: Evidence) -> None:
    found = contrasts(evidence)
    titles = [column.title for column in variances(evidence, found).columns]
    assert "sd beyond test set" not in titles
    assert not any("test set alone" in getattr(block, "text", "") for block in of_all(found))


def test_collapsed_replicates_have_columns_with_and_without_them(evidence: Evidence) -> None:
    twin = (evidence.table["role"] == "twin") & (evidence.table["seeds.initialisation"] == 2)
    table = evidence.table.assign(test_accuracy=evidence.table["test_accuracy"].mask(twin, 0.1))
    found = contrasts(replace(evidence, table=table))
    rows = variances(replace(evidence, table=table), found)
    titles = [column.title for column in rows.columns]
    assert titles[-3:] == ["collapsed", "sd without them", "ratio without them"]
    assert all(row[-3] == "1, 0" for row in rows.rows)
    assert all(row[-2] != row[titles.index("sd unpruned → pruned")] for row in rows.rows)


def test_shares_of_crossed_sources_are_those_planted(evidence: Evidence) -> None:
    generator = np.random.default_rng(3)
    rows = evidence.table.loc[evidence.table.index.repeat(3)].reset_index(drop=True)
    order = np.tile(np.arange(3), len(evidence.table))
    initial = rows["seeds.initialisation"].to_numpy(dtype=int)
    noise = 0.0001 * generator.standard_normal(len(rows))
    by_seed = np.array([-0.02, -0.01, 0.0, 0.0, 0.01, 0.02])
    rows = rows.assign(
        test_accuracy=0.9 + by_seed[initial] + np.array([-0.001, 0.0, 0.001])[order] + noise,
        replicate_id=[f"{name}-{k}" for name, k in zip(rows["replicate_id"], order, strict=True)],
        **{"seeds.data_order": order},
    )
    table = tables(sources(replace(evidence, table=rows)).blocks)[0]
    shares = {row[0]: float(row[1].split(" ")[0]) for row in table.rows if row[1] != "—"}
    assert shares["initialisation"] > 98
    assert 0 < shares["data order"] < 2
    assert table.rows[-1][0] == "the rest"
    assert [column.title for column in table.columns] == [
        "source",
        "all [95 %]",
        "pruned [95 %]",
        "unpruned [95 %]",
    ]


def test_a_measure_that_goes_with_accuracy_is_found_and_outcomes_are_no_measures(evidence: Evidence) -> None:
    ranks = evidence.table.groupby("trial_id")["test_accuracy"].rank(method="first")
    rows = evidence.table.assign(spikes=-ranks, fit_distance=np.random.default_rng(0).random(len(ranks)))
    table = tables(sources(replace(evidence, table=rows)).blocks)[1]
    assert table.rows[0][0] == "spikes"
    assert table.rows[0][1].startswith("−0.9")
    names = {row[0] for row in table.rows}
    assert "fit distance" in names
    assert not any("accuracy" in name or "loss" in name for name in names)


def test_an_unbalanced_table_that_no_likelihood_fits_is_a_sentence(evidence: Evidence) -> None:
    section = sources(replace(evidence, table=evidence.table.iloc[[0, 8, 15]]))
    assert all("nan" not in str(block).lower().split() for block in section.blocks)
    assert section.blocks
