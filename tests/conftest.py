"""What all tests share."""

from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

# Before anything loads torch: test files run side by side, and threads that wait for a core which another file's
# threads have cost three times the work itself. Programs that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A script's shell has what it begins with `&` ignore interrupts, and so would every program that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Times on a shared machine say nothing about the code, so neither a slow example nor slow generation is a failure;
# examples are the same on every run, so that a red test stays red.
settings.register_profile("shared", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
