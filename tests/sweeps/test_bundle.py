"""A sweep in one file, and what happens to it on its way: every change is found, whether or not digests follow."""

import hashlib
import io
import json
import zipfile

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from sweeps import compare, replicates
from sweeps.bundle import DIGESTS, NotABundle, verify, write_bundle
from sweeps.cli import app
from sweeps.correctness import FILE
from sweeps.errors import StorageError
from sweeps.reservations import ADAPTIVE
from tests.sweeps.report.generator import Recipe, make

PLANNED = {"replicates_to_train": 18, "chosen_as_it_goes": False, "price": None}
COMPARISON = "findings/comparison-test_accuracy.json"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A small sweep on disk, with the bits that its test accuracies are of."""
    folder = tmp_path_factory.mktemp("storage")
    made = make(folder, Recipe(grid={"prune.aggressiveness": [0.4, 0.8]}, seeds=6))
    (folder / made.sweep / "spec.yaml").write_text("name: quickstart\n")
    generator = np.random.default_rng(0)
    for _, row in made.table.iterrows():
        right = np.arange(360) < round(row["test_accuracy"] * 360)
        path = made.folder(row["trial_id"], row["replicate_id"]) / FILE
        path.write_bytes(np.packbits(generator.permutation(right)).tobytes())
    (folder / made.sweep / "launches").mkdir()
    (folder / made.sweep / "launches" / "1.json").write_text(json.dumps({"started": 1, "planned": PLANNED}))
    (folder / made.sweep / "faults.jsonl").write_text('{"event": "lost", "node": "a1", "host": "far"}\n')
    return folder


@pytest.fixture(scope="module")
def bundle(store, tmp_path_factory):
    return write_bundle("quickstart", tmp_path_factory.mktemp("out") / "q.zip", store=store)


def contents_of(file):
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewritten(bundle, to, changed, *, digests):
    """The bundle with some contents changed (None: left out), its digests made anew or not."""
    contents = {k: v for k, v in (contents_of(bundle) | changed).items() if v is not None}
    if digests:
        stated = json.loads(contents[DIGESTS])
        stated["files"] = {k: hashlib.sha256(v).hexdigest() for k, v in contents.items() if k != DIGESTS}
        contents[DIGESTS] = json.dumps(stated).encode()
    with zipfile.ZipFile(to, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return to


def table_with(bundle, column, value):
    frame = pd.read_parquet(io.BytesIO(contents_of(bundle)["replicates.parquet"]))
    frame.loc[3, column] = value
    return frame.to_parquet(None, index=False)


def test_a_bundle_holds_what_it_says(bundle):
    found = verify(bundle)
    assert found.problems == ()
    assert found.holds
    contents = contents_of(bundle)
    assert found.findings == sum(name.startswith("findings/") for name in contents) >= 7
    assert found.files == len(contents) - 1
    assert "torch==2.14.1" in contents["constraints.txt"].decode().splitlines()
    comparison = json.loads(contents[COMPARISON])
    assert {row["n"] for row in comparison["rows"]} == {6}
    assert all(row["excess_sd"] is not None for row in comparison["rows"])


def test_what_launches_left_behind_is_part_of_the_report_that_is_made_again(bundle, tmp_path):
    report = contents_of(bundle)["report.html"].decode()
    assert "What each launch set out to do" in report
    assert "Workers were lost once" in report
    without = verify(rewritten(bundle, tmp_path / "q.zip", {"launches.json": None}, digests=True))
    assert any("section 'plan'" in problem for problem in without.problems)


@pytest.mark.parametrize("name", ["report.html", "spec.yaml", "constraints.txt", "replicates.parquet"])
def test_a_changed_or_missing_file_differs_from_its_digest(bundle, tmp_path, name):
    for content, words in ((b"changed", "differs from its digest"), (None, "missing")):
        found = verify(rewritten(bundle, tmp_path / "b.zip", {name: content}, digests=False))
        assert f"{name}: {words}" in found.problems


def test_a_changed_table_with_new_digests_no_longer_gives_its_findings(bundle, tmp_path):
    changed = {"replicates.parquet": table_with(bundle, "validation_accuracy", 0.99)}
    problems = verify(rewritten(bundle, tmp_path / "b.zip", changed, digests=True)).problems
    assert any(text.startswith("findings/comparison-validation_accuracy.json: row") for text in problems)
    assert any(text.startswith("findings/trials.json: row") for text in problems)
    assert not any("test_accuracy.json" in text for text in problems)


def test_a_test_accuracy_that_its_bits_do_not_give_is_found(bundle, tmp_path):
    changed = {"replicates.parquet": table_with(bundle, "test_accuracy", 0.99)}
    problems = verify(rewritten(bundle, tmp_path / "b.zip", changed, digests=True)).problems
    assert any("test_accuracy of" in text and "stated 0.99" in text for text in problems)


@pytest.mark.parametrize("column", ["difference", "p_variances", "excess_sd", "verdict", "sentence"])
def test_a_changed_finding_with_new_digests_is_computed_otherwise(bundle, tmp_path, column):
    finding = json.loads(contents_of(bundle)[COMPARISON])
    finding["rows"][1][column] = "mean higher" if column in ("verdict", "sentence") else 0.123
    changed = {COMPARISON: json.dumps(finding).encode()}
    problems = verify(rewritten(bundle, tmp_path / "b.zip", changed, digests=True)).problems
    assert len(problems) == 1
    assert problems[0].startswith(f"{COMPARISON}: row 2, {column}: stated ")


def test_a_finding_left_out_or_damaged_is_found(bundle, tmp_path):
    for content, words in ((None, f"{COMPARISON}: missing"), (b"{}", f"{COMPARISON}: can not be read")):
        problems = verify(rewritten(bundle, tmp_path / "b.zip", {COMPARISON: content}, digests=True)).problems
        assert any(text.startswith(words) for text in problems)


def test_tables_that_can_not_be_read_leave_the_findings_unchecked_and_say_so(bundle, tmp_path):
    found = verify(rewritten(bundle, tmp_path / "b.zip", {"correct.parquet": b"torn"}, digests=True))
    assert found.findings == 0
    assert "can not be read" in found.problems[0]


@pytest.mark.parametrize("content", [b"no zip", b""])
def test_what_is_no_bundle_is_refused(tmp_path, content):
    (tmp_path / "b.zip").write_bytes(content)
    with pytest.raises(NotABundle, match="no bundle of a sweep"):
        verify(tmp_path / "b.zip")


def test_a_newer_format_is_refused(bundle, tmp_path):
    stated = json.dumps({"format": 2, "files": {}}).encode()
    with pytest.raises(NotABundle, match="upgrade"):
        verify(rewritten(bundle, tmp_path / "b.zip", {DIGESTS: stated}, digests=False))


def test_nothing_to_bundle_and_nowhere_to_write_are_sentences(tmp_path, store):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "spec.yaml").write_text("name: empty\n")
    with pytest.raises(StorageError, match="no record yet"):
        write_bundle("empty", tmp_path / "e.zip", store=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="can not be written"):
        write_bundle("quickstart", tmp_path / "file" / "q.zip", store=store)


def test_the_shell_says_it_by_its_status(bundle, tmp_path):
    whole = CliRunner().invoke(app, ["verify", str(bundle)])
    assert whole.exit_code == 0
    assert "holds" in whole.output
    bad = rewritten(bundle, tmp_path / "b.zip", {"spec.yaml": b"name: other"}, digests=False)
    broken = CliRunner().invoke(app, ["verify", str(bad)])
    assert broken.exit_code == 1
    assert "spec.yaml: differs from its digest" in broken.output


def test_what_an_earlier_plan_left_behind_is_in_no_finding(tmp_path):
    made = make(tmp_path, Recipe(grid={"prune.aggressiveness": [0.4, 0.8]}, seeds=4))
    sweep = tmp_path / made.sweep
    (sweep / "spec.yaml").write_text("name: quickstart\n")
    plan = json.loads((sweep / "plan.json").read_bytes())
    left = next(trial for trial in plan["trials"] if trial["role"] == "pruned")
    kept = [trial for trial in plan["trials"] if trial is not left]
    (sweep / "plan.json").write_text(json.dumps(plan | {"trials": kept}))
    assert left["trial_id"] in set(replicates(made.sweep, storage=tmp_path)["trial_id"])
    assert len(compare(made.sweep, storage=tmp_path)) == 2
    contents = contents_of(write_bundle(made.sweep, tmp_path / "q.zip", store=tmp_path))
    assert left["trial_id"] not in set(pd.read_parquet(io.BytesIO(contents["replicates.parquet"]))["trial_id"])
    assert len(json.loads(contents[COMPARISON])["rows"]) == 2
    text = "4 replicates recorded under this name belong to an earlier version of the plan and are left out."
    assert compare(made.sweep, storage=tmp_path).attrs["cautions"] == [text]
    assert text in contents["report.html"].decode()
    found = verify(tmp_path / "q.zip")
    assert found.holds
    assert text in found.notes


def test_seeds_added_as_needed_are_a_caution_everywhere(tmp_path):
    made = make(tmp_path, Recipe(grid={"prune.aggressiveness": [0.4]}, seeds=4))
    sweep = tmp_path / made.sweep
    (sweep / "spec.yaml").write_text("name: quickstart\n")
    plan = json.loads((sweep / "plan.json").read_bytes()) | {"until": {"interval": 0.002, "max": 50}}
    (sweep / "plan.json").write_text(json.dumps(plan))
    assert compare(made.sweep, storage=tmp_path).attrs["cautions"] == [ADAPTIVE]
    bundled = write_bundle(made.sweep, tmp_path / "q.zip", store=tmp_path)
    assert ADAPTIVE in contents_of(bundled)["report.html"].decode()
    assert ADAPTIVE in verify(bundled).notes
    shown = CliRunner().invoke(app, ["compare", made.sweep, "--storage", str(tmp_path)])
    assert "ratio of equal variances" in shown.output
    file = CliRunner().invoke(app, ["compare", made.sweep, "--storage", str(tmp_path), "--format", "csv"])
    assert ADAPTIVE in file.stderr


def test_a_report_changed_with_its_digest_is_not_what_the_tables_give(bundle, tmp_path):
    page = contents_of(bundle)["report.html"].decode()
    sentence = page.partition("<strong>Accuracy.</strong> ")[2].partition("</p>")[0]
    path = page.partition('<path d="')[2].partition('"')[0]
    claims = "pruning wins everywhere"
    for old, new, words in (
        (sentence, claims, f"report.html: section 'answer': stated 'Accuracy.  {claims}'; computed"),
        (f'd="{path}"', 'd="M0 0"', "a picture, a file to download or hidden text"),
        ("<h1>quickstart</h1>", f"<h1>{claims}</h1>", "outside its sections: stated"),
        ("</main>", '<section id="more"><p>more</p></section></main>', "section 'more': not what the tables give"),
    ):
        assert old in page
        changed = {"report.html": page.replace(old, new, 1).encode()}
        problems = verify(rewritten(bundle, tmp_path / "b.zip", changed, digests=True)).problems
        assert len(problems) == 1
        assert words in problems[0]


def test_what_only_a_digest_holds_is_said(bundle):
    [note] = verify(bundle).notes
    assert "spec.yaml, constraints.txt" in note
    assert "spectra and learning curves, tracebacks, provenance" in note
