"""Initialisations: how weights are drawn before training.

Each function gets the module, the replicate's own generator and a batch of training inputs, and draws every
weight matrix anew, in the module's order: replicate k is the same whatever the other replicates are. Convolution
kernels count as (out, in · height · width) matrices, so fan_in is the number of inputs of one output. Biases are
set to the option `bias`. What is no layer's weight (normalisation, embeddings) is set before, the same for all;
constants of the code, such as a layer scale or the slope of a PReLU, stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeAlias

import torch
from annotated_types import Ge, Gt, Interval, Le
from torch import Generator, Tensor, nn

from rmt.registry import Registry

if TYPE_CHECKING:
    from sweeps.trial_spec import Initialisation

Draw: TypeAlias = Callable[..., None]
Gain: TypeAlias = Annotated[float, Gt(0)]
EMBEDDING_SD = 0.02
"""Of tokens and positions: what public code of vision transformers draws them with."""
RELU_GAIN = math.sqrt(2.0)

INITIALISATIONS: Registry[Draw] = Registry("initialisation")


class Matrix(NamedTuple):
    """A layer's weight as a matrix view: writing to it writes to the layer."""

    values: Tensor  # (rows, fan_in)
    bias: Tensor | None
    area: float = 1.0  # entries of a convolution's kernel, over the groups that its channels are split into

    @property
    def fan_in(self) -> int:
        """Inputs of one output."""
        return self.values.shape[1]

    @property
    def fan_out(self) -> float:
        """Outputs that one input reaches, all positions of a convolution's kernel counted."""
        return self.rows * self.area

    @property
    def rows(self) -> int:
        """Outputs of the layer, a convolution's counted once."""
        return self.values.shape[0]


def matrices(module: nn.Module) -> Iterator[Matrix]:
    """Weights of the linear, convolutional and attention layers, in the module's order."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.modules.conv._ConvNd):
            kernel = part.weight.shape[2:].numel()
            area = kernel / part.groups if isinstance(part, nn.modules.conv._ConvNd) else 1.0
            yield Matrix(part.weight.data.flatten(1), None if part.bias is None else part.bias.data, area)
        elif isinstance(part, nn.MultiheadAttention) and part.in_proj_weight is not None:
            bias = None if part.in_proj_bias is None else part.in_proj_bias.data
            for number, values in enumerate(part.in_proj_weight.data.chunk(3)):
                yield Matrix(values, None if bias is None else bias.chunk(3)[number])


@torch.no_grad()
def initialise(module: nn.Module, choice: Initialisation, generator: Generator, inputs: Tensor) -> None:
    """Draw every parameter of `module` from `generator`, but constants and what is in `module.loaded`.

    Args:
        module: On the CPU; changed in place. Parameters and buffers (running statistics) whose names are in
            its attribute `loaded` came from a file and stay as they are.
        choice: A spec's `initialisation`.
        generator: The replicate's own.
        inputs: A batch of training inputs, for initialisations that look at activations.
    """
    own = dict(module.named_parameters()) | dict(module.named_buffers())
    loaded = {name: own[name] for name in sorted(getattr(module, "loaded", ())) if name in own}
    kept = {name: tensor.clone() for name, tensor in loaded.items()}
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._NormBase | nn.GroupNorm | nn.LayerNorm):
            part.reset_parameters()
        elif not isinstance(part, nn.Linear | nn.modules.conv._ConvNd | nn.MultiheadAttention):
            for parameter in part.parameters(recurse=False):
                if not _is_constant(parameter):
                    parameter.normal_(0.0, EMBEDDING_SD, generator=generator)
    INITIALISATIONS[choice.kind].function(module, generator, inputs, **choice.options)
    for name, tensor in loaded.items():
        tensor.copy_(kept[name])


def _is_constant(parameter: Tensor) -> bool:
    """Whether it is one number throughout, as the code made it; tokens and positions, at zero, are drawn."""
    first = parameter.flatten()[0]
    return bool((parameter == first).all()) and (float(first) != 0.0 or parameter.ndim < 2)


def _each(module: nn.Module, bias: float) -> Iterator[Matrix]:
    for matrix in matrices(module):
        if matrix.bias is not None:
            matrix.bias.fill_(bias)
        yield matrix


@INITIALISATIONS.register(version=1)
def normal_fan_in(
    module: nn.Module, generator: Generator, inputs: Tensor, *, gain: Gain = 1.0, bias: float = 0.0
) -> None:
    """N(0, gain²/fan_in): the paper's, and that of its public code (SCIENCE 1.1)."""
    for matrix in _each(module, bias):
        matrix.values.normal_(0.0, gain / math.sqrt(matrix.fan_in), generator=generator)


@INITIALISATIONS.register(version=1)
def normal_fan_in_squared(
    module: nn.Module, generator: Generator, inputs: Tensor, *, gain: Gain = 1.0, bias: float = 0.0
) -> None:
    """N(0, gain²/fan_in²): so small that training starts near zero."""
    for matrix in _each(module, bias):
        matrix.values.normal_(0.0, gain / matrix.fan_in, generator=generator)


@INITIALISATIONS.register(version=1)
def kaiming_normal(
    module: nn.Module, generator: Generator, inputs: Tensor, *, gain: Gain = RELU_GAIN, bias: float = 0.0
) -> None:
    """N(0, gain²/fan_in) with ReLU's gain √2 (He et al. 2015, arXiv:1502.01852, eq. 10)."""
    normal_fan_in(module, generator, inputs, gain=gain, bias=bias)


@INITIALISATIONS.register(version=1)
def kaiming_uniform(
    module: nn.Module, generator: Generator, inputs: Tensor, *, gain: Gain = RELU_GAIN, bias: float = 0.0
) -> None:
    """Uniform with the variance gain²/fan_in of `kaiming_normal`: U(±gain √(3/fan_in))."""
    for matrix in _each(module, bias):
        bound = gain * math.sqrt(3.0 / matrix.fan_in)
        matrix.values.uniform_(-bound, bound, generator=generator)


@INITIALISATIONS.register(version=2)
def xavier_normal(
    module: nn.Module, generator: Generator, inputs: Tensor, *, gain: Gain = 1.0, bias: float = 0.0
) -> None:
    """N(0, 2 gain²/(fan_in + fan_out)) (Glorot and Bengio 2010, eq. 12)."""
    for matrix in _each(module, bias):
        deviation = gain * math.sqrt(2.0 / (matrix.fan_in + matrix.fan_out))
        matrix.values.normal_(0.0, deviation, generator=generator)


@INITIALISATIONS.register(version=2)
def xavier_uniform(
    module: nn.Module, generator: Generator, inputs: Tensor, *, gain: Gain = 1.0, bias: float = 0.0
) -> None:
    """U(±gain √(6/(fan_in + fan_out))) (Glorot and Bengio 2010, eq. 16)."""
    for matrix in _each(module, bias):
        bound = gain * math.sqrt(6.0 / (matrix.fan_in + matrix.fan_out))
        matrix.values.uniform_(-bound, bound, generator=generator)


@INITIALISATIONS.register(version=1)
def torch_default(
    module: nn.Module, generator: Generator, inputs: Tensor, *, gain: Gain = 1.0, bias: float | None = None
) -> None:
    """U(±gain/√fan_in) for weights and, unless `bias` is given, for biases: what torch layers start with."""
    for matrix in matrices(module):
        bound = gain / math.sqrt(matrix.fan_in)
        matrix.values.uniform_(-bound, bound, generator=generator)
        if matrix.bias is not None and bias is None:
            matrix.bias.uniform_(-bound, bound, generator=generator)
        elif matrix.bias is not None:
            matrix.bias.fill_(bias or 0.0)


@INITIALISATIONS.register(version=1)
def truncated_normal(
    module: nn.Module,
    generator: Generator,
    inputs: Tensor,
    *,
    gain: Gain = 1.0,
    cut: Annotated[float, Interval(ge=0.5, le=8)] = 2.0,
    bias: float = 0.0,
) -> None:
    """Normal cut at ±`cut` standard deviations, scaled so that what remains has variance gain²/fan_in."""
    normal = torch.distributions.Normal(torch.tensor(0.0, dtype=torch.float64), 1.0)
    mass = 2 * float(normal.cdf(torch.tensor(cut, dtype=torch.float64))) - 1
    density = math.exp(-cut * cut / 2) / math.sqrt(2 * math.pi)
    remaining = math.sqrt(1 - 2 * cut * density / mass)  # standard deviation of the unit normal cut at ±cut
    for matrix in _each(module, bias):
        scale = gain / math.sqrt(matrix.fan_in) / remaining
        nn.init.trunc_normal_(matrix.values, 0.0, scale, -cut * scale, cut * scale, generator=generator)


@INITIALISATIONS.register(version=1)
def orthogonal(
    module: nn.Module, generator: Generator, inputs: Tensor, *, gain: Gain = 1.0, bias: float = 0.0
) -> None:
    """Gain times a Haar-distributed matrix with orthonormal rows or columns, whichever are fewer."""
    for matrix in _each(module, bias):
        nn.init.orthogonal_(matrix.values, gain, generator=generator)


@INITIALISATIONS.register(version=1)
def student_t(
    module: nn.Module,
    generator: Generator,
    inputs: Tensor,
    *,
    degrees: Annotated[float, Gt(2), Le(100)] = 3.0,
    gain: Gain = 1.0,
    bias: float = 0.0,
) -> None:
    """Student's t with `degrees` of freedom, heavy tails scaled to variance gain²/fan_in."""
    for matrix in _each(module, bias):
        draw = _student(matrix.values.shape, degrees, generator)
        unit = math.sqrt((degrees - 2) / degrees)  # the variance of t is degrees / (degrees - 2)
        matrix.values.copy_(draw * (unit * gain / math.sqrt(matrix.fan_in)))


def _student(shape: torch.Size, degrees: float, generator: Generator) -> Tensor:
    """t = sqrt(degrees (u^(-2/degrees) - 1)) cos(2 pi v): Bailey 1994, the polar method for any real degrees."""
    u = torch.rand(shape, generator=generator, dtype=torch.float64).clamp_min_(torch.finfo(torch.float64).tiny)
    v = torch.rand(shape, generator=generator, dtype=torch.float64)
    return (degrees * (u.pow(-2.0 / degrees) - 1.0)).sqrt() * torch.cos(2 * math.pi * v)


@INITIALISATIONS.register(version=1)
def sparse(
    module: nn.Module,
    generator: Generator,
    inputs: Tensor,
    *,
    density: Annotated[float, Gt(0), Le(1)] = 0.1,
    gain: Gain = 1.0,
    bias: float = 0.0,
) -> None:
    """Each output gets max(1, round(density · fan_in)) inputs of variance gain²/that number, the rest are zero."""
    for matrix in _each(module, bias):
        count = max(1, round(density * matrix.fan_in))
        chosen = torch.rand(matrix.values.shape, generator=generator).argsort(1)[:, :count]
        drawn = torch.empty(matrix.rows, count).normal_(0.0, gain / math.sqrt(count), generator=generator)
        matrix.values.zero_().scatter_(1, chosen, drawn.to(matrix.values.dtype))


@INITIALISATIONS.register(version=1)
def low_rank_plus_noise(
    module: nn.Module,
    generator: Generator,
    inputs: Tensor,
    *,
    rank: Annotated[int, Ge(1)] = 4,
    strength: Annotated[float, Ge(0)] = 3.0,
    gain: Gain = 1.0,
    bias: float = 0.0,
) -> None:
    """N(0, gain²/fan_in) plus `rank` planted orthonormal directions.

    Their singular value is `strength` times the edge σ(√fan_in + √rows) of the noise: above 1 they stand clear
    of it (SCIENCE 1.3), so that a rule can be judged by whether it finds them.
    """
    for matrix in _each(module, bias):
        deviation = gain / math.sqrt(matrix.fan_in)
        matrix.values.normal_(0.0, deviation, generator=generator)
        edge = deviation * (math.sqrt(matrix.fan_in) + math.sqrt(matrix.rows))
        count = min(rank, *matrix.values.shape)
        left = nn.init.orthogonal_(torch.empty(matrix.rows, count), generator=generator)
        right = nn.init.orthogonal_(torch.empty(count, matrix.fan_in), generator=generator)
        matrix.values.add_((left @ right).to(matrix.values.dtype), alpha=strength * edge)


@INITIALISATIONS.register(version=1)
def lsuv(
    module: nn.Module,
    generator: Generator,
    inputs: Tensor,
    *,
    gain: Gain = 1.0,
    tolerance: Annotated[float, Interval(ge=1e-4, le=0.5)] = 0.05,
    passes: Annotated[int, Interval(ge=1, le=20)] = 5,
    bias: float = 0.0,
) -> None:
    """Orthogonal, then layers scaled to outputs of variance gain² (Mishkin and Matas 2015, arXiv:1511.06422)."""
    orthogonal(module, generator, inputs, bias=bias)
    for layer in [part for part in module.modules() if isinstance(part, nn.Linear | nn.modules.conv._ConvNd)]:
        for _ in range(passes):
            deviation = _output_deviation(module, layer, inputs)
            if deviation == 0 or abs(deviation / gain - 1) < tolerance:
                break
            layer.weight.data.mul_(gain / deviation)


def _output_deviation(module: nn.Module, layer: nn.Module, inputs: Tensor) -> float:
    """Standard deviation of what `layer` puts out when `inputs` go through the module."""
    seen: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _module, _args, outputs: seen.append(outputs))
    was_training = module.training
    try:
        module.eval()(inputs)
    finally:
        handle.remove()
        module.train(was_training)
    return float(seen[0].std())
