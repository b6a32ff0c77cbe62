"""Sweeps under an `s3://` address, on a real S3-compatible server: what is put, copied, sent behind, leased."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from cluster.object_store import ObjectStore
from sweeps import claims, mirror, records, storage
from sweeps.bucket import Bucket
from sweeps.claims import Claims
from sweeps.errors import StorageError, StorageUnreachable, SweepNotFound
from sweeps.lease import SweepIsDriven, lease, request_stop
from tests.object_store import for_sweeps, serving, store_in

pytestmark = pytest.mark.slow
ROW = {"epoch": 1, "loss": 0.5}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    store = store_in(tmp_path_factory.mktemp("objects"))
    with serving(store):
        yield store


@pytest.fixture
def address(
    served: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> str:
    """An address of the test's own, and an environment in which it can be used."""
    for name, value in for_sweeps(served).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RMT_MIRRORS", str(tmp_path / "copies"))
    monkeypatch.setenv("RMT_STORAGE_PATIENCE", "60")
    return f"s3://sweeps/{request.node.name}"


def test_what_one_machine_writes_another_reads_and_what_it_deletes_is_gone(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = storage.resolve(address) / "one"
    storage.write_atomically(here / "spec.yaml", "name: one")
    storage.write_atomically(here / "trials" / "t" / "stop.json", "{}")
    storage.write_atomically(here / "trials" / "t" / "r" / "weights.safetensors", b"w" * 1000)
    storage.append(here / "faults.jsonl", "1\n")
    storage.append(here / "faults.jsonl", "2\n")

    monkeypatch.setenv("RMT_MIRRORS", str(tmp_path / "another machine"))
    root = storage.resolve(address)
    assert not root.is_relative_to(tmp_path / "copies")
    assert storage.sweeps_in(root) == ["one"]
    there = storage.sweep_folder(root, "one")
    weights = there / "trials" / "t" / "r" / "weights.safetensors"
    assert (there / "faults.jsonl").read_text() == "1\n2\n"
    assert (there / "trials" / "t" / "stop.json").exists()
    assert not weights.exists()  # large, and nobody has asked for them
    assert storage.at_hand(weights).read_bytes() == b"w" * 1000
    assert dict(storage.sizes(there))[weights] == 1000
    with pytest.raises(SweepNotFound, match=f"no sweep 'two' in {address}; there: one"):
        storage.sweep_folder(root, "two")

    storage.remove(there / "trials" / "t" / "stop.json")
    storage.write_atomically(weights, b"v" * 1000)
    monkeypatch.setenv("RMT_MIRRORS", str(tmp_path / "copies"))
    storage.refresh(here)
    assert not (here / "trials" / "t" / "stop.json").exists()
    assert storage.at_hand(here / "trials" / "t" / "r" / "weights.safetensors").read_bytes() == b"v" * 1000
    storage.remove_folder(here)
    assert storage.sweeps_in(storage.resolve(address)) == []


def test_what_has_not_changed_is_not_fetched_again(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Bucket(address).write("one/spec.yaml", b"name: one")
    time.sleep(mirror.RACY_SECONDS + 1.1)  # younger ones are, once
    there = storage.sweep_folder(storage.resolve(address), "one") / "spec.yaml"
    before = there.stat()
    storage.refresh(there.parent)
    assert there.stat().st_ino == before.st_ino
    Bucket(address).write("one/spec.yaml", b"name: two")  # as long as before
    storage.refresh(there.parent)
    assert there.read_text() == "name: two"


def test_a_worker_sends_behind_in_an_order_that_tells_no_lies(address: str) -> None:
    sweep = storage.on_worker(f"{address}/one")
    assert sweep != storage.resolve(address) / "one"  # its own
    folder = records.replicate_folder(sweep, "t", "r")
    checkpoint = records.trial_folder(sweep, "t") / records.CHECKPOINT
    storage.write_atomically(checkpoint / "epoch-1.json", "{}")
    recorder = records.Recorder(folder)
    recorder.append(ROW)
    recorder.finish({"status": "finished"}, {"spectra.npz": b"spectra"})
    storage.remove_folder(checkpoint)
    storage.settle(sweep)

    sent = Bucket(address).below()
    assert set(sent) == {f"one/trials/t/r/{name}" for name in ("history.jsonl", "spectra.npz", "record.json")}
    record = records.read_record(folder)
    assert record is not None
    assert records.damaged(folder, record) == []
    storage.let_go(folder)
    assert not folder.exists()
    storage.refresh(folder)
    assert records.read_record(folder) == record
    assert [row["loss"] for row in records.read_history(folder)] == [0.5]


def test_a_store_that_is_gone_for_a_while_loses_nothing(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_in(tmp_path / "objects")
    monkeypatch.setenv("RMT_STORAGE_PATIENCE", "2")
    with serving(store):
        for name, value in for_sweeps(store).items():
            monkeypatch.setenv(name, value)
        sweep = storage.on_worker(f"{address}/one")
        storage.write_atomically(sweep / "first.json", "{}")
        storage.settle(sweep)
    storage.write_atomically(sweep / "second.json", "{}")  # whoever trains does not wait
    storage.append(sweep / "history.jsonl", "{}\n")
    with pytest.raises(
        StorageUnreachable, match=f"storage: {address} at .* can not be used: nobody answers; .*again"
    ):
        storage.settle(sweep)
    with serving(store):
        storage.settle(sweep)
        assert set(Bucket(address).below()) == {f"one/{n}" for n in ("first.json", "second.json", "history.jsonl")}


def test_a_bucket_that_can_not_be_used_is_said_in_a_sentence(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        StorageError, match=r"storage: s3://nowhere/x at http://.* can not be used: there is no such"
    ):
        storage.resolve("s3://nowhere/x")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "sweeps")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    with pytest.raises(StorageError, match="the secret key is wrong; credentials come from AWS_") as refused:
        storage.resolve(address)
    assert "hunter2" not in str(refused.value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    with pytest.raises(StorageError, match="the access key is not known there"):
        storage.resolve(address)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://me:hunter2@127.0.0.1:1")
    with pytest.raises(StorageError, match=r"AWS_ENDPOINT_URL: .* allowed: http\(s\)://HOST:PORT") as refused:
        storage.resolve(address)
    assert "hunter2" not in str(refused.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StorageError, match=f"storage: {address} at http://127.0.0.1:1 .* nobody answers"):
        storage.resolve(address)


def driver_of(machine: str) -> claims.Holder:
    return {
        "host": "elsewhere",
        "process": os.getpid(),
        "process_started": psutil.Process().create_time(),
        "taken": time.time(),
        "machine": machine,
        "holds": True,
    }


def test_of_many_drivers_that_start_at_once_one_goes_on(address: str) -> None:
    for number in range(3):
        drivers = [Claims(Bucket(address), f"{number}/lease") for _ in range(6)]
        with ThreadPoolExecutor(len(drivers)) as pool:
            holders = list(pool.map(lambda driver: driver.take(driver_of("")), drivers))
        (first,) = [driver for driver, holder in zip(drivers, holders, strict=True) if holder is None]
        assert list(Bucket(address).below(f"{number}/lease")) == [f"{number}/lease/{first.name}.json"]
        assert first.beat(driver_of(""))


def test_the_lease_of_a_machine_without_signs_of_life_ends_and_it_finds_out(address: str) -> None:
    gone, next_one = (Claims(Bucket(address), "one/lease", expiry=2.0) for _ in range(2))
    assert gone.take(driver_of("")) is None
    Bucket(address).write(f"one/lease/{gone.name}.json", json.dumps(driver_of("another")).encode())
    refused = next_one.take(driver_of(""))
    assert refused is not None
    assert refused["host"] == "elsewhere"
    time.sleep(3.1)
    assert next_one.take(driver_of("")) is None
    assert not gone.beat(driver_of("another"))


def test_a_second_driver_is_refused_and_a_request_to_stop_is_heard(address: str) -> None:
    sweep = storage.resolve(address) / "one"
    with lease(sweep) as held:
        with (
            pytest.raises(SweepIsDriven, match=rf"one is being driven by process {os.getpid()} on .* since"),
            lease(sweep),
        ):
            pass
        with pytest.raises(KeyboardInterrupt):
            request_stop(sweep, timeout=120)
        assert held.stop_requested
        assert held.why == "stopped as asked"
    assert not request_stop(sweep, timeout=1)
    assert Bucket(address).below("one/lease") == {}
