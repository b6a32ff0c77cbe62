"""What all tests share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Times on a shared machine say nothing about the code, so neither a slow example nor slow generation is a failure;
# examples are the same on every run, so that a red test stays red.
settings.register_profile("shared", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
