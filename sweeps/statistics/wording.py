"""Numbers in sentences: as many digits as the uncertainty warrants, the same everywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sweeps.statistics.finding import Interval


def decimals(uncertainty: float | None, fallback: float) -> int:
    """Decimal places that show two significant digits of the uncertainty (else four of the number)."""
    if uncertainty and math.isfinite(uncertainty):
        return min(12, max(0, 1 - math.floor(math.log10(abs(uncertainty)))))
    if fallback and math.isfinite(fallback):
        return min(12, max(0, 3 - math.floor(math.log10(abs(fallback)))))
    return 0


def number(value: float, uncertainty: float | None = None) -> str:
    """`value` rounded to its uncertainty, thousands apart; a power of ten where that would be unreadable."""
    if value and (abs(value) >= 1e7 or abs(value) < 1e-6):
        return power_of_ten(value)
    return f"{value:,.{decimals(uncertainty, value)}f}"


def power_of_ten(value: float) -> str:
    """Three significant digits: `1.84 × 10^9`."""
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa} × 10^{int(exponent)}".replace("-", "−")


def signed(value: float, uncertainty: float | None = None) -> str:
    """`number` with its sign always shown; a true minus."""
    text = number(abs(value), uncertainty)
    return ("−" if value < 0 else "+") + text


def ratio(value: float) -> str:
    """Three significant digits (four from a thousand on, thousands apart); a true minus."""
    if value and not 1e-6 <= abs(value) < 1e7:
        return power_of_ten(value)
    rounded = float(f"{value:.3g}" if abs(value) < 1000 else f"{value:.4g}")
    text = f"{rounded:,.0f}" if abs(rounded) >= 1000 else np.format_float_positional(rounded, trim="-")
    return text.replace("-", "−")


def p_value(p: float) -> str:
    """`p = 0.031`, `p < 0.0001`."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"


def percent(level: float) -> str:
    """`95 %`, as the interval's name."""
    return f"{100 * level:.4g} %"


def bracket(interval: Interval, uncertainty: float | None = None, *, sign: bool = False) -> str:
    """`95 % interval [low, high]`."""
    scale = interval.width / 2 if uncertainty is None else uncertainty
    form = signed if sign else number
    return f"{percent(interval.level)} interval [{form(interval.low, scale)}, {form(interval.high, scale)}]"


def lowered(sentence: str) -> str:
    """A sentence to be continued into: its first letter small."""
    return sentence[:1].lower() + sentence[1:]


def plural(count: int, noun: str) -> str:
    """`1 seed`, `2 seeds`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listing(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1] if parts else ""
