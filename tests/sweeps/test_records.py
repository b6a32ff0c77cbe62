import json

import pytest

from sweeps import records, storage
from sweeps.errors import NewerFormat, StorageError, SweepNotFound
from sweeps.records import Recorder
from sweeps.status import Status

DOCUMENT = {"status": "finished", "reason": "", "metrics": {"test_accuracy": 0.9}}


def row(epoch, loss=0.5):
    return {"epoch": epoch, "train_loss": loss}


def test_the_record_comes_last_and_vouches_for_the_files(tmp_path):
    recorder = Recorder(tmp_path / "r")
    recorder.append(row(1))
    assert records.read_record(tmp_path / "r") is None
    recorder.finish(DOCUMENT, {"weights.safetensors": b"abc"})
    record = records.read_record(tmp_path / "r")
    assert record is not None
    assert record["format"] == 1
    assert set(record["files"]) == {"history.jsonl", "weights.safetensors"}
    assert records.damaged(tmp_path / "r", record) == []
    assert records.status_of(tmp_path / "r") is Status.FINISHED


def test_a_changed_or_missing_file_is_noticed(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.append(row(1))
    recorder.finish(DOCUMENT, {"a.bin": b"abc", "b.bin": b"abc"})
    (tmp_path / "a.bin").write_bytes(b"abd")
    (tmp_path / "b.bin").unlink()
    record = records.read_record(tmp_path)
    assert record is not None
    assert records.damaged(tmp_path, record) == ["a.bin", "b.bin"]


def test_the_first_line_of_an_epoch_wins_and_a_difference_is_recorded(tmp_path):
    first = Recorder(tmp_path)
    first.append(row(1, 0.5))
    first.append(row(2, 0.4))
    before = (tmp_path / "history.jsonl").read_bytes()
    again = Recorder(tmp_path)
    again.append(row(1, 0.5))
    again.append(row(2, 0.41))
    again.append(row(3, 0.3))
    assert (tmp_path / "history.jsonl").read_bytes().startswith(before)
    assert [(r["epoch"], r["train_loss"]) for r in records.read_history(tmp_path)] == [
        (1, 0.5),
        (2, 0.4),
        (3, 0.3),
    ]
    again.finish(DOCUMENT, {})
    record = records.read_record(tmp_path)
    assert record is not None
    assert record["retrained_epochs_differing"] == [2]


def test_a_torn_last_line_is_cut_off_before_the_next(tmp_path):
    Recorder(tmp_path).append(row(1))
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"epoch": 2, "train_l')
    assert [r["epoch"] for r in records.read_history(tmp_path)] == [1]
    Recorder(tmp_path).append(row(2))
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]


def test_numbers_without_a_word_in_json_become_null(tmp_path):
    Recorder(tmp_path).append(row(1, float("nan")))
    assert json.loads((tmp_path / "history.jsonl").read_text())["train_loss"] is None


def test_a_torn_record_is_no_record(tmp_path):
    (tmp_path / "record.json").write_text('{"format": 1, "sta')
    assert records.status_of(tmp_path) is None
    with pytest.raises(StorageError, match="damaged"):
        records.read_record(tmp_path)


def test_a_record_of_a_newer_format_is_refused(tmp_path):
    (tmp_path / "record.json").write_text('{"format": 99, "status": "finished"}')
    with pytest.raises(StorageError, match="format 99; this version reads up to 1"):
        records.read_record(tmp_path)


def test_a_record_of_a_newer_format_is_never_trained_over(tmp_path):
    (tmp_path / "record.json").write_text('{"format": 99, "status": "finished"}')
    with pytest.raises(NewerFormat):
        records.status_of(tmp_path)
    (tmp_path / "record.json").write_text("{}")
    assert records.status_of(tmp_path) is None


def test_others_may_read_what_is_written(tmp_path):
    storage.write_atomically(tmp_path / "file", "x")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_atomic_write_leaves_the_old_file_or_the_new(tmp_path):
    path = tmp_path / "deep" / "file"
    storage.write_atomically(path, "old")
    with pytest.raises(TypeError):
        storage.write_atomically(path, 3)  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_storage_that_is_not_writable_names_the_path(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(StorageError, match=rf"storage: {file}/below is not writable .*--storage"):
        storage.open_for_writing(file / "below")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (
            "gs://bucket/sweeps",
            "an address with gs:// is none that records can be kept at; allowed: a folder, or s3",
        ),
        ("s3://Bucket_/sweeps", "'Bucket_' in 's3://Bucket_/sweeps' is no name of a bucket; allowed"),
        ("s3://bucket/a/../b", r"'a/\.\./b' in .* is no path; allowed"),
        ("s3://me:hunter2@bucket/sweeps", "the s3:// address holds credentials or options"),
        ("s3://bucket/sweeps?secret_key=hunter2", "the s3:// address holds credentials or options"),
    ],
)
def test_an_address_that_can_not_be_used_says_what_is_allowed(address, said):
    with pytest.raises(StorageError, match=f"storage: .*{said}") as refused:
        storage.resolve(None, address)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("name", ["nosuch", "..", "../there", "."])
def test_a_sweep_that_is_not_there_lists_those_that_are(tmp_path, name):
    storage.write_atomically(tmp_path / "root" / "here" / "spec.yaml", "name: here")
    storage.write_atomically(tmp_path / "there" / "spec.yaml", "name: there")
    with pytest.raises(SweepNotFound, match="there: here"):
        storage.sweep_folder(tmp_path / "root", name)


def test_the_storage_is_explicit_then_environment_then_spec(tmp_path, monkeypatch):
    monkeypatch.setenv("RMT_STORAGE", str(tmp_path / "env"))
    assert storage.resolve(tmp_path / "given", "./spec") == tmp_path / "given"
    assert storage.resolve(None, "./spec") == tmp_path / "env"
    monkeypatch.delenv("RMT_STORAGE")
    assert storage.resolve(None, str(tmp_path / "spec")) == tmp_path / "spec"
