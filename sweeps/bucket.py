"""Objects under an `s3://` address: the only module that knows `pyarrow.fs`, the file system layer of Ray.

An object is put whole or not at all, and whoever lists or reads after that sees it; nothing more is assumed of a
store. Credentials, region and endpoint are those of the environment (`AWS_*`, `AWS_ENDPOINT_URL`) and of the files
that it names, on each machine its own: no address here holds any, and no message shows any.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from sweeps.errors import StorageError, StorageUnreachable

SCHEME = "s3://"
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 15.0
"""Without a byte from a store that has been asked."""
PATIENCE_SECONDS = 600.0
"""How long a launch goes on trying a store that does not answer; `RMT_STORAGE_PATIENCE` overrides."""
BRIEF_SECONDS = 4.0
"""How long a question does."""
BACKOFF_SECONDS = (0.2, 10.0)
_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_PATH = r"[\w!*'() .,=+-]+"
_WORDS = {
    "ACCESS_DENIED": "there is no such bucket, or these credentials may not do that there",
    "NO_SUCH_BUCKET": "there is no such bucket",
    "SIGNATURE_DOES_NOT_MATCH": "the secret key is wrong",
    "INVALID_SIGNATURE": "the secret key is wrong",
    "INVALID_ACCESS_KEY_ID": "the access key is not known there",
    "NETWORK_CONNECTION": "nobody answers",
}
_ADVICE = (
    "credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or the file AWS_SHARED_CREDENTIALS_FILE, "
    "the address of a server that is not Amazon's from AWS_ENDPOINT_URL"
)
T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """An object as a listing tells of it.

    Attributes:
        size: Bytes.
        modified: Nanoseconds since 1970 by the store's clock, which counts whole seconds.
    """

    size: int
    modified: int


def parse(address: str) -> tuple[str, str]:
    """Bucket and path of an address; the path has no slash at either end.

    Raises:
        StorageError: It is not `s3://BUCKET/PATH`, or says more than that. What it said is not repeated.
    """
    allowed = "allowed: a folder, or s3://BUCKET/PATH"
    scheme, _, rest = address.partition("://")
    if scheme != "s3":
        raise StorageError(f"storage: an address with {scheme}:// is none that records can be kept at; {allowed}")
    if any(sign in rest for sign in "@?#:"):
        raise StorageError(
            f"storage: the s3:// address holds credentials or options, and addresses are written into records; "
            f"{allowed}, and {_ADVICE}"
        )
    bucket, _, path = rest.rstrip("/").partition("/")
    if not re.fullmatch(_BUCKET, bucket):
        raise StorageError(f"storage: {bucket!r} in {address!r} is no name of a bucket; {allowed}")
    if path and not all(re.fullmatch(_PATH, part) and part.strip(".") for part in path.split("/")):
        raise StorageError(f"storage: {path!r} in {address!r} is no path; {allowed}, of letters, digits and -_.")
    return bucket, path


def endpoint() -> str | None:
    """Address of the S3 server by the environment; None for Amazon's.

    Raises:
        StorageError: It is not http(s)://HOST:PORT.
    """
    given = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not given:
        return None
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise StorageError("AWS_ENDPOINT_URL: it is no address of a server; allowed: http(s)://HOST:PORT")
    return f"{parts.scheme}://{parts.netloc}"


class Bucket:
    """The objects under an address, by keys relative to it.

    Args:
        address: `s3://BUCKET/PATH`.
        patience: Seconds for which each call tries a store that does not answer or refuses.

    Raises:
        StorageError: The address is none.
    """

    def __init__(self, address: str, *, patience: float = BRIEF_SECONDS) -> None:
        self._bucket, path = parse(address)
        self._place = "/".join(filter(None, (self._bucket, path)))
        self.address = SCHEME + self._place
        self.endpoint = endpoint()
        self.patience = patience
        self._system = _connect(self._bucket, self.endpoint)

    def _path(self, key: str) -> str:
        return f"{self._place}/{key}" if key else self._place

    def require(self) -> None:
        """See that the bucket is there and lets us in.

        Raises:
            StorageError: It is not, or does not; says which and what to do.
        """
        from pyarrow.fs import FileSelector, FileType

        def look() -> bool:
            # The listing tells wrong credentials from others, the question for the bucket does not.
            self._system.get_file_info(FileSelector(self._path(""), allow_not_found=True))
            return bool(self._system.get_file_info(self._bucket).type != FileType.NotFound)

        if not self._tried(look):
            raise StorageError(self._sentence(_WORDS["NO_SUCH_BUCKET"]))

    def require_writable(self) -> None:
        """See that objects can be put and deleted.

        Raises:
            StorageError: They can not; says what to do.
        """
        key = f".writable-{os.getpid()}-{random.SystemRandom().getrandbits(32):08x}"
        self.write(key, b"")
        self.delete(key)

    def below(self, prefix: str = "") -> dict[str, Entry]:
        """Every object below a prefix, which is a whole name or several; keys are relative to the address."""
        from pyarrow.fs import FileSelector, FileType

        selector = FileSelector(self._path(prefix), recursive=True, allow_not_found=True)
        found = self._tried(lambda: self._system.get_file_info(selector))
        cut = len(self._place) + 1
        return {
            one.path[cut:]: Entry(int(one.size), int(one.mtime_ns)) for one in found if one.type == FileType.File
        }

    def names(self) -> list[str]:
        """First parts of the keys that have several."""
        from pyarrow.fs import FileSelector, FileType

        selector = FileSelector(self._path(""), allow_not_found=True)
        found = self._tried(lambda: self._system.get_file_info(selector))
        return sorted(one.base_name for one in found if one.type == FileType.Directory)

    def look(self, *keys: str) -> list[Entry | None]:
        """These objects, in their order; None for one that is not there."""
        from pyarrow.fs import FileType

        found = self._tried(lambda: self._system.get_file_info([self._path(key) for key in keys]))
        return [Entry(int(one.size), int(one.mtime_ns)) if one.type == FileType.File else None for one in found]

    def read(self, key: str) -> bytes | None:
        """An object's content; None when it is not there."""

        def get() -> bytes:
            with self._system.open_input_stream(self._path(key)) as stream:
                return bytes(stream.read())

        try:
            return self._tried(get)
        except FileNotFoundError:
            return None

    def fetch(self, key: str, to: Path) -> bool:
        """Copy an object into a file; whether it is there."""

        def get() -> None:
            with self._system.open_input_stream(self._path(key)) as stream, to.open("wb") as file:
                shutil.copyfileobj(stream, file, 1 << 20)

        try:
            self._tried(get)
        except FileNotFoundError:
            return False
        return True

    def write(self, key: str, content: bytes) -> None:
        """Put an object in the place of what was there."""

        def put() -> None:
            with self._system.open_output_stream(self._path(key)) as stream:
                stream.write(content)

        self._tried(put)

    def delete(self, key: str) -> None:
        """Delete an object; it may be gone already."""
        try:
            self._tried(lambda: self._system.delete_file(self._path(key)))
        except FileNotFoundError:
            return

    def delete_below(self, prefix: str) -> None:
        """Delete all objects below a prefix."""
        try:
            self._tried(lambda: self._system.delete_dir(self._path(prefix)))
        except FileNotFoundError:
            return

    def _tried(self, call: Callable[[], T]) -> T:
        """Call until it succeeds, or fails for good.

        Raises:
            FileNotFoundError: There is no such object.
            StorageUnreachable: It has failed for as long as patience lasts.
        """
        until, pause = time.monotonic() + self.patience, BACKOFF_SECONDS[0]
        while True:
            try:
                return call()
            except FileNotFoundError:
                raise
            except OSError as error:
                if time.monotonic() + pause > until:
                    raise StorageUnreachable(self._sentence(_why(error))) from None
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, BACKOFF_SECONDS[1])

    def _sentence(self, why: str) -> str:
        where = f"{self.address} at {self.endpoint}" if self.endpoint else self.address
        return (
            f"storage: {where} can not be used: {why}; {_ADVICE}. What is recorded there is whole: once it "
            "answers, launch again, which goes on from what is recorded and saved"
        )


def _why(error: OSError) -> str:
    """What a store has answered, without its identifiers of the request."""
    text = " ".join(str(error).split())
    code = re.search(r"AWS Error (\w+)", text)
    if code and code[1] in _WORDS:
        return _WORDS[code[1]]
    if code and code[1] != "UNKNOWN":
        return code[1]
    return text.partition(" (Request ID")[0]


def _connect(bucket: str, server: str | None) -> Any:
    from pyarrow import fs

    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if server is None and region is None:
        try:
            region = fs.resolve_s3_region(bucket)
        except OSError:  # said by whatever is asked of the bucket first
            region = None
    parts = urlsplit(server or "")
    return fs.S3FileSystem(
        region=region or ("us-east-1" if server else None),
        scheme=parts.scheme or "https",
        endpoint_override=parts.netloc or None,
        connect_timeout=CONNECT_SECONDS,
        request_timeout=ANSWER_SECONDS,
        background_writes=False,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),  # trying again is done here
        allow_delayed_open=True,  # spares a question for each object; what fails does when it is closed
    )


def patience() -> float:
    """Seconds for which a launch goes on trying.

    Raises:
        StorageError: `RMT_STORAGE_PATIENCE` is no number of seconds.
    """
    given = os.environ.get("RMT_STORAGE_PATIENCE", "")
    try:
        seconds = float(given or PATIENCE_SECONDS)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise StorageError(f"RMT_STORAGE_PATIENCE: {given!r} is no number of seconds; allowed: 0 or more")
    return seconds
