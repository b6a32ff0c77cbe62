"""Small data sets on disk, in the formats that the published ones come in."""

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sweeps.data.mnist import FILES as IDX_FILES

CLASSES = 10


def write_idx(path: Path, values: NDArray[np.uint8]) -> None:
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    data = header + values.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def write_mnist(folder: Path, *, train: int = 60, test: int = 20, suffix: str = "", seed: int = 0) -> None:
    """The four IDX files of MNIST and its relatives, smaller."""
    random = np.random.default_rng(seed)
    arrays = [
        random.integers(0, 256, (train, 28, 28), dtype=np.uint8),
        (np.arange(train) % CLASSES).astype(np.uint8),
        random.integers(0, 256, (test, 28, 28), dtype=np.uint8),
        (np.arange(test) % CLASSES).astype(np.uint8),
    ]
    for name, values in zip(IDX_FILES, arrays, strict=True):
        write_idx(folder / f"{name}{suffix}", values)


def write_cifar10(folder: Path, *, batch: int = 20, seed: int = 0) -> None:
    """The six pickled batches of CIFAR-10, smaller, as today's Python writes them."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        images = random.integers(0, 256, (batch, 3072), dtype=np.uint8)
        content = {"data": images, "labels": [number % CLASSES for number in range(batch)]}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))


def python2_batch(images: NDArray[np.uint8], labels: list[int]) -> bytes:
    """A batch as Python 2 and numpy 1 pickled it, which is what the published files are."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value

    def integer(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + integer(0) + b"\x85" + text(b"b") + b"tR"
    kind = b"cnumpy\ndtype\n(" + text(b"u1") + integer(0) + integer(1) + b"tR"
    kind += b"(" + integer(3) + text(b"|") + b"NNN" + integer(-1) + integer(-1) + integer(0) + b"tb"
    shape = integer(images.shape[0]) + integer(images.shape[1]) + b"\x86"
    array = empty + b"(" + integer(1) + shape + kind + b"\x89" + text(images.tobytes()) + b"tb"
    listed = b"](" + b"".join(map(integer, labels)) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + listed + b"u."


def write_image(path: Path, pixels: NDArray[np.uint8]) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
