from __future__ import annotations

import base64
import csv
import gzip
import io

import numpy as np
import pandas as pd

from sweeps.report.blocks import PLAIN_LIMIT, Download, csv_download


def _content(download: Download) -> bytes:
    head, _, data = download.address.partition(",")
    assert head.endswith(";base64")
    return base64.b64decode(data)


def test_a_small_table_is_plain_csv_with_every_digit() -> None:
    frame = pd.DataFrame({"trial_id": ["a", "b"], "accuracy": [0.1 + 0.2, 1 / 3]})
    download = csv_download("quickstart-trials", frame)
    assert download.filename == "quickstart-trials.csv"
    rows = list(csv.DictReader(_content(download).decode().splitlines()))
    assert [row["trial_id"] for row in rows] == ["a", "b"]
    assert [float(row["accuracy"]) for row in rows] == list(frame["accuracy"])


def test_a_large_table_is_compressed_and_reads_back() -> None:
    frame = pd.DataFrame({"x": np.random.default_rng(0).standard_normal(20_000)})
    download = csv_download("large", frame)
    packed = _content(download)
    assert download.filename == "large.csv.gz"
    assert len(packed) < len(gzip.decompress(packed)) > PLAIN_LIMIT
    read = pd.read_csv(io.BytesIO(gzip.decompress(packed)))
    np.testing.assert_allclose(read["x"], frame["x"], rtol=1e-14)


def test_text_never_reaches_a_spreadsheet_as_a_formula() -> None:
    hostile = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "\tx", "plain", None]
    frame = pd.DataFrame({"reason": pd.Series(hostile, dtype=object), "loss": np.arange(7) - 3.0})
    read = pd.read_csv(io.BytesIO(_content(csv_download("reasons", frame))))
    assert list(read["reason"][:5]) == [f"'{text}" for text in hostile[:5]]
    assert read["reason"][5] == "plain"
    assert list(read["loss"]) == list(frame["loss"])
