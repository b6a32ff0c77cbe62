"""From a spec's `data:` to a loaded data set, at most once a process."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.data.dataset import DATASETS, Dataset
from sweeps.errors import DataNotFound

if TYPE_CHECKING:
    from sweeps.trial_spec import Data

KEPT = 8  # data sets that stay in memory: those of one sweep, most likely
Stamp = tuple[tuple[str, int, int], ...]


def find(data: Data) -> list[Path]:
    """Files that `load` would read, without reading them; empty for what is generated or embedded.

    Raises:
        DataNotFound: They are in none of the places looked at.
    """
    files = data.entry.traits.get("files")
    if files is None:
        return []
    where = {name: data.options[name] for name in data.entry.traits["location"]}
    return list(files(**where))


def load(data: Data, *, download: bool = False) -> Dataset:
    """Load a data set, or return the one this process holds already if its files have not changed.

    Args:
        data: Kind and options; how it is split is of no concern here.
        download: Fetch a published set that is not on this machine. For whoever launches a sweep: trials are
            handed their data and never download.

    Raises:
        DataNotFound: It is in none of the places looked at, and was not or could not be downloaded.
        InvalidData: What was found can not be trained on.
    """
    try:
        paths = find(data)
    except DataNotFound:
        fetch = data.entry.traits.get("download")
        if fetch is None or not download:
            raise
        fetch(**{name: data.options[name] for name in data.entry.traits["location"]})
        paths = find(data)
    stats = [(str(path.resolve()), path.stat()) for path in paths]
    stamp = tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats)
    return _load(data.kind, json.dumps(data.options, sort_keys=True), stamp)


# The stamp is part of the cache's key: a file that changed is another data set.
@lru_cache(maxsize=KEPT)
def _load(kind: str, options: str, stamp: Stamp) -> Dataset:
    entry = DATASETS[kind]
    return entry.function(**entry.validate(json.loads(options)))
