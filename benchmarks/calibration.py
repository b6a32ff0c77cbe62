"""Write the table of how often intervals cover and tests reject.

    python benchmarks/calibration.py [--simulations N]

Prints one Markdown table a question; a row a distribution, size and correlation, a column a method. Coverage
below 91 % and rejections of a true null above 7 % (at a nominal 95 % and 5 %) carry an exclamation mark.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict

import numpy as np

from sweeps.statistics.calibration import METHODS, measure
from sweeps.statistics.simulation import Setting, settings


def wanted(question: str, setting: Setting) -> bool:
    """One arm's methods do not depend on correlation and ratio, nor does the coverage of a ratio on its truth."""
    alone = all(method.arms == 1 for method in METHODS.values() if method.question == question)
    if alone and (setting.correlation, setting.ratio) != (0.0, 1.0):
        return False
    return question != "variance ratio" or setting.ratio == 1.0


def table(question: str, results: dict[Setting, dict[str, float]], ratio: float) -> list[str]:
    names = [name for name, method in METHODS.items() if method.question == question]
    heads = [f"**{name}**" if METHODS[name].default else name for name in names]
    lines = ["| distribution | n | correlation | " + " | ".join(heads) + " |", "|---" * (3 + len(names)) + "|"]
    for setting, rates in results.items():
        if setting.ratio == ratio and wanted(question, setting):
            cells = [marked(name, setting, rates[name]) for name in names]
            place = f"| {setting.distribution} | {setting.n} | {setting.correlation:g} | "
            lines.append(place + " | ".join(cells) + " |")
    return lines


def marked(name: str, setting: Setting, rate: float) -> str:
    method = METHODS[name]
    missed = rate < 0.91 if method.kind == "coverage" else rate > 0.07 and method.null(setting)
    return f"{100 * rate:.1f}{' !' if missed else ''}"


def title(question: str, ratio: float) -> str:
    kind = next(m.kind for m in METHODS.values() if m.question == question)
    if kind == "coverage":
        what = "coverage, per cent"
    else:
        null = any(m.null(Setting("normal", 10, ratio=ratio)) for m in METHODS.values() if m.question == question)
        what = "rejections of a true null, per cent" if null else "power, per cent"
    return f"### {question}: {what} (variance ratio {ratio:g})"


def main() -> None:
    parser = argparse.ArgumentParser(description="Calibration of intervals and tests by simulation.")
    parser.add_argument("--simulations", type=int, default=4000, help="experiments a cell (at least 2000)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started = time.perf_counter()
    results: dict[Setting, dict[str, float]] = defaultdict(dict)
    with np.errstate(all="ignore"):
        for setting in settings():
            names = tuple(name for name, method in METHODS.items() if wanted(method.question, setting))
            results[setting] = measure(setting, names, options.simulations, options.seed)
    error = 100 * (0.05 * 0.95 / options.simulations) ** 0.5
    print(f"{options.simulations} simulations a cell, standard error about {error:.1f} points; defaults in bold.")
    for question in dict.fromkeys(method.question for method in METHODS.values()):
        ratios = {s.ratio for s in results if wanted(question, s)}
        for ratio in sorted(ratios):
            print("", title(question, ratio), "", *table(question, results, ratio), sep="\n")
    print(f"\n{time.perf_counter() - started:.0f} s.")


if __name__ == "__main__":
    main()
