"""What a network costs: parameters, memory, arithmetic and time."""

from __future__ import annotations

import copy
import itertools
from typing import Annotated

import torch
from annotated_types import Ge, Gt

from rmt.measures.contract import MEASURES, ModuleSubject, Number


@MEASURES.register(of="module", needs=(), least=0)
def parameters(subject: ModuleSubject) -> Number:
    """Stored parameters, biases included, shared ones once; masked zeros count."""
    return float(sum(parameter.numel() for parameter in subject.module.parameters()))


@MEASURES.register(of="module", needs=(), least=0)
def non_zeros(subject: ModuleSubject) -> Number:
    """Parameters that are not exactly zero."""
    return float(sum(int(torch.count_nonzero(parameter)) for parameter in subject.module.parameters()))


@MEASURES.register(name="bytes", of="module", needs=(), least=0)
def memory_bytes(subject: ModuleSubject) -> Number:
    """Memory of parameters and buffers, in bytes, as stored now."""
    tensors = itertools.chain(subject.module.parameters(), subject.module.buffers())
    return float(sum(tensor.numel() * tensor.element_size() for tensor in tensors))


@MEASURES.register(of="module", needs=("inputs",), least=0)
def macs(subject: ModuleSubject) -> Number:
    """Multiply-accumulates of the matrix products and convolutions for one sample."""
    if subject.inputs is None:
        return None
    from torch.utils.flop_counter import FlopCounterMode  # loads a compiler for GPUs

    module = copy.deepcopy(subject.module).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(subject.inputs[:1])
    return counter.get_total_flops() / 2


@MEASURES.register(of="module", needs=("inputs",), least=0)
def latency(
    subject: ModuleSubject,
    *,
    batch_size: Annotated[int, Ge(1)] = 1,
    threads: Annotated[int, Ge(1)] = 1,
    seconds: Annotated[float, Gt(0)] = 0.2,
) -> Number:
    """Measured time of one forward pass in seconds, median over a run of at least `seconds`."""
    if subject.inputs is None:
        return None
    from torch.utils.benchmark import Timer  # loads the C++ extension machinery, which may print a warning

    module = copy.deepcopy(subject.module).eval()
    batch = subject.inputs[:batch_size]
    with torch.inference_mode():
        timer = Timer("module(batch)", globals={"module": module, "batch": batch}, num_threads=threads)
        return float(timer.blocked_autorange(min_run_time=seconds).median)
