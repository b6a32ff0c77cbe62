"""Starting the projector beside a sweep, and learning at the end what it has not done yet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sweeps.tracking import lag as lags
from sweeps.tracking.lag import Lag

LOG = "projector.log"
STANDBY = "--standby"
LAST_PASS_SECONDS = 60.0
TOLD_SECONDS = 2.0
SILENT = "the projector has not said anything yet"
Told = Callable[[Lag], None]
_COMMAND = [sys.executable, "-m", "sweeps.tracking.projector"]


@dataclass
class Projector:
    """A projector process that follows a sweep.

    Attributes:
        process: The process; the end of its standard input is the end of the sweep.
        sweep: The sweep's folder.
    """

    process: subprocess.Popen[bytes]
    sweep: Path

    def end(self) -> None:
        """Say that the sweep has ended; `finish` waits for what follows."""
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()

    def finish(self, timeout: float = LAST_PASS_SECONDS, told: Told | None = None) -> Lag:
        """Say that the sweep has ended, and wait for the last pass.

        Args:
            timeout: Seconds to wait; the process goes on by itself after them.
            told: Called every two seconds, and when no more is waited, with what is not projected yet.

        Returns:
            What is not projected yet.
        """
        self.end()
        code = self._ended(timeout, told)
        if code is None:
            return self.lag() or Lag(reason=SILENT)
        if code not in (0, 1):
            return lags.unreachable(self.lag() or Lag(), f"the projector failed; see {self.sweep / LOG}")
        return self.lag() or Lag()

    def _ended(self, timeout: float, told: Told | None) -> int | None:
        """Exit status of the process; None if it goes on."""
        until = time.monotonic() + timeout
        while (left := until - time.monotonic()) > 0:
            try:
                return self.process.wait(min(TOLD_SECONDS, left))
            except subprocess.TimeoutExpired:
                if told is not None:
                    told(self.lag() or Lag(reason=SILENT))
        return None

    def lag(self) -> Lag | None:
        """What is not projected, as of the projector's last pass; None before the first."""
        return lags.read(self.sweep)


class Standby:
    """A projector that imports MLflow, which takes seconds, while it is found out what there is to project.

    Ends by itself when the program that began it does.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
            [*_COMMAND, STANDBY],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def take(self, arguments: list[str]) -> subprocess.Popen[bytes] | None:
        """Give the process its arguments; None if there is no process any more."""
        process = self._process
        if process is None or process.stdin is None or process.poll() is not None:
            return None
        try:
            process.stdin.write(json.dumps(arguments).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            return None
        self._process = None
        return process

    def end(self) -> None:
        """End the process if it was not needed."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@contextmanager
def standby() -> Iterator[Standby]:
    """A projector that is about to be needed, for `start_projector`; ended again if it was not."""
    begun = Standby()
    try:
        yield begun
    finally:
        begun.end()


def start_projector(storage: Path, sweep: str, uri: str | None = None, begun: Standby | None = None) -> Projector:
    """Start a projector for a sweep that is about to run.

    It is in a session of its own, so that Ctrl-C at the driver does not reach it, and ends by itself when the
    driver has ended or died. The address goes through the environment, or the standard input: it may hold a
    password.

    Args:
        storage: Storage root; the sweep's folder is in it.
        sweep: Name of the sweep.
        uri: Store to write to; None for `store_uri`'s choice.
        begun: A process to take for it.
    """
    folder = Path(storage).absolute() / sweep
    arguments = [str(folder.parent), sweep, "--follow"]
    given = [f"--uri={uri}"] if uri else []
    if begun is not None and (process := begun.take(arguments + given)) is not None:
        return Projector(process, folder)
    environment = os.environ | ({"MLFLOW_TRACKING_URI": uri} if uri else {})
    with (folder / LOG).open("ab") as log:
        process = subprocess.Popen(
            [*_COMMAND, *arguments],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    return Projector(process, folder)
