"""Sweeps that can not answer: each gives a sentence in shell and report, never a traceback or a NaN."""

import json
import re

import pytest
from typer.testing import CliRunner

from sweeps import compare, write_report
from sweeps.bundle import verify, write_bundle
from sweeps.cli import app
from sweeps.errors import StorageError
from tests.sweeps.report.generator import Recipe, make

GRID = {"prune.aggressiveness": [0.4]}
ALL = {(number, seed): ("diverged", "loss not finite in epoch 1") for number in range(2) for seed in range(4)}


def nothing(record):
    pass


def same_values(record):
    record["metrics"] = dict.fromkeys(record["metrics"], 0.5)


def other_seeds(record):
    if record["role"] == "twin":
        record["seeds"]["initialisation"] += 100


CASES = {
    "one seed": (Recipe(grid=GRID, seeds=1), nothing, "an interval needs at least 2"),
    "no common seed": (Recipe(grid=GRID, seeds=4), other_seeds, "The arms have no seed in common"),
    "constant metrics": (Recipe(grid=GRID, seeds=4), same_values, "replicates gave 0.5"),
    "all diverged": (Recipe(grid=GRID, seeds=4, endings=ALL), nothing, "4 of 4 replicates diverged"),
    "no baseline": (Recipe(grid=GRID, seeds=4, baseline=False), nothing, "no replicate has prune.rule = none"),
}


def stored(storage, recipe):
    """A sweep in a storage that the shell finds."""
    made = make(storage, recipe)
    (storage / made.sweep / "spec.yaml").write_text("name: quickstart\n")
    return made


@pytest.mark.parametrize("case", CASES)
def test_it_says_why_in_a_sentence(case, tmp_path):
    recipe, change, words = CASES[case]
    made = stored(tmp_path, recipe)
    for path in (tmp_path / made.sweep).rglob("record.json"):
        record = json.loads(path.read_text())
        change(record)
        path.write_text(json.dumps(record))
    done = CliRunner().invoke(app, ["compare", made.sweep, "--storage", str(tmp_path), "--margin", "0.005"])
    said = f"{done.output} {done.exception or ''}"
    assert words in re.sub(r"\s+", " ", said)
    assert not re.search(r"\bnan\b|Traceback", said)
    page = write_report(made.sweep, storage=tmp_path, margin=0.005).read_text()
    assert not re.search(r">[^<]*\bnan\b[^<]*<", page)
    assert verify(write_bundle(made.sweep, tmp_path / "q.zip", store=tmp_path)).holds


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--within", "training.lr"], "no column 'training.lr'; known: prune.rule"),
        (["--factor", "model.kind", "--baseline", "mlp"], "Nothing to compare: model.kind is mlp throughout."),
        (["--factor", "model.knd"], "no column 'model.knd'; known: "),
        (["--baseline", "haar"], "no replicate has prune.rule = haar; known here: mp_threshold, none"),
        (["--metric", "status"], "status is no metric"),
        (["--margin", "0"], "margin is 0; allowed: finite and above 0"),
    ],
)
def test_questions_that_have_no_answer(options, words, tmp_path):
    made = stored(tmp_path, Recipe(grid=GRID, seeds=3))
    done = CliRunner().invoke(app, ["compare", made.sweep, "--storage", str(tmp_path), *options])
    assert words in re.sub(r"\s+", " ", f"{done.output} {done.exception or ''}")
    assert "Traceback" not in done.output


def test_the_shell_prints_rates_ranks_and_equivalence(tmp_path):
    made = stored(tmp_path, Recipe(grid={"prune.aggressiveness": [0.4, 0.8]}, seeds=5))
    done = CliRunner().invoke(app, ["compare", made.sweep, "--storage", str(tmp_path), "--margin", "0.05"])
    shown = re.sub(r"\s+", " ", done.output)
    assert done.exit_code == 0
    for words in (
        "diverged [rate]",
        "0 [0, 0.52]",
        "dead [rate]",
        "p (within ±0.05)",
        "means equivalent within ±0.05",
    ):
        assert words in shown
    assert len(re.findall(r"Rank: .*? mean rank \d\.\d\d of 3 over 5 blocks", shown)) == 3
    answer = compare(made.sweep, storage=tmp_path)
    assert answer["n_dead"].tolist() == [0, 0, 0]


def test_a_damaged_plan_is_named_and_hides_no_other_sweep(tmp_path):
    for folder in ("whole", "torn"):
        stored(tmp_path / folder, Recipe(grid=GRID, seeds=2))
    [made] = (tmp_path / "torn").glob("*/plan.json")
    made.write_text(made.read_text()[:200])
    torn = made.parent.rename(tmp_path / "whole" / "torn")
    shell = ["--storage", str(tmp_path / "whole")]
    for command in ("status", "best", "report"):
        with pytest.raises(StorageError, match=r"torn/plan.json is damaged \(.*; sweeps run .* writes it anew"):
            CliRunner().invoke(app, [command, torn.name, *shell], catch_exceptions=False)
    listed = CliRunner().invoke(app, ["list", *shell], catch_exceptions=False)
    assert re.search(r"quickstart +2 +4 +4", listed.stdout)
    assert re.search(r"torn +– +– +–", listed.stdout)
    assert f"warning: torn: {torn / 'plan.json'} is damaged" in listed.stderr
    rows = {row["sweep"]: row for row in json.loads(CliRunner().invoke(app, ["list", *shell, "--json"]).stdout)}
    assert rows["torn"]["trials"] is None
    assert rows["quickstart"]["recorded"] == 4


def test_a_storage_that_is_no_folder_is_not_called_empty(tmp_path):
    (tmp_path / "file").touch()
    for name, said in (("file", "is a file, not a folder"), ("nowhere", "is not there")):
        with pytest.raises(StorageError, match=f"storage: {tmp_path / name} {said}"):
            CliRunner().invoke(app, ["list", "--storage", str(tmp_path / name)], catch_exceptions=False)
