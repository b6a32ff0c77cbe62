"""Replay: a recorded replicate is trained again in this process, and its history compared with the recorded one.

In the stored layout (stack, device, threads and type) the numbers are the same bits on the same machine and
versions, so any difference is told, of the measures and files of its end too. Otherwise sums are taken in another
order: equal then means the history and the test, to a tolerance.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps import layout, plugins, records, storage
from sweeps.assembly import rebuild_trial
from sweeps.environment import environment
from sweeps.errors import SpecError, SweepError, SweepNotFound
from sweeps.origin import Records, Root
from sweeps.overview import trial_in
from sweeps.replayed import Account, Replay
from sweeps.status import Status

if TYPE_CHECKING:
    from sweeps.data import Dataset
    from sweeps.training import Outcome
    from sweeps.trial_spec import TrialSpec

ALONE_TOLERANCE = 0.01
"""Relative. Rounding of 1e-7 grows over a training, and one example more or less is a step of an accuracy."""


def replay(
    name: str,
    trial: str,
    replicate: str | int | None = None,
    *,
    alone: bool = False,
    tolerance: float | None = None,
    root: Root = None,
    show: Callable[[str], None] = lambda line: None,
) -> Replay:
    """Train one recorded replicate again and compare.

    Args:
        name: Of the sweep.
        trial: Trial, or the beginning of its name.
        replicate: Replicate, the beginning of its name, or its number among the recorded ones in the order of
            seeds, from 0; the first when None.
        alone: Train it alone even if it was recorded as one of a stack.
        tolerance: Relative; by default 0 in the recorded layout and `ALONE_TOLERANCE` in another.
        root: Storage.
        show: Told what is being trained, before it is.

    Raises:
        SweepNotFound: No such sweep, trial or recorded replicate; lists those there are.
        SweepError: The data are not those that were recorded.
        SpecError: A plugin of the sweep that the trial uses can not be imported here.
    """
    sweep = Records(storage.sweep_folder(storage.resolve(root), name))
    folder = _replicate_in(trial_in(sweep.folder, trial), replicate)
    record = records.read_record(folder) or {}
    spec = rebuild_trial(record["config"], sweep.spec)
    stored = _stored(folder)
    stack, place = _layout_of(stored, folder.name, alone=alone)
    is_as_recorded = stack == stored
    if tolerance is None:
        tolerance = 0.0 if is_as_recorded else ALONE_TOLERANCE
    described = _describe(stack, stored)
    show(f"training {described}")
    recorded = _recorded(folder, record, in_full=is_as_recorded)
    return Replay(
        record["trial_id"],
        record["replicate_id"],
        described,
        tolerance,
        recorded,
        _train(spec, record, stack, place, epochs=len(recorded.rows), in_full=is_as_recorded),
        _surroundings(record["environment"], stack),
        _changed(spec, record, sweep),
    )


def _changed(spec: TrialSpec, record: Mapping[str, Any], sweep: Records) -> str:
    """Functions that the trial uses, where one of them is another than when it was recorded; else nothing."""
    from sweeps.identity import Namer, trial_identity

    with suppress(SpecError):  # the trial was built without it: it is no matter
        plugins.load(sweep.spec().get("plugins") or ())
    trial, _ = Namer().names(spec, record["fingerprint"], [])
    if trial == record["trial_id"]:
        return ""
    versions = trial_identity(spec, record["fingerprint"])["versions"]
    return (
        ", ".join(f"{function} (version {version})" for function, version in versions.items())
        or "all of version 1"
    )


def _replicate_in(trial: Path, replicate: str | int | None) -> Path:
    recorded = [path.parent for path in sorted(trial.glob(f"*/{records.RECORD}"))]
    if isinstance(replicate, int):
        if not 0 <= replicate < len(recorded):
            there = f"recorded are 0 to {len(recorded) - 1}" if recorded else "none is recorded yet"
            raise SweepNotFound(f"no replicate {replicate} in trial {trial.name}; {there}")
        return sorted(recorded, key=_seeds_of)[replicate]
    found = [path for path in sorted(recorded, key=_seeds_of) if path.name.startswith(replicate or "")]
    if not found or (replicate and len(found) > 1):
        known = ", ".join(path.name for path in found or recorded) or "none yet"
        what = "several recorded replicates begin" if found else "no recorded replicate begins"
        raise SweepNotFound(f"{what} with {replicate or ''!r} in trial {trial.name}; there: {known}")
    return found[0]


def _seeds_of(folder: Path) -> list[int]:
    return list((records.read_record(folder) or {})["seeds"].values())


def _stored(folder: Path) -> layout.Stack:
    """The stack that a replicate was trained in."""
    for stack in layout.read(folder.parent):
        if folder.name in stack.members:
            return stack
    raise SweepNotFound(f"{folder.parent / layout.LAYOUT} does not hold {folder.name}: how it was trained is lost")


def _layout_of(stored: layout.Stack, replicate: str, *, alone: bool) -> tuple[layout.Stack, int]:
    """What to train, and the replicate's place in it; on the CPU where the recorded GPU is missing."""
    import torch

    stack = replace(stored, pack=())  # the trials that were computed beside it are not trained again
    if stack.device != "cpu" and not torch.cuda.is_available():
        stack = replace(stack, device="cpu")
    place = stack.members.index(replicate)
    if not alone:
        return stack, place
    return replace(stack, members=(stack.members[place],), seeds=(stack.seeds[place],)), 0


def _describe(stack: layout.Stack, stored: layout.Stack) -> str:
    what = f"as one of a stack of {len(stack.members)}" if len(stack.members) > 1 else "alone"
    told = "as recorded"
    if stack.device != stored.device:
        told = f"not as recorded: there is no {stored.device} here, and sums are taken in another order"
    elif stack != stored:
        told = "not as recorded: sums are taken in another order"
    return f"{what} on {stack.device}, {stack.threads} threads, {stack.dtype} ({told})"


def _train(
    spec: TrialSpec, record: Mapping[str, Any], stack: layout.Stack, place: int, *, epochs: int, in_full: bool
) -> Account:
    """Train the replicate: to its end, or as far as a stopped or failed one came."""
    import torch

    from sweeps.training import StackTraining

    training = StackTraining(
        spec,
        stack.seeds,
        _data(record),
        device=stack.device,
        threads=stack.threads,
        dtype=getattr(torch, stack.dtype),
        together=stack.together,
    )
    status = Status(record["status"])
    last = spec.training.epochs if status in (Status.FINISHED, Status.DIVERGED) else epochs
    rows: list[Mapping[str, Any]] = []
    while training.epoch < last and training.ended(place) is None:
        row = training.run_epoch()[place]
        if row is not None:
            rows.append({"epoch": training.epoch, **storage.finite(row)})
    finished = training.epoch == spec.training.epochs and status is not Status.FAILED
    ended = training.ended(place) or (Status.FINISHED if finished else status, "")
    if status is Status.FAILED:
        return Account(tuple(rows), {}, ended[0].value, ended[1], {})
    outcome = training.outcome(place)
    about = {
        "metrics": dict(outcome.metrics),
        "measures": dict(outcome.measures),
        "measures_at": list(outcome.measures_at),
        "layers": list(outcome.layers),
    }
    final = _final(json.loads(json.dumps(storage.finite(about))), in_full=in_full)
    return Account(tuple(rows), final, ended[0].value, ended[1], _digests(outcome) if in_full else {})


def _data(record: Mapping[str, Any]) -> Dataset:
    from sweeps.data import load
    from sweeps.trial_spec import Data

    dataset = load(Data.model_validate(record["config"]["data"]))
    if dataset.fingerprint != record["fingerprint"]:
        raise SweepError(
            f"data: {record['config']['data']} now has the fingerprint {dataset.fingerprint[:12]}, "
            f"the replicate was trained on {record['fingerprint'][:12]}: a replay needs the same data"
        )
    return dataset


def _recorded(folder: Path, record: Mapping[str, Any], *, in_full: bool) -> Account:
    digests = {name: digest for name, digest in record["files"].items() if name != records.HISTORY}
    return Account(
        tuple(records.read_history(folder)),
        _final(record, in_full=in_full),
        record["status"],
        record["reason"],
        digests if in_full else {},
    )


def _digests(outcome: Outcome) -> dict[str, str]:
    """Of the files that a replicate with this outcome is recorded with."""
    from sweeps.result import contents_of

    return {name: hashlib.sha256(content).hexdigest() for name, content in contents_of(outcome).items()}


def _final(record: Mapping[str, Any], *, in_full: bool) -> dict[str, Any]:
    """The numbers that only the record has; measures and layers among them where the bits are to be the same."""
    from sweeps.metrics import FINAL

    test = {name: value for name, value in record["metrics"].items() if name in FINAL}
    if not in_full:
        return test
    rest = {name: record.get(name, []) for name in ("measures", "measures_at", "layers")}
    return test | {".".join(path): value for path, value in _numbers(rest)}


def _numbers(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float | None]]:
    """Numbers of a nested value with where they are."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _numbers(item, (*path, str(name)))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _numbers(item, (*path, str(place)))
    elif value is None or isinstance(value, int | float):
        yield path, value


def _surroundings(recorded: Mapping[str, Any], stack: layout.Stack) -> dict[str, tuple[Any, Any]]:
    """What differs between the recorded environment and this one."""
    here = environment() | {"device": stack.device, "threads": stack.threads}
    names = sorted((here.keys() | recorded.keys()) - {"versions", "node"})
    known, now = recorded.get("versions", {}), here["versions"]
    pairs = {name: (recorded.get(name), here.get(name)) for name in names}
    pairs |= {name: (known.get(name), now.get(name)) for name in sorted(known.keys() | now.keys())}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
