"""Data sets: found, checked, fingerprinted, split and normalised; one family a file.

A family is a function registered in `DATASETS`: its keyword-only parameters are what a spec's `data:` may say,
its result a `Dataset` of plain arrays, or of inputs that stay on disk. The traits `location` and `manner` name the
options that say where and how, not what (they are no part of a replicate's identity), `files` finds what would be
read without reading it, `download` fetches it.
"""

from sweeps.data import arrays, cifar10, digits, image_folder, mnist, synthetic  # noqa: F401 - they register
from sweeps.data.augment import AUGMENTATIONS, augment
from sweeps.data.dataset import DATASETS, Dataset, InvalidData
from sweeps.data.loading import find, load
from sweeps.data.parts import Normalisation, Part, Split, check_split, split
from sweeps.data.reading import OnDisk, Read, Workers, read_here

__all__ = [
    "AUGMENTATIONS",
    "DATASETS",
    "Dataset",
    "InvalidData",
    "Normalisation",
    "OnDisk",
    "Part",
    "Read",
    "Split",
    "Workers",
    "augment",
    "check_split",
    "find",
    "load",
    "read_here",
    "split",
]
