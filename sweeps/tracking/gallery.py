"""What a sweep's runs get when it has ended: pictures where a person clicks, and weights as the policy asks.

Bounded: pictures of the best trials only, as many as `tracking.pictures` says, and of one typical replicate each.
Idempotent: a run that holds the pictures or weights of its records as they are says so in the tag of that name.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sweeps.document import parse
from sweeps.errors import SpecError
from sweeps.metrics import better
from sweeps.storage import at_hand
from sweeps.tracking import source
from sweeps.tracking.summary import summarise
from sweeps.tracking.tree import log_data, origin_tags

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sweeps.tracking.tree import Tree

log = logging.getLogger(__name__)
VERSION = "2"  # of the pictures: another one draws them all again
TAG, WEIGHTS_TAG = "pictures", "weights"
WEIGHTS = "weights.safetensors"
CURVES = ("train_accuracy", "validation_accuracy")
Draw = Callable[[], "Figure | str | None"]  # a still picture, or a page


class Policy(NamedTuple):
    """`tracking:` of the spec, as far as files are concerned; what is not there is the default."""

    weights: str = "none"
    best: int = 3
    pictures: int = 12


class Ended(NamedTuple):
    """A trial with the records of its replicates."""

    trial: str
    records: list[source.Row]
    value: float
    is_broken: bool


def hang(tree: Tree, sweep: Path, plan: source.Plan) -> None:
    """Bring weights and pictures of an ended sweep to its runs.

    Raises:
        Unavailable: The store does not answer.
        Refused: It will not take a file.
    """
    policy = policy_of(sweep)
    ranked = _ranked(sweep, plan)
    _hang_origin(tree, [record for trial in ranked for record in trial.records])
    _hang_weights(tree, sweep, ranked, policy)
    if policy.pictures and ranked:
        _hang_pictures(tree, sweep, plan, ranked, policy.pictures)


def _hang_origin(tree: Tree, records: Sequence[source.Row]) -> None:
    """On the sweep's run: the data sets by fingerprint, and every environment that a replicate was trained in."""
    if tree.root is None or not records:
        return
    log_data(tree, tree.root, records)
    texts = {json.dumps(record.get("environment"), sort_keys=True) for record in records}
    environments = [json.loads(text) for text in sorted(texts)]
    tree.client.upload_text(tree.root, "environment.json", json.dumps(environments, indent=1))
    tree.client.log(tree.root, tags=origin_tags(records[0]))


def policy_of(sweep: Path) -> Policy:
    """The policy in the spec that the sweep was last launched with."""
    try:
        plain = parse((sweep / "spec.yaml").read_text(encoding="utf-8"))
    except (FileNotFoundError, SpecError):
        return Policy()
    given = plain.get("tracking") if isinstance(plain, dict) else None
    known = given if isinstance(given, dict) else {}
    return Policy(**{name: known[name] for name in Policy._fields if name in known})


def _ranked(sweep: Path, plan: source.Plan) -> list[Ended]:
    """Trials with a finished replicate, best first; those with a diverged or failed one last."""
    column = f"{plan.metric}.{plan.objective.get('statistic', 'mean')}"
    sign = 1.0 if plan.objective.get("mode", "max") == "min" else -1.0
    found = []
    for folder in source.trials(sweep):
        read = (source.read_record(replicate) for replicate in source.replicates(folder))
        records = [record for record in read if record is not None]
        summary = summarise(records, plan.metric)
        value = summary.get(column, summary.get(f"{plan.metric}.mean"))
        if value is not None:
            found.append(Ended(folder.name, records, value, summary["n_diverged"] + summary["n_failed"] > 0))
    return sorted(found, key=lambda trial: (trial.is_broken, sign * trial.value, trial.trial))


def _hang_weights(tree: Tree, sweep: Path, ranked: Sequence[Ended], policy: Policy) -> None:
    trials = {"none": [], "best": ranked[: policy.best], "all": ranked}[policy.weights]
    for trial in trials:
        runs = tree.found(f"tags.level = 'replicate' and tags.trial = '{trial.trial}'").runs
        for record in trial.records:
            path = at_hand(sweep / "trials" / trial.trial / record["replicate_id"] / WEIGHTS)
            run, digest = runs.get(record["replicate_id"]), _digest([record])
            if run is not None and path.exists() and run.data.tags.get(WEIGHTS_TAG) != digest:
                tree.client.upload(run.info.run_id, path)
                tree.client.log(run.info.run_id, tags={WEIGHTS_TAG: digest})


def _run(tree: Tree, level: str, identity: str) -> tuple[str, Mapping[str, str]] | None:
    """Id and tags of a run."""
    found = tree.found(f"tags.level = '{level}' and tags.identity = '{identity}'").runs.get(identity)
    return None if found is None else (found.info.run_id, found.data.tags)


def _hang_pictures(tree: Tree, sweep: Path, plan: source.Plan, ranked: Sequence[Ended], most: int) -> None:
    everything = [record for trial in ranked for record in trial.records]
    _hang(tree, "sweep", tree.sweep, everything, lambda: _of_sweep(sweep, plan))
    for trial in ranked[:most]:
        _hang(tree, "trial", trial.trial, trial.records, lambda trial=trial: _of_trial(sweep, plan, trial))  # type: ignore[misc]
        typical = _typical(trial.records, plan.metric)
        if typical is not None:
            place = sweep / "trials" / trial.trial / typical["replicate_id"]
            _hang(tree, "replicate", place.name, [typical], lambda place=place: _of_replicate(place))  # type: ignore[misc]


def _typical(records: Sequence[source.Row], metric: str) -> source.Row | None:
    """The finished replicate in the middle by the objective: neither lucky nor unlucky."""
    rows = [
        record
        for record in records
        if record["status"] == "finished" and record["metrics"].get(metric) is not None
    ]
    ordered = sorted(rows, key=lambda record: (record["metrics"][metric], record["replicate_id"]))
    return ordered[(len(ordered) - 1) // 2] if ordered else None


def _hang(
    tree: Tree,
    level: str,
    identity: str,
    records: Sequence[source.Row],
    pictures: Callable[[], Iterator[tuple[str, Draw]]],
) -> None:
    digest = _digest(records)
    run = _run(tree, level, identity)
    if run is None or run[1].get(TAG) == digest:
        return
    for name, draw in pictures():
        content = _drawn(name, identity, draw)
        if content is not None:
            tree.client.upload_bytes(run[0], name, content)
    tree.client.log(run[0], tags={TAG: digest})


def _digest(records: Sequence[source.Row]) -> str:
    """What changes when one of the records does."""
    names = sorted(f"{record['replicate_id']} {record['status']} {record['ended']}" for record in records)
    return hashlib.sha256("\n".join([VERSION, *names]).encode()).hexdigest()[:16]


def _drawn(name: str, identity: str, draw: Draw) -> bytes | None:
    from sweeps.pictures import png

    try:
        figure = draw()
        if isinstance(figure, str):
            return figure.encode()
        return None if figure is None else png(figure)
    except Exception:
        log.warning("the picture %s of %s can not be drawn", name, identity, exc_info=True)
        return None


def _of_replicate(folder: Path) -> Iterator[tuple[str, Draw]]:
    import numpy as np

    from sweeps.pictures.replicate import sizes, spectra

    arrays: dict[str, Any] = {}
    if (path := at_hand(folder / "spectra.npz")).exists():
        with np.load(path, allow_pickle=False) as found:
            arrays = {key: found[key] for key in found.files}
    history = source.Tail(folder / source.HISTORY).rows()
    title = f"{folder.parent.name}, replicate {folder.name}"
    yield "spectra.png", lambda: spectra(arrays, f"Spectra of {title}")
    yield "rank-and-size.png", lambda: sizes(arrays, history, f"What was left of {title}")


def _of_trial(sweep: Path, plan: source.Plan, trial: Ended) -> Iterator[tuple[str, Draw]]:
    from sweeps.pictures.trial import curves

    folder = sweep / "trials" / trial.trial
    histories = {place.name: source.Tail(place / source.HISTORY).rows() for place in source.replicates(folder)}
    metrics = list(dict.fromkeys([*CURVES, plan.metric]))
    yield "curves.png", lambda: curves(histories, metrics, f"All replicates of trial {trial.trial}")


def _of_sweep(sweep: Path, plan: source.Plan) -> Iterator[tuple[str, Draw]]:
    from sweeps.aggregate import trials_of
    from sweeps.pictures import brush
    from sweeps.pictures import sweep as pictures
    from sweeps.table import replicates_of

    table = trials_of(replicates_of(sweep), objective=plan.metric)
    statistic = f"{plan.metric}.{plan.objective.get('statistic', 'mean')}"
    column = statistic if statistic in table else f"{plan.metric}.mean"
    name, swept = sweep.name, plan.swept
    yield "parallel.png", lambda: pictures.parallel(table, swept, column, f"Trials of {name}")
    yield "parallel.html", lambda: brush.page(table, swept, column, f"Trials of {name}")
    yield "heat-maps.png", lambda: pictures.heat_maps(table, swept, column, f"Pairs of dimensions of {name}")
    yield "importance.png", lambda: pictures.importance(table, swept, column, f"Importance of dimensions, {name}")
    metric = plan.metric if better(plan.metric) == "max" else "validation_accuracy"
    yield (
        "accuracy-against-size.png",
        lambda: pictures.accuracy_against_size(table, metric, f"Accuracy and size, {name}"),
    )
