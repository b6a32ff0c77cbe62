"""A sweep's report after a launch: made anew, which takes seconds, unless it would come out as it is.

A report is made from the sweep's plan, records and log, by this program with its plugins and packages. What these
were is kept beside it as one digest, together with the report: one that somebody has written since is made anew.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import rmt
from sweeps import launches, nodes, plugins, records, storage

REPORT, DIGEST = "report.html", "report.digest"
PROGRAM = (Path(__file__).parent, Path(rmt.__file__).parent)
_WHOLE = (records.PLAN, "spec.yaml", "packages.txt", nodes.FILE)  # of which each launch writes some as they were


def fresh_report(sweep: Path, program: Sequence[Path] = PROGRAM) -> Path | None:
    """The report of a sweep as it stands now, written where it is not; None without any record.

    Args:
        sweep: The sweep's folder.
        program: Folders of the code that writes it.
    """
    report, made_from = sweep / REPORT, _made_from(sweep, program)
    with suppress(FileNotFoundError):
        if (sweep / DIGEST).read_text(encoding="utf-8") == _with_report(made_from, report):
            return report
    from sweeps.reporting import has_records, write_report

    if not has_records(sweep):
        return None
    write_report(sweep.name, storage=sweep.parent)
    storage.write_atomically(sweep / DIGEST, _with_report(made_from, report))
    return report


def _made_from(sweep: Path, program: Sequence[Path]) -> str:
    digest = hashlib.sha256(f"{sys.version} {plugins.digests()}".encode())
    sources = (path for folder in program for path in sorted(folder.rglob("*")) if path.suffix != ".pyc")
    logs = sorted((sweep / launches.FOLDER).glob("*.json"))
    for path in (*sources, *(sweep / name for name in _WHOLE), *logs):
        if path.is_file():
            content = path.read_bytes()
            digest.update(f"{path} {len(content)}\n".encode() + content)
    for replicate in records.folders(sweep):
        digest.update("".join(_files(replicate)).encode())
    return digest.hexdigest()


def _files(replicate: Path) -> Iterator[str]:
    """A line for each file: name, size and time, by which the table tells too that a record has changed."""
    for path in sorted(replicate.iterdir()):
        with suppress(FileNotFoundError):  # one that was still being written when its worker ended
            stat = path.stat()
            yield f"{path} {stat.st_size} {stat.st_mtime_ns}\n"


def _with_report(made_from: str, report: Path) -> str:
    return hashlib.sha256(made_from.encode() + report.read_bytes()).hexdigest()
