"""What a sweep was launched with: the packages, and what the checkout has that its commit has not."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

from sweeps import environment


def git(folder: Path, *arguments: str, given: str = "") -> str:
    own = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(
        ["git", *own, *arguments], cwd=folder, input=given, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_packages_are_all_that_are_installed() -> None:
    lines = environment.packages().splitlines()
    assert {f"{name}=={metadata.version(name)}" for name in ("torch", "pandas", "pytest")} <= set(lines)
    assert lines == sorted(lines, key=str.lower)


def test_changes_of_a_checkout_can_be_applied_to_its_commit(tmp_path: Path) -> None:
    assert environment.changes(tmp_path) is None, "not a checkout"
    file, folder = tmp_path / "module.py", tmp_path / "package"
    folder.mkdir()
    file.write_text("first = 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "first")
    assert environment.changes(folder) is None
    file.write_text("first = 2\n")
    (tmp_path / "new.py").write_text("secret = 3\n")
    found = environment.changes(folder)
    assert found is not None
    assert "# not in git: new.py" in found
    assert "secret" not in found
    git(tmp_path, "checkout", "-q", "module.py")
    git(tmp_path, "apply", "-", given=found)
    assert file.read_text() == "first = 2\n"


def test_changes_that_are_cut_say_so(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "big.txt").write_text("")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "first")
    (tmp_path / "big.txt").write_text("a line\n" * (environment.LONGEST_DIFF // 6))
    found = environment.changes(tmp_path)
    assert found is not None
    assert len(found) < environment.LONGEST_DIFF + 100
    assert "# cut here:" in found.splitlines()[-1]
