"""Secret files: made once, readable by their owner only, never printed.

Each service gets the files it needs and no other, by path: Ray its token; MLflow its authentication
settings, the key that signs its sessions and the password file of its database; PostgreSQL its password;
whoever runs sweeps, MLflow's name and password in the form that MLflow's client reads from
`~/.mlflow/credentials`.
"""

import os
import secrets
from pathlib import Path

FOLDER = "secrets"
RAY_TOKEN = "ray_token"  # noqa: S105
MLFLOW_PASSWORD = "mlflow_admin_password"  # noqa: S105
MLFLOW_SESSION_KEY = "mlflow_session_key"
MLFLOW_CREDENTIALS = "mlflow_credentials"
MLFLOW_AUTH = "mlflow_auth.ini"
MLFLOW_AUTH_LOCAL = "mlflow_auth_local.ini"
POSTGRES_PASSWORD = "postgres_password"  # noqa: S105
POSTGRES_PASSFILE = "pgpass"

MLFLOW_USER = "admin"
POSTGRES_PASSFILE_IN_CONTAINERS = "/run/secrets/pgpass"

# The cache: MLflow checks a password by very many rounds of a hash, at each request, unless it may remember
# it.
AUTH_SETTINGS = """[mlflow]
default_permission = NO_PERMISSIONS
database_uri = {database}
admin_username = {user}
admin_password = {password}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
"""
CLIENT_CREDENTIALS = """[mlflow]
mlflow_tracking_username = {user}
mlflow_tracking_password = {password}
"""


def initialise(state: Path) -> list[Path]:
    """Make the state folder and the secrets that are missing in it; existing ones are kept.

    Returns:
        The files made now, none when all were there.
    """
    folder = state.absolute() / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    ignore = state / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")
    random = (RAY_TOKEN, MLFLOW_PASSWORD, MLFLOW_SESSION_KEY, POSTGRES_PASSWORD)
    made = [folder / name for name in random if write_once(folder / name, secrets.token_hex(32))]
    return made + [
        folder / name for name, content in _derived(folder).items() if write_once(folder / name, content)
    ]


def secret_path(state: Path, name: str) -> Path:
    """Where a secret is, as an absolute path."""
    return state.absolute() / FOLDER / name


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


def _derived(folder: Path) -> dict[str, str]:
    """The files that repeat a password in the form one program wants."""
    mlflow, postgres = ((folder / name).read_text().strip() for name in (MLFLOW_PASSWORD, POSTGRES_PASSWORD))
    local = f"sqlite:///{folder.parent / 'mlflow' / 'auth.db'}"
    shared = f"postgresql+psycopg2://mlflow@postgres:5432/mlflow?passfile={POSTGRES_PASSFILE_IN_CONTAINERS}"
    return {
        MLFLOW_AUTH_LOCAL: _settings(local, mlflow),
        MLFLOW_AUTH: _settings(shared, mlflow),
        MLFLOW_CREDENTIALS: CLIENT_CREDENTIALS.format(user=MLFLOW_USER, password=mlflow),
        POSTGRES_PASSFILE: f"*:*:*:mlflow:{postgres}\n",
    }


def _settings(database: str, password: str) -> str:
    # The file is read with interpolation: a per cent sign in a folder's name is written twice.
    return AUTH_SETTINGS.format(database=database.replace("%", "%%"), user=MLFLOW_USER, password=password)
