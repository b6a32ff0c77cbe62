"""The copy on this machine of sweeps that are kept under an `s3://` address: what all others read and write.

The objects are the truth. A copy is brought up to date before it is read (`refresh`: one listing, and only what
has changed is fetched; large files when they are read, `at_hand`), and what is written goes into the store,

- by a driver and by commands, before it is written here: when the call returns it is durable for everybody;
- by a worker, whose copy is its own, after it is written here and in the background (`uploads.py`): checkpoints
  and records at once, histories within `HISTORY_SECONDS`; a trial has not ended before everything is there. What a
  worker that is lost had not sent is trained again, from the checkpoint that had been.

A copy may be deleted at any time. What is made from records and from nothing else (tables, the log of the
projector) stays on this machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil

from sweeps import bucket as buckets
from sweeps.bucket import SCHEME, Bucket, Entry
from sweeps.errors import StorageError
from sweeps.uploads import Uploads

HISTORY_SECONDS = 5.0
"""For so long the lines of a history may wait, so that one object takes those of several epochs."""
RACY_SECONDS = 2.0
"""An object younger than this may change again and look the same: a store's clock counts whole seconds."""
FETCHES_AT_ONCE = 16
PRIVATE = "worker-"
CLAIMS = "lease"
"""Folder of a sweep that is never copied: `claims.py` asks the store itself."""
_ABOUT = ".address.json"
_LARGE = (".npz", ".bin", ".safetensors")
_OURS_ALONE = (".parquet", "projector.log")
_FOLDERS_ALONE = (CLAIMS, "paper")

_known: dict[Path, Mirror] = {}
_opening = threading.RLock()


def is_address(text: str) -> bool:
    """Whether it is an address rather than a folder; a Path has made one slash of the two."""
    return re.match(r"[A-Za-z][A-Za-z0-9+]+:/", text) is not None


def home() -> Path:
    """Folder of all copies on this machine: `RMT_MIRRORS`, else `rmt-sweeps` in the user's cache."""
    given = os.environ.get("RMT_MIRRORS")
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(given or f"{cache}/rmt-sweeps").expanduser().absolute()


def at(address: str) -> Path:
    """Root of the copy of what is kept at an address; made when it is first asked for.

    Raises:
        StorageError: It is no address of a bucket that can be used, or there is no place for a copy.
    """
    return _open(_normal(address), "").root


def private(address: str) -> Path:
    """A folder below an address in a copy of this process's own, from which what is written is sent behind.

    Raises:
        StorageError: As `at`.
    """
    root, _, name = _normal(address).rpartition("/")
    return _open(root, f"{PRIVATE}{_host()}-{os.getpid()}-").root / name


def _normal(address: str) -> str:
    one_slash = re.fullmatch(r"s3:/([^/].*)", address)
    return f"{SCHEME}{one_slash[1]}" if one_slash else address


def of(path: Path) -> Mirror | None:
    """The copy that a path is in; None for a folder like any other."""
    if not path.is_relative_to(home()) or path == home():
        return None
    root = home() / path.relative_to(home()).parts[0]
    with _opening:
        if root not in _known:
            try:
                about = json.loads((root / _ABOUT).read_bytes())
            except (OSError, ValueError):
                return None
            if about["endpoint"] != buckets.endpoint():
                raise StorageError(
                    f"{root} is the copy of {about['address']} at {about['endpoint'] or 'Amazon S3'}, and "
                    f"AWS_ENDPOINT_URL is {buckets.endpoint() or 'not set'}; give the address as --storage"
                )
            _known[root] = Mirror(root, Bucket(about["address"]))
        return _known[root]


def _open(address: str, prefix: str) -> Mirror:
    bucket, path = buckets.parse(address)
    server = buckets.endpoint()
    digest = hashlib.sha256(f"{server} {bucket}/{path}".encode()).hexdigest()[:12]
    root = home() / f"{prefix}{bucket}-{digest}"
    with _opening:
        if root in _known:
            return _known[root]
        patience = buckets.patience() if prefix else buckets.BRIEF_SECONDS
        mirror = Mirror(root, Bucket(address, patience=patience), is_private=bool(prefix))
        mirror.bucket.require()
        try:
            home().mkdir(mode=0o700, parents=True, exist_ok=True)
            if prefix:
                _forget_the_dead()
                shutil.rmtree(root, ignore_errors=True)
            root.mkdir(mode=0o700, exist_ok=True)
            about = {"address": mirror.bucket.address, "endpoint": server}
            _replace(root / _ABOUT, json.dumps(about).encode())
        except OSError as error:
            raise StorageError(
                f"storage: no copy of {mirror.bucket.address} can be kept in {root} ({error.strerror}); choose "
                "another folder of this machine with RMT_MIRRORS"
            ) from None
        _known[root] = mirror
        return mirror


def _forget_the_dead() -> None:
    """Delete the copies of workers that are gone; what they had not sent is trained again."""
    prefix = f"{PRIVATE}{_host()}-"
    for folder in home().glob(f"{prefix}*"):
        number = folder.name.removeprefix(prefix).partition("-")[0]
        if number.isdecimal() and not psutil.pid_exists(int(number)):
            shutil.rmtree(folder, ignore_errors=True)


def _host() -> str:
    """A home may be shared by machines, each with processes of its own."""
    return re.sub(r"[^\w.]", "_", socket.gethostname())


class Mirror:
    """A copy of what is kept at an address.

    Args:
        root: Its folder; each sweep's is in it.
        bucket: What it is a copy of.
        is_private: Whether one process alone uses it, which sends behind.
    """

    def __init__(self, root: Path, bucket: Bucket, *, is_private: bool = False) -> None:
        self.root, self.bucket = root, bucket
        self._uploads = Uploads(self._send) if is_private else None

    def key(self, path: Path) -> str:
        """Of the object that a file is the copy of; of all below a folder, their beginning."""
        return path.relative_to(self.root).as_posix()

    def shown(self, path: Path) -> str:
        """The address of a file or folder."""
        return "/".join((self.bucket.address, *path.relative_to(self.root).parts))

    def sweeps(self) -> list[str]:
        """Names of the sweeps at the address."""
        names = self.bucket.names()
        found = self.bucket.look(*(f"{name}/spec.yaml" for name in names)) if names else []
        return [name for name, entry in zip(names, found, strict=True) if entry is not None]

    def persist(self) -> None:
        """Go on trying a store that does not answer for as long as a launch does."""
        self.bucket.patience = buckets.patience()

    def refresh(self, folder: Path) -> None:
        """Bring a folder up to date; of large files only those go that have changed.

        Raises:
            StorageUnreachable: The store does not answer.
        """
        self.settle()
        before = set(self._copied(folder))
        found = {Path(key): entry for key, entry in self.bucket.below(self.key(folder)).items() if _is_safe(key)}
        copied = {self.root / path: entry for path, entry in found.items() if not _is_alone(path)}
        changed = [path for path, entry in copied.items() if _differs(path, entry)]
        with ThreadPoolExecutor(FETCHES_AT_ONCE) as pool:
            small = [path for path in changed if not path.name.endswith(_LARGE)]
            list(pool.map(lambda path: self._fetch(path, copied[path]), small))
        gone = before - set(copied)
        for path in gone | {path for path in changed if path.name.endswith(_LARGE)}:
            path.unlink(missing_ok=True)
        for place in {parent for path in gone for parent in path.parents if parent.is_relative_to(folder)}:
            _prune(place)

    def refresh_file(self, path: Path) -> None:
        """Bring one file up to date."""
        (entry,) = self.bucket.look(self.key(path))
        if entry is None:
            path.unlink(missing_ok=True)
        elif _differs(path, entry):
            self._fetch(path, entry)

    def at_hand(self, path: Path) -> None:
        """Fetch a file that is not here, if there is such a one."""
        if not path.exists() and not _is_alone(path.relative_to(self.root)):
            (entry,) = self.bucket.look(self.key(path))
            if entry is not None:
                self._fetch(path, entry)

    def sizes(self, folder: Path) -> Iterator[tuple[Path, int]]:
        """Path and bytes of every file of a folder, whether it is here or not."""
        for key, entry in self.bucket.below(self.key(folder)).items():
            yield self.root / key, entry.size

    def before(self, path: Path, content: bytes) -> None:
        """Called with what is about to be written: it goes into the store first, unless it is sent behind."""
        if self._uploads is None and not _is_alone(path.relative_to(self.root)):
            self.bucket.write(self.key(path), content)

    def after(self, path: Path) -> None:
        """Called with what has been written: it is sent behind, unless it was sent before."""
        if self._uploads is not None and not _is_alone(path.relative_to(self.root)):
            self._uploads.send(path)

    def appended(self, path: Path) -> None:
        """Called with a file that has grown by a line."""
        if self._uploads is not None:
            self._uploads.send(path, within=HISTORY_SECONDS)
        else:
            self.bucket.write(self.key(path), path.read_bytes())

    def removed(self, path: Path, *, is_folder: bool) -> None:
        """Called with what is to be deleted here too."""
        drop = self._drop_folder if is_folder else self._drop_file
        if self._uploads is not None:
            self._uploads.delete(path, drop)
        else:
            drop(path)

    def settle(self) -> None:
        """Wait until everything that was written is in the store.

        Raises:
            StorageUnreachable: The store does not take it.
        """
        if self._uploads is not None:
            self._uploads.settle()

    def _send(self, path: Path) -> None:
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # deleted since, which is said next
            return
        if path.suffix == ".jsonl":  # it may be growing just now
            content = content[: content.rfind(b"\n") + 1]
        self.bucket.write(self.key(path), content)

    def _drop_file(self, path: Path) -> None:
        self.bucket.delete(self.key(path))

    def _drop_folder(self, path: Path) -> None:
        self.bucket.delete_below(self.key(path))

    def _fetch(self, path: Path, entry: Entry) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        temporary = Path(name)
        try:
            if self.bucket.fetch(self.key(path), temporary):
                if time.time() - entry.modified / 1e9 > RACY_SECONDS:
                    os.utime(temporary, ns=(entry.modified, entry.modified))
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def _copied(self, folder: Path) -> Iterator[Path]:
        """Files of a folder that are copies of objects, or were."""
        for place, folders, files in os.walk(folder):
            folders[:] = [name for name in folders if name not in _FOLDERS_ALONE]
            for name in files:
                path = Path(place, name)
                if not _is_alone(path.relative_to(self.root)):
                    yield path


def _is_alone(relative: Path) -> bool:
    """Whether a file is of this machine alone, and no object's copy."""
    parts = relative.parts
    return (
        len(parts) < 2  # of no sweep: the store of MLflow, which no bucket can hold
        or parts[1] in _FOLDERS_ALONE
        or parts[-1].startswith(".")
        or parts[-1].endswith(_OURS_ALONE)
    )


def _is_safe(key: str) -> bool:
    """Whether a key is a path below the root."""
    return all(part not in ("", ".", "..") for part in key.split("/"))


def _differs(path: Path, entry: Entry) -> bool:
    try:
        state = path.stat()
    except FileNotFoundError:
        return True
    return (state.st_size, state.st_mtime_ns) != (entry.size, entry.modified)


def _prune(folder: Path) -> None:
    """Delete a folder and those in it that are empty: objects have none."""
    for place, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):  # not empty
            Path(place).rmdir()


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)
