import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sweeps.data import find, load
from sweeps.errors import DataNotFound
from sweeps.trial_spec import Data
from tests.sweeps.data.files import write_image, write_mnist


def choose(kind: str, **options: object) -> Data:
    return Data.model_validate({"kind": kind, **options})


def test_loaded_once_a_process() -> None:
    assert load(choose("digits")) is load(choose("digits", validation=100))
    assert load(choose("synthetic", seed=1)) is not load(choose("synthetic", seed=2))


def test_a_file_that_changed_is_loaded_again(tmp_path: Path) -> None:
    data = choose("arrays", path=str(tmp_path / "mine.npz"))
    labels = np.array([0, 1, 0, 1])
    fingerprints = []
    for value in (1, 2):
        inputs = np.full((4, 3), value, dtype=np.uint8)
        np.savez(
            tmp_path / f"mine{value}.npz",
            train_inputs=inputs,
            train_labels=labels,
            test_inputs=inputs,
            test_labels=labels,
        )
        (tmp_path / f"mine{value}.npz").replace(tmp_path / "mine.npz")
        fingerprints.append(load(data).fingerprint)
        assert load(data) is load(data)
    assert fingerprints[0] != fingerprints[1]


def test_an_image_that_was_added_behind_a_link_is_loaded(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        for number in range(4):
            write_image(tmp_path / "elsewhere" / name / f"{number}.png", np.full((4, 4), number, dtype=np.uint8))
    (tmp_path / "root").mkdir()
    for name in ("ant", "bee"):
        (tmp_path / "root" / name).symlink_to(tmp_path / "elsewhere" / name)
    data = choose("image_folder", root=str(tmp_path / "root"), test_share=0.5)
    before = load(data)
    assert load(data) is before
    write_image(tmp_path / "elsewhere" / "bee" / "4.png", np.zeros((4, 4), dtype=np.uint8))
    assert len(load(data).train_labels) == 5


def test_found_without_being_read(nowhere: Path) -> None:
    write_mnist(nowhere)
    assert find(choose("mnist", root=str(nowhere)))[0].name == "train-images-idx3-ubyte"
    assert find(choose("digits")) == []


def test_not_downloaded_unless_asked(nowhere: Path) -> None:
    with pytest.raises(DataNotFound) as caught:
        load(choose("cifar10"))
    assert "download into" not in str(caught.value)
    assert not (nowhere / "cache").exists()


@pytest.fixture
def nobody_listens() -> Iterator[str]:
    """An address that refuses: its port is held, so that nobody else takes it, and not listened on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture
def no_internet(nobody_listens: str) -> Iterator[None]:
    """Every address is behind a proxy where nobody listens, as on a machine without the internet.

    Given to urllib itself, which keeps the proxies of a process's first request, whichever test made that.
    """
    proxies = {"http": nobody_listens, "https": nobody_listens}
    urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler(proxies)))
    yield
    urllib.request.install_opener(urllib.request.build_opener())


@pytest.mark.slow
@pytest.mark.usefixtures("no_internet")
@pytest.mark.parametrize("kind", ["mnist", "fashion_mnist", "cifar10"])
def test_a_download_that_fails_says_what_was_tried(nowhere: Path, kind: str) -> None:
    with pytest.raises(DataNotFound) as caught:
        load(choose(kind, root=str(nowhere / "root")), download=True)
    message = str(caught.value)
    assert f"data set {kind!r} was not found. Looked in:" in message
    assert f"The download into {nowhere / 'root'} failed: " in message
    assert "Connection refused" in message


@pytest.mark.slow
def test_a_folder_that_can_not_be_written_is_a_failed_download(nowhere: Path) -> None:
    (nowhere / "file").write_text("not a folder")
    with pytest.raises(
        DataNotFound, match=r"(?s)Looked in:.*The download into .*file/sub failed: NotADirectoryError"
    ):
        load(choose("mnist", root=str(nowhere / "file" / "sub")), download=True)


def test_asking_for_a_download_of_what_is_there_downloads_nothing(nowhere: Path) -> None:
    write_mnist(nowhere / "root")
    dataset = load(choose("mnist", root=str(nowhere / "root")), download=True)
    assert len(dataset.train_labels) == 60
    assert not (nowhere / "root" / "MNIST").exists()
