from pathlib import Path

import pytest

from cluster.credentials import read_secret
from cluster.errors import BadOption


def test_a_secret_is_its_files_content_without_the_line_end(tmp_path: Path) -> None:
    path = secret(tmp_path, "s3cret\n", 0o600)

    assert read_secret(path) == "s3cret"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(BadOption, match=f"mode {mode:04o}; allowed: 0600"):
        read_secret(secret(tmp_path, "s3cret", mode))


def test_a_missing_secret_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="python -m cluster init"):
        read_secret(tmp_path / "none")


def test_an_empty_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="is empty"):
        read_secret(secret(tmp_path, "\n", 0o600))


def secret(folder: Path, content: str, mode: int) -> Path:
    path = folder / "secret"
    path.write_text(content)
    path.chmod(mode)
    return path
