"""Secret files: made once, readable by their owner only, never printed.

Each service gets the files it needs and no other, by path: Ray its token; MLflow its authentication
settings, the key that signs its sessions, the password file of its database and its key to the object store;
PostgreSQL its password; the object store everybody's keys, each for one bucket;
whoever runs sweeps, MLflow's name and password in the form that MLflow's client reads from
`~/.mlflow/credentials`.
"""

import configparser
import json
import os
import secrets
from pathlib import Path

from cluster.errors import BadOption

FOLDER = "secrets"
OBJECTS = "objects"
RAY_TOKEN = "ray_token"  # noqa: S105
MLFLOW_PASSWORD = "mlflow_admin_password"  # noqa: S105
MLFLOW_SESSION_KEY = "mlflow_session_key"
MLFLOW_CREDENTIALS = "mlflow_credentials"
MLFLOW_AUTH = "mlflow_auth.ini"
MLFLOW_AUTH_LOCAL = "mlflow_auth_local.ini"
POSTGRES_PASSWORD = "postgres_password"  # noqa: S105
POSTGRES_PASSFILE = "pgpass"
S3_IDENTITIES = "s3.json"
S3_SETTINGS = "security.toml"
S3_CREDENTIALS = {"mlflow": "s3_mlflow", "sweeps": "s3_sweeps"}  # of each user of the object store

MLFLOW_USER = "admin"
S3_BUCKETS = {"mlflow": "artifacts", "sweeps": "sweeps"}  # the one that each may use
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
# Without a key here, whoever reaches the store's control port makes keys of his own.
S3_SIGNATURES = """[jwt.filer_signing]
key = "{key}"
expires_after_seconds = 10
"""
S3_CLIENT = """[default]
aws_access_key_id = {user}
aws_secret_access_key = {key}
"""


def initialise(state: Path) -> list[Path]:
    """Make the state folder and the secrets that are missing in it; existing ones are kept.

    Returns:
        The files made now, none when all were there.
    """
    folder = state.absolute() / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    (state / OBJECTS).mkdir(mode=0o700, exist_ok=True)  # the object store in containers runs as whoever owns it
    ignore = state / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")
    random = (RAY_TOKEN, MLFLOW_PASSWORD, MLFLOW_SESSION_KEY, POSTGRES_PASSWORD)
    files = {name: secrets.token_hex(32) for name in random}
    files[S3_SETTINGS] = S3_SIGNATURES.format(key=secrets.token_hex(32))
    for user, name in S3_CREDENTIALS.items():
        files[name] = S3_CLIENT.format(user=user, key=secrets.token_hex(32))
    made = [folder / name for name, content in files.items() if write_once(folder / name, content)]
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


def read_secret(path: Path) -> str:
    """A secret file's content.

    Raises:
        BadOption: It can not be read, is empty, or others than its owner may read it.
    """
    try:
        mode = path.stat().st_mode & 0o777
        secret = path.read_text().strip()
    except OSError as error:
        raise BadOption(
            f"secret file {path} can not be read ({error.strerror}); `python -m cluster init` makes it"
        ) from error
    if mode & 0o077:
        raise BadOption(
            f"secret file {path} has mode {mode:04o}; allowed: 0600 or 0400, so that only its owner reads it"
        )
    if not secret:
        raise BadOption(f"secret file {path} is empty; `python -m cluster init` makes it")
    return secret


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
        S3_IDENTITIES: json.dumps({"identities": [_identity(folder, user) for user in S3_CREDENTIALS]}, indent=1),
    }


def _identity(folder: Path, user: str) -> dict[str, object]:
    """A user of the object store as the store wants it: its key and what it may do, in its own bucket only."""
    given = configparser.ConfigParser()
    given.read(folder / S3_CREDENTIALS[user])
    key = {"accessKey": user, "secretKey": given["default"]["aws_secret_access_key"]}
    actions = [f"{action}:{S3_BUCKETS[user]}" for action in ("Admin", "Read", "Write", "List", "Tagging")]
    return {"name": user, "credentials": [key], "actions": actions}


def _settings(database: str, password: str) -> str:
    # The file is read with interpolation: a per cent sign in a folder's name is written twice.
    return AUTH_SETTINGS.format(database=database.replace("%", "%%"), user=MLFLOW_USER, password=password)
