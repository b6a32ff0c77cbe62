"""A report is made anew whenever it would come out otherwise, and only then."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps import plugins, write_report
from sweeps.fresh_report import PROGRAM, REPORT, fresh_report
from tests.sweeps.tracking.recorded import SweepOnDisk

POINTS = {"training.optimiser.lr": [0.05]}


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> SweepOnDisk:
    """A sweep on disk with its report, and one replicate that is not recorded yet."""
    sweep = SweepOnDisk(tmp_path_factory.mktemp("storage"), points=POINTS)
    assert fresh_report(sweep.folder) is None
    for replicate in sweep.replicates()[1:]:
        replicate.finish()
    assert fresh_report(sweep.folder) == sweep.folder / REPORT
    return sweep


def is_made_anew(sweep: SweepOnDisk, program: tuple[Path, ...] = PROGRAM) -> bool:
    """Whether asking for the report writes it."""
    before = (sweep.folder / REPORT).stat().st_mtime_ns
    fresh_report(sweep.folder, program)
    return (sweep.folder / REPORT).stat().st_mtime_ns != before


def record(sweep: SweepOnDisk) -> None:
    sweep.replicates()[0].finish()


def record_again(sweep: SweepOnDisk) -> None:
    sweep.replicates()[1].finish()


def lose_spectra(sweep: SweepOnDisk) -> None:
    (sweep.replicates()[1].folder / "spectra.npz").unlink()


def plan(sweep: SweepOnDisk) -> None:
    file = sweep.folder / "plan.json"
    file.write_text(file.read_text().replace('"mean"', '"median"'))


def upgrade(sweep: SweepOnDisk) -> None:
    (sweep.folder / "packages.txt").write_text("scipy==99.0\n")


def launch(sweep: SweepOnDisk) -> None:
    (sweep.folder / "launches").mkdir()
    (sweep.folder / "launches" / "1.json").write_text("{}")


def report_with_a_margin(sweep: SweepOnDisk) -> None:
    write_report(sweep.name, storage=sweep.storage, margin=0.01)


def lose_report(sweep: SweepOnDisk) -> None:
    (sweep.folder / REPORT).write_text("")


@pytest.mark.parametrize(
    "change",
    [lose_spectra, record_again, record, plan, upgrade, launch, report_with_a_margin, lose_report],
)
def test_what_a_report_is_made_from_makes_it_anew_once(
    reported: SweepOnDisk, change: Callable[[SweepOnDisk], None]
) -> None:
    assert not is_made_anew(reported)
    change(reported)
    assert is_made_anew(reported)
    assert not is_made_anew(reported)


def test_another_version_of_the_program_makes_it_anew(reported: SweepOnDisk, tmp_path: Path) -> None:
    (tmp_path / "program").mkdir()
    source = Path(shutil.copy(PROGRAM[0] / "reporting.py", tmp_path / "program"))
    program = (tmp_path / "program",)
    assert is_made_anew(reported, program)
    assert not is_made_anew(reported, program)
    source.write_text(source.read_text() + "\n")
    assert is_made_anew(reported, program)


def test_a_plugin_makes_it_anew(reported: SweepOnDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its statistics and measures may be what is shown."""
    (tmp_path / "lab_of_reports.py").write_text("")
    (tmp_path / "lab_without_files").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    fresh_report(reported.folder)
    for module in ("lab_of_reports", "lab_without_files"):
        plugins.load([module])
        assert is_made_anew(reported)
        assert not is_made_anew(reported)
