"""Search algorithms: the one module that imports Optuna.

One is a function that makes an Optuna sampler; its options are keyword-only parameters, of which every one has
`trials` (how many at most, all cells together), `seed` and `at_once` (how many are under way at a time; null: as
many as fit). It registers `draws_categories=False` if it can not draw one of several values that are no numbers,
and `several=True` if it can follow several objectives at once.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge

from rmt.registry import Registry
from sweeps.space import Dimension, Point, Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import Trial

Count = Annotated[int, Ge(1)]
Seed = Annotated[int, Ge(0)]
Drawn = dict[str, Any]

SEARCHERS: Registry[Callable[..., Any]] = Registry("search algorithm")


@SEARCHERS.register(version=1, several=True)
def tpe(
    cell_seed: int, *, trials: Count, seed: Seed = 0, at_once: Count | None = None, startup: Count = 10
) -> Any:
    """Tree-structured Parzen estimator, after `startup` random trials; takes every kind of dimension.

    Source: Bergstra et al., Algorithms for Hyper-Parameter Optimization, NIPS 2011, as optuna.samplers.TPESampler.
    """
    from optuna.samplers import TPESampler

    return TPESampler(seed=cell_seed, n_startup_trials=startup)


@SEARCHERS.register(version=1, several=True)
def gp(cell_seed: int, *, trials: Count, seed: Seed = 0, at_once: Count | None = None, startup: Count = 10) -> Any:
    """Gaussian process with expected improvement, after `startup` random trials; for few trials that take long.

    Source: optuna.samplers.GPSampler (Matérn 5/2 kernel, log expected improvement: Ament et al., NeurIPS 2023).
    """
    from optuna.samplers import GPSampler

    return GPSampler(seed=cell_seed, n_startup_trials=startup)


@SEARCHERS.register(version=1, draws_categories=False)
def cmaes(
    cell_seed: int,
    *,
    trials: Count,
    seed: Seed = 0,
    at_once: Count | None = None,
    population: Annotated[int, Ge(2)] | None = None,
) -> Any:
    """Covariance matrix adaptation, `population` trials a generation; numbers only, for many trials.

    Source: Hansen, The CMA Evolution Strategy: A Tutorial, arXiv:1604.00772, as optuna.samplers.CmaEsSampler.
    """
    from optuna.samplers import CmaEsSampler, RandomSampler

    return CmaEsSampler(
        seed=cell_seed,
        popsize=population,
        independent_sampler=RandomSampler(seed=cell_seed),
        warn_independent_sampling=False,
    )


@SEARCHERS.register(version=1, several=True)
def nsga2(
    cell_seed: int,
    *,
    trials: Count,
    seed: Seed = 0,
    at_once: Count | None = None,
    population: Annotated[int, Ge(2)] = 20,
) -> Any:
    """Non-dominated sorting genetic algorithm, `population` trials a generation; for several objectives.

    Source: Deb et al., IEEE Transactions on Evolutionary Computation 6 (2002) 182, as Optuna's NSGAIISampler.
    """
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(seed=cell_seed, population_size=population)


class Study:
    """An Optuna study over the free dimensions of a space: asks for draws, is told scores, keeps nothing on disk.

    Args:
        space: Its free dimensions are drawn.
        sampler: Chooses.
        objectives: Number of scores of a trial.
    """

    def __init__(self, space: Space, sampler: BaseSampler, objectives: int = 1) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = space
        self._distributions = {path: distribution_of(space[path]) for path in space}
        self._study = optuna.create_study(sampler=sampler, directions=["maximize"] * objectives)
        self._open: dict[int, Trial] = {}

    def ask(self) -> tuple[int, Drawn]:
        """Draw once; returns the number to tell the outcome by, and the draws as plain numbers by path."""
        with warnings.catch_warnings():
            # A score of -inf is what a diverged trial has; samplers clip it and warn each time.
            warnings.simplefilter("ignore")
            trial = self._study.ask(self._distributions)
        self._open[trial.number] = trial
        return trial.number, dict(trial.params)

    def tell(self, number: int, scores: Sequence[float]) -> None:
        """Say what came of a draw; larger is better, -inf the worst."""
        self._study.tell(self._open.pop(number), list(scores))

    def drop(self, number: int) -> None:
        """Say that a draw is not tried."""
        from optuna.trial import TrialState

        self._study.tell(self._open.pop(number), state=TrialState.FAIL)

    def add(self, drawn: Drawn, scores: Sequence[float]) -> None:
        """Tell of a trial that was not drawn here."""
        from optuna.trial import create_trial

        self._study.add_trial(create_trial(params=drawn, distributions=self._distributions, values=list(scores)))


def distribution_of(dimension: Dimension) -> BaseDistribution:
    """What Optuna draws for a dimension: a number of the interval, a count of steps, or a listed value's place.

    The places of listed numbers are those in ascending order, so that near places are near numbers.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if dimension.grid is not None:
        last = len(dimension.grid) - 1
        return IntDistribution(0, last) if dimension.is_numeric else CategoricalDistribution(range(last + 1))
    low, high = dimension.bounds
    if dimension.step is not None:
        # Counted in steps: sums of a step like 0.1 end beside the interval's end.
        return IntDistribution(0, math.floor((high - low) / dimension.step + 1e-9))
    if dimension.is_whole:
        return IntDistribution(int(low), int(high), log=dimension.logintegers is not None)
    return FloatDistribution(low, high, log=dimension.loguniform is not None)


def point_at(space: Space, drawn: Drawn) -> Point:
    """The point of a draw: the values of the dimensions that apply there, with those that are fixed."""
    return space.point({path: _value(space[path], place) for path, place in drawn.items()})


def _value(dimension: Dimension, drawn: Any) -> Any:
    """The value of a dimension where Optuna drew this."""
    if dimension.grid is not None:
        values = sorted(dimension.grid) if dimension.is_numeric else dimension.grid
        return values[drawn]
    if dimension.step is None:
        return drawn
    value = float(f"{dimension.bounds[0] + dimension.step * drawn:.12g}")
    return round(value) if dimension.is_whole else value
