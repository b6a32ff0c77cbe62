"""Which program computes a stack."""

from __future__ import annotations

from torch import nn

from sweeps.stack import Stack
from sweeps.stack_chain import Chain
from sweeps.stack_modules import Modules
from sweeps.stack_program import Program


def program_for(module: nn.Module, stack: Stack, *, compiler: str | None = None) -> Program:
    """The program for a stack of `module`, whichever of its layers are factored.

    Args:
        module: The unpruned network.
        stack: What is computed.
        compiler: A backend of torch.compile; None computes as it is written.
    """
    if compiler is not None:
        return Modules(module, stack, compiler=compiler)
    return Chain.of(module) or Modules(module, stack)
