"""Shares of variance of seeds within configurations and of swept dimensions, as findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Annotated, NamedTuple

import numpy as np
from annotated_types import Ge
from numpy.typing import ArrayLike

from sweeps.statistics import wording
from sweeps.statistics.decomposition import MOST_ROWS, codes_of, mixed_model_components
from sweeps.statistics.finding import Finding, Interval, unanswered
from sweeps.statistics.nested import RESIDUAL, Codes, share_intervals, strata_of
from sweeps.statistics.registry import STATISTICS, Level
from sweeps.statistics.samples import Array, as_sample, is_constant

NAME = "nested_shares"
CLOSED = "analysis of variance, seeds within configurations"
LIKELIHOOD = "restricted maximum likelihood (MixedLM), seeds within configurations"
# Seeds that every configuration finished: fewest, and least share of all seeds, to go by them alone.
FEWEST, LEAST_SHARE = 3, 0.5


class Arranged(NamedTuple):
    """A table in which every configuration has the same seeds.

    Attributes:
        values: Shape (configurations, levels of the first source, of the second, ...).
        dimensions: Codes of shape (configurations,).
        left_out: Levels of the first source that some configuration lacks.
    """

    values: Array
    dimensions: Mapping[str, Codes]
    left_out: int


@STATISTICS.register(takes="nested", question="decomposition", default=True)
def nested_shares(
    values: ArrayLike,
    sources: Mapping[str, ArrayLike],
    dimensions: Mapping[str, ArrayLike],
    *,
    level: Level = 0.95,
    seed: Annotated[int, Ge(0)] = 0,
) -> tuple[Finding, ...]:
    """Share of variance of each source of chance, pooled within configurations, and of each swept dimension.

    `sources` and `dimensions` map names to labels of shape (rows,); rows with equal labels of all dimensions are
    one configuration. Where every configuration has the same seeds there is a closed form with generalised
    confidence intervals; where some seeds did not finish everywhere, over those that did. Dimensions that make no
    full grid count as one, `configuration`. Where too few seeds are common to all, restricted maximum likelihood
    (statsmodels' MixedLM, up to 1,000 rows) gives shares without intervals.
    """
    sample = as_sample(values)
    chance = _varying({name: codes_of(name, labels, sample.size) for name, labels in sources.items()})
    swept = _varying({name: codes_of(name, labels, sample.size) for name, labels in dimensions.items()})
    names = [*sources, *dimensions]
    why = _obstacle(sample, chance, swept)
    if why:
        return tuple(unanswered(NAME, sample.size, CLOSED, f"{name}: {why}", factor=name) for name in names)
    fixed = [name for name in names if name not in chance and name not in swept]
    constant = [_unvaried(name, sample.size) for name in fixed]
    chance = _told_apart(chance, _joint(swept, sample.size))
    arranged = _arranged(sample, chance, swept)
    if arranged is None:
        return (*constant, *_by_likelihood(sample, chance, swept))
    return (*constant, *_closed(arranged, list(chance), level, seed))


def _varying(codes: Mapping[str, Codes]) -> dict[str, Codes]:
    return {name: code for name, code in codes.items() if code.size and code.max() > 0}


def _obstacle(sample: Array, sources: Mapping[str, Codes], dimensions: Mapping[str, Codes]) -> str:
    """Why there are no shares, or nothing."""
    if sample.size < 3:
        return f"no shares of variance from {wording.plural(sample.size, 'row')}: at least 3 are needed."
    if is_constant(sample):
        return f"no shares of variance: all {sample.size} values are equal."
    if not sources:
        return "no shares of variance: no source of chance varies."
    if len(sources) == 1 and not dimensions:
        return f"no shares of variance: only {next(iter(sources))} varies, so that all of it is its own."
    return ""


def _unvaried(name: str, n: int) -> Finding:
    why = f"{name}: one level only, so every share is conditional on it."
    return unanswered(NAME, n, CLOSED, why, factor=name)


def _joint(codes: Mapping[str, Codes], n: int) -> Codes:
    """One code for each combination of levels that occurs."""
    if not codes:
        return np.zeros(n, dtype=np.int64)
    return np.unique(np.stack(list(codes.values()), axis=1), axis=0, return_inverse=True)[1].reshape(n)


def _told_apart(sources: dict[str, Codes], configuration: Codes) -> dict[str, Codes]:
    """The sources if they are crossed; one for all of them where they vary together."""
    rows = _joint({"configuration": configuration, **sources}, configuration.size).max() + 1
    for code in sources.values():
        if (
            len(sources) > 1
            and _joint({"configuration": configuration, "source": code}, code.size).max() + 1 == rows
        ):
            return {" and ".join(sources): _joint(sources, code.size)}
    return sources


def _arranged(sample: Array, sources: Mapping[str, Codes], dimensions: Mapping[str, Codes]) -> Arranged | None:
    """The rows by configuration and seed over the seeds that all configurations have; None where those are few."""
    configuration = _joint(dimensions, sample.size)
    shape = (int(configuration.max()) + 1, *(int(code.max()) + 1 for code in sources.values()))
    if prod(shape) * LEAST_SHARE > sample.size:  # too few seeds can be complete, and the table may be huge
        return None
    table = np.full(shape, np.nan)
    table[configuration, *sources.values()] = sample
    if np.isfinite(table).sum() < sample.size:  # two rows in one place
        return None
    complete = np.isfinite(table).all(axis=tuple(axis for axis in range(table.ndim) if axis != 1))
    if complete.sum() < max(min(FEWEST, complete.size), LEAST_SHARE * complete.size):
        return None
    first = np.unique(configuration, return_index=True)[1]
    codes = {name: code[first] for name, code in dimensions.items()}
    return Arranged(table[:, complete], codes, int((~complete).sum()))


def _closed(arranged: Arranged, sources: Sequence[str], level: float, seed: int) -> list[Finding]:
    strata = strata_of(arranged.values, sources, arranged.dimensions)
    parts, shares = strata.shares()
    n = arranged.values.size
    if not parts.sum():
        return [unanswered(NAME, n, CLOSED, f"{name}: no scatter.", factor=name) for name in strata.names]
    lows, highs = share_intervals(strata, level, seed)
    kept = arranged.values.shape[1]
    over = (
        f" Over the {kept} of {kept + arranged.left_out} {_seeds(sources[0])} seeds that every configuration "
        "finished."
        if arranged.left_out
        else ""
    )
    findings = []
    for place, name in enumerate(strata.names):
        interval, p = Interval(float(lows[place]), float(highs[place]), level), strata.p_value(name)
        tested = "" if p is None else f", F test {wording.p_value(p)}"
        text = (
            f"{name}: {_percent(shares[place])} % of the variance, {wording.percent(level)} interval "
            f"[{_percent(interval.low)}, {_percent(interval.high)}]{tested}.{over}"
        )
        details: dict[str, float | int | str | None] = {"factor": name, "variance": float(parts[place])}
        assumptions = ("effects random, independent and normal", "the same seeds in every configuration")
        findings.append(
            Finding(
                NAME, float(shares[place]), interval, n, CLOSED, text, p, assumptions=assumptions, details=details
            )
        )
    return findings


def _seeds(source: str) -> str:
    return source.replace("seeds.", "").replace("_", " ")


def _percent(share: float) -> str:
    return f"{100 * share:.3g}"


def _by_likelihood(sample: Array, sources: Mapping[str, Codes], dimensions: Mapping[str, Codes]) -> list[Finding]:
    """Each source's share is that of its main effect and of its interaction with the configuration."""
    n, names = sample.size, [*sources, *dimensions]
    if n > MOST_ROWS:
        why = f"not balanced, and {n} rows are more than the {MOST_ROWS} that the likelihood is computed for."
        return [unanswered(NAME, n, LIKELIHOOD, f"{name}: {why}", factor=name) for name in names]
    configuration, single = _joint(dimensions, n), len(sources) == 1
    own = {
        f"{name} × configuration": _joint({"configuration": configuration, "source": code}, n)
        for name, code in sources.items()
        if not single and dimensions
    }
    try:
        parts, complaints = mixed_model_components(sample, {**sources, **dimensions, **own})
    except np.linalg.LinAlgError:
        parts, complaints = np.full(1, np.nan), ""
    if not np.isfinite(parts).all() or parts.sum() <= 0:
        why = f"not balanced, and {n} rows are too few for so many levels: no likelihood could be maximised."
        return [unanswered(NAME, n, LIKELIHOOD, f"{name}: {why}", factor=name) for name in names]
    found = dict(zip(names, parts[: len(names)], strict=True))
    if single:
        found[next(iter(sources))] += parts[-1]  # a row is a seed of its configuration: nothing else is left
    else:
        for name, part in zip(sources, parts[len(names) : -1], strict=False):
            found[name] += part
        found[RESIDUAL] = parts[-1]
    assumptions = ("effects random, independent and normal", f"optimiser: {complaints or 'converged'}")
    return [
        Finding(
            NAME,
            float(part / parts.sum()),
            None,
            n,
            LIKELIHOOD,
            f"{name}: {_percent(part / parts.sum())} % of the variance; no interval: the table is not balanced.",
            assumptions=assumptions,
            details={"factor": name, "variance": float(part)},
        )
        for name, part in found.items()
    ]
