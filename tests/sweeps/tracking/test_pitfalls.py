"""What MLflow does not do by itself, each shown on the real store beside what the projection makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow.entities import Metric, ViewType
from mlflow.exceptions import MlflowException

from sweeps import tracking
from sweeps.mlflow_query import replicates, trials
from sweeps.tracking.client import Client, Unavailable, settings
from sweeps.tracking.projection import Projection
from sweeps.tracking.session import _connect
from sweeps.tracking.store import artifacts_of, store_uri
from tests.sweeps.tracking.faults import once, proxy_to
from tests.sweeps.tracking.recorded import SweepOnDisk
from tests.sweeps.tracking.seen import Seen


def live_projection(sweep: SweepOnDisk, uri: str | None = None) -> Projection:
    address = store_uri(sweep.storage, uri)
    return Projection(sweep.folder, lambda: _connect(address), artifacts_of(address))


def test_mlflow_keeps_two_rows_for_one_value_with_two_timestamps(sweep: SweepOnDisk, seen: Seen) -> None:
    sweep.replicates(0)[0].finish()
    tracking.project(sweep.storage, sweep.name)
    run = seen.replicate(sweep.name, sweep.replicates(0)[0].replicate_id)
    before = len(seen.rows(run))
    row = next(point for point in seen.client.get_metric_history(run.info.run_id, "train_loss"))
    for time in (row.timestamp, row.timestamp + 1):
        seen.client.log_batch(run.info.run_id, [Metric(row.key, row.value, time, row.step)])
    assert len(seen.rows(run)) == before + 1


def test_retrained_epoch_with_another_timestamp_is_not_a_second_row(sweep: SweepOnDisk, seen: Seen) -> None:
    """The machine lost its power: an epoch that was projected is gone from the file and is trained again."""
    replicate = sweep.replicates(0)[0]
    replicate.train(4)
    live_projection(sweep).run_once()
    history = replicate.folder / "history.jsonl"
    again = [row | {"time": row["time"] + 9_000} for row in replicate.rows(5)[2:]]
    again[1] |= {"train_loss": 1.5}
    lines = history.read_text().splitlines()[:2] + [json.dumps(row) for row in again]
    history.write_text("\n".join(lines) + "\n")
    live_projection(sweep).run_once()

    run = seen.replicate(sweep.name, replicate.replicate_id)
    losses = [row for row in seen.rows(run) if row[0] == "train_loss"]
    assert [row[1] for row in losses] == [1, 2, 3, 4, 5]
    assert [row[2] for row in losses][:4] == [row["time"] for row in replicate.rows(4)]
    assert run.data.tags["differing_epochs"] == "4"


def test_first_durable_line_of_an_epoch_wins(sweep: SweepOnDisk, seen: Seen) -> None:
    replicate = sweep.replicates(0)[0]
    replicate.train(3)
    replicate.append(row | {"time": row["time"] + 5_000} for row in replicate.rows(4)[1:])
    live_projection(sweep).run_once()
    run = seen.replicate(sweep.name, replicate.replicate_id)
    losses = [row[1:3] for row in seen.rows(run) if row[0] == "train_loss"]
    times = [row["time"] for row in replicate.rows(4)]
    assert losses == [(1, times[0]), (2, times[1]), (3, times[2]), (4, times[3] + 5_000)]


def test_torn_line_waits_until_it_is_whole(sweep: SweepOnDisk, seen: Seen) -> None:
    replicate = sweep.replicates(0)[0]
    replicate.train(2)
    line = json.dumps(replicate.rows(3)[-1]) + "\n"
    live = live_projection(sweep)
    with (replicate.folder / "history.jsonl").open("a") as file:
        file.write(line[:40])
        file.flush()
        assert live.run_once().is_complete
        file.write(line[40:])
        file.flush()
        assert live.run_once().is_complete
    run = seen.replicate(sweep.name, replicate.replicate_id)
    assert [row[1] for row in seen.rows(run) if row[0] == "train_loss"] == [1, 2, 3]


def test_doubles_are_deleted_and_their_children_adopted(sweep: SweepOnDisk, seen: Seen) -> None:
    """Another writer made every run a second time, as a client that retries does."""
    sweep.replicates(0)[0].train(2)
    live_projection(sweep).run_once()
    for run in seen.runs(sweep.name):
        tags = {k: v for k, v in run.data.tags.items() if k != "mlflow.runName"}
        start, name = run.info.start_time, run.info.run_name
        seen.client.create_run(run.info.experiment_id, start_time=start, tags=tags, run_name=name)
    sweep.finish()
    assert tracking.project(sweep.storage, sweep.name).is_complete
    root = seen.level(sweep.name, "sweep")[sweep.name].info.run_id
    of_trials = seen.level(sweep.name, "trial").values()
    of_replicates = seen.level(sweep.name, "replicate").values()
    assert {run.data.tags["mlflow.parentRunId"] for run in of_trials} == {root}
    parents = {run.data.tags["mlflow.parentRunId"] for run in of_replicates}
    assert parents == {run.info.run_id for run in of_trials}
    assert len(seen.runs(sweep.name, view=ViewType.DELETED_ONLY)) == 3


def test_runs_that_were_made_and_no_more_are_completed_by_the_next_projector(server: str, tmp_path: Path) -> None:
    """A run gets its tags when it is made: they do not say that its numbers are there."""
    sweep = SweepOnDisk(tmp_path, "made-and-no-more", points={"training.optimiser.lr": [0.1]}, seeds=1)
    sweep.replicates(0)[0].finish()
    with proxy_to(server) as proxy, settings():
        proxy.fault = once("runs/log-batch", "error")
        assert live_projection(sweep, proxy.uri).run_once().replicates == 1
        assert replicates(sweep.name, server).empty
        assert live_projection(sweep, proxy.uri).run_once().is_complete
    assert len(replicates(sweep.name, server)) == 1
    [trial] = [run for run in Seen(server).level(sweep.name, "trial").values() if run.data.metrics]
    assert trial.data.metrics["n"] == 1
    assert trial.data.params["training.optimiser.lr"] == "0.1"


def test_a_trial_does_not_tell_a_record_that_came_while_the_others_were_told(server: str, tmp_path: Path) -> None:
    """A projector that is killed then would leave the run of that one as it is, for ever."""
    sweep = SweepOnDisk(tmp_path, "came-meanwhile", points={"training.optimiser.lr": [0.1]}, seeds=2)
    first, second = sweep.replicates(0)
    first.finish()
    second.train(3)
    batches: list[str] = []

    def meanwhile(_method: str, path: str) -> str:
        if path.endswith("runs/log-batch"):
            batches.append(path)
            if len(batches) == 2:  # one of each replicate: the statistics come next
                second.finish()
        return "pass"

    with proxy_to(server) as proxy, settings():
        proxy.fault = meanwhile
        live_projection(sweep, proxy.uri).run_once()
        assert live_projection(sweep, proxy.uri).run_once().is_complete
    told = [Seen(server).replicate(sweep.name, one.replicate_id) for one in (first, second)]
    assert [run.info.status for run in told] == ["FINISHED", "FINISHED"]
    assert len(replicates(sweep.name, server)) == 2


def test_create_whose_answer_is_lost_makes_no_second_run(server: str, tmp_path: Path) -> None:
    sweep = SweepOnDisk(tmp_path, "lost-answers", points={"training.optimiser.lr": [0.1]})
    sweep.replicates(0)[0].finish()
    with proxy_to(server) as proxy, settings():
        live = live_projection(sweep, proxy.uri)
        lags = []
        for path in ("experiments/create", "runs/create", "runs/log-batch", "runs/update"):
            for what in ("lose", "error"):
                proxy.fault = once(path, what)
                lags.append(live.run_once())
        proxy.fault = once("none", "pass")
        assert live.run_once().is_complete
    assert lags[0].reason
    assert lags[0].replicates == 1
    seen = Seen(server)
    assert len(seen.level(sweep.name, "sweep")) == 1
    [run] = seen.level(sweep.name, "replicate").values()
    assert len(seen.rows(run)) == 6 * 11 + 5
    assert (run.info.status, run.data.tags["status"]) == ("FINISHED", "finished")
    assert seen.runs(sweep.name, view=ViewType.DELETED_ONLY) == []


def test_client_sends_a_failing_request_once(server: str) -> None:
    with proxy_to(server) as proxy, settings():
        client = Client(proxy.uri)
        proxy.fault = lambda _method, _path: "error"
        with pytest.raises(Unavailable, match="500"):
            client.experiment("anything")
        assert len(proxy.requests) == 1


def test_server_that_errs_now_and_then_gets_everything_once(server: str, tmp_path: Path) -> None:
    sweep = SweepOnDisk(tmp_path, "erring", points={"training.optimiser.lr": [0.1]}, seeds=2)
    sweep.finish()
    asked: list[str] = []

    def every_fourth(_method: str, path: str) -> str:
        asked.append(path)
        return ("error", "pass", "lose", "pass")[len(asked) // 4 % 4] if len(asked) % 4 == 0 else "pass"

    with proxy_to(server) as proxy, settings():
        live = live_projection(sweep, proxy.uri)
        proxy.fault = every_fourth
        passes = 0
        while not live.run_once().is_complete:
            passes += 1
            assert passes < 60
    seen = Seen(server)
    for run in seen.level(sweep.name, "replicate").values():
        assert len(seen.rows(run)) == 6 * 11 + 5
    trials = seen.level(sweep.name, "trial").values()
    assert [run.data.metrics["n"] for run in trials] == [2, 2]


def test_parameter_that_changed_stays_as_it_was_first(storage: Path, seen: Seen) -> None:
    """Where the data lies is no part of the identity; MLflow refuses to change a parameter."""
    points = {"training.optimiser.lr": [0.01]}
    first = SweepOnDisk(storage, points=points, seeds=2)
    first.replicates(0)[0].train(2)
    live_projection(first).run_once()
    run = seen.replicate(first.name, first.replicates(0)[0].replicate_id)
    with pytest.raises(MlflowException, match="already"):
        seen.client.log_param(run.info.run_id, "data.validation", "1")
    record = first.replicates(0)[0]
    record.trial["config"]["data"]["validation"] = 1
    record.train(6, since=2)
    record.finish()
    assert tracking.project(storage, first.name).is_complete
    run = seen.replicate(first.name, record.replicate_id)
    assert (run.info.status, run.data.params["data.validation"]) == ("FINISHED", "360")


HOSTILE = ["<script>alert(1)</script>", "a \"quoted\" 'word'", "two\nlines\tand a tab", "x" * 10_000, "1", ""]
HOSTILE += ["null", "nul\0byte", "ünï–☃ 😀", "'; DROP TABLE runs; --", "`tick`"]


def test_hostile_texts_are_stored_whole(storage: Path) -> None:
    sweep = SweepOnDisk(storage, points={"model.note": HOSTILE, "prune.aggressiveness": [0.5]}, seeds=1)
    for replicate in sweep.replicates():
        replicate.finish("stopped", reason=replicate.trial["point"]["model.note"])
    assert tracking.project(storage, sweep.name).is_complete
    for table in (replicates(sweep.name, store_uri(storage)), trials(sweep.name, store_uri(storage)).table):
        notes = table.set_index("trial_id")["model.note"]
        assert dict(notes) == {t["trial_id"]: t["point"]["model.note"] for t in sweep.trials}
    reasons = replicates(sweep.name, store_uri(storage)).set_index("trial_id")["reason"]
    safe = [t for t in sweep.trials if "\0" not in t["point"]["model.note"]]
    safe = [t for t in safe if "\ud83d" not in t["point"]["model.note"]]
    assert all(reasons[t["trial_id"]] == t["point"]["model.note"] for t in safe)


def test_name_that_mlflow_refuses_is_said_and_holds_up_nothing_else(sweep: SweepOnDisk, seen: Seen) -> None:
    bad, *others = sweep.replicates()
    bad.finish(measures={"no <such> name!": 1.0})
    for replicate in others:
        replicate.finish()
    lag = tracking.project(sweep.storage, sweep.name)
    assert len(lag.refused) == 1
    assert "no <such> name!" in lag.refused[0]
    ended = [r for r in seen.level(sweep.name, "replicate").values() if r.info.status == "FINISHED"]
    assert len(ended) == len(others)


def test_run_that_somebody_deleted_comes_back(sweep: SweepOnDisk, seen: Seen) -> None:
    replicate = sweep.replicates(0)[0]
    live = live_projection(sweep)
    replicate.train(2)
    live.run_once()
    for run in seen.runs(sweep.name, "tags.level != 'sweep'"):
        seen.client.delete_run(run.info.run_id)
    replicate.train(3, since=2)
    assert live.run_once().is_complete
    run = seen.replicate(sweep.name, replicate.replicate_id)
    assert [row[1] for row in seen.rows(run) if row[0] == "train_loss"] == [1, 2, 3]


def test_store_that_was_wiped_is_filled_again(sweep: SweepOnDisk, seen: Seen, migrated_store: Path) -> None:
    """MLflow's database was replaced by an empty one beneath a running projection."""
    replicate = sweep.replicates(0)[0]
    replicate.train(2)
    live = live_projection(sweep)
    live.run_once()
    seen.client.delete_experiment(seen.experiment(sweep.name))
    replicate.train(3, since=2)
    while not live.run_once().is_complete:
        pass
    run = seen.replicate(sweep.name, replicate.replicate_id)
    assert [row[1] for row in seen.rows(run) if row[0] == "train_loss"] == [1, 2, 3]
