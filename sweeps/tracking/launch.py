"""Starting the projector beside a sweep, and learning at the end what it has not done yet."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sweeps.tracking import lag as lags
from sweeps.tracking.lag import Lag

LOG = "projector.log"
LAST_PASS_SECONDS = 60.0


@dataclass
class Projector:
    """A projector process that follows a sweep.

    Attributes:
        process: The process; the end of its standard input is the end of the sweep.
        sweep: The sweep's folder.
    """

    process: subprocess.Popen[bytes]
    sweep: Path

    def finish(self, timeout: float = LAST_PASS_SECONDS) -> Lag:
        """Say that the sweep has ended, and wait for the last pass.

        Args:
            timeout: Seconds to wait; the process goes on by itself after them.

        Returns:
            What is not projected yet.
        """
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return self.lag() or Lag(reason="the projector has not said anything yet")
        if code not in (0, 1):
            return lags.unreachable(self.lag() or Lag(), f"the projector failed; see {self.sweep / LOG}")
        return self.lag() or Lag()

    def lag(self) -> Lag | None:
        """What is not projected, as of the projector's last pass; None before the first."""
        return lags.read(self.sweep)


def start_projector(storage: Path, sweep: str, uri: str | None = None) -> Projector:
    """Start a projector for a sweep that is about to run.

    It is in a session of its own, so that Ctrl-C at the driver does not reach it, and ends by itself when the
    driver has ended or died. The address goes through the environment: it may hold a password.

    Args:
        storage: Storage root; the sweep's folder is in it.
        sweep: Name of the sweep.
        uri: Store to write to; None for `store_uri`'s choice.
    """
    folder = Path(storage).absolute() / sweep
    environment = os.environ | ({"MLFLOW_TRACKING_URI": uri} if uri else {})
    command = [sys.executable, "-m", "sweeps.tracking.projector", str(folder.parent), sweep, "--follow"]
    with (folder / LOG).open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    return Projector(process, folder)
