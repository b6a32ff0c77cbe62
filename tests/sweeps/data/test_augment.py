import pydantic
import pytest
import torch
from torch import Generator, Tensor

from rmt.errors import UnknownName
from sweeps.data import AUGMENTATIONS, augment
from sweeps.data.augment import crop, cutout, flip


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def numbered(batch: int = 64, channels: int = 3, height: int = 12, width: int = 10) -> Tensor:
    """No two pixels alike and none 0."""
    return torch.arange(1, 1 + batch * channels * height * width).float().view(batch, channels, height, width)


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_augmentation_keeps_shape_and_type_and_its_argument(name: str, dtype: torch.dtype) -> None:
    images = numbered().to(dtype)
    before = images.clone()
    result = AUGMENTATIONS[name].function(images, seeded())
    assert (result.shape, result.dtype) == (images.shape, dtype)
    assert torch.equal(images, before)
    assert not torch.equal(result, images)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_augmentation_follows_its_generator_alone(name: str) -> None:
    function = AUGMENTATIONS[name].function
    torch.manual_seed(1)
    first = function(numbered(), seeded(7))
    torch.manual_seed(2)
    assert torch.equal(first, function(numbered(), seeded(7)))
    assert not torch.equal(first, function(numbered(), seeded(8)))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_augmentation_treats_examples_apart_and_channels_alike(name: str) -> None:
    image = numbered(batch=1, channels=1)
    result = AUGMENTATIONS[name].function(image.expand(64, 3, -1, -1), seeded())
    assert torch.equal(result[:, 0], result[:, 2])
    assert len(torch.unique(result, dim=0)) > 1


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_augmentation_takes_an_empty_batch(name: str) -> None:
    assert AUGMENTATIONS[name].function(torch.zeros(0, 1, 8, 8), seeded()).shape == (0, 1, 8, 8)


def test_crop_is_a_shift_by_at_most_the_padding() -> None:
    images = numbered(batch=300)
    result = crop(images, seeded(), padding=2)
    shifts = set()
    for image, moved in zip(images, result, strict=True):
        for down in range(-2, 3):
            for right in range(-2, 3):
                shifted = torch.nn.functional.pad(image, (2, 2, 2, 2))[
                    :, 2 + down : 14 + down, 2 + right : 12 + right
                ]
                if torch.equal(moved, shifted):
                    shifts.add((down, right))
                    break
            else:
                continue
            break
        else:
            pytest.fail("a crop that is no shift of its image")
    assert len(shifts) == 25


def test_flip_mirrors_the_given_share() -> None:
    images = numbered(batch=4000, channels=1, height=2, width=2)
    result = flip(images, seeded(), probability=0.25)
    flipped = (result == images.flip(-1)).flatten(1).all(1)
    kept = (result == images).flatten(1).all(1)
    assert (flipped ^ kept).all()
    assert flipped.float().mean().item() == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 4000) ** 0.5)
    assert torch.equal(flip(images, seeded(), probability=1.0), images.flip(-1))
    assert torch.equal(flip(images, seeded(), probability=0.0), images)


@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_cutout_blanks_one_square_around_a_pixel_of_the_image(size: int) -> None:
    images = numbered(batch=2000, channels=2)
    blank = cutout(images, seeded(), size=size) == 0
    assert torch.equal(blank[:, 0], blank[:, 1])
    rows, cols = blank[:, 0].any(2), blank[:, 0].any(1)
    assert torch.equal(blank[:, 0], rows[:, :, None] & cols[:, None, :])
    assert rows.any(1).all()
    assert rows.sum(1).max() == min(size, 12)
    assert cols.sum(1).max() == min(size, 10)
    assert rows.any(0).all()
    assert cols.any(0).all()
    kept = ~blank
    assert torch.equal(cutout(images, seeded(), size=size)[kept], images[kept])


def test_steps_are_applied_in_order_from_one_generator() -> None:
    images, generator = numbered(), seeded(3)
    expected = flip(crop(images, generator, padding=1), generator)
    steps: list[dict[str, object]] = [{"kind": "crop", "padding": 1}, {"kind": "flip"}]
    assert torch.equal(augment(steps)(images, seeded(3)), expected)
    assert augment([])(images, seeded()) is images


def test_steps_are_checked_when_they_are_given() -> None:
    with pytest.raises(UnknownName, match="unknown augmentation 'rotate'; known: crop, cutout, flip"):
        augment([{"kind": "rotate"}])
    with pytest.raises(pydantic.ValidationError, match="padding"):
        augment([{"kind": "crop", "padding": 0}])
