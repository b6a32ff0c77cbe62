"""What a program takes for Ctrl-C while it has something to put in order first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Take a termination (of a job, a container, a batch system) for Ctrl-C, which ends things in order.

    A script's shell has what it begins with `&` ignore interrupts, and Python then knows none: here it does, since
    there would be no way to end in order. Elsewhere than in the main thread nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.signal(signal.SIGTERM, lambda *_: interrupt())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def interrupt() -> None:
    """Ctrl-C for the main thread, which also wakes it from waiting."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
