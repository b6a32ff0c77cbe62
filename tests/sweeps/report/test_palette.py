from __future__ import annotations

import pytest

from sweeps.report.palette import PALETTE, classes, variables

BACKGROUND = ("paper", "grid")


def _luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(first: str, second: str) -> float:
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [name for name in PALETTE if name not in BACKGROUND])
def test_every_colour_stands_out_from_the_paper(name: str, scheme: str) -> None:
    """WCAG 2.2 asks 3:1 of graphics (1.4.11) and 4.5:1 of text (1.4.3)."""
    needed = 4.5 if name in ("ink", "muted", "blue") else 3.0
    assert _contrast(getattr(PALETTE[name], scheme), getattr(PALETTE["paper"], scheme)) >= needed


def test_every_class_is_backed_by_a_variable() -> None:
    for scheme in ("light", "dark"):
        assert all(f"--{name}:" in variables(scheme) for name in PALETTE)
    assert all(f".s-{name}{{" in classes() and f".f-{name}{{" in classes() for name in PALETTE)
