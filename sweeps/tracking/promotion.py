"""A pruned network in MLflow's model registry, with its signature, its configuration and its evidence."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from typing import TYPE_CHECKING, Any

from sweeps.errors import SpecError
from sweeps.tracking.client import failures_named, settings
from sweeps.tracking.parameters import as_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from torch import Tensor, nn

_EXAMPLES = 2


def register(
    uri: str,
    model: str,
    module: nn.Module,
    inputs: Tensor,
    *,
    run: str,
    configuration: Mapping[str, Any],
    evidence: Mapping[str, Any],
) -> str:
    """Log a network on a replicate's run and register it as the next version of a model.

    Args:
        uri: Of the MLflow store.
        model: Name in the registry.
        module: From raw inputs to logits.
        inputs: Raw examples (example, channel, height, width); the first ones are the input example.
        run: Id of the replicate's run, which the model is logged on.
        configuration: The trial's; stored beside the model as `configuration.json` and as a tag.
        evidence: Tags of the version: the interval, n, the parameters kept, ...

    Returns:
        Address of the version, `models:/MODEL/VERSION`.

    Raises:
        SpecError: A name that the registry does not take.
        TrackingError: The store does not answer or refuses.
    """
    if not re.fullmatch(r"[^/:\s][^/:]{0,254}", model):
        raise SpecError(f"{model!r} is not a model's name; allowed: 1 to 255 characters without '/' and ':'")
    import mlflow
    import torch

    with settings(), failures_named(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Any type hint is inferred")  # of MLflow's own classes
        import mlflow.pytorch
        from mlflow.models import infer_signature

        example = inputs[:_EXAMPLES].float()
        with torch.inference_mode():
            signature = infer_signature(example.numpy(), module(example).numpy())
        client = mlflow.MlflowClient(tracking_uri=uri)
        with _logging_on(client, uri, run):
            logged = mlflow.pytorch.log_model(
                module,
                name=re.sub(r"[^A-Za-z0-9_-]", "-", model),
                signature=signature,
                input_example=example.numpy(),
                registered_model_name=model,
                pip_requirements=_requirements(),  # else MLflow loads the model in another process to guess
                metadata={"configuration": dict(configuration)},
            )
        version = str(logged.registered_model_version)
        tags = as_tags({**evidence, "configuration": json.dumps(configuration)})
        for key, value in tags.items():
            client.set_model_version_tag(model, version, key, value)
    return f"models:/{model}/{version}"


@contextmanager
def _logging_on(client: MlflowClient, uri: str, run: str) -> Iterator[None]:
    """MLflow's fluent interface, which alone logs models, on a run that ends afterwards as it had ended before."""
    import mlflow

    given, info = os.environ.get("MLFLOW_TRACKING_URI"), client.get_run(run).info
    mlflow.set_tracking_uri(uri)
    try:
        with mlflow.start_run(run_id=run):
            yield
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type] # which also clears the environment's
        if given is not None:
            os.environ["MLFLOW_TRACKING_URI"] = given
        client.set_terminated(run, info.status, end_time=info.end_time)


def _requirements() -> list[str]:
    known = {name: metadata.version(name) for name in ("torch", "rmt-sweeps")}
    return [f"{name}=={version.partition('+')[0]}" for name, version in known.items()]
