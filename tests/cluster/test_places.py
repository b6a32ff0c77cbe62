"""The files for real clusters: each valid for its own tool, each starting what the package means."""

import json
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import ray.autoscaler
import yaml

from cluster import containers
from cluster.commands import RayHead, RayWorker, Service
from cluster.serve import parse
from tests.cluster.kuberay_schema import SCHEMAS

KUBERNETES = "1.31"
CLOUDS = ("aws", "gcp")


@pytest.fixture(scope="module")
def base(repository: Path) -> list[dict[str, Any]]:
    folder = repository / "cluster" / "kuberay" / "base"
    resources = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    return [resource for name in resources for resource in yaml.safe_load_all((folder / name).read_text())]


def test_every_file_of_the_base_is_in_its_kustomization(repository: Path) -> None:
    folder = repository / "cluster" / "kuberay" / "base"
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]

    assert {*listed, "kustomization.yaml"} == {path.name for path in folder.iterdir()}


def test_the_base_is_valid_kubernetes(base: list[dict[str, Any]]) -> None:
    for resource in base:
        if resource["kind"] != "RayCluster":
            kubernetes_validate.validate(resource, KUBERNETES, strict=True)
    for template in pod_templates(base):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": template["spec"]}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod | {"spec": {"continers": []}}, KUBERNETES, strict=True)


def test_kuberays_resources_have_the_fields_that_its_api_knows(
    base: list[dict[str, Any]], repository: Path
) -> None:
    (ray_cluster,) = (resource for resource in base if resource["kind"] == "RayCluster")
    job = yaml.safe_load((repository / "cluster" / "kuberay" / "sweep-job.yaml").read_text())

    for resource in (ray_cluster, job):
        jsonschema.validate(resource, SCHEMAS[resource["kind"]])
        wrong = resource | {"spec": resource["spec"] | {"rayVersoin": "2.60.0"}}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, SCHEMAS[resource["kind"]])


def test_containers_run_what_the_compose_file_runs(base: list[dict[str, Any]]) -> None:
    ours = {name: each for name, each in named_containers(base).items() if each["image"].startswith("rmt-sweeps")}

    assert set(ours) == {"ray-head", "ray-worker", "mlflow"}
    for name, container in ours.items():
        assert container["command"] == containers.SERVICES[name].serve()
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["exec"]["command"] == containers.health_command(name)[1:]
    for name in ("ray-head", "ray-worker"):
        variables = {variable["name"]: variable["value"] for variable in ours[name]["env"]}
        assert containers.NODE.items() <= variables.items()


def test_the_object_store_is_the_compose_files(base: list[dict[str, Any]], repository: Path) -> None:
    objects = named_containers(base)["objects"]
    compose = yaml.safe_load((repository / "docker-compose.yml").read_text())["services"]["objects"]

    assert objects["command"] == containers.OBJECTS.program()
    assert objects["image"] == compose["image"]
    assert objects["startupProbe"]["httpGet"] == {"path": "/healthz", "port": "s3"}


def test_pods_are_not_roots_and_ask_for_what_they_use(base: list[dict[str, Any]]) -> None:
    for template in pod_templates(base):
        assert template["spec"]["securityContext"]["runAsNonRoot"] is True
        for container in template["spec"]["containers"] + template["spec"].get("initContainers", []):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]


def test_ray_demands_the_token_and_knows_its_version(base: list[dict[str, Any]], repository: Path) -> None:
    (cluster,) = (resource for resource in base if resource["kind"] == "RayCluster")
    pinned = dict(
        line.split("==") for line in (repository / "constraints.txt").read_text().splitlines() if "==" in line
    )

    assert cluster["spec"]["authOptions"] == {"mode": "token", "secretName": "rmt-ray-token"}
    assert cluster["spec"]["rayVersion"] == pinned["ray"]
    assert cluster["spec"]["enableInTreeAutoscaling"] is True
    assert cluster["metadata"]["annotations"]["ray.io/overwrite-container-cmd"] == "true"


def test_nothing_comes_in_that_no_policy_names(base: list[dict[str, Any]]) -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in base if each["kind"] == "NetworkPolicy"}

    assert policies["nothing-comes-in"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    for name in ("ray", "mlflow", "postgres", "objects"):
        for rule in policies[name]["ingress"]:
            assert all("podSelector" in source for source in rule["from"])
    assert policies["postgres"]["ingress"][0]["from"] == [{"podSelector": {"matchLabels": {"app": "mlflow"}}}]


def test_services_are_cluster_internal_under_the_names_that_commands_use(base: list[dict[str, Any]]) -> None:
    services = {each["metadata"]["name"]: each["spec"] for each in base if each["kind"] == "Service"}

    assert set(services) == {"ray-head", "mlflow", "postgres", "objects"}
    assert all("type" not in service for service in services.values())


@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_an_overlay_builds(overlay: str, repository: Path) -> None:
    kubectl = Path(sys.executable).parent / "kubectl"  # from the environment's packages, never another version
    built = subprocess.run(
        [kubectl, "kustomize", repository / "cluster" / "kuberay" / "overlays" / overlay],
        capture_output=True,
        text=True,
        check=True,
    )
    resources = list(yaml.safe_load_all(built.stdout))
    version = project_version(repository)

    assert all(resource["metadata"]["namespace"] == "rmt-sweeps" for resource in resources)
    (ray_cluster,) = (resource for resource in resources if resource["kind"] == "RayCluster")
    jsonschema.validate(ray_cluster, SCHEMAS["RayCluster"])
    pools = {group["groupName"]: group["template"] for group in ray_cluster["spec"]["workerGroupSpecs"]}
    gpus = {
        name: "nvidia.com/gpu" in template["spec"]["containers"][0]["resources"]["limits"]
        for name, template in pools.items()
    }
    assert gpus == {"workers": False} | ({"gpu-workers": True} if overlay == "gpu" else {})
    for template in pools.values():
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": template["spec"]}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    worker = named_containers(resources)["ray-worker"]
    assert worker["image"] == ("rmt-sweeps:" + version + ("-cpu" if overlay == "cpu" else ""))


def test_the_sweep_job_runs_on_the_cluster_as_a_user_without_rights(repository: Path) -> None:
    job = yaml.safe_load((repository / "cluster" / "kuberay" / "sweep-job.yaml").read_text())
    template = job["spec"]["submitterPodTemplate"]

    kubernetes_validate.validate(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": template["spec"]},
        KUBERNETES,
        strict=True,
    )
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": "ray"}
    assert job["spec"]["entrypoint"].startswith("sweeps run ")
    assert template["spec"]["containers"][0]["image"] == f"rmt-sweeps:{project_version(repository)}"
    assert template["metadata"]["labels"] == {"app": "sweep"}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_clouds_file_follows_rays_schema(cloud: str, repository: Path) -> None:
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    config = clouds_config(repository, cloud)

    jsonschema.validate(config, schema)
    assert config["provider"]["type"] == cloud
    assert config["docker"]["image"] == f"rmt-sweeps:{project_version(repository)}"
    assert config["file_mounts"]["/home/rmt/.rmt/ray_token"] == ".cluster/secrets/ray_token"
    assert "spot" in json.dumps(config["available_node_types"]).lower()
    assert any(kind["resources"].get("GPU") for kind in config["available_node_types"].values())


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_clouds_nodes_start_by_commands_that_the_package_means(cloud: str, repository: Path) -> None:
    config = clouds_config(repository, cloud)
    token = Path("/home/rmt/.rmt/ray_token")

    assert served(config["head_start_ray_commands"]) == [
        RayHead(token_file=token, cpus=0, autoscaling_config=Path("/home/rmt/ray_bootstrap_config.yaml"))
    ]
    assert served(config["worker_start_ray_commands"]) == [RayWorker(token_file=token, address="10.0.0.1:6379")]


def test_the_clouds_differ_in_machines_only(repository: Path) -> None:
    first, second = (clouds_config(repository, cloud) for cloud in CLOUDS)
    own = ("provider", "available_node_types")

    assert {key: value for key, value in first.items() if key not in own} == {
        key: value for key, value in second.items() if key not in own
    }


def test_the_slurm_script_is_bash_and_asks_for_its_arguments_and_the_token(
    repository: Path, tmp_path: Path
) -> None:
    script = repository / "cluster" / "slurm" / "sweep.sbatch"
    subprocess.run(["bash", "-n", script], check=True)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        return subprocess.run(
            ["bash", script, *arguments], env=environment, capture_output=True, text=True, check=False
        )

    assert "give the spec" in run().stderr
    assert "give a folder that every node sees" in run("spec.yaml").stderr
    without_token = run("spec.yaml", "/shared")
    assert without_token.returncode == 2
    assert "python -m cluster init" in without_token.stderr
    assert "symmetric-run" in script.read_text()


def pod_templates(resources: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for resource in resources:
        if resource["kind"] == "RayCluster":
            yield resource["spec"]["headGroupSpec"]["template"]
            yield from (group["template"] for group in resource["spec"]["workerGroupSpecs"])
        elif "template" in resource.get("spec", {}):
            yield resource["spec"]["template"]


def named_containers(resources: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for template in pod_templates(resources) for each in template["spec"]["containers"]}


def clouds_config(repository: Path, cloud: str) -> dict[str, Any]:
    return dict(yaml.safe_load((repository / "cluster" / f"ray-cluster.{cloud}.yaml").read_text()))


def served(commands: list[str]) -> list[Service]:
    """The services that shell commands start."""
    found = []
    for command in commands:
        words = shlex.split(command.replace("$RAY_HEAD_IP", "10.0.0.1").split(">")[0])
        if "serve" in words:
            kind, *arguments = words[words.index("serve") + 1 :]
            found.append(parse(kind, arguments))
    return found


def project_version(repository: Path) -> str:
    return str(tomllib.loads((repository / "pyproject.toml").read_text())["project"]["version"])
