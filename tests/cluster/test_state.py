from pathlib import Path

import pytest

from cluster import state
from cluster.errors import AlreadyUp, BadOption, ClusterError
from cluster.processes import Owned
from cluster.state import State


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    before = State(Path("/short"), 2, "127.0.0.2:6379", "http://127.0.0.1:8265", None)
    before = before.with_service(Owned("ray-head", 42, 1.25, Path("/log")))

    state.save(tmp_path, before)
    assert state.load(tmp_path) == before
    state.forget(tmp_path)
    assert state.load(tmp_path) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1}', '{"format": 2, "services": []}'])
def test_a_damaged_state_is_named_not_guessed(tmp_path: Path, content: str) -> None:
    (tmp_path / state.FILE).write_text(content)

    with pytest.raises(ClusterError, match=r"cluster\.json"):
        state.load(tmp_path)


def test_two_commands_do_not_work_on_one_folder(state_folder: Path) -> None:
    with (
        state.exclusive(state_folder),
        pytest.raises(AlreadyUp, match="another command"),
        state.exclusive(state_folder),
    ):
        pass


def test_a_state_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(BadOption, match="--state"), state.exclusive(tmp_path / "file" / "state"):
        pass
