"""Launching a sweep: plan, train what is not recorded, project it, report. Idempotent: again is how to go on."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sweeps import launches
from sweeps import storage as storages
from sweeps.environment import changes, packages
from sweeps.errors import Problem, SpecError
from sweeps.forks import Forks, plan_forks, tidy
from sweeps.fresh_report import fresh_report
from sweeps.lease import lease
from sweeps.planned import PlannedTrial
from sweeps.planning import Plan, Progress, make_plan, one_of_each
from sweeps.progress import SweepProgress
from sweeps.replication import extended
from sweeps.retry import begin as begin_retry
from sweeps.spec import SweepSpec, load_spec
from sweeps.status import Retry
from sweeps.texts import Texts
from sweeps.trial_spec import TrialSpec

if TYPE_CHECKING:
    from sweeps.data import Dataset
    from sweeps.runner import Show
    from sweeps.search.adaptive import Search
    from sweeps.stopping import Judge
    from sweeps.tracking import Lag, Standby

# How long a launch waits at its end for MLflow to catch up; the projector itself goes on after that.
PROJECTION_SECONDS = 120.0
Spec = SweepSpec | str | os.PathLike[str] | Mapping[str, Any]


@dataclass(frozen=True)
class Launch:
    """What a launch has done.

    Attributes:
        plan: The plan that was carried out.
        storage: Where its records are.
        started: When it began, in milliseconds since 1970.
        trained: Replicates that this launch trained, or tried to: what hung or was lost counts.
        statuses: States of all planned replicates now.
        complete: Whether the plan came to its end; false after an interrupt.
        why: Why it ended before its plan: asked to by `sweeps stop`, a budget used up; empty otherwise.
        tracking_uri: Of MLflow, where one was given; None for the store inside the storage.
        lag: What MLflow does not show yet; None before that was seen.
        report: The report, when there is something to report.
        wall_seconds: Time of the whole launch.
    """

    plan: Plan
    storage: Path
    started: int
    trained: int
    statuses: Counter[str]
    complete: bool
    why: str
    tracking_uri: str | None
    lag: Lag | None
    report: Path | None
    wall_seconds: float


def plan(
    spec: Spec, *, storage: str | os.PathLike[str] | None = None, download: bool = False
) -> tuple[Plan, Progress]:
    """The plan of a sweep, and what the storage already holds of it. Starts nothing, needs no Ray.

    Args:
        spec: A checked sweep, its YAML file, or its document.
        storage: Instead of `RMT_STORAGE` and the spec's `storage`.
        download: Fetch a data set that is nowhere on this machine; trials themselves never do.

    Raises:
        SpecError: The spec is not valid.
        DataNotFound: A data set is missing.
    """
    from sweeps.data import load

    sweep = _loaded(spec)
    folder = storages.resolve(storage, sweep.storage) / sweep.name
    storages.refresh(folder)
    search = search_of(sweep, folder, download=download)
    made = make_plan(sweep, lambda data: load(data, download=download).fingerprint) if not search else search.plan
    if search is None:
        made = extended(made, folder)
    progress = made.progress(folder)
    if search is not None:
        from sweeps.search.outlook import outlook_of

        made = replace(made, outlook=outlook_of(search))
    # What is recorded has fitted.
    asked = made.outlook.ends if made.outlook else (trial for trial in made if progress.to_train(trial))
    if problems := list(dict.fromkeys(_misfits(asked))):
        raise SpecError(problems)
    return made, progress


def search_of(spec: SweepSpec, folder: Path, *, download: bool = False) -> Search | None:
    """The adaptive search of a sweep as far as it is recorded; None for an explicit design."""
    if not spec.design.is_adaptive:
        return None
    from sweeps.data import load
    from sweeps.search.adaptive import Search

    return Search(spec, folder, lambda data: load(data, download=download).fingerprint)


def run(
    spec: Spec,
    *,
    storage: str | os.PathLike[str] | None = None,
    address: str | None = None,
    tracking_uri: str | None = None,
    retry: str | None = None,
    show: Show | None = None,
    on_plan: Any = None,
    on_trained: Callable[[Launch], None] | None = None,
    on_wait: Callable[[Lag], None] | None = None,
    projector: Standby | None = None,
) -> Launch:
    """Carry out a sweep: train every planned replicate that has no final record yet.

    Args:
        spec: A checked sweep, its YAML file, or its document.
        storage: Instead of `RMT_STORAGE` and the spec's `storage`.
        address: Of a Ray cluster; without it `RAY_ADDRESS`, without that a Ray started here for the while.
        tracking_uri: Of MLflow, instead of `MLFLOW_TRACKING_URI` and the spec's `tracking.uri`.
        retry: Train only what ended so, again: `failed`, `timed_out`, `diverged` or `all` (`sweeps.status.Retry`).
        show: Called with the progress whenever it changes.
        on_plan: Called with the plan and what is recorded of it, before anything starts.
        on_trained: Called with what the launch has done, while MLflow catches up: without a lag.
        on_wait: Called every two seconds with what MLflow does not show yet, while its end is waited for.
        projector: One that was begun before, of `sweeps.tracking.standby`, to take instead of starting one.

    Raises:
        SpecError, DataNotFound, StorageError, TrackingError, SweepIsDriven, ClusterUnreachable: Before anything is
            trained.
        ValueError: `retry` is none of these.
    """
    from sweeps.ray_session import require_answer
    from sweeps.tracking import check, start_projector
    from sweeps.tracking.store import resolve_uri

    begun = time.monotonic()
    again = None if retry is None else Retry(retry)
    sweep = _loaded(spec)
    root = storages.open_for_writing(storages.resolve(storage, sweep.storage))
    made, progress = plan(sweep, storage=root, download=True)
    if not (address or os.environ.get("RAY_ADDRESS")) and not sweep.resources.gpus:
        _require_memory(made, progress)
    uri = resolve_uri(tracking_uri, sweep.tracking.uri)
    check(uri)
    require_answer(address)
    folder = root / sweep.name
    with lease(folder) as held:
        _write_plan(folder, made)
        following = start_projector(root, sweep.name, uri, projector)
        try:
            _write_origin(folder)
            if again is not None:
                progress = begin_retry(made, folder, again)
            entry = launches.begin(folder, made, progress)
            if on_plan is not None:
                on_plan(made, progress)
            trained = _train(made, progress, folder, address, show)
            tried = launches.end(
                folder,
                entry,
                trained.plan,
                progress,
                complete=trained.complete,
                why=held.why or trained.why,
                wall_seconds=time.monotonic() - begun,
            )
            report = fresh_report(folder)
            following.end()
            after = trained.plan.progress(folder)
            if trained.complete:
                tidy(folder, trained.plan, after)
            done = Launch(
                plan=trained.plan,
                storage=root,
                started=entry["started"],
                trained=tried,
                statuses=after.counts,
                complete=trained.complete,
                why=held.why or trained.why,
                tracking_uri=uri,
                lag=None,
                report=report,
                wall_seconds=time.monotonic() - begun,
            )
            if on_trained is not None:
                on_trained(done)
        finally:
            lag = following.finish(PROJECTION_SECONDS, on_wait)
    return replace(done, lag=lag, wall_seconds=time.monotonic() - begun)


def _require_memory(made: Plan, progress: Progress) -> None:
    """Refuse what this machine's memory can not hold: a trial even one replicate at a time, a stack as asked for.

    Raises:
        SpecError: Names what it needs and what there is.
    """
    from sweeps.cautions import most_here, one_of_each_size

    for trial in one_of_each_size(trial for trial in made if progress.to_train(trial)):
        most_here(trial, made.spec.resources)


def _misfits(made: Iterable[PlannedTrial]) -> Iterator[Problem]:
    """What only the data itself can tell: splits and batches that are too large, architectures that do not fit."""
    from sweeps import models
    from sweeps.data import check_split, load

    seen: set[tuple[str | int, ...]] = set()
    texts = Texts()
    trials = list(made)
    asked = [*one_of_each(trials, "data", "model", "training"), *(one for one in trials if one.spec.prune.layers)]
    for trial in (planned.spec for planned in asked):
        layers = texts(trial.prune) if trial.prune.layers else ""
        key = (texts(trial.data, trial.model), trial.training.batch_size, layers)
        if key in seen:
            continue
        seen.add(key)
        dataset = load(trial.data)
        split = check_split(dataset, validation=trial.data.validation, train_size=trial.data.train_size)
        yield from split
        left = trial.data.train_size or len(dataset.train_labels) - trial.data.validation
        if not split and trial.training.batch_size > left:
            message = (
                f"{trial.training.batch_size} is more than the {left} training examples; allowed: 1 to {left}"
            )
            yield Problem("training.batch_size", message)
        try:
            models.check(trial.model, dataset.shape, dataset.classes)
        except models.ArchitectureMismatch as error:
            yield Problem("model", str(error))
            continue
        last = left % trial.training.batch_size or trial.training.batch_size
        if not split and last == 1 and not models.learns_from_one(trial.model, dataset.shape, dataset.classes):
            message = (
                f"with {trial.training.batch_size} the last batch of {left} training examples has one, and batch "
                f"normalisation in model {trial.model.kind} needs two; allowed: another batch size"
            )
            yield Problem("training.batch_size", message)
        yield from _unmatched(trial, dataset)


def _unmatched(trial: TrialSpec, dataset: Dataset) -> Iterator[Problem]:
    """Overrides that match no layer: a slip in the pattern would prune what it was meant to protect."""
    if not trial.prune.layers:
        return
    import torch

    from rmt.module_layers import layers_of
    from sweeps import models

    with torch.device("meta"):
        layers = layers_of(models.build(trial.model, dataset.shape, dataset.classes))
    for number, override in enumerate(trial.prune.layers):
        if not any(override.applies_to(layer.name, layer.kind) for layer in layers):
            known = ", ".join(f"{layer.name} ({layer.kind})" for layer in layers)
            yield Problem(f"prune.layers.{number}.match", f"{override.match!r} matches no layer; known: {known}")


def _loaded(spec: Spec) -> SweepSpec:
    return spec if isinstance(spec, SweepSpec) else load_spec(spec)


def _write_plan(folder: Path, made: Plan) -> None:
    storages.write_json(folder / "plan.json", made.document(), indent=None)
    storages.write_atomically(folder / "spec.yaml", made.spec.to_yaml())
    storages.write_atomically(folder / "resolved.yaml", made.spec.to_yaml(resolved=True))


def _write_origin(folder: Path) -> None:
    """What this launch runs with, for whoever wants to run it again: packages, and changes since the commit."""
    storages.write_atomically(folder / "packages.txt", packages())
    found, file = changes(), folder / "changes.diff"
    if found is None:
        storages.remove(file)
    else:
        storages.write_atomically(file, found)


class _Trained(NamedTuple):
    """The plan as it is after training, whether it came to its end, and what ended it."""

    plan: Plan
    complete: bool
    why: str = ""


def _train(made: Plan, progress: Progress, folder: Path, address: str | None, show: Show | None) -> _Trained:
    """Train what is not recorded, then the seeds that the records ask for, until they ask for none."""
    search = search_of(made.spec, folder)
    if search is not None and progress.only is None:
        return _train_searched(search, progress, folder, address, show)
    trials = [trial for trial in made if progress.to_train(trial)]
    if not trials:
        return _Trained(made, True)
    from sweeps.packing import plan_packs
    from sweeps.ray_session import require, session
    from sweeps.runner import room_for, train

    complete, why, datasets = True, "", _datasets(made)
    while trials and complete:
        live = SweepProgress(
            made.spec.objective, len(trials), sum(len(progress.to_train(trial)) for trial in trials)
        )
        forks = plan_forks(trials, progress, folder, made.spec.resources)
        judge = _judge(made, progress, folder, len(made))
        with session(address) as scratch:  # one a round: a round is a launch like any other, and begins afresh
            require(made.spec.resources)
            room = room_for(made.spec.resources)
            complete = train(
                plan_packs(trials, progress, folder, made.spec, forks, datasets, room=room).packs,
                folder,
                datasets,
                made.spec,
                forks,
                live,
                show or (lambda _: None),
                scratch,
                judge,
                only=progress.only,
            )
        why = live.why
        if progress.only is not None:
            break
        more = extended(made, folder)
        # Only trials that got seeds: what failed in this launch waits for the next.
        trials = [new for new, old in zip(more, made, strict=True) if new != old]
        if trials:
            made, progress = more, more.progress(folder)
            _write_plan(folder, made)
    return _Trained(made, complete, why)


def _train_searched(
    search: Search, progress: Progress, folder: Path, address: str | None, show: Show | None
) -> _Trained:
    """Train what an adaptive search began, chooses, and ends with; returns what `_train` does."""
    if search.is_over:
        return _Trained(search.plan, True)
    from sweeps.ray_session import require, session
    from sweeps.runner import train

    spec = search.spec
    live = SweepProgress(spec.objective, search.left, search.left * search.replicates)
    judge = _judge(search.plan, progress, folder, search.most)
    datasets = _datasets(search.representatives())
    with session(address) as scratch:
        require(spec.resources)
        complete = train(
            [], folder, datasets, spec, Forks(), live, show or (lambda _: None), scratch, judge, search
        )
    return _Trained(search.plan, complete, live.why)


def _judge(made: Plan, progress: Progress, folder: Path, expected: int) -> Judge | None:
    """The sweep's stopper with what is recorded; stops that do not stand are withdrawn."""
    from sweeps import stopping

    stopping.settle(made.spec, folder, made)
    if made.spec.stopper is None:
        return None
    judge = stopping.Judge(made.spec, folder, made, expected=expected)
    for trial in made:
        if progress.to_train(trial):
            judge.catch_up(trial)
    return judge


def _datasets(made: Plan) -> dict[str, Dataset]:
    from sweeps.data import load

    data = {trial.fingerprint: trial.spec.data for trial in made}
    return {fingerprint: load(one) for fingerprint, one in data.items()}
