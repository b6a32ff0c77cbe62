"""Which test examples each replicate was right on, for a whole sweep: read once, then kept beside the table.

`correct.parquet` is a cache of the records' `test_correct.bin`, packed as there: 10,000 replicates on 10,000
examples are 12.5 MB. It is made again where it is deleted, torn or behind, as `table.parquet` is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from sweeps import records, storage
from sweeps.status import Status

CORRECT = "correct.parquet"
FILE = "test_correct.bin"


class Packed(NamedTuple):
    """Bits of one replicate, eight to a byte, and how many of them count; `seen` tells the file it is from."""

    bits: bytes
    examples: int
    seen: str = ""


class Correctness(Mapping[str, NDArray[np.bool_]]):
    """By replicate id, shape (test examples,): whether each was classified rightly. Kept packed."""

    def __init__(self, packed: Mapping[str, Packed]) -> None:
        self._packed = packed

    def __getitem__(self, replicate_id: str) -> NDArray[np.bool_]:
        one = self._packed[replicate_id]
        return np.unpackbits(np.frombuffer(one.bits, dtype=np.uint8), count=one.examples).astype(bool)

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    def frame(self) -> pd.DataFrame:
        """A row a replicate: `replicate_id`, `examples`, `bits`."""
        rows = [(name, one.examples, one.bits) for name, one in self._packed.items()]
        return pd.DataFrame(rows, columns=["replicate_id", "examples", "bits"])

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Correctness:
        """Inverse of `frame`."""
        rows = zip(frame["replicate_id"], frame["bits"], frame["examples"], strict=True)
        return cls({str(name): Packed(bits, int(examples)) for name, bits, examples in rows})


def correctness_of(sweep: Path, table: pd.DataFrame) -> Correctness:
    """What the finished replicates of a table were right on; those without a whole file are left out.

    Args:
        sweep: The sweep's folder.
        table: A row a replicate, as `sweeps.replicates` gives it.
    """
    if "test_examples" not in table:
        return Correctness({})
    known = _read(sweep / CORRECT)
    rows = table[(table["status"] == Status.FINISHED) & table["test_examples"].notna()]
    found: dict[str, Packed] = {}
    fresh = False
    for trial, name, examples in zip(rows["trial_id"], rows["replicate_id"], rows["test_examples"], strict=True):
        path = records.replicate_folder(sweep, trial, name) / FILE
        try:
            stat = storage.at_hand(path).stat()
            seen = f"{stat.st_size}:{stat.st_mtime_ns}"
            one = known.get(name)
            if one is None or one.seen != seen:
                one, fresh = Packed(path.read_bytes(), int(examples), seen), True
        except OSError:
            continue
        if len(one.bits) == -(-one.examples // 8):
            found[name] = one
    if fresh:
        _write(sweep / CORRECT, found)
    return Correctness(found)


def _read(path: Path) -> dict[str, Packed]:
    try:
        table = pd.read_parquet(path)
        rows = zip(table["replicate_id"], table["bits"], table["examples"], table["seen"], strict=True)
        return {name: Packed(bits, int(examples), seen) for name, bits, examples, seen in rows}
    except (FileNotFoundError, KeyError, pa.ArrowException):
        return {}


def _write(path: Path, found: Mapping[str, Packed]) -> None:
    """Keep them for the next question; where that can not be, they are read again."""
    rows = [(name, one.bits, one.examples, one.seen) for name, one in found.items()]
    table = pd.DataFrame(rows, columns=["replicate_id", "bits", "examples", "seen"])
    with contextlib.suppress(OSError, pa.ArrowException):
        storage.write_atomically(path, table.to_parquet(None, index=False))
