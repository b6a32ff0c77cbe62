"""A sweep driven on the cluster itself, as a Ray job: it survives the client, whose code travels along.

The job runs `python -m sweeps run` beside the cluster's own environment: the address and password of MLflow come
from there, never from the client, since whoever may see the cluster's jobs sees what they were given.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.bucket import parse
from sweeps.errors import Problem, SpecError, SweepError
from sweeps.mirror import is_address
from sweeps.ray_session import ANSWER_SECONDS, ClusterUnreachable
from sweeps.spec import SweepSpec
from sweeps.status import Retry

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

CODE = ("sweeps", "rmt")
NAME, STORAGE = "sweep", "storage"
POLL_SECONDS = 0.5
OLDEST_RAY = "2.52"
"""Of a cluster: its own Ray drives a job, and must be one that this code can drive."""
STOP_SECONDS = 120
"""Between Ray's own `ray job stop` and the driver's end by force: running epochs end, and are saved."""
_ENTRY = re.compile(r"\A.*?^Running entrypoint for job [^\n]*\n", flags=re.DOTALL | re.MULTILINE)


class JobNotFound(SweepError, LookupError):
    """No job of that sweep is known to the cluster."""


class JobGoesOn(SweepError, TimeoutError):
    """A job that was told to stop has not ended."""


def submit(
    sweep: SweepSpec,
    *,
    address: str | None = None,
    storage: str | None = None,
    tracking_uri: str | None = None,
    retry: str | None = None,
) -> str:
    """Start a job that runs a sweep on the cluster, and return at once.

    Args:
        sweep: A checked sweep.
        address: Of the cluster's dashboard, http://HOST:8265; without it `RAY_API_SERVER_ADDRESS`.
        storage: Instead of `RMT_STORAGE` and the spec's; a path that every node sees, or an `s3://` address, the
            credentials of which come from each node's own environment.
        tracking_uri: Of MLflow, instead of the cluster's `MLFLOW_TRACKING_URI` and the spec's.
        retry: As `sweeps.run` takes it.

    Returns:
        Name of the job.

    Raises:
        StorageError: The storage is an address other than `s3://BUCKET/PATH`.
        SpecError: The storage is not an absolute path, or the address of MLflow holds a password.
        ClusterUnreachable: The address does not answer, or refuses.
    """
    place = place_of(sweep, storage)
    if problems := [*_not_absolute(place), *_with_password(tracking_uri or sweep.tracking.uri)]:
        raise SpecError(problems)
    client = connect(address)
    arguments = ["run", "sweep.yaml", "--storage", place]
    arguments += ["--tracking-uri", tracking_uri] if tracking_uri else []
    arguments += ["--retry", Retry(retry).value] if retry else []
    sources = [_source_of(module) for module in sweep_modules(sweep)]
    # Ray takes folders for modules; a single file goes with the spec, into the folder that the job begins in.
    files = {path.name: path.read_text(encoding="utf-8") for path in sources if path.is_file()}
    with _folder({**files, "sweep.yaml": sweep.to_yaml(resolved=True)}) as folder:
        told = {NAME: sweep.name, STORAGE: place}
        return _start(client, arguments, told, folder, packages=[path for path in sources if path.is_dir()])


def ask(arguments: Sequence[str], *, address: str | None = None, show: Callable[[str], Any] = print) -> int:
    """Run a command of `sweeps` on the cluster, where the storage is, and show what it prints as it does.

    An interrupt ends it there too.

    Args:
        arguments: Of `sweeps`.
        address: Of the cluster's dashboard.
        show: Given whole lines.

    Returns:
        0 if it succeeded, else 1.
    """
    client = connect(address)
    with _folder({}) as folder:
        job = _start(client, arguments, {}, folder)
    shown = ""
    try:
        while not (status := client.get_job_status(job)).is_terminal():
            log = client.get_job_logs(job)
            if _ENTRY.search(log):
                lines = _own(log).rpartition("\n")[0]  # the last one may go on
                if news := lines.removeprefix(shown).removeprefix("\n"):
                    show(news)
                    shown = lines
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        client.stop_job(job)
        raise
    if rest := _own(client.get_job_logs(job)).removeprefix(shown).removeprefix("\n"):
        show(rest)
    client.delete_job(job)
    return 0 if status.value == "SUCCEEDED" else 1


def log_of_driver(name: str, *, address: str | None = None) -> str:
    """What the newest job of a sweep has printed.

    Raises:
        JobNotFound: Lists the sweeps that have one.
    """
    client = connect(address)
    jobs = [job for job in client.list_jobs() if job.submission_id and NAME in (job.metadata or {})]
    own = [job for job in jobs if job.metadata and job.metadata[NAME] == name]
    if not own:
        known = ", ".join(sorted({job.metadata[NAME] for job in jobs if job.metadata})) or "none"
        raise JobNotFound(f"no job of the sweep {name!r} on this cluster; there: {known}")
    newest = max(own, key=_begun)
    job = str(newest.submission_id)
    return f"job {job}: {newest.status.value}\n{_own(client.get_job_logs(job))}"


def stop_jobs(name: str, storage: str | None = None, *, address: str | None = None, timeout: float) -> list[str]:
    """Stop the jobs of a sweep whose driver has not begun yet, and wait until they have ended.

    One that has begun has said its plan. It holds the sweep's lease, and `sweeps.lease.request_stop` ends it in
    order, or it has given it back and is about to end by itself.

    Args:
        name: Of the sweep.
        storage: Where its records are; the same name elsewhere is another sweep.
        address: Of the cluster's dashboard.
        timeout: Seconds.

    Returns:
        Names of the jobs.

    Raises:
        JobNotFound: Only jobs that keep their records elsewhere are under way; lists where.
        JobGoesOn: They have not ended after `timeout`.
    """
    client = connect(address)
    under_way = {
        str(job.submission_id): (job.metadata or {}).get(STORAGE, "")
        for job in client.list_jobs()
        if (job.metadata or {}).get(NAME) == name and not job.status.is_terminal()
    }
    place = storage or os.environ.get("RMT_STORAGE") or ""
    own = [job for job, its in under_way.items() if its.rstrip("/") == place.rstrip("/")]
    if under_way and not own:
        places = ", ".join(sorted(set(under_way.values())))
        raise JobNotFound(f"jobs of {name} are under way that keep their records elsewhere: --storage {places}")
    until = time.monotonic() + timeout
    waiting = [job for job in own if f"{name}: " not in _own(client.get_job_logs(job))]
    for job in waiting:
        client.stop_job(job)
        while not client.get_job_status(job).is_terminal():
            if time.monotonic() >= until:
                raise JobGoesOn(f"the job {job} of {name} was told to stop and has not ended after {timeout:g} s")
            time.sleep(POLL_SECONDS)
            client.stop_job(job)  # it may not have been there yet
    return waiting


def _own(log: str) -> str:
    """What the command itself has printed: Ray puts lines of its own before that."""
    return _ENTRY.sub("", log).rstrip("\n")


def _begun(job: JobDetails) -> int:
    return int(job.start_time or 0)


def connect(address: str | None = None) -> JobSubmissionClient:
    """The job server of a cluster.

    Raises:
        ClusterUnreachable: Says what was tried and what to check.
    """
    import requests
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    chosen = address or os.environ.get("RAY_API_SERVER_ADDRESS")
    if not chosen or not re.match(r"https?://", chosen):
        raise ClusterUnreachable(
            f"address: {chosen!r} is not a job server; allowed: http://HOST:8265, the address of the cluster's "
            "dashboard, as --address or RAY_API_SERVER_ADDRESS (python -m cluster env prints it)"
        )
    try:
        requests.get(f"{chosen}/api/version", timeout=ANSWER_SECONDS)  # Ray's client would wait for ever
        # Ray lets the environment win over what is given; what a person typed now is to count.
        before = os.environ.get("RAY_API_SERVER_ADDRESS")
        os.environ["RAY_API_SERVER_ADDRESS"] = chosen
        try:
            return _of_version(JobSubmissionClient(chosen), chosen)
        finally:
            if before is None:
                del os.environ["RAY_API_SERVER_ADDRESS"]
            else:
                os.environ["RAY_API_SERVER_ADDRESS"] = before
    except KeyError:
        raise ClusterUnreachable(f"what answers at {chosen!r} is no dashboard of Ray; check the address") from None
    except (ConnectionError, RuntimeError, AuthenticationError, OSError) as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ClusterUnreachable(
            f"no job server at {chosen!r}: {first}; check the address, that the cluster is up (python -m cluster "
            "status), its token (RAY_AUTH_MODE=token, RAY_AUTH_TOKEN_PATH) and its version of Ray"
        ) from None


def _of_version(client: JobSubmissionClient, address: str) -> JobSubmissionClient:
    """The client of a cluster whose Ray is not too old.

    Raises:
        ClusterUnreachable: It is.
    """
    from packaging.version import Version

    its = getattr(client, "_server_ray_version", None) or OLDEST_RAY
    if Version(its) < Version(OLDEST_RAY):
        raise ClusterUnreachable(
            f"the cluster at {address!r} runs Ray {its}, this code drives Ray {OLDEST_RAY} or newer; upgrade the "
            f"cluster's Ray, best to this machine's {version('ray')}"
        )
    return client


def _start(
    client: JobSubmissionClient,
    arguments: Sequence[str],
    metadata: dict[str, str],
    folder: Path,
    packages: Sequence[Path] = (),
) -> str:
    return client.submit_job(
        entrypoint=shlex.join(["python", "-m", "sweeps", *arguments]),
        metadata=metadata,
        runtime_env={
            "working_dir": str(folder),
            "py_modules": [str(path) for path in (*map(_source_of, CODE), *packages)],
            "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)},
        },
    )


def sweep_modules(sweep: SweepSpec) -> list[str]:
    """Top-level modules that a sweep's plugins come from."""
    return sorted({module.partition(".")[0] for module in getattr(sweep, "plugins", [])})


def _source_of(module: str) -> Path:
    """The folder of a package, or the file of a module."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise SweepError(f"plugins: the source of {module!r} is not a file that could travel to the cluster")
    path = Path(found.origin)
    return path.parent if path.name == "__init__.py" else path


def place_of(sweep: SweepSpec, storage: str | None = None) -> str:
    """Where a submitted sweep keeps its records: what is given, else `RMT_STORAGE`, else the spec's."""
    return storage or os.environ.get("RMT_STORAGE") or sweep.storage


def _not_absolute(place: str) -> Iterator[Problem]:
    if is_address(place):
        parse(place)  # whether it can be used, the cluster's own environment decides
    elif not Path(place).is_absolute():
        yield Problem(
            "storage",
            f"{place!r} is relative to a folder that ends with the job; allowed: an absolute path that every node "
            "of the cluster sees, or s3://BUCKET/PATH (--storage, RMT_STORAGE)",
        )


def _with_password(uri: str | None) -> Iterator[Problem]:
    if uri and re.match(r"\w+(\+\w+)?://[^/@]*:[^/@]*@", uri):
        yield Problem(
            "tracking.uri",
            "an address with a password would be shown to everybody who sees the cluster's jobs; allowed: one "
            "without, and MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the cluster's own environment",
        )


@contextmanager
def _folder(files: dict[str, str]) -> Iterator[Path]:
    """A folder with these files, for as long as they are being uploaded."""
    folder = Path(tempfile.mkdtemp(prefix="rmt-job-"))
    try:
        (folder / "README").write_text("the working directory of a sweep's job\n")  # Ray uploads no empty folder
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        yield folder
    finally:
        shutil.rmtree(folder)
