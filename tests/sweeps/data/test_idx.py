import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sweeps.data import InvalidData
from sweeps.data.idx import read_idx
from tests.sweeps.data.files import write_idx


@settings(deadline=None, max_examples=30)
@given(values=arrays(np.uint8, st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, 5))))
def test_what_is_written_is_read(values: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("idx")
    for name in ("plain", "zipped.gz"):
        write_idx(folder / name, values)
        np.testing.assert_array_equal(read_idx(folder / name, 3), values)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty", b"", "begins with nothing; an IDX file of bytes in 1 dimensions begins with 00 00 08 01"),
        ("text", b"<html>no such page</html>", "begins with 3c 68 74 6d"),
        ("floats", bytes([0, 0, 13, 1, 0, 0, 0, 1, 0, 0, 0, 0]), "begins with 00 00 0d 01"),
        ("image", bytes([0, 0, 8, 2]) + bytes(12), "begins with 00 00 08 02"),
        ("short", bytes([0, 0, 8, 1, 0, 0, 0, 5, 1, 2]), "holds 2 values where its header says 5"),
        ("long", bytes([0, 0, 8, 1, 0, 0, 0, 1, 1, 2]), "holds 2 values where its header says 1"),
        ("text.gz", b"not gzipped at all", "can not be read: Not a gzipped file"),
        ("cut.gz", gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 5, 1, 2, 3, 4, 5]), mtime=0)[:-9], "can not be read"),
    ],
)
def test_a_file_that_is_not_one_is_refused_by_name(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidData, match=message) as caught:
        read_idx(tmp_path / name, 1)
    assert str(tmp_path / name) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="can not be read"):
        read_idx(tmp_path / "absent", 1)
