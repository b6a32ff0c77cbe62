"""The networks of a sweep: a replicate's pruned module from its record or from MLflow, and files to deploy it.

Weights are read as safetensors, never unpickled.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

import rmt
from sweeps import models
from sweeps.assembly import rebuild_trial
from sweeps.choosing import rank
from sweeps.errors import SpecError, SweepNotFound
from sweeps.origin import WEIGHTS, Named, Origin, Source, origin_of

if TYPE_CHECKING:
    import os

    import pandas as pd

    from sweeps.data import Split
    from sweeps.trial_spec import TrialSpec

Which = str | int | None
Format = Literal["torchscript", "torch_export"]
FORMATS = ("torchscript", "torch_export")
BATCHES = (1, 256)
RUNS = 30


class Classifier(nn.Module):
    """A network with the normalisation of the examples it was trained on: from raw inputs to logits.

    Args:
        network: From normalised (example, channel, height, width) to (example, class).
        mean: (channel,) of the training part.
        sd: (channel,) of the training part.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, network: nn.Module, mean: Tensor, sd: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean.float()[:, None, None])
        self.register_buffer("sd", sd.float()[:, None, None])

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (example, class) of raw inputs (example, channel, height, width)."""
        return self.network((inputs.float() - self.mean) / self.sd)


@dataclass(frozen=True)
class Chosen:
    """A replicate that was chosen, with what is known of it.

    Attributes:
        origin: Where it was found.
        replicate: Names of its trial and of itself.
        row: Its row of the table of replicates.
        spec: Its configuration.
    """

    origin: Origin
    replicate: Named
    row: pd.Series
    spec: TrialSpec

    def network(self) -> nn.Module:
        """Its module in evaluation mode, with low-rank layers where it was cut.

        Raises:
            SweepNotFound: There are no weights of it.
        """
        content = self.origin.file(self.replicate, WEIGHTS)
        if content is None:
            raise SweepNotFound(
                f"no weights of replicate {self.replicate[1]} of trial {self.replicate[0]}: MLflow has those that "
                "`tracking.weights` (none, best, all) asks for, records those of replicates that did not diverge"
            )
        tensors: Mapping[str, Tensor] = load_tensors(content)
        module = rmt.match_structure(self.dense(), tensors)
        module.load_state_dict(dict(tensors))
        return module.eval()

    def dense(self) -> nn.Module:
        """The same architecture as its code builds it, before any cut, with weights of no meaning."""
        known = self.origin.record(self.replicate).get("input")
        shape, classes = (known["shape"], known["classes"]) if known else _shape_of(self.spec)
        return models.build(self.spec.model, tuple(shape), int(classes)).eval()

    def split(self) -> Split:
        """The examples it was trained, validated and tested on, normalised."""
        from sweeps import data

        found = data.load(self.spec.data)
        seed = int(self.row["seeds.split"])
        return data.split(
            found, seed=seed, validation=self.spec.data.validation, train_size=self.spec.data.train_size
        )

    def classifier(self, network: nn.Module | None = None) -> Classifier:
        """Its network, or another of the same data, from raw inputs on."""
        normalisation = self.split().normalisation
        mean, sd = (torch.from_numpy(array) for array in (normalisation.mean, normalisation.sd))
        return Classifier(network or self.network(), mean, sd).eval()


def _shape_of(spec: TrialSpec) -> tuple[tuple[int, int, int], int]:
    from sweeps.data import load

    dataset = load(spec.data)
    return dataset.shape, dataset.classes


def choose(origin: Origin, trial: str | None = None, replicate: Which = None) -> Chosen:
    """A finished replicate: by default the one with the best objective, of the best trial.

    Args:
        origin: Of the sweep.
        trial: Name of the trial, or its beginning.
        replicate: Its name or the beginning of it, or its number in the order of seeds, from 0.

    Raises:
        SweepNotFound: No such finished replicate; lists those there are.
    """
    table = origin.replicates()
    finished = table[table["status"] == "finished"]
    if finished.empty:
        raise SweepNotFound(f"no replicate of sweep {origin.name!r} has finished")
    rows = _of_trial(origin, finished, trial).reset_index(drop=True)
    if replicate is None:
        metric, direction = origin.objective["metric"], origin.objective["mode"]
        row = rows.sort_values([metric, "replicate_id"], ascending=[direction == "min", True]).iloc[0]
    elif isinstance(replicate, int):
        if not 0 <= replicate < len(rows):
            raise SweepNotFound(f"no replicate {replicate}; finished are 0 to {len(rows) - 1}")
        row = rows.iloc[replicate]
    else:
        row = rows.loc[_only(replicate, rows["replicate_id"], "replicate")]
    names = (str(row["trial_id"]), str(row["replicate_id"]))
    return Chosen(origin, names, row, rebuild_trial(origin.about(names[0])["config"], origin.spec))


def _of_trial(origin: Origin, table: pd.DataFrame, trial: str | None) -> pd.DataFrame:
    if trial is not None:
        names = table["trial_id"].drop_duplicates()
        return table[table["trial_id"] == names.loc[_only(trial, names, "trial")]]
    goal = origin.objective
    column = f"{goal['metric']}.{goal['statistic']}"
    ranked = rank(origin.trials([goal["metric"]]).dropna(subset=column), column, goal["mode"])
    if ranked.empty:
        raise SweepNotFound(f"sweep {origin.name!r} has no trial with a {column}: name one")
    return table[table["trial_id"] == ranked.iloc[0]["trial_id"]]


def _only(beginning: str, names: pd.Series, what: str) -> Any:
    """Index of the one name that begins so."""
    found = names[names.str.startswith(beginning)]
    if len(found) != 1:
        several = f"several {what}s begin" if len(found) else f"no finished {what} begins"
        known = ", ".join((found if len(found) else names)[:20])
        raise SweepNotFound(f"{several} with {beginning!r}; there: {known}")
    return found.index[0]


def load_model(
    name: str,
    *,
    trial: str | None = None,
    replicate: Which = None,
    source: Source = "records",
    storage: str | os.PathLike[str] | None = None,
    uri: str | None = None,
) -> nn.Module:
    """The pruned network of a replicate, in evaluation mode, with its low-rank layers; takes normalised inputs.

    Args:
        name: Of the sweep.
        trial: Name of the trial or its beginning; by default the best one.
        replicate: Its name, the beginning of it, or its number in the order of seeds; by default the best one.
        source: `records`, or `mlflow`, which has the weights that `tracking.weights` asked for.
        storage: Of the records, instead of `RMT_STORAGE` and `./sweeps-data`.
        uri: Of MLflow, instead of `MLFLOW_TRACKING_URI` and the store inside the storage.

    Raises:
        SweepNotFound: No such sweep, trial, replicate or weights; lists those there are.
        TrackingError: MLflow does not answer.
    """
    return choose(origin_of(name, source, storage=storage, uri=uri), trial, replicate).network()


def accuracy(module: nn.Module, inputs: Tensor, labels: Tensor, batch: int = 1024) -> float:
    """Share of examples (example, channel, height, width) whose label has the largest output."""
    with torch.inference_mode():
        hits = [
            (module(some).argmax(1) == wanted).sum()
            for some, wanted in zip(inputs.split(batch), labels.split(batch), strict=True)
        ]
    return float(sum(hits)) / len(labels)


def export(chosen: Chosen, to: Path, form: Format = "torchscript") -> dict[str, Any]:
    """Write a network, normalisation included, to a file that needs none of this code.

    Args:
        chosen: The replicate.
        to: The file.
        form: `torchscript` (`torch.jit.load`) or `torch_export` (`torch.export.load`).

    Returns:
        Where, and the measured latency: `milliseconds` by batch size of the dense and of the pruned network as
        they run here, and of the file as it is loaded again; medians of `RUNS` passes on this machine's CPU.

    Raises:
        SpecError: An unknown format, or a file whose outputs are not those of the network.
    """
    if form not in FORMATS:
        raise SpecError(f"unknown format {form!r}; known: {', '.join(FORMATS)}")
    pruned, dense = chosen.classifier(), chosen.classifier(chosen.dense())
    example = torch.rand(2, *chosen.split().test.source.shape[1:])
    loaded = _write(pruned, example, to, form)
    with torch.inference_mode():
        difference = float((loaded(example) - pruned(example)).abs().max())
    if not difference <= 1e-4:
        raise SpecError(f"{to}: its outputs differ from the network's by up to {difference:.3g}; not to be used")
    return {
        "file": str(to),
        "format": form,
        "trial_id": chosen.replicate[0],
        "replicate_id": chosen.replicate[1],
        "parameters": {"dense": _count(dense), "pruned": _count(pruned)},
        "milliseconds": {
            "dense": latency(dense, example),
            "pruned": latency(pruned, example),
            "exported": latency(loaded, example),
        },
    }


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _write(module: nn.Module, example: Tensor, to: Path, form: Format) -> nn.Module:
    if form == "torchscript":
        with warnings.catch_warnings():
            # torch calls it deprecated in favour of `torch.export`; runtimes that read nothing else are many.
            warnings.simplefilter("ignore", FutureWarning)
            torch.jit.save(torch.jit.trace(module, example), str(to))
            read: nn.Module = torch.jit.load(str(to))
        return read
    batch = torch.export.Dim("batch", min=1, max=1 << 20)
    torch.export.save(torch.export.export(module, (example,), dynamic_shapes=({0: batch},)), str(to))
    return torch.export.load(str(to)).module()


def latency(module: nn.Module, example: Tensor) -> dict[int, float]:
    """Median milliseconds of a pass by batch size, on this machine's CPU."""
    found = {}
    for size in BATCHES:
        inputs = example[:1].expand(size, *example.shape[1:]).contiguous()
        with torch.inference_mode():
            times = [_timed(module, inputs) for _ in range(3 + RUNS)][3:]  # the first ones warm caches up
        found[size] = round(1e3 * statistics.median(times), 4)
    return found


def _timed(module: nn.Module, inputs: Tensor) -> float:
    begun = time.perf_counter()
    module(inputs)
    return time.perf_counter() - begun
