"""The user's own images, in one folder a class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Interval

from sweeps.data.balance import balanced_order
from sweeps.data.dataset import DATASETS, Dataset, Images, InvalidData, Labels
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


@DATASETS.register(version=1, location=("root",), files=_files)
def image_folder(
    *,
    root: str,
    size: tuple[Side, Side] = (32, 32),
    colour: bool = True,
    test_share: Annotated[float, Interval(ge=0.01, le=0.9)] = 0.2,
) -> Dataset:
    """Your own images: a folder a class, all brought to one size.

    Args:
        root: Holds `train` and `test` with a folder a class in each, or the folders of the classes. Classes
            are numbered in the order of their names.
        size: Height and width: an image is cut around its centre to that aspect, then resized.
        colour: Three channels, else one (grey).
        test_share: Of each class, set aside for the test by a fixed choice; not used where `test` exists.
    """
    _files(root=root)
    folder = Path(root).expanduser()
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        names = _classes(folder / "train")
        train = _read(folder / "train", names, size, colour)
        test = _read(folder / "test", names, size, colour)
        return Dataset("image_folder", *train, *test, classes=len(names))
    names = _classes(folder)
    images, labels = _read(folder, names, size, colour)
    order = balanced_order(labels, TEST_SEED, "test")
    held_out = round(test_share * len(labels))
    if not len(names) <= held_out <= len(labels) - len(names):
        raise InvalidData(
            f"{folder} holds {len(labels)} images of {len(names)} classes; data.test_share: {test_share} makes "
            f"{held_out} of them test images; allowed: at least one of each class on either side"
        )
    chosen, rest = np.sort(order[:held_out]), np.sort(order[held_out:])
    return Dataset("image_folder", images[rest], labels[rest], images[chosen], labels[chosen], classes=len(names))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _classes(folder: Path) -> list[str]:
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(names) < 2:
        raise InvalidData(f"{folder} holds {len(names)} class folders; allowed: 2 or more ({LAYOUT})")
    return names


def _read(folder: Path, names: Sequence[str], size: tuple[int, int], colour: bool) -> tuple[Images, Labels]:
    unknown = sorted({path.name for path in folder.iterdir() if path.is_dir()} - set(names))
    unknown = [name for name in unknown if not name.startswith(".")]
    if unknown:
        raise InvalidData(f"{folder} holds classes that training does not: {', '.join(unknown)}")
    found: list[tuple[Path, int]] = []
    for label, name in enumerate(names):
        paths = sorted(path for path in (folder / name).glob("*") if _is_image(path))
        if not paths:
            raise InvalidData(
                f"{folder / name} holds no images; allowed: {', '.join(sorted(SUFFIXES))} in {LAYOUT}"
            )
        found += [(path, label) for path in paths]
    images = np.empty((len(found), 3 if colour else 1, *size), dtype=np.uint8)
    for row, (path, _) in enumerate(found):
        images[row] = _decode(path, size, colour)
    return images, np.array([label for _, label in found], dtype=np.int64)


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
