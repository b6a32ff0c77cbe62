"""The matrices of an ordinary module: where they are, how they are read, how they are written back.

Linear layers and ungrouped 2-d convolutions can become factors. Of 1-d and grouped convolutions (a matrix a
group), embeddings and attention projections (q, k and v) the matrix is written back in place.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from rmt.errors import InvalidWeight
from rmt.heads import check_heads, output_layers
from rmt.layers import LowRankConv2d, LowRankLinear, low_rank, refactor
from rmt.matrices import Factors, Layer, Weight, dense, shape_of
from rmt.replacement import replace_layer, why_irreplaceable
from rmt.unreadable import why_left

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
        """Put a new matrix there, replacing the submodule where its form changes; returns what takes it back.

        Raises:
            InvalidWeight: The submodule can not be replaced: it is the module itself, or computes something else.
        """
        part = module.get_submodule(self.part)
        if isinstance(part, LowRankLinear | LowRankConv2d) and isinstance(weight, Factors):
            return refactor(part, weight)
        if isinstance(part, LowRankLinear | LowRankConv2d):
            composed = _dense(part)
            replace_layer(module, part, composed)
            _assign(composed.weight, dense(weight), self.rows)
            return lambda: replace_layer(module, composed, part)
        if isinstance(weight, Factors):
            factored = _factored(part, weight)
            replace_layer(module, part, factored)
            return lambda: replace_layer(module, factored, part)
        parameter = part.get_parameter(self.parameter)
        before = parameter[self.rows].detach().clone()
        _assign(parameter, weight, self.rows)
        return lambda: _assign(parameter, before, self.rows)


def places_of(module: nn.Module, heads: Sequence[str] | None = None) -> list[Place]:
    """Every matrix of a module, in the module's order.

    Tied matrices come once, under their first name, and are not factored; nor are layers of classes that compute
    something else than torch's own. Weights that can not be read are left out (`rmt.unreadable`).

    Args:
        module: Any module.
        heads: Names of the layers that give the output, under any of their names; when not given, the last linear
            layer, a convolution registered after it, and the same of auxiliary classifiers (`rmt.heads`).

    Raises:
        InvalidOption: A name in `heads` is no layer.
    """
    names = _names(module)
    uses = Counter(id(parameter) for part in names for parameter in part.parameters(recurse=False))
    found: dict[tuple[int, int], Place] = {}
    owners: dict[str, str] = {}
    for part, (name, *others) in names.items():
        if why_left(part) or _shares_factors(part, uses):
            continue
        keeps_form = not _replaceable(module, part, [name, *others])
        for place in _places(name, part):
            key = id(_parameter(part, place)), place.first
            if keeps_form or uses[key[0]] > 1:
                place = replace(place, layer=replace(place.layer, factorable=False))
            owner = found.setdefault(key, place).part
            owners |= dict.fromkeys([name, *others, place.layer.name], owner)
    return _with_heads([*found.values()], owners, module, heads)


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


def _names(module: nn.Module) -> dict[nn.Module, list[str]]:
    """Every submodule with all its names, in the module's order."""
    names: dict[nn.Module, list[str]] = defaultdict(list)
    for name, part in module.named_modules(remove_duplicate=False):
        names[part].append(name)
    return names


def _shares_factors(part: nn.Module, uses: Counter[int]) -> bool:
    # New factors for one layer would leave the other with the old.
    return isinstance(part, LowRankLinear | LowRankConv2d) and max(uses[id(part.left)], uses[id(part.right)]) > 1


def _replaceable(module: nn.Module, part: nn.Module, names: Sequence[str]) -> bool:
    if isinstance(part, LowRankLinear | LowRankConv2d):
        return True
    return not ("" in names or why_irreplaceable(part) or any(_inside_attention(module, name) for name in names))


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


def _with_heads(
    places: list[Place], owners: dict[str, str], module: nn.Module, heads: Sequence[str] | None
) -> list[Place]:
    """Places with their heads marked; `owners` has the part that holds the matrix of every name."""
    if heads is not None:
        check_heads(heads, {**owners, **dict.fromkeys(name for name, _ in module.named_modules() if name)})
    wanted = set(output_layers(module) if heads is None else heads)
    parts = {owners[name] for name in wanted if name in owners and "[" not in name}
    return [
        replace(place, layer=replace(place.layer, head=place.part in parts or place.layer.name in wanted))
        for place in places
    ]


def _factored(part: nn.Module, factors: Factors) -> nn.Module:
    if not isinstance(part, nn.Linear | nn.Conv2d):
        raise TypeError(f"a {type(part).__name__} can not be factored")
    return low_rank(part, factors)


def _dense(part: LowRankLinear | LowRankConv2d) -> nn.Linear | nn.Conv2d:
    composed = part.compose().train(part.training)
    composed.weight.requires_grad_(part.left.requires_grad)
    composed.bias = part.bias
    return composed


def _assign(parameter: Tensor, weight: Tensor, rows: slice) -> None:
    with torch.no_grad():
        target = parameter[rows]  # a slice is a view, whatever the memory format
        target.copy_(weight.reshape(target.shape))
