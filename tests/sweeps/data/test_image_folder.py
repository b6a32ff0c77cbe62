from pathlib import Path

import numpy as np
import pytest

from sweeps.data import InvalidData
from sweeps.data.image_folder import image_folder
from sweeps.errors import DataNotFound
from tests.sweeps.data.files import write_image
from tests.sweeps.data.pixels import pixels


def flat(value: int, height: int = 10, width: int = 10) -> np.ndarray:
    return np.full((height, width, 3), value, dtype=np.uint8)


def write_classes(root: Path, each: int = 5, classes: tuple[str, ...] = ("ant", "bee")) -> None:
    for label, name in enumerate(classes):
        for number in range(each):
            write_image(root / name / f"{number}.png", flat(100 * label + number))


def test_classes_are_numbered_in_the_order_of_their_names(tmp_path: Path) -> None:
    write_classes(tmp_path)
    dataset = image_folder(root=str(tmp_path), size=(4, 6))
    assert dataset.shape == (3, 4, 6)
    assert dataset.classes == 2
    np.testing.assert_array_equal(pixels(dataset.train_inputs)[:, 0, 0, 0] // 100, dataset.train_labels)


def test_the_test_part_is_a_fixed_balanced_share(tmp_path: Path) -> None:
    write_classes(tmp_path, each=10)
    first, again = (image_folder(root=str(tmp_path), test_share=0.3) for _ in range(2))
    assert np.bincount(first.test_labels).tolist() == [3, 3]
    assert first.fingerprint == again.fingerprint
    values = np.concatenate([first.train_inputs, first.test_inputs])[:, 0, 0, 0]
    assert sorted(values) == [*range(10), *range(100, 110)]


def test_folders_train_and_test_are_kept_as_they_are(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", each=4)
    write_classes(tmp_path / "test", each=3)
    dataset = image_folder(root=str(tmp_path))
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (8, 6)


def test_cut_around_the_centre_to_the_aspect_then_resized(tmp_path: Path) -> None:
    wide = flat(0, 10, 30)
    wide[:, 7:23] = 200  # of which the middle ten columns are wanted, and a filter looks at their neighbours
    for name in ("a", "b"):
        for number in range(2):
            write_image(tmp_path / name / f"{number}.png", wide)
    dataset = image_folder(root=str(tmp_path), size=(5, 5), test_share=0.5)
    assert (pixels(dataset.train_inputs) == 200).all()


def test_grey_and_colour_files_become_what_was_asked_for(tmp_path: Path) -> None:
    write_classes(tmp_path)
    write_image(tmp_path / "ant" / "grey.png", np.full((10, 10), 7, dtype=np.uint8))
    assert image_folder(root=str(tmp_path), colour=True).shape == (3, 32, 32)
    assert image_folder(root=str(tmp_path), colour=False).shape == (1, 32, 32)


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    write_classes(tmp_path)
    (tmp_path / "ant" / "notes.txt").write_text("six legs")
    (tmp_path / "ant" / ".hidden.png").write_bytes(b"")
    (tmp_path / ".cache").mkdir()
    assert len(image_folder(root=str(tmp_path)).train_labels) == 8


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataNotFound, match=r"data\.root: there is no folder .*absent.*it holds ROOT/CLASS"):
        image_folder(root=str(tmp_path / "absent"))


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    write_classes(tmp_path)
    whole = (tmp_path / "bee" / "3.png").read_bytes()
    (tmp_path / "bee" / "3.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidData, match=r"bee/3\.png can not be read as an image"):
        image_folder(root=str(tmp_path))


def test_a_text_that_calls_itself_an_image_is_named(tmp_path: Path) -> None:
    write_classes(tmp_path)
    (tmp_path / "bee" / "3.png").write_text("hello")
    with pytest.raises(InvalidData, match=r"bee/3\.png can not be read as an image"):
        image_folder(root=str(tmp_path))


def test_more_than_eight_bits_are_refused_and_not_clipped(tmp_path: Path) -> None:
    write_classes(tmp_path)
    write_image(tmp_path / "bee" / "deep.png", np.full((9, 9), 1000, dtype=np.uint16))
    with pytest.raises(InvalidData, match=r"deep\.png has more than 8 bits a channel .*; allowed: 8"):
        image_folder(root=str(tmp_path))


def test_transparent_palettes_are_read_without_a_warning(tmp_path: Path) -> None:
    from PIL import Image

    write_classes(tmp_path)
    picture = Image.fromarray(np.full((9, 9), 1, dtype=np.uint8)).convert("P")
    picture.save(tmp_path / "bee" / "palette.png", transparency=bytes([0, 128]))
    assert len(image_folder(root=str(tmp_path)).train_labels) == 9


def test_a_class_without_images(tmp_path: Path) -> None:
    write_classes(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(InvalidData, match=r"cat holds no images; allowed: \.bmp"):
        image_folder(root=str(tmp_path))


def test_a_single_class(tmp_path: Path) -> None:
    write_classes(tmp_path, classes=("ant",))
    with pytest.raises(InvalidData, match="holds 1 class folders; allowed: 2 or more"):
        image_folder(root=str(tmp_path))


def test_a_class_of_the_test_part_alone(tmp_path: Path) -> None:
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "test", classes=("ant", "bee", "cat"))
    with pytest.raises(InvalidData, match="test holds classes that training does not: cat"):
        image_folder(root=str(tmp_path))


def test_a_share_that_leaves_a_class_without_test_images(tmp_path: Path) -> None:
    write_classes(tmp_path, each=3)
    with pytest.raises(InvalidData, match=r"6 images of 2 classes; data\.test_share: 0\.1 makes 1 of them test"):
        image_folder(root=str(tmp_path), test_share=0.1)
