from pathlib import Path

from cluster import credentials


def test_secrets_are_readable_by_their_owner_only(state_folder: Path) -> None:
    made = credentials.initialise(state_folder)

    assert credentials.secret_path(state_folder, credentials.RAY_TOKEN) in made
    assert (state_folder / credentials.FOLDER).stat().st_mode & 0o777 == 0o700
    for path in made:
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.read_text().strip()


def test_secrets_that_exist_are_kept(state_folder: Path) -> None:
    credentials.initialise(state_folder)
    token = credentials.secret_path(state_folder, credentials.RAY_TOKEN).read_text()

    assert credentials.initialise(state_folder) == []
    assert credentials.secret_path(state_folder, credentials.RAY_TOKEN).read_text() == token


def test_no_two_clusters_share_a_token(tmp_path: Path) -> None:
    for name in ("a", "b"):
        credentials.initialise(tmp_path / name)

    tokens = {credentials.secret_path(tmp_path / name, credentials.RAY_TOKEN).read_text() for name in ("a", "b")}
    assert len(tokens) == 2
    assert all(len(token) == 64 for token in tokens)


def test_git_does_not_see_the_state_folder(state_folder: Path) -> None:
    credentials.initialise(state_folder)

    assert (state_folder / ".gitignore").read_text() == "*\n"
