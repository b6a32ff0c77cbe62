"""All registries of a spec by the kind of thing they hold."""

from __future__ import annotations

from typing import Any

from rmt.registry import Registry


def registries() -> dict[str, Registry[Any]]:
    """By the word that `sweeps names` uses."""
    from rmt import NOISE, RULES
    from rmt.measures import MEASURES
    from sweeps.data import AUGMENTATIONS, DATASETS
    from sweeps.design import DESIGNS
    from sweeps.initialisations import INITIALISATIONS
    from sweeps.models import ARCHITECTURES
    from sweeps.optimisers import OPTIMISERS, SCHEDULES
    from sweeps.search import SEARCHERS
    from sweeps.statistics import STATISTICS
    from sweeps.stoppers import STOPPERS

    return {
        "data": DATASETS,
        "augmentations": AUGMENTATIONS,
        "models": ARCHITECTURES,
        "initialisations": INITIALISATIONS,
        "optimisers": OPTIMISERS,
        "schedules": SCHEDULES,
        "rules": RULES,
        "noise": NOISE,
        "measures": MEASURES,
        "designs": DESIGNS,
        "searchers": SEARCHERS,
        "stoppers": STOPPERS,
        "statistics": STATISTICS,
    }
