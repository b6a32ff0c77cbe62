"""What a person sees: real Chromium on a real `mlflow server`, by the link that `sweeps ui` says."""

from __future__ import annotations

import importlib.util
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from sweeps import mlflow_query, tracking, ui
from sweeps.pictures import brush
from sweeps.tracking.store import store_uri
from sweeps.tracking.view import CURVES
from tests.sweeps.tracking.recorded import SweepOnDisk
from tests.sweeps.tracking.seen import Seen
from tests.sweeps.tracking.stores import NOT_OURS, migrated_store, no_address_from_outside

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["migrated_store", "no_address_from_outside"]
pytestmark = [pytest.mark.slow, *(pytest.mark.filterwarnings(warning) for warning in NOT_OURS)]


def _screenshots() -> ModuleType:
    path = Path(__file__).parents[2] / "docs" / "screenshots.py"
    spec = importlib.util.spec_from_file_location("screenshots", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCREENSHOTS = _screenshots()


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> SweepOnDisk:
    """A finished sweep with a report, projected."""
    storage = tmp_path_factory.mktemp("browser")
    (storage / "mlflow.db").write_bytes(migrated_store.read_bytes())
    points = {"training.optimiser.lr": [0.01, 0.05], "prune.aggressiveness": [0.25, 0.75]}
    made = SweepOnDisk(storage, points=points, tracking="{pictures: 1}")
    made.finish()
    (made.folder / "report.html").write_text("<!doctype html><title>r</title><h1>The report of the sweep</h1>")
    assert tracking.project(storage, made.name).is_complete
    return made


@pytest.fixture(scope="module")
def base(sweep: SweepOnDisk) -> Iterator[str]:
    with ui.server(store_uri(sweep.storage)) as address:
        yield address


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    if not SCREENSHOTS.CHROMIUM.exists():
        message = f"Chromium is not at {SCREENSHOTS.CHROMIUM}"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with SCREENSHOTS.browser_page(2400, 900) as opened:
        yield opened


def _columns(page: Page) -> list[str]:
    """Column ids from left to right."""
    return _placed(page, ".ag-header-cell[col-id]", "x", "cell.getAttribute('col-id')")


def _cells(page: Page, column: str) -> list[str]:
    """Texts of a column from top to bottom."""
    return _placed(page, f".ag-row [col-id='{column}']", "y", "cell.innerText")


def _placed(page: Page, selector: str, axis: str, value: str) -> list[str]:
    """Something of each cell, in the order of their places; looked at in one go, for the table may change."""
    code = f"cells => cells.map(cell => [cell.getBoundingClientRect().{axis}, {value}])"
    return [text for _, text in sorted(page.locator(selector).evaluate_all(code))]


def _until(what: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait until the page shows something; fails when it never does."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "the page never showed it"
        time.sleep(0.2)


def test_link_opens_the_trials_with_their_statistics_best_first(page: Page, base: str, sweep: SweepOnDisk) -> None:
    SCREENSHOTS.open_trials(page, ui.link(base, sweep.name))
    wanted = [f"metrics.`validation_accuracy.{name}`" for name in ("mean", "sd", "ci_low", "ci_high")]
    wanted += ["params.`training.optimiser.lr`", "params.`prune.aggressiveness`"]
    _until(lambda: [name for name in _columns(page) if name in wanted] == wanted)
    _until(lambda: len(_cells(page, wanted[0])) == len(sweep.trials))
    means = [float(text) for text in _cells(page, wanted[0])]
    assert means == sorted(means, reverse=True)
    assert set(_cells(page, wanted[4])) == {"0.01", "0.05"}
    assert set(_cells(page, wanted[5])) == {"-", "0.25", "0.75"}


@pytest.mark.parametrize(("statistic", "falling"), [("mean", False), ("sd", True)])
def test_sorting_by_a_statistic_works(
    page: Page, base: str, sweep: SweepOnDisk, statistic: str, *, falling: bool
) -> None:
    SCREENSHOTS.open_trials(page, ui.link(base, sweep.name))
    name = f"validation_accuracy.{statistic}"
    column = f"metrics.`{name}`"
    page.locator(f".ag-header-cell[col-id='{column}']").get_by_text(name).click()
    page.locator(f".ag-header-cell[col-id='{column}'] svg").first.wait_for()
    wanted = sorted(mlflow_query.trials(sweep.name, base).table[name], reverse=falling)
    _until(lambda: [float(text) for text in _cells(page, column)] == wanted)


def test_tree_opens_from_sweep_to_trial_to_replicates(page: Page, base: str, sweep: SweepOnDisk) -> None:
    SCREENSHOTS.open_trials(page, ui.link(base, sweep.name, view="tree"))
    column = "attributes.`Run Name`"
    [root] = _cells(page, column)
    assert root.endswith(sweep.name)
    page.locator(".ag-row").first.get_by_role("button").first.click()
    page.get_by_text(sweep.trials[0]["trial_id"]).first.wait_for()
    _until(lambda: len(_cells(page, column)) == 1 + len(sweep.trials))
    page.locator(".ag-row").nth(1).get_by_role("button").first.click()
    page.get_by_text("seed 0/0/0").first.wait_for()
    _until(lambda: len(_cells(page, column)) == 1 + len(sweep.trials) + sweep.seeds)


def _run(base: str, sweep: SweepOnDisk, level: str, identity: str) -> str:
    """Address of a run's page."""
    info = Seen(store_uri(sweep.storage)).level(sweep.name, level)[identity].info
    return f"{base}/#/experiments/{info.experiment_id}/runs/{info.run_id}"


def _drawn_replicate(sweep: SweepOnDisk) -> str:
    """The replicate that the pictures are of."""
    seen = Seen(store_uri(sweep.storage))
    runs = seen.level(sweep.name, "replicate")
    [drawn] = [name for name, run in runs.items() if "spectra.png" in seen.artifacts(run)]
    return drawn


def test_replicate_shows_its_curves_its_spectra_and_its_layers(page: Page, base: str, sweep: SweepOnDisk) -> None:
    address = _run(base, sweep, "replicate", _drawn_replicate(sweep))
    page.goto(f"{address}/model-metrics")
    page.locator(".js-plotly-plot .js-line[d*='L']").first.wait_for(state="attached")
    page.goto(f"{address}/artifacts/spectra.png")
    picture = page.get_by_role("img", name="spectra.png")
    picture.wait_for()
    assert (picture.bounding_box() or {"width": 0})["width"] > 300
    page.get_by_text("layers.csv", exact=True).first.click()
    page.get_by_text("threshold", exact=True).first.wait_for()
    page.get_by_text("layers.0", exact=True).first.wait_for()


def test_curves_of_all_replicates_open_as_a_line_a_trial(page: Page, base: str, sweep: SweepOnDisk) -> None:
    page.goto("about:blank")
    page.goto(ui.link(base, sweep.name, view=CURVES))
    charts = page.locator(".js-plotly-plot")
    charts.nth(1).wait_for()
    for trial in sweep.trials:
        page.get_by_text(f"{trial['trial_id']} (train_loss)").first.wait_for(state="attached")
    lines = charts.first.locator(".js-line[d*='L']")
    _until(lambda: lines.count() >= len(sweep.trials))
    page.get_by_text("validation_accuracy", exact=True).first.wait_for()


def test_trials_are_brushed_inside_mlflow_by_pointer_and_by_keyboard(
    page: Page, base: str, sweep: SweepOnDisk
) -> None:
    page.goto(f"{_run(base, sweep, 'sweep', sweep.name)}/artifacts/parallel.html")
    frame = page.frame_locator("iframe").first
    said, trials = frame.get_by_role("status"), len(sweep.trials)
    frame.get_by_text(f"{trials} of {trials} trials").wait_for()
    lowest = frame.locator("fieldset").last.get_by_label("from")
    lowest.focus()
    assert lowest.get_attribute("aria-valuetext")
    for _ in range(60):
        page.keyboard.press("ArrowRight")
    kept = frame.locator("tbody tr:visible")
    assert 0 < kept.count() < trials
    assert said.inner_text() == f"{kept.count()} of {trials} trials"
    assert frame.locator("svg path.out").count() == trials - kept.count()
    frame.get_by_role("button", name="All trials").press("Enter")
    frame.get_by_text(f"{trials} of {trials} trials").wait_for()
    box = frame.locator("svg").bounding_box()
    assert box is not None
    x = box["x"] + float(frame.locator("fieldset").first.get_attribute("data-x") or 0)
    page.mouse.move(x, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(x + 3, box["y"] + 200, steps=4)
    page.mouse.up()
    assert 0 < kept.count() < trials
    rates = {row.locator("td").first.inner_text() for row in kept.all()}
    assert rates == {"0.05"}, "the upper half of the learning rates"


def test_brush_works_from_disk_without_a_network(page: Page, tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "trial_id": ["<b>a</b>", "b", "c"],
            "kind": ["<img src=x onerror=document.title='hit'>", "relu", "relu"],
            "x.mean": [0.1, 0.2, 0.3],
        }
    )
    file = tmp_path / "parallel.html"
    file.write_text(str(brush.page(table, ["kind"], "x.mean", "</title><script>document.title='hit'</script>")))
    asked: list[str] = []
    page.goto("about:blank")  # what was open before asks for nothing any more
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    page.get_by_text("3 of 3 trials").wait_for()
    assert asked == [file.as_uri()]
    assert page.title() != "hit"
    page.locator("fieldset").first.get_by_label("to").fill("0.5")
    page.get_by_text("1 of 3 trials").wait_for()
    page.get_by_text("<b>a</b>").wait_for()


def test_report_opens_where_a_person_clicks(page: Page, base: str, sweep: SweepOnDisk) -> None:
    page.goto(f"{_run(base, sweep, 'sweep', sweep.name)}/artifacts")
    page.get_by_text("report.html").first.click()
    frame = page.frame_locator("iframe").first
    frame.get_by_text(re.compile("The report of the sweep")).wait_for()
