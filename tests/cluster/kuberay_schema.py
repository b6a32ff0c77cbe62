"""The fields of KubeRay's `ray.io/v1` resources as its API names them; pods have Kubernetes' own schema.

No package ships the operator's schema, so this is ours, after its API reference ("KubeRay CRD API reference" in
Ray's documentation, KubeRay 1.6): names, types and the values that are listed. A field that is not here is
refused, as strict validation on a cluster refuses what it does not know; fields of newer releases are left out.
"""

from typing import Any

TEXT: dict[str, Any] = {"type": "string"}
NUMBER = {"type": "number"}
COUNT = {"type": "integer", "minimum": 0}
FLAG = {"type": "boolean"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
ANYTHING: dict[str, Any] = {}  # checked elsewhere, or not used here


def fields(required: list[str], **known: dict[str, Any]) -> dict[str, Any]:
    """An object of exactly these fields."""
    return {"type": "object", "properties": known, "required": required, "additionalProperties": False}


HEAD = fields(
    ["template"],
    enableIngress=FLAG,
    headService=ANYTHING,
    rayStartParams=TEXTS,
    serviceType=TEXT,
    template=ANYTHING,
)
WORKERS = fields(
    ["groupName", "template"],
    groupName=TEXT,
    maxReplicas=COUNT,
    minReplicas=COUNT,
    numOfHosts=COUNT,
    rayStartParams=TEXTS,
    replicas=COUNT,
    scaleStrategy=ANYTHING,
    template=ANYTHING,
)
AUTOSCALER = fields(
    [],
    env=ANYTHING,
    envFrom=ANYTHING,
    idleTimeoutSeconds=COUNT,
    image=TEXT,
    imagePullPolicy=TEXT,
    resources=ANYTHING,
    securityContext=ANYTHING,
    upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
    version={"enum": ["v1", "v2"]},
    volumeMounts=ANYTHING,
)
CLUSTER_SPEC = fields(
    ["headGroupSpec"],
    authOptions=fields([], enableK8sTokenAuth=FLAG, mode={"enum": ["disabled", "token"]}, secretName=TEXT),
    autoscalerOptions=AUTOSCALER,
    enableInTreeAutoscaling=FLAG,
    gcsFaultToleranceOptions=ANYTHING,
    headGroupSpec=HEAD,
    headServiceAnnotations=TEXTS,
    managedBy=TEXT,
    rayVersion=TEXT,
    suspend=FLAG,
    workerGroupSpecs={"type": "array", "items": WORKERS},
)
JOB_SPEC = fields(
    [],
    activeDeadlineSeconds=COUNT,
    backoffLimit=COUNT,
    clusterSelector=TEXTS,
    deletionStrategy=ANYTHING,
    entrypoint=TEXT,
    entrypointNumCpus=NUMBER,
    entrypointNumGpus=NUMBER,
    entrypointResources=TEXT,
    jobId=TEXT,
    managedBy=TEXT,
    metadata=TEXTS,
    rayClusterSpec=CLUSTER_SPEC,
    runtimeEnvYAML=TEXT,
    shutdownAfterJobFinishes=FLAG,
    submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode"]},
    submitterConfig=fields([], backoffLimit=COUNT),
    submitterPodTemplate=ANYTHING,
    suspend=FLAG,
    ttlSecondsAfterFinished=COUNT,
)


def resource(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    """The schema of a whole resource."""
    head = {"apiVersion": {"const": "ray.io/v1"}, "kind": {"const": kind}, "metadata": {"type": "object"}}
    return fields(["apiVersion", "kind", "metadata", "spec"], **head, spec=spec)


SCHEMAS = {"RayCluster": resource("RayCluster", CLUSTER_SPEC), "RayJob": resource("RayJob", JOB_SPEC)}
