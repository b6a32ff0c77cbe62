"""A layer in another's place: under every name that it has, with its hooks, only where it computes the same."""

from __future__ import annotations

from torch import nn

from rmt.errors import InvalidWeight

HOOKS = tuple(
    name for name in vars(nn.Module()) if name.startswith(("_forward", "_backward", "_is_full_backward"))
)
"""Where torch keeps what is called before and after a layer's forward and backward pass."""
METHODS = ("__call__", "forward", "_conv_forward")


def names_of(module: nn.Module, part: nn.Module) -> list[str]:
    """Every name under which a submodule is registered, in the module's order."""
    return [name for name, other in module.named_modules(remove_duplicate=False) if other is part]


def replace_layer(module: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Let `new` stand wherever `old` does, with its hooks: what has put them there can still remove them.

    Raises:
        InvalidWeight: `old` is the module itself, which nothing can be put in the place of.
    """
    if old is module:
        raise InvalidWeight(f"the {type(old).__name__} is the module itself and can not be replaced in it")
    carry_hooks(old, new)
    for name in names_of(module, old):
        module.set_submodule(name, new)


def carry_hooks(old: nn.Module, new: nn.Module) -> None:
    """Let `new` have the forward and backward hooks of `old`: the very same collections."""
    for name in HOOKS:
        setattr(new, name, getattr(old, name))


def why_irreplaceable(layer: nn.Module) -> str:
    """Why factors would not compute what this layer does; empty where they do.

    A subclass of torch's layers may compute something else from its weight, and whoever uses it may read more of
    it than its weight and bias.
    """
    kind = type(layer)
    known = nn.Linear if isinstance(layer, nn.Linear) else nn.Conv2d
    own = [name for name in METHODS if getattr(kind, name, None) is not getattr(known, name, None)]
    own += [name for name in METHODS if name in vars(layer)]
    if own:
        return f"a {kind.__name__} has a {own[0]} of its own, which factors would not compute"
    extra = [
        name for name in (*layer._parameters, *layer._buffers, *layer._modules) if name not in ("weight", "bias")
    ]
    return f"a {kind.__name__} has more than weight and bias: {', '.join(extra)}" if extra else ""
