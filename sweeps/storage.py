"""Files of a sweep: where they are, and writes that are whole or absent."""

from __future__ import annotations

import errno
import functools
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sweeps.errors import StorageError, StorageFull, SweepNotFound

DEFAULT = "./sweeps-data"


def resolve(explicit: str | os.PathLike[str] | None, spec: str = DEFAULT) -> Path:
    """Storage root: what is given explicitly, else `RMT_STORAGE`, else the spec's.

    Raises:
        StorageError: It is an address, which would become a folder of that name.
    """
    chosen = explicit or os.environ.get("RMT_STORAGE") or spec
    if "://" in str(chosen):
        raise StorageError(f"storage: {str(chosen)!r} is an address; allowed: a folder, on a cluster a shared one")
    return Path(chosen).expanduser().absolute()


def open_for_writing(root: Path) -> Path:
    """Make the storage root and try it.

    Raises:
        StorageError: It can not be made or written; says which path and why.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            return root
    except OSError as error:
        raise StorageError(
            f"storage: {root} is not writable ({error.strerror}); "
            "choose another place with --storage, RMT_STORAGE or `storage:` in the spec"
        ) from None


def sweep_folder(root: Path, name: str) -> Path:
    """Folder of an existing sweep.

    Raises:
        SweepNotFound: Lists the sweeps that are there.
    """
    there = sweeps_in(root)
    if name not in there or (root / name).resolve().parent != root.resolve():
        raise SweepNotFound(f"no sweep {name!r} in {root}; there: {', '.join(there) or 'none'}")
    return root / name


def sweeps_in(root: Path) -> list[str]:
    """Names of the sweeps in a storage."""
    return sorted(path.parent.name for path in root.glob("*/spec.yaml"))


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a whole file or nothing: a reader never sees a part, a crash leaves the old one.

    Raises:
        StorageFull: There is no room for it.
    """
    with room_for(path):
        _write_atomically(path, content)


def _write_atomically(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o666 & ~_umask())  # others read a shared storage; mkstemp is for secrets
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Say what to do when the disk is full while `path` is being written.

    Raises:
        StorageFull: Instead of the system's error.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StorageFull(
            f"{path} can not be written: {error.strerror}; what was written before is whole. Make room there "
            "(sweeps du says what takes it) and launch again: it goes on from what is recorded and saved"
        ) from None


@functools.cache
def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def write_json(path: Path, plain: Mapping[str, Any]) -> None:
    """Write a document atomically; infinities and NaN become null, which other readers understand."""
    write_atomically(path, json.dumps(finite(plain), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """The same nested value with numbers that JSON has no word for as None."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
