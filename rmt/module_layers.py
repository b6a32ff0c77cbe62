"""The matrices of an ordinary module: where they are, how they are read, how they are written back.

Linear layers and ungrouped 2-d convolutions can become factors. Of 1-d and grouped convolutions (a matrix a
group), embeddings and attention projections (q, k and v) the matrix is written back in place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from rmt.errors import InvalidWeight
from rmt.layers import LowRankConv2d, LowRankLinear, low_rank
from rmt.matrices import Factors, Layer, Weight, dense, shape_of

Undo = Callable[[], None]


@dataclass(frozen=True)
class Place:
    """Where one matrix of a module is.

    Attributes:
        layer: What a pruner is told of it.
        part: Name of the submodule.
        parameter: Name of its parameter.
        first, last: Rows of the unfolded parameter that are this matrix; all of them for most.
    """

    layer: Layer
    part: str
    parameter: str = "weight"
    first: int = 0
    last: int | None = None

    @property
    def rows(self) -> slice:
        """The rows from `first` to before `last`."""
        return slice(self.first, self.last)

    def read(self, module: nn.Module) -> Weight:
        """The matrix, as a view of the parameter, or the factors."""
        part = module.get_submodule(self.part)
        if isinstance(part, LowRankLinear | LowRankConv2d):
            return part.factors
        return part.get_parameter(self.parameter).flatten(1)[self.rows]

    def parameters(self, module: nn.Module) -> list[nn.Parameter]:
        """The parameters it is made of: the weight, or left and right."""
        part = module.get_submodule(self.part)
        if isinstance(part, LowRankLinear | LowRankConv2d):
            return [part.left, part.right]
        return [part.get_parameter(self.parameter)]

    def write(self, module: nn.Module, weight: Weight) -> Undo:
        """Put a new matrix there, replacing the submodule where its form changes; returns what takes it back."""
        part = module.get_submodule(self.part)
        if isinstance(weight, Factors):
            module.set_submodule(self.part, _factored(part, weight))
            return lambda: module.set_submodule(self.part, part)
        if isinstance(part, LowRankLinear | LowRankConv2d):
            composed = _dense(part)
            module.set_submodule(self.part, composed)
            _assign(composed.weight, weight, self.rows)
            return lambda: module.set_submodule(self.part, part)
        parameter = part.get_parameter(self.parameter)
        before = parameter[self.rows].detach().clone()
        _assign(parameter, weight, self.rows)
        return lambda: _assign(parameter, before, self.rows)


def places_of(module: nn.Module, heads: Sequence[str] | None = None) -> list[Place]:
    """Every matrix of a module, in the module's order.

    Args:
        module: Any module; parametrised weights are left out, tied ones come once and are not factored.
        heads: Names of the layers that give the output; the last linear layer when not given.
    """
    uses = Counter(
        id(parameter) for _, part in module.named_modules() for parameter in part.parameters(recurse=False)
    )
    seen: set[int] = set()
    found = []
    for name, part in module.named_modules():
        if is_parametrized(part):
            continue
        for place in _places(name, part):
            key = id(_parameter(part, place))
            if place.last is None and key in seen:
                continue
            seen.add(key)
            if uses[key] > 1 or name == "" or _inside_attention(module, name):
                place = replace(place, layer=replace(place.layer, factorable=False))
            found.append(place)
    return _with_heads(found, heads)


def layers_of(module: nn.Module, heads: Sequence[str] | None = None) -> list[Layer]:
    """The layers of a module as a `Pruner` takes them."""
    return [place.layer for place in places_of(module, heads)]


def matrices_of(module: nn.Module) -> dict[str, Weight]:
    """Every matrix of a module by layer name: convolutions unfolded, groups and projections one by one."""
    return {place.layer.name: place.read(module) for place in places_of(module)}


def matrix_of(layer: nn.Module) -> Weight:
    """The matrix of one layer; a stack where it has several: groups of a convolution, projections of attention.

    Raises:
        InvalidWeight: The module has no matrix of its own, or several of unequal shapes.
    """
    kind = type(layer).__name__
    own = [place for place in places_of(layer) if place.part == ""]
    if not own:
        raise InvalidWeight(
            f"a {kind} has no weight matrix of its own; linear, convolution (1-d or 2-d), embedding and attention "
            "layers have; rmt.analyse takes whole networks"
        )
    if len(own) == 1:
        return own[0].read(layer)
    matrices = {place.layer.name: dense(place.read(layer)) for place in own}
    shapes = {name: tuple(matrix.shape) for name, matrix in matrices.items()}
    if len(set(shapes.values())) > 1:
        raise InvalidWeight(f"the matrices of this {kind} differ in shape: {shapes}; take them by rmt.matrices_of")
    return torch.stack([*matrices.values()])


def _places(name: str, part: nn.Module) -> Iterator[Place]:
    match part:
        case LowRankLinear() | LowRankConv2d():
            rows, cols = shape_of(part.factors)
            kind = "linear" if isinstance(part, LowRankLinear) else "conv2d"
            yield Place(Layer(name, kind, rows, cols), name)
        case nn.Linear():
            yield Place(Layer(name, "linear", *shape_of(part.weight)), name)
        case nn.Embedding():
            yield Place(Layer(name, "embedding", *shape_of(part.weight), factorable=False), name)
        case nn.Conv1d() | nn.Conv2d():
            yield from _convolution(name, part)
        case nn.MultiheadAttention():
            yield from _projections(name, part)


def _convolution(name: str, part: nn.Conv1d | nn.Conv2d) -> Iterator[Place]:
    rows, cols = part.weight.flatten(1).shape
    kind = "conv2d" if isinstance(part, nn.Conv2d) else "conv1d"
    if part.groups == 1:
        yield Place(Layer(name, kind, rows, cols, factorable=kind == "conv2d"), name)
        return
    each = rows // part.groups
    for group in range(part.groups):
        layer = Layer(f"{name}[{group}]", kind, each, cols, factorable=False)
        yield Place(layer, name, first=group * each, last=(group + 1) * each)


def _projections(name: str, part: nn.MultiheadAttention) -> Iterator[Place]:
    width = part.embed_dim
    stacked = getattr(part, "in_proj_weight", None) is not None
    for index, letter in enumerate("qkv"):
        parameter = "in_proj_weight" if stacked else f"{letter}_proj_weight"
        first, last = (index * width, (index + 1) * width) if stacked else (0, None)
        cols = part.get_parameter(parameter).shape[1]
        layer = Layer(f"{name}[{letter}]", "projection", width, cols, factorable=False)
        yield Place(layer, name, parameter, first, last)


def _parameter(part: nn.Module, place: Place) -> Tensor:
    return part.right if isinstance(part, LowRankLinear | LowRankConv2d) else part.get_parameter(place.parameter)


def _inside_attention(module: nn.Module, name: str) -> bool:
    # Attention reads the weight of its output projection without calling the layer.
    parent = module.get_submodule(name.rpartition(".")[0])
    return isinstance(parent, nn.MultiheadAttention)


def _with_heads(places: list[Place], heads: Sequence[str] | None) -> list[Place]:
    linear = [place.layer.name for place in places if place.layer.kind == "linear"]
    names = set(linear[-1:] if heads is None else heads)
    return [replace(place, layer=replace(place.layer, head=place.layer.name in names)) for place in places]


def _factored(part: nn.Module, factors: Factors) -> nn.Module:
    dense = _dense(part) if isinstance(part, LowRankLinear | LowRankConv2d) else part
    if not isinstance(dense, nn.Linear | nn.Conv2d):
        raise TypeError(f"a {type(dense).__name__} can not be factored")
    return low_rank(dense, factors)


def _dense(part: LowRankLinear | LowRankConv2d) -> nn.Linear | nn.Conv2d:
    composed = part.compose().train(part.training)
    composed.weight.requires_grad_(part.left.requires_grad)
    composed.bias = part.bias
    return composed


def _assign(parameter: Tensor, weight: Tensor, rows: slice) -> None:
    with torch.no_grad():
        target = parameter[rows]  # a slice is a view, whatever the memory format
        target.copy_(weight.reshape(target.shape))
