"""The classification models of the installed torchvision, by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from rmt.heads import output_layers
from sweeps.models import ARCHITECTURES, Shape


@ARCHITECTURES.register("torchvision", version=2, stackable=None, small={"model": "squeezenet1_1"})
def from_torchvision(
    shape: Shape, classes: int, *, model: str = "resnet18", weights: str | None = None, fresh_head: bool = False
) -> nn.Module:
    """A classification model of torchvision by its name there, from random or local weights.

    `weights` is a file (safetensors, or a state dict that torch saved); nothing is ever downloaded. Parameters
    and running statistics that come from it are not drawn anew. With `fresh_head` the layers that give the output
    are left out of it, for another number of classes.

    Raises:
        ValueError: No such model, or a file that is missing or of other shapes.
    """
    import torchvision.models  # takes two seconds, and most sweeps do without

    known = torchvision.models.list_models(module=torchvision.models)
    if model not in known:
        raise ValueError(f"torchvision has no classification model {model!r}; it has: {', '.join(known)}")
    accepted = inspect.signature(torchvision.models.get_model_builder(model)).parameters
    options = {"init_weights": False} if "init_weights" in accepted else {}
    module: nn.Module = torchvision.models.get_model(model, weights=None, num_classes=classes, **options)
    if weights is not None:
        _load(module, Path(weights), fresh_head=fresh_head)
    return module


def _load(module: nn.Module, path: Path, *, fresh_head: bool) -> None:
    """Fill the module and note in `loaded` which tensors came from the file."""
    state = dict(_read(path))
    heads = output_layers(module) if fresh_head else set()
    state = {name: tensor for name, tensor in state.items() if name.rpartition(".")[0] not in heads}
    own = module.state_dict()
    for name, tensor in state.items():
        if name not in own or own[name].shape != tensor.shape:
            wanted = tuple(own[name].shape) if name in own else "no such tensor"
            raise ValueError(f"weights: {path} has {name} of shape {tuple(tensor.shape)}; the model has {wanted}")
    missing = [name for name in own if name not in state and name.rpartition(".")[0] not in heads]
    if missing:
        raise ValueError(f"weights: {path} lacks {len(missing)} tensors of the model, the first is {missing[0]}")
    module.load_state_dict(state, strict=False)
    module.loaded = frozenset(state)  # type: ignore[assignment]  # read by sweeps.initialisations


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise ValueError(f"weights: there is no file {path}")
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    state: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state
