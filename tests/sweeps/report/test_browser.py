"""The page in a real browser: nothing is requested, nothing complains, and colours follow the reader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
COLOURS = """() => {
    const fill = name => getComputedStyle(document.querySelector(name)).fill;
    return [getComputedStyle(document.body).backgroundColor, fill('svg text.f-ink'), fill('svg .f-blue')];
}"""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium; Debian: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS, timeout=120_000)
        yield chromium
        chromium.close()


def test_it_renders_without_a_request_or_a_complaint_in_both_schemes(
    browser: object, page: str, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    file.write_text(page, encoding="utf-8")
    seen = {}
    for scheme in ("light", "dark"):
        tab = browser.new_page(color_scheme=scheme, viewport={"width": 400, "height": 800})  # type: ignore[attr-defined]
        messages: list[str] = []
        requests: list[str] = []
        tab.on("console", lambda message, kept=messages: kept.append(message.text))
        tab.on("pageerror", lambda error, kept=messages: kept.append(str(error)))
        tab.on("request", lambda request, kept=requests: kept.append(request.url))
        tab.goto(file.as_uri(), timeout=120_000)
        seen[scheme] = tab.evaluate(COLOURS)
        assert not messages
        assert all(url.startswith(("file:", "data:")) for url in requests)
        assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert tab.evaluate(
            "[...document.querySelectorAll('svg')].every(e => e.getBoundingClientRect().height > 50)"
        )
        tab.emulate_media(media="print")
        assert tab.evaluate(COLOURS)[0] == "rgb(255, 255, 255)"
        tab.close()
    assert all(light != dark for light, dark in zip(seen["light"], seen["dark"], strict=True))
