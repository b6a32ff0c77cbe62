"""Arms: what is compared, each with a colour and a mark of its own (either alone tells them apart)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle

import pandas as pd

from sweeps.report.drawing import Mark

UNPRUNED = "unpruned"


@dataclass(frozen=True)
class Arm:
    """How an arm looks everywhere in the report; outlined marks are the baseline's."""

    name: str
    colour: str
    mark: Mark
    filled: bool = True


_BASELINE = Arm(UNPRUNED, "vermillion", "square", filled=False)
_LOOKS: list[tuple[str, Mark]] = [
    ("blue", "circle"),
    ("green", "triangle"),
    ("purple", "diamond"),
    ("orange", "down"),
    ("sky", "cross"),
]


def arm_names(trials: pd.DataFrame) -> pd.Series:
    """The arm of each row: "unpruned" for twins, "pruned" where there is one rule only, else the rule.

    Args:
        trials: Columns `role` ("pruned" or "twin") and, if rules differ, `prune.rule`.
    """
    rules = trials.get("prune.rule", pd.Series("", index=trials.index)).fillna("").astype(str)
    unpruned = trials["role"] == "twin"
    several = rules[~unpruned].nunique() > 1
    return (rules if several else rules.mask(~unpruned, "pruned")).mask(unpruned, UNPRUNED).rename("arm")


def arms_of(names: pd.Series) -> Mapping[str, Arm]:
    """A look for every arm that occurs, the baseline first; looks repeat beyond six arms."""
    others = sorted(set(names) - {UNPRUNED})
    looks = dict(zip(others, cycle(_LOOKS), strict=False))
    baseline = {UNPRUNED: _BASELINE} if UNPRUNED in set(names) else {}
    return baseline | {name: Arm(name, *look) for name, look in looks.items()}
