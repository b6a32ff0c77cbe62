"""The user's own images, in one folder a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Interval

from sweeps.data.balance import balanced_order
from sweeps.data.dataset import DATASETS, Dataset, InvalidData, Labels
from sweeps.data.reading import Images, Inputs, OnDisk, Rows
from sweeps.errors import DataNotFound

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
LAYOUT = "ROOT/CLASS/*.png, or ROOT/train/CLASS/*.png and ROOT/test/CLASS/*.png"
TEST_SEED = 0
Side = Annotated[int, Interval(ge=1, le=4096)]


def _files(*, root: str) -> list[Path]:
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise DataNotFound(
            f"data.root: there is no folder {folder} (looked for at {folder.absolute()}); it holds {LAYOUT}"
        )
    inside = [*folder.glob("*/*"), *folder.glob("*/*/*")]
    return sorted(path for path in inside if _is_image(path))


@DATASETS.register(version=1, location=("root",), manner=("lazy",), files=_files)
def image_folder(
    *,
    root: str,
    size: tuple[Side, Side] = (32, 32),
    colour: bool = True,
    test_share: Annotated[float, Interval(ge=0.01, le=0.9)] = 0.2,
    lazy: bool = False,
) -> Dataset:
    """Your own images: a folder a class, all brought to one size.

    Args:
        root: Holds `train` and `test` with a folder a class in each, or the folders of the classes. Classes
            are numbered in the order of their names.
        size: Height and width: an image is cut around its centre to that aspect, then resized.
        colour: Three channels, else one (grey).
        test_share: Of each class, set aside for the test by a fixed choice; not used where `test` exists.
        lazy: Leave the images on disk, for sets that are larger than memory: each training reads them batch by
            batch with a worker process a CPU of the trial, from a `root` that every node sees. The numbers are
            those of the same images in memory, and so are the identities.
    """
    _files(root=root)
    folder = Path(root).expanduser()

    def inputs(paths: Sequence[str]) -> Inputs:
        files = ImageFiles(tuple(paths), (size[0], size[1]), colour)
        return files if lazy else files[np.arange(len(paths))]

    if (folder / "train").is_dir() and (folder / "test").is_dir():
        names = _classes(folder / "train")
        train, train_labels = _find(folder / "train", names)
        test, test_labels = _find(folder / "test", names)
        return Dataset("image_folder", inputs(train), train_labels, inputs(test), test_labels, classes=len(names))
    names = _classes(folder)
    paths, labels = _find(folder, names)
    order = balanced_order(labels, TEST_SEED, "test")
    held_out = round(test_share * len(labels))
    if not len(names) <= held_out <= len(labels) - len(names):
        raise InvalidData(
            f"{folder} holds {len(labels)} images of {len(names)} classes; data.test_share: {test_share} makes "
            f"{held_out} of them test images; allowed: at least one of each class on either side"
        )
    chosen, rest = np.sort(order[:held_out]), np.sort(order[held_out:])
    train, test = ([paths[row] for row in rows] for rows in (rest, chosen))
    return Dataset("image_folder", inputs(train), labels[rest], inputs(test), labels[chosen], classes=len(names))


@dataclass(frozen=True)
class ImageFiles(OnDisk):
    """Images that are decoded when they are asked for.

    Attributes:
        paths: One an example.
        size: Height and width they are brought to.
        colour: Three channels, else one.
    """

    paths: tuple[str, ...]
    size: tuple[int, int]
    colour: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        return (len(self.paths), 3 if self.colour else 1, *self.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Eight bits a channel."""
        return np.dtype(np.uint8)

    def __getitem__(self, rows: Rows) -> Images:
        """Decode these images."""
        images = np.empty((len(rows), *self.shape[1:]), dtype=self.dtype)
        for place, row in enumerate(rows):
            images[place] = _decode(Path(self.paths[row]), self.size, self.colour)
        return images


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _classes(folder: Path) -> list[str]:
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(names) < 2:
        raise InvalidData(f"{folder} holds {len(names)} class folders; allowed: 2 or more ({LAYOUT})")
    return names


def _find(folder: Path, names: Sequence[str]) -> tuple[list[str], Labels]:
    unknown = sorted({path.name for path in folder.iterdir() if path.is_dir()} - set(names))
    unknown = [name for name in unknown if not name.startswith(".")]
    if unknown:
        raise InvalidData(f"{folder} holds classes that training does not: {', '.join(unknown)}")
    found: list[str] = []
    counts = []
    for name in names:
        paths = sorted(path for path in (folder / name).glob("*") if _is_image(path))
        if not paths:
            raise InvalidData(
                f"{folder / name} holds no images; allowed: {', '.join(sorted(SUFFIXES))} in {LAYOUT}"
            )
        found += map(str, paths)
        counts.append(len(paths))
    return found, np.repeat(np.arange(len(names), dtype=np.int64), counts)


def _decode(path: Path, size: tuple[int, int], colour: bool) -> Images:
    from PIL import Image, ImageOps

    height, width = size
    try:
        with Image.open(path) as image:
            kind = image.mode
            opaque = image.convert("RGBA") if "transparency" in image.info else image
            upright = ImageOps.exif_transpose(opaque).convert("RGB" if colour else "L")
            fitted = ImageOps.fit(upright, (width, height), method=Image.Resampling.BILINEAR)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidData(f"{path} can not be read as an image: {error}") from error
    if kind.startswith(("I", "F")):  # Pillow would clip these at 255 without a word
        raise InvalidData(f"{path} has more than 8 bits a channel (mode {kind}); allowed: 8, or data.kind: arrays")
    pixels = np.asarray(fitted)
    return pixels.transpose(2, 0, 1) if colour else pixels[None]
