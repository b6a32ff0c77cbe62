"""Where Ray may place trials: anywhere but on nodes that lose their workers, see `nodes.py`."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray._private.state import actors  # the public list of actors needs a dashboard, which a laptop's Ray has not
from ray.exceptions import RayActorError
from ray.tune import Callback, PlacementGroupFactory
from ray.tune.schedulers import FIFOScheduler
from ray.util.placement_group import PlacementGroup, placement_group

from sweeps.nodes import Node, Nodes
from sweeps.spec_means import Resources

# How often to look whether any node is left that is not avoided.
LOOK_SECONDS = 10.0
NODE_LABEL = "ray.io/node-id"


class Placement(PlacementGroupFactory):
    """What a trial takes, on a node that is not avoided at the moment it is asked for.

    Equal to any other of the same resources, so that Tune still keeps workers from one trial to the next.
    """

    def __init__(self, resources: Resources, nodes: Nodes) -> None:
        super().__init__([{"CPU": resources.cpus, "GPU": resources.gpus}])
        self._nodes = nodes

    def to_placement_group(self) -> PlacementGroup:
        """Ask Ray for the room of one trial."""
        if not self._nodes.avoided:
            return placement_group(self.bundles, self.strategy)
        elsewhere = {NODE_LABEL: f"!in({','.join(sorted(self._nodes.avoided))})"}
        return placement_group(self.bundles, self.strategy, bundle_label_selector=[elsewhere])


class Cordon(FIFOScheduler):
    """Hands the trials out in their order, and none to a node that has lost too many workers in a row.

    A worker that still trains there goes on: it is not among those that were lost.

    Args:
        nodes: Counts the faults.
        resources: What a trial takes.
        name_of: Gives what one of Tune's trials is called in the list of faults.
    """

    def __init__(self, nodes: Nodes, resources: Resources, name_of: Callable[[Any], str]) -> None:
        super().__init__()
        self._nodes, self._resources, self._name_of = nodes, resources, name_of
        self._placement = Placement(resources, nodes)
        self._actors: dict[str, str] = {}
        self._open: list[Any] = []
        self._looked = time.monotonic()
        if nodes.avoided and not self._has_room():
            nodes.lift()

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Let a trial be placed by the faults of the moment it is placed in."""
        trial.update_resources(self._placement)
        self._open.append(trial)

    def begin(self, trial: Any) -> None:
        """A trial has got a worker."""
        self._actors[trial.trial_id] = trial.temporary_state.ray_actor._actor_id.hex()

    def end(self, trial: Any) -> None:
        """A trial has ended in order."""
        actor = self._actors.pop(trial.trial_id, None)
        if self._nodes.has_lost and (name := _node_of(actor)):
            self._nodes.succeed(name)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """A trial's worker was lost; Tune asks for another one after this, if it may."""
        error = error_of(trial)
        actor = error.actor_id if isinstance(error, RayActorError) else None
        node = self._node(_node_of(actor or self._actors.pop(trial.trial_id, None)))
        why = last_line(error)
        too_many = self._nodes.lose(node, self._name_of(trial), why)
        if too_many and node.name in _alive() and self._has_room(besides=node.name):
            self._nodes.avoid(node)
            self._ask_again(tune_controller)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The next in order that no worker is starting for; avoided nodes are taken again when no other is left.

        A worker that has become free is given to what is chosen here, and one that was starting for it is ended:
        trials that take less time than the start of a worker would for ever keep all but the first from starting.
        """
        controller = tune_controller._tune_controller  # it is wrapped here, and not above
        if self._nodes.avoided and time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            if not self._has_room():
                self._nodes.lift()
                self._ask_again(controller)
        # Tune looks through all trials there ever were, several times for each that ends.
        self._open = [trial for trial in self._open if not trial.is_finished()]
        waiting = (trial for trial in self._open if trial.status == trial.PENDING)
        return next((trial for trial in waiting if not _has_worker(controller, trial)), None)

    def _has_room(self, besides: str = "") -> bool:
        """Whether a node is left that a trial fits on."""
        wanted = {"CPU": self._resources.cpus, "GPU": self._resources.gpus}
        return any(
            name not in self._nodes.avoided and name != besides and _holds(node, wanted)
            for name, node in _alive().items()
        )

    def _ask_again(self, controller: Any) -> None:
        """Ask anew for the room that trials wait for: it may have been asked for on a node that is avoided now."""
        manager = controller._actor_manager
        waiting = manager.num_pending_actors
        for _ in range(waiting):
            manager._resource_manager.cancel_resource_request(self._placement)
        for _ in range(waiting):
            manager._resource_manager.request_resources(self._placement)

    @staticmethod
    def _node(name: str) -> Node:
        known = {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes()}
        return Node(name, known.get(name, "no longer known"))


def _has_worker(controller: Any, trial: Any) -> bool:
    """Whether a worker is starting, or being made ready, for a trial that waits for it."""
    actor = controller._trial_to_actor.get(trial)
    return actor is not None and controller._actor_manager.is_actor_started(actor)


class Whereabouts(Callback):
    """Tells a cordon which worker each trial has got, and which trials have ended in order."""

    def __init__(self, cordon: Cordon) -> None:
        self._cordon = cordon

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """It has got one."""
        self._cordon.begin(trial)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any) -> None:
        """Only the last one of a trial counts."""
        if result.get("done") and not result.get("full"):
            self._cordon.end(trial)


def _node_of(actor: str | None) -> str:
    """The node a worker is or was on; empty if that is not known."""
    return str((actors(actor) or {}).get("Address", {}).get("NodeID", "")) if actor else ""


def _alive() -> dict[str, Any]:
    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}


def _holds(node: Any, wanted: dict[str, float]) -> bool:
    return all(node["Resources"].get(name, 0.0) >= amount for name, amount in wanted.items())


def error_of(trial: Any) -> BaseException | None:
    """What ended a trial's worker last; Tune's own way to ask looks where the file is copied to later."""
    if not trial.pickled_error_file or not Path(trial.pickled_error_file).exists():
        return None
    error: BaseException = pickle.loads(Path(trial.pickled_error_file).read_bytes())  # noqa: S301 - written by us
    return error


def last_line(error: BaseException | None) -> str:
    """The last line of an error, which is where Ray says why."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if error is not None and lines else type(error).__name__
