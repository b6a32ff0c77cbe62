"""Secret files: made once, readable by their owner only, never printed."""

import os
import secrets
from pathlib import Path

FOLDER = "secrets"
RAY_TOKEN = "ray_token"  # noqa: S105


def initialise(state: Path) -> list[Path]:
    """Make the state folder and the secrets that are missing in it; existing ones are kept.

    Returns:
        The files made now, none when all were there.
    """
    folder = state / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    ignore = state / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")
    made = {RAY_TOKEN: lambda: secrets.token_hex(32)}
    return [path for name, content in made.items() if write_once(path := folder / name, content())]


def token_path(state: Path) -> Path:
    """Where Ray's token is, as an absolute path."""
    return (state / FOLDER / RAY_TOKEN).resolve()


def write_once(path: Path, content: str) -> bool:
    """Write a file of mode 0600 unless it exists; whether it was written.

    It appears under its name only when complete, so that a killed `init` leaves no half secret.
    """
    if path.exists():
        return False
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    return True
