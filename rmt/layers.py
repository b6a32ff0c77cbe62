"""Layers kept as two factors: a linear map of rank k, and a k × k convolution followed by a 1 × 1 one.

Both hold `left` (out, k), `right` (k, in …) and an optional `bias`, say their `factors`, their `weight` (the
product, for code that reads it) and `compose()` themselves back into the dense layer. They work under autocast,
`torch.export` and TorchScript (which reads annotations: plain tensors there) like the layers they stand for.

Source: W′ = W₂ W₁ of arXiv:2310.03165; the convolution by unfolding its kernel to (out, in · k · k).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias, TypeVar, no_type_check

from torch import Tensor, nn
from torch.nn import functional

from rmt.errors import InvalidWeight
from rmt.matrices import Factors
from rmt.replacement import replace_layer, why_irreplaceable

PaddingMode: TypeAlias = Literal["zeros", "reflect", "replicate", "circular"]
Dense = TypeVar("Dense", nn.Linear, nn.Conv2d)


@no_type_check  # no run-time checks of types in the tests either: TorchScript reads the plain functions
class LowRankLinear(nn.Module):
    """y = W₂ W₁ x + b without activation in between.

    Args:
        factors: `left` (out, k) and `right` (k, in).
        bias: (out,), or None.
    """

    def __init__(self, factors: Factors, bias: Tensor | None = None) -> None:
        super().__init__()
        self.left = nn.Parameter(factors.left.detach().clone())
        self.right = nn.Parameter(factors.right.detach().clone())
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())

    @classmethod
    def from_dense(cls, dense: nn.Linear, factors: Factors) -> LowRankLinear:
        """The layer that takes the place of `dense`, with its bias; refused if `dense` computes something else."""
        _require_plain(dense)
        return cls(factors, dense.bias)

    def forward(self, x: Tensor) -> Tensor:
        """From (…, in) to (…, out) by two linear maps, the narrow one first."""
        return functional.linear(functional.linear(x, self.right), self.left, self.bias)

    @property
    def factors(self) -> Factors:
        """W₂ and W₁."""
        return Factors(self.left, self.right)

    @property
    def weight(self) -> Tensor:
        """The product (out, in)."""
        return self.left @ self.right

    def compose(self) -> nn.Linear:
        """The dense layer with the same function."""
        rows, cols = self.left.shape[0], self.right.shape[1]
        dense = nn.Linear(cols, rows, bias=self.bias is not None, device="meta")
        return _filled(dense, _product(self.factors), self.bias)

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        return f"{self.right.shape[1]} → {self.left.shape[1]} → {self.left.shape[0]}, bias={self.bias is not None}"


@no_type_check  # no run-time checks of types in the tests either: TorchScript reads the plain functions
class LowRankConv2d(nn.Module):
    """A convolution to k channels with the kernel, stride, padding and dilation of the whole, then a 1 × 1 one.

    Args:
        factors: `left` (out, k) and `right` (k, in · height · width).
        like: The convolution that it stands for; its weight may be on the meta device.

    Raises:
        InvalidWeight: `like` is grouped: its kernel does not unfold to one matrix.
    """

    def __init__(self, factors: Factors, like: nn.Conv2d, bias: Tensor | None = None) -> None:
        super().__init__()
        if like.groups != 1:
            raise InvalidWeight(f"a convolution of {like.groups} groups does not factor as one matrix")
        self.left = nn.Parameter(factors.left.detach().clone())
        kernel = factors.right.detach().reshape(-1, *like.weight.shape[1:])
        self.right = nn.Parameter(kernel.clone())
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        self.stride: tuple[int, int] = _pair(like.stride)
        self.dilation: tuple[int, int] = _pair(like.dilation)
        self.padding_mode: PaddingMode = like.padding_mode
        self.padding: tuple[int, int, int, int] = _border(like)

    @classmethod
    def from_dense(cls, dense: nn.Conv2d, factors: Factors) -> LowRankConv2d:
        """The layer that takes the place of `dense`, with its bias; refused if `dense` computes something else."""
        _require_plain(dense)
        return cls(factors, dense, dense.bias)

    def forward(self, x: Tensor) -> Tensor:
        """From (…, in, height, width) by two convolutions, the narrow one first."""
        left, right, top, bottom = self.padding
        if self.padding_mode == "zeros" and left == right and top == bottom:
            narrow = functional.conv2d(x, self.right, None, self.stride, (top, left), self.dilation)
        else:
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            padded = functional.pad(x, [left, right, top, bottom], mode=mode)
            narrow = functional.conv2d(padded, self.right, None, self.stride, (0, 0), self.dilation)
        return functional.conv2d(narrow, self.left[:, :, None, None], self.bias)

    @property
    def factors(self) -> Factors:
        """W₂ and W₁, the kernel unfolded to (k, in · height · width)."""
        return Factors(self.left, self.right.flatten(1))

    @property
    def weight(self) -> Tensor:
        """The kernel of the whole, (out, in, height, width)."""
        _, channels, height, width = self.right.shape
        return (self.left @ self.right.flatten(1)).reshape(-1, channels, height, width)

    def compose(self) -> nn.Conv2d:
        """The dense convolution with the same function."""
        left, right, top, bottom = self.padding
        if left != right or top != bottom:
            padding: str | tuple[int, int] = "same"
        else:
            padding = (top, left)
        dense = nn.Conv2d(
            self.right.shape[1],
            self.left.shape[0],
            kernel_size=_pair(self.right.shape[2:]),
            stride=self.stride,
            padding=padding,
            dilation=self.dilation,
            bias=self.bias is not None,
            padding_mode=self.padding_mode,
            device="meta",
        )
        return _filled(dense, _product(self.factors).reshape(dense.weight.shape), self.bias)

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        kernel = "×".join(str(side) for side in self.right.shape[2:])
        return f"{self.right.shape[1]} → {self.left.shape[1]} ({kernel}) → {self.left.shape[0]} (1×1)"


LowRank = LowRankLinear | LowRankConv2d


def low_rank(dense: nn.Linear | nn.Conv2d, factors: Factors) -> LowRank:
    """The factored layer that takes the place of a dense one: in its mode, and with the very same bias.

    The bias is shared so that an optimiser which trains it goes on doing so.

    Raises:
        InvalidWeight: The class of `dense` computes something else than torch's own.
    """
    made: LowRank
    if isinstance(dense, nn.Linear):
        made = LowRankLinear.from_dense(dense, factors)
    else:
        made = LowRankConv2d.from_dense(dense, factors)
    for parameter in made.parameters():
        parameter.requires_grad_(dense.weight.requires_grad)
    made.bias = dense.get_parameter("bias") if dense.bias is not None else None
    return made.train(dense.training)


def refactor(layer: LowRank, factors: Factors) -> Callable[[], None]:
    """Give a factored layer other factors, in place; returns what takes them back."""
    before = layer.left, layer.right
    kernel = factors.right.detach().reshape(-1, *layer.right.shape[1:])
    layer.left = nn.Parameter(factors.left.detach().clone(), requires_grad=layer.left.requires_grad)
    layer.right = nn.Parameter(kernel.clone(), requires_grad=layer.right.requires_grad)

    def undo() -> None:
        layer.left, layer.right = before

    return undo


def match_structure(module: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Give a dense module the factored layers that a saved state dict has, so that it can be loaded.

    Args:
        module: The network as its code builds it; changed in place.
        state: What `state_dict()` of the pruned network returned.

    Returns:
        `module`, ready for `load_state_dict(state)`.

    Raises:
        InvalidWeight: The module has no such layer, or one whose class computes something else.
    """
    for key, left in state.items():
        name, _, last = key.rpartition(".")
        right = state.get(f"{key.removesuffix('left')}right") if last == "left" else None
        if right is None:
            continue
        part = _submodule(module, name)
        if isinstance(part, nn.Linear | nn.Conv2d):
            replace_layer(module, part, low_rank(part, Factors(left, right.flatten(1))))
        elif isinstance(part, LowRankLinear | LowRankConv2d):
            refactor(part, Factors(left, right.flatten(1)))
    return module


def _submodule(module: nn.Module, name: str) -> nn.Module:
    try:
        return module.get_submodule(name)
    except AttributeError:
        raise InvalidWeight(f"the saved state has factors of {name!r}; the module has no layer {name!r}") from None


def _require_plain(dense: nn.Linear | nn.Conv2d) -> None:
    reason = why_irreplaceable(dense)
    if reason:
        raise InvalidWeight(reason)


def _product(factors: Factors) -> Tensor:
    # In double precision, so that composing and factoring again loses nothing.
    return (factors.left.detach().double() @ factors.right.detach().double()).to(factors.left.dtype)


def _filled(dense: Dense, weight: Tensor, bias: Tensor | None) -> Dense:
    dense.weight = nn.Parameter(weight)
    if bias is not None:
        dense.bias = nn.Parameter(bias.detach().clone())
    return dense


def _pair(sides: tuple[int, ...]) -> tuple[int, int]:
    first, second = sides
    return first, second


def _border(conv: nn.Conv2d) -> tuple[int, int, int, int]:
    """Padding as left, right, top, bottom."""
    if conv.padding == "valid":
        return 0, 0, 0, 0
    if conv.padding == "same":
        height, width = (d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True))
        return width // 2, width - width // 2, height // 2, height - height // 2
    top, left = (int(side) for side in conv.padding)
    return left, left, top, top
