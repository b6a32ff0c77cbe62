"""A sweep's result in one file that can be checked without the sweep: spec, tables, findings, report, digests.

| in the file | what |
|---|---|
| `spec.yaml`, `plan.json` | what was asked for |
| `constraints.txt` | the versions it ran with, for pip |
| `replicates.parquet` | a row a replicate of the plan, as `sweeps.replicates` gives it |
| `correct.parquet` | which test examples each finished replicate was right on, packed |
| `findings/NAME.json` | a question with its options, and its answer |
| `report.html` | the report |
| `launches.json` | what each launch set out to do and what came of it, and the workers that were lost |
| `digests.json` | SHA-256 of every other file, the format, and how many recorded replicates are left out |

`verify` compares the digests, counts the accuracies again from the bits, asks every question again and makes the
report again from the tables. Digests show what was changed by accident or by hand; a change whose digests were
made anew shows in what no longer follows. Some things follow from nothing else in the file and are held by their
digest alone, and `verify` says which: the spec, the versions, and what the report takes from records.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sweeps import findings, query, records, reporting, storage
from sweeps.aggregate import trials_of
from sweeps.correctness import Correctness, correctness_of
from sweeps.errors import StorageError, SweepError
from sweeps.origin import Root
from sweeps.report import rebuilt
from sweeps.report.document import Log, Tables, document, log_of
from sweeps.reservations import reservations
from sweeps.table import of_plan

FORMAT = 1
DIGESTS, TABLE, CORRECT, PLAN = "digests.json", "replicates.parquet", "correct.parquet", records.PLAN
REPORT, LOG = "report.html", "launches.json"
DIGEST_ALONE = (
    "held by digests alone: spec.yaml, constraints.txt, the plan, the launches and the tables themselves, and in "
    f"the report {rebuilt.NOT_REBUILT}"
)
FINDINGS = "findings/"
# Of every entry, so that the same results make the same file.
EPOCH = (1980, 1, 1, 0, 0, 0)


class NotABundle(SweepError, ValueError):
    """A file that is no bundle, or one of a newer format."""


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Attributes:
        files: Files whose digests were compared.
        findings: Findings that were computed again.
        problems: What differs, a sentence each; none for a bundle that holds what it says.
        notes: What is held by its digest alone, and what has to be known to read the findings.
    """

    files: int
    findings: int
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing differs."""
        return not self.problems


def write_bundle(name: str, to: Path, *, store: Root = None) -> Path:
    """Write a sweep's results into one file.

    Args:
        name: Of the sweep.
        to: The file, written whole or not at all.
        store: Storage, instead of `RMT_STORAGE` and `./sweeps-data`.

    Raises:
        SweepNotFound: The storage has no such sweep; lists those it has.
        StorageError: The sweep has no record yet, or the file can not be written.
    """
    sweep = storage.sweep_folder(storage.resolve(store), name)
    replicates = query.replicates(name, storage=store)
    if replicates.empty:
        raise StorageError(f"sweep {name!r} has no record yet: nothing to bundle")
    # Findings are about the plan, as the report's are, not about what an earlier one left behind.
    recorded, plan = len(replicates), records.read_plan(sweep)
    replicates = of_plan(replicates, plan)
    if replicates.empty:
        raise StorageError(f"sweep {name!r} has no record of its present plan yet: nothing to bundle")
    left_out = recorded - len(replicates)
    contents = {
        "spec.yaml": (sweep / "spec.yaml").read_bytes(),
        PLAN: (sweep / PLAN).read_bytes(),
        "constraints.txt": _constraints(sweep).encode(),
        TABLE: replicates.to_parquet(None, index=False),
        CORRECT: correctness_of(sweep, replicates).frame().to_parquet(None, index=False),
    }
    # From the tables as they will be read, so that nothing depends on what a file does not keep.
    table, correct, objective = _tables(contents)
    contents[LOG] = _json(log_of(sweep)._asdict())
    material = reporting.report_material(name, store) | _material(table, correct, plan, left_out)
    material["log"] = _log(contents)
    contents[REPORT] = document(Tables(**material)).encode()
    for title, function, options in findings.questions(table, objective):
        found = findings.answer(table, correct, function, options)
        contents[f"{FINDINGS}{title}.json"] = _json(found)
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in sorted(contents.items())}
    listed = _json({"format": FORMAT, "sweep": name, "left_out": left_out, "files": digests})
    try:
        storage.write_atomically(to, _zip({DIGESTS: listed, **contents}))
    except OSError as error:
        raise StorageError(f"{to} can not be written ({error.strerror})") from None
    return to


def _json(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _constraints(sweep: Path) -> str:
    """Versions of the packages that the replicates ran with; those that differed are a comment."""
    versions: dict[str, dict[str, None]] = {}
    for folder in records.folders(sweep):
        try:
            record = records.read_record(folder) or {}
        except StorageError:
            continue  # it is in no table either
        for package, version in (record.get("environment", {}).get("versions") or {}).items():
            versions.setdefault(package, {})[str(version)] = None
    lines = []
    for package, found in sorted(versions.items()):
        comment = "" if package != "python" and len(found) == 1 else "# "
        lines.append(f"{comment}{package}=={', '.join(found)}")
    return "\n".join(lines) + "\n"


def _zip(contents: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in contents.items():
            entry = zipfile.ZipInfo(path, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return file.getvalue()


def verify(file: Path) -> Verification:
    """Check a bundle: digests, accuracies against the bits, every finding asked and the report made again.

    Raises:
        NotABundle: The file can not be read as one, or is of a newer format.
    """
    contents = _read(file)
    stated = json.loads(contents.pop(DIGESTS))
    problems = list(_by_digest(contents, stated["files"]))
    asked = {path: content for path, content in contents.items() if path.startswith(FINDINGS)}
    try:
        table, correct, objective = _tables(contents)
    except (KeyError, ValueError, OSError) as error:
        problems.append(f"the tables can not be read ({error}), so no finding was computed again")
        return Verification(len(stated["files"]), 0, tuple(problems))
    plan, left_out = json.loads(contents[PLAN]), int(stated.get("left_out", 0))
    problems += _by_counting(table, correct)
    problems += _by_asking(table, correct, objective, asked)
    if REPORT in contents:
        material = _material(table, correct, plan, left_out) | {"log": _log(contents)}
        problems += _by_reporting(contents[REPORT].decode(), str(stated["sweep"]), material)
    notes = (DIGEST_ALONE, *reservations(plan, left_out))
    return Verification(len(stated["files"]), len(asked), tuple(problems), notes)


def _by_reporting(page: str, sweep: str, material: dict[str, Any]) -> Iterator[str]:
    """The report against the one that the tables give."""
    nothing: dict[str, Any] = {"storage": Path(), "spectra": lambda *_: {}, "histories": lambda *_: []}
    made_again = document(Tables(sweep=sweep, **material, **nothing))
    yield from (f"{REPORT}: {text}" for text in rebuilt.differences(page, made_again))


def _log(contents: Mapping[str, bytes]) -> Log:
    """What launches left behind; bundles of earlier versions have nothing of it, in their reports either."""
    return Log(**json.loads(contents[LOG])) if LOG in contents else Log()


def _material(table: pd.DataFrame, correct: Correctness, plan: Mapping[str, Any], left_out: int) -> dict[str, Any]:
    """What of a report follows from the tables of a bundle."""
    metric = str(plan["objective"]["metric"])
    trials = trials_of(table, objective=metric)
    return {"table": table, "trials": trials, "plan": plan, "correct": correct, "left_out": left_out}


def _read(file: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(file) as archive:
            contents = {path: archive.read(path) for path in archive.namelist()}
        stated = json.loads(contents[DIGESTS])
        written = int(stated["format"])
        dict(stated["files"])
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        raise NotABundle(f"{file} is no bundle of a sweep ({error})") from None
    if written > FORMAT:
        raise NotABundle(f"{file} has format {written}; this version reads up to {FORMAT}: upgrade it")
    return contents


def _tables(contents: Mapping[str, bytes]) -> tuple[pd.DataFrame, Correctness, str]:
    """Replicates, what they were right on, and the objective's metric."""
    table, correct = (pd.read_parquet(io.BytesIO(contents[path])) for path in (TABLE, CORRECT))
    return table, Correctness.of(correct), str(json.loads(contents[PLAN])["objective"]["metric"])


def _by_digest(contents: Mapping[str, bytes], digests: Mapping[str, str]) -> Iterator[str]:
    for path in sorted({*contents, *digests}):
        if path not in contents:
            yield f"{path}: missing"
        elif path not in digests:
            yield f"{path}: not among the digests"
        elif hashlib.sha256(contents[path]).hexdigest() != digests[path]:
            yield f"{path}: differs from its digest"


def _by_counting(table: pd.DataFrame, correct: Correctness) -> Iterator[str]:
    """Test accuracies follow from the bits."""
    if "test_accuracy" not in table:
        return
    stated = dict(zip(table["replicate_id"], table["test_accuracy"], strict=True))
    for name, bits in correct.items():
        accuracy = float(stated.get(name, float("nan")))
        if not abs(accuracy - float(bits.mean())) <= findings.TOLERANCE:  # not a number differs, too
            yield f"{TABLE}: test_accuracy of {name}: stated {accuracy}, computed {bits.mean()}"


def _by_asking(
    table: pd.DataFrame, correct: Correctness, objective: str, asked: Mapping[str, bytes]
) -> Iterator[str]:
    """Every finding again, and none of those that belong to the tables left out."""
    for title, _, _ in findings.questions(table, objective):
        if f"{FINDINGS}{title}.json" not in asked:
            yield f"{FINDINGS}{title}.json: missing"
    for path, content in asked.items():
        try:
            stated = json.loads(content)
            computed = findings.answer(table, correct, stated["function"], stated["options"])
        except (ValueError, KeyError, TypeError, StorageError) as error:
            yield f"{path}: can not be read ({error})"
            continue
        yield from (f"{path}: {text}" for text in findings.differences(stated, computed))
