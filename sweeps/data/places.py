"""Where published data sets are looked for, what is said when they are nowhere, and how they are fetched."""

from __future__ import annotations

import os
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

from sweeps.errors import DataNotFound

VARIABLE = "RMT_DATA"


class Place(NamedTuple):
    """A place to look in: who named it, and the folder (None when nobody did)."""

    label: str
    folder: Path | None


@dataclass(frozen=True)
class Published:
    """A data set that torchvision knows, as files that may already be on this machine.

    Attributes:
        name: What a spec calls it.
        torchvision: Its class in `torchvision.datasets`.
        folders: Where its files are below a folder of data sets: torchvision's own layout, then others.
        files: Names of the files; each may have `.gz` behind it.
        package: A system package that brings it, or None.
    """

    name: str
    torchvision: str
    folders: tuple[str, ...]
    files: tuple[str, ...]
    package: str | None = None

    def find(self, *, root: str | None) -> list[Path]:
        """Paths of the files, in the order of `files`, from the first place that holds them all.

        Places are: `root`, `$RMT_DATA`, the system's data-set folders, the folder that downloads go to.

        Raises:
            DataNotFound: No place holds them all; the message lists every one, and how to get the files.
        """
        tried = []
        for place in self._places(root):
            if place.folder is None:
                tried.append(f"{place.label}: not given")
                continue
            paths = [_plain_or_gzipped(place.folder / file) for file in self.files]
            found = [path for path in paths if path is not None]
            if len(found) == len(paths):
                return found
            tried.append(f"{place.label}: {place.folder} {self._what_is_there(place.folder, len(found))}")
        raise DataNotFound(self._nowhere(tried))

    def download(self, *, root: str | None) -> None:
        """Fetch the files with torchvision into `root`, else `$RMT_DATA`, else the user's cache.

        Raises:
            DataNotFound: The download failed; the message says how, where was looked, and how else to get it.
        """
        import torchvision

        folder = _folder(root) or _folder(os.environ.get(VARIABLE)) or _cache()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            getattr(torchvision.datasets, self.torchvision)(folder, download=True)
        except (OSError, RuntimeError, HTTPException, EOFError, tarfile.TarError, zlib.error) as error:
            try:
                self.find(root=root)
            except DataNotFound as missing:
                reason = " ".join(str(error).split())
                raise DataNotFound(
                    f"{missing}\nThe download into {folder} failed: {type(error).__name__}: {reason}"
                ) from error

    def _places(self, root: str | None) -> Iterator[Place]:
        for label, base in (
            ("data.root", _folder(root)),
            (f"${VARIABLE}", _folder(os.environ.get(VARIABLE))),
        ):
            if base is None:
                yield Place(label, None)
                continue
            # Relatives of MNIST have equal file names: a bare folder counts if it is meant for this very set.
            if label == "data.root" or base.name in self.folders:
                yield Place(label, base)
            yield from (Place(label, base / folder) for folder in self.folders)
        for share in _system():
            yield from (Place("system", share / folder) for folder in self.folders)
        yield from (Place("downloads", _cache() / folder) for folder in self.folders[:1])

    def _what_is_there(self, folder: Path, found: int) -> str:
        if not (os.access(folder, os.X_OK) and folder.is_dir()):
            return "is no folder that can be read"
        return f"holds {found} of its {len(self.files)} files ({', '.join(self.files)})"

    def _nowhere(self, tried: list[str]) -> str:
        call = f"import torchvision.datasets as d; d.{self.torchvision}('FOLDER', download=True)"
        ways = [f'    python -c "{call}"\n  and then data.root: FOLDER or {VARIABLE}=FOLDER']
        if self.package:
            ways.insert(0, f"    apt install {self.package}    (Debian, Ubuntu)")
        places = "\n".join(f"  {line}" for line in tried)
        return f"data set {self.name!r} was not found. Looked in:\n{places}\nTo get it:\n" + "\n  or\n".join(ways)


def _plain_or_gzipped(path: Path) -> Path | None:
    gzipped = path.with_name(f"{path.name}.gz")
    return next((file for file in (path, gzipped) if os.access(file, os.R_OK) and file.is_file()), None)


def _folder(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None


def _system() -> list[Path]:
    """Folders of data sets below the XDG data folders: Debian's packages use /usr/share/datasets."""
    shares = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    return [Path(share) / "datasets" for share in shares.split(os.pathsep) if share]


def _cache() -> Path:
    return (_folder(os.environ.get("XDG_CACHE_HOME")) or Path.home() / ".cache") / "rmt-sweeps"
