"""The statistics by name. Importing `sweeps.statistics.STATISTICS` fills it.

A statistic takes arrays as positional parameters and a person's choices as keyword-only ones, and returns a
`Finding`. The trait `takes` says which arrays: it is what the contract tests, the calibration benchmark and
the table functions go by.

| takes | positional parameters |
|---|---|
| `sample` | `values`, shape (replicates,) |
| `pairs` | `arm`, `baseline`, both shape (seeds,), entry i of both from the same seed |
| `two_samples` | `arm`, `baseline`, shapes (n,) and (m,), no pairing used |
| `bits` | `correct`, shape (replicates, test examples), bool |
| `counts` | `failures`, `trials`, two integers |
| `two_counts` | `failures`, `trials`, `baseline_failures`, `baseline_trials` |
| `p_values` | `p_values`, shape (tests,) |
| `blocks` | `values`, shape (blocks, arms) and `names` of the arms |
| `levels` | `values`, shape (rows,) and `factors`, a mapping from names to labels of shape (rows,) |
| `nested` | `values`, shape (rows,), then `sources` and `dimensions`, two such mappings |
| `plan` | `n`, replicates an arm |
| `xy` | `measure`, `metric`, both shape (replicates,), and optionally `groups` and `clusters` of that shape |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from annotated_types import Interval as Range

from rmt.registry import Registry

STATISTICS: Registry[Callable[..., Any]] = Registry("statistic")

Level = Annotated[float, Range(gt=0.5, lt=1)]
Power = Annotated[float, Range(gt=0.05, lt=1)]
Resamples = Annotated[int, Range(ge=99, le=1_000_000)]
