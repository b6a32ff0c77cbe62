"""A quote: the price of a plan, what forks save of it and how it is packed, and the pilot if there was one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.forks import Forks, plan_forks
from sweeps.packing import NEVER, Packed, plan_packs
from sweeps.planned import PlannedTrial
from sweeps.planning import Plan, Progress
from sweeps.price import Price, price, recorded_shapes, slots_here, slots_of
from sweeps.price_pilot import Pilot, pilot


@dataclass(frozen=True)
class Quote:
    """What `sweeps plan` says of cost."""

    price: Price
    forks: Forks
    packed: Packed
    pilots: Sequence[Pilot] = ()

    def document(self) -> dict[str, Any]:
        """Plain values."""
        forks = {"starts": self.forks.starts, "saved": self.forks.saved, "total": self.forks.total}
        plain: dict[str, Any] = {"price": self.price.document(), "forks": forks, "packs": self.packed.document()}
        if self.pilots:
            plain["pilot"] = [
                {
                    "trial_id": one.trial_id,
                    "replicates": one.replicates,
                    "epoch_seconds": list(one.epoch_seconds),
                    "cut_included": one.pruned,
                }
                for one in self.pilots
            ]
        return plain


def quote(
    made: Plan,
    progress: Progress,
    sweep: Path,
    *,
    cpus: float | None = None,
    gpus: float | None = None,
    with_pilot: bool = False,
    tell: Callable[[Pilot], None] = lambda one: None,
) -> Quote:
    """The price of what is left of a plan; trials that a search is yet to choose are priced at random points.

    Args:
        made: The plan.
        progress: What is recorded of it.
        sweep: Folder of the sweep.
        cpus: To plan for, instead of this machine's.
        gpus: The same.
        with_pilot: Whether to train a little of each shape that nothing is recorded of.
        tell: Called with each pilot as it has ended.

    Raises:
        SpecError: The given resources hold no trial, or a pilot can not be trained here.
    """
    resources = made.spec.resources
    given = cpus is not None or gpus is not None
    slots = slots_of(resources, cpus=cpus, gpus=gpus) if given else slots_here(resources)
    ends: Sequence[PlannedTrial] = ()
    if made.outlook is not None:
        slots, ends = min(slots, made.spec.design.options["at_once"] or slots), made.outlook.ends
        made = made.expected
        progress = made.progress(sweep)
    pilots: Sequence[Pilot] = ()
    if with_pilot:
        pilots = pilot(made, progress, recorded_shapes(made, progress, sweep), tell=tell)
    forks = plan_forks(made, progress, sweep, resources) if made.search is None else Forks()
    paces = {one.shape: one.pace for one in pilots}
    found = price(made, progress, sweep, forks=forks, slots=slots, pilot=paces, ends=ends)
    return Quote(found, forks, _packed(made, progress, sweep, forks, found), pilots)


def _packed(made: Plan, progress: Progress, sweep: Path, forks: Forks, found: Price) -> Packed:
    """How a launch would pack its trials, as far as is known without measuring."""
    from sweeps.data import load

    if made.search is not None:
        return Packed(alone=Counter({f"{made.spec.design.kind} chooses them one by one": found.trials}))
    if made.spec.resources.pack == "never" and not (sweep / "trials").is_dir():
        return Packed(alone=Counter({NEVER: found.trials}))
    trials = [trial for trial in made if progress.to_train(trial)]
    datasets = {trial.fingerprint: trial.spec.data for trial in trials}
    loaded = {fingerprint: load(data) for fingerprint, data in datasets.items()}
    return plan_packs(trials, progress, sweep, made.spec, forks, loaded, room=found.slots, measure=False)
