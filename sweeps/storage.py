"""Files of a sweep: where they are, and writes that are whole or absent.

Everything that writes, deletes or reads what others write goes through here, since the place may be the copy of an
`s3://` address (`mirror.py`). Of an ordinary folder nothing has to be refreshed, fetched or sent.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sweeps import mirror
from sweeps.errors import StorageError, StorageFull, SweepNotFound

DEFAULT = "./sweeps-data"


def resolve(explicit: str | os.PathLike[str] | None, spec: str = DEFAULT) -> Path:
    """Storage root: what is given explicitly, else `RMT_STORAGE`, else the spec's; of an address, its copy here.

    Raises:
        StorageError: It is an address other than `s3://BUCKET/PATH`, or one of a bucket that can not be used.
    """
    chosen = str(explicit or os.environ.get("RMT_STORAGE") or spec)
    return mirror.at(chosen) if mirror.is_address(chosen) else Path(chosen).expanduser().absolute()


def shown(path: Path) -> str:
    """A place as people know it: the address of what a copy is of."""
    copy = mirror.of(path)
    return str(path) if copy is None else copy.shown(path)


def refresh(folder: Path) -> None:
    """See what others have written into a folder, and deleted there.

    Raises:
        StorageUnreachable: The store does not answer.
    """
    copy = mirror.of(folder)
    if copy is not None:
        copy.refresh(folder)


def refresh_file(path: Path) -> None:
    """See what others have made of one file."""
    copy = mirror.of(path)
    if copy is not None:
        copy.refresh_file(path)


def at_hand(path: Path) -> Path:
    """The same path, with a large file there if it is anywhere."""
    copy = mirror.of(path)
    if copy is not None:
        copy.at_hand(path)
    return path


def settle(folder: Path) -> None:
    """Wait until everything that this process has written is where others see it.

    Raises:
        StorageUnreachable: The store does not take it.
    """
    copy = mirror.of(folder)
    if copy is not None:
        copy.settle()


def for_workers(sweep: Path) -> str:
    """A sweep's folder as a worker on another node finds it; `on_worker` is the inverse there."""
    return shown(sweep)


def on_worker(place: str) -> Path:
    """A sweep's folder on a worker; of an address a copy of its own, from which what it writes is sent behind."""
    return mirror.private(place) if mirror.is_address(place) else Path(place)


def let_go(*folders: Path) -> None:
    """Say that a worker needs folders of its own copy no more: everything in them is in the store.

    Raises:
        StorageUnreachable: It is not, and the store does not take it.
    """
    for folder in folders:
        copy = mirror.of(folder)
        if copy is not None:
            copy.settle()
            shutil.rmtree(folder, ignore_errors=True)


def sizes(folder: Path) -> Iterator[tuple[Path, int]]:
    """Path and bytes of every file of a folder."""
    copy = mirror.of(folder)
    if copy is not None:
        yield from copy.sizes(folder)
        return
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a running sweep replaces its files
            if path.is_file():
                yield path, path.stat().st_size


def open_for_writing(root: Path) -> Path:
    """Make the storage root and try it.

    Raises:
        StorageError: It can not be made or written; says which path and why.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise StorageError(
            f"storage: {root} is not writable ({error.strerror}); "
            "choose another place with --storage, RMT_STORAGE or `storage:` in the spec"
        ) from None
    copy = mirror.of(root)
    if copy is not None:
        copy.persist()
        copy.bucket.require_writable()
    return root


def sweep_folder(root: Path, name: str) -> Path:
    """Folder of an existing sweep, up to date.

    Raises:
        SweepNotFound: Lists the sweeps that are there.
    """
    there = sweeps_in(root)
    if name not in there or (root / name).resolve().parent != root.resolve():
        raise SweepNotFound(f"no sweep {name!r} in {shown(root)}; there: {', '.join(there) or 'none'}")
    refresh(root / name)
    return root / name


def require_folder(root: Path, *, explicit: bool) -> None:
    """Refuse a storage that is no folder, and one that was asked for by its path and is not there.

    Raises:
        StorageError: Names the path.
    """
    if mirror.of(root) is not None or root.is_dir():
        return
    if root.exists():
        raise StorageError(f"storage: {root} is a file, not a folder")
    if explicit or os.environ.get("RMT_STORAGE"):
        raise StorageError(f"storage: {root} is not there; sweeps run makes it")


def sweeps_in(root: Path) -> list[str]:
    """Names of the sweeps in a storage."""
    copy = mirror.of(root)
    return sorted(path.parent.name for path in root.glob("*/spec.yaml")) if copy is None else copy.sweeps()


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a whole file or nothing: a reader never sees a part, a crash leaves the old one.

    Raises:
        StorageFull: There is no room for it.
        StorageUnreachable: It is to go into a store that does not answer; what was there before still is.
    """
    data = content.encode() if isinstance(content, str) else content
    copy = mirror.of(path)
    if copy is not None:
        copy.before(path, data)
    with room_for(path):
        _write_atomically(path, data)
    if copy is not None:
        copy.after(path)


def publish(path: Path) -> None:
    """Let others see a file that was written otherwise than by `write_atomically`."""
    copy = mirror.of(path)
    if copy is not None:
        copy.before(path, path.read_bytes())
        copy.after(path)


def append(path: Path, line: str) -> None:
    """Add a line to a file, or nothing of it.

    Raises:
        StorageFull: There is no room for it.
    """
    before = path.stat().st_size if path.exists() else 0
    try:
        with room_for(path), path.open("a", encoding="utf-8") as file:
            file.write(line)
    except StorageFull:
        os.truncate(path, before)
        raise
    copy = mirror.of(path)
    if copy is not None:
        copy.appended(path)


def remove(path: Path) -> None:
    """Delete a file; it may be gone already."""
    path.unlink(missing_ok=True)
    copy = mirror.of(path)
    if copy is not None:
        copy.removed(path, is_folder=False)


def remove_folder(folder: Path) -> None:
    """Delete a folder and everything in it, as far as that can be."""
    shutil.rmtree(folder, ignore_errors=True)
    copy = mirror.of(folder)
    if copy is not None:
        copy.removed(folder, is_folder=True)


def _write_atomically(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
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


def write_json(path: Path, plain: Mapping[str, Any], *, indent: int | None = 1) -> None:
    """Write a document atomically; infinities and NaN become null, which other readers understand.

    Args:
        path: The file.
        plain: The document.
        indent: None for a line as long as it is: Python writes that ten times as fast.
    """
    encode = functools.partial(json.dumps, indent=indent, ensure_ascii=False, allow_nan=False)
    try:
        text = encode(plain)
    except (TypeError, ValueError):  # something in it is no JSON as it is
        text = encode(finite(plain))
    write_atomically(path, text + "\n")


def finite(value: Any) -> Any:
    """The same nested value with numbers that JSON has no word for as None."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
