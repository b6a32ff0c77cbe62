"""The IDX format of MNIST and its relatives, plain or gzipped."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sweeps.data.dataset import InvalidData

UNSIGNED_BYTE = 8


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read an array of unsigned bytes.

    The file is two zero bytes, the type, the number of dimensions, each size as a big-endian 32-bit integer,
    then the values in C order (LeCun, Cortes, Burges: "The MNIST database", section on file formats).

    Raises:
        InvalidData: The file can not be read, is of another type or dimension, or is cut short.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidData(f"{path} can not be read: {error}") from error
    start = 4 + 4 * dimensions
    if len(data) < start or data[:4] != bytes([0, 0, UNSIGNED_BYTE, dimensions]):
        raise InvalidData(
            f"{path} begins with {data[:4].hex(' ') or 'nothing'}; "
            f"an IDX file of bytes in {dimensions} dimensions begins with 00 00 08 0{dimensions}"
        )
    shape = struct.unpack(f">{dimensions}I", data[4:start])
    if len(data) - start != math.prod(shape):
        raise InvalidData(f"{path} holds {len(data) - start} values where its header says {math.prod(shape)}")
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)
