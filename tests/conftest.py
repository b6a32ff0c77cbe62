"""What all tests share."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Before anything loads torch: test files run side by side, and threads that wait for a core which another file's
# threads have cost three times the work itself. Programs that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Times on a shared machine say nothing about the code, so neither a slow example nor slow generation is a failure;
# examples are the same on every run, so that a red test stays red.
settings.register_profile("shared", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
