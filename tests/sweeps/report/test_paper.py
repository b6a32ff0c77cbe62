from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.image import imread

from sweeps import report
from sweeps.report.palette import PALETTE
from sweeps.report.paper import save
from tests.sweeps.report.generator import Made
from tests.sweeps.report.test_svg import HOSTILE, _drawing


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_png_has_the_size_and_the_paper_of_the_drawing(tmp_path: Path, scheme: str) -> None:
    picture = imread(save(_drawing(), tmp_path / "picture.png", scheme=scheme, dpi=96))
    assert picture.shape[:2] == (80, 100)
    paper = getattr(PALETTE["paper"], scheme)
    corner = "#" + "".join(f"{round(channel * 255):02x}" for channel in picture[-1, -1, :3])
    assert corner == paper


def test_a_pdf_takes_any_text(tmp_path: Path) -> None:
    written = save(
        _drawing(HOSTILE.replace("\x00", "").replace("\x1b", "") + r" $\frac{"), tmp_path / "picture.pdf"
    )
    assert written.read_bytes().startswith(b"%PDF-")


@pytest.mark.slow
def test_a_paper_gets_tables_methods_and_every_picture(small: Made, tmp_path: Path) -> None:
    files = report.write_paper(
        small.storage,
        small.sweep,
        table=small.table,
        trials=small.trials,
        plan=small.plan,
        spectra=small.spectra,
        histories=small.histories,
        to=tmp_path / "paper",
        formats=["pdf"],
    )
    assert [file.name for file in files[:2]] == ["tables.tex", "methods.tex"]
    assert [file.stem for file in files[2:]] == [
        "size", "forest", "slopes", "replicates", "heatmaps", "spectrum-1", "spectrum-2", "ranks", "curves",
    ]  # fmt: skip
    assert all(file.stat().st_size > 1000 for file in files)
