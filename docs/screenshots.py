"""Make the README's pictures: a sweep's trials in MLflow's UI, and the report.

python docs/screenshots.py STORAGE SWEEP [--report FILE] [--to FOLDER]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps import ui
from sweeps.errors import SweepError
from sweeps.tracking.store import store_uri

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
ARGUMENTS += ["--disable-sync"]
ROWS = "[role=row] [role=gridcell]"
PATIENCE_MS = 120_000.0
_QUIET = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"


@contextmanager
def browser_page(width: int, height: int) -> Iterator[Page]:
    """A page of the system's Chromium, patient with a busy machine and without MLflow's assistant."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS, timeout=PATIENCE_MS)
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(PATIENCE_MS)
            page.add_init_script(_QUIET)
            yield page
        finally:
            browser.close()


def open_trials(page: Page, link: str) -> None:
    """Open a link of `sweeps ui` and wait until its table is filled."""
    page.goto("about:blank")
    page.goto(link)
    page.locator(ROWS).first.wait_for()
    page.get_by_text("matching run").first.wait_for()


def trials(storage: Path, sweep: str, to: Path) -> None:
    """The picture of a sweep's trials."""
    uri = store_uri(storage)
    with ui.server(uri) as base, browser_page(2100, 800) as page:
        open_trials(page, ui.link(base, sweep, uri))
        page.wait_for_timeout(1000)
        for button in page.get_by_role("button", name="Close").all():  # of a notice, if there is one
            button.click()
        page.wait_for_timeout(500)
        page.screenshot(path=to)


def report(file: Path, to: Path) -> None:
    """The picture of a report's first screen."""
    with browser_page(1300, 1000) as page:
        page.goto(file.absolute().as_uri())
        page.wait_for_load_state("networkidle")
        page.screenshot(path=to)


def accuracy_against_size(file: Path, to: Path) -> None:
    """The picture of the report's section on accuracy and size."""
    with browser_page(1300, 1000) as page:
        page.goto(file.absolute().as_uri())
        page.locator("section#size").screenshot(path=to)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("storage", type=Path)
    parser.add_argument("sweep")
    parser.add_argument("--report", type=Path, help="the report; by default the sweep's own")
    parser.add_argument("--to", type=Path, default=Path(__file__).parent / "images")
    given = parser.parse_args()
    given.to.mkdir(parents=True, exist_ok=True)
    file = given.report or given.storage / given.sweep / "report.html"
    try:
        trials(given.storage, given.sweep, given.to / "mlflow-trials.png")
    except SweepError as error:
        sys.exit(str(error))
    if file.is_file():
        report(file, given.to / "report.png")
        accuracy_against_size(file, given.to / "accuracy-against-size.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
