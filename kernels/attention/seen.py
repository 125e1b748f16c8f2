"""Calls that are like an earlier one: a look-up, an output, the kernel or torch's fused operator.

A small call spends more time on its checks than on its numbers. Whether they pass follows from the types, shapes, strides
and options of a call, by which what an earlier one worked out is kept here; what does not follow from them (wrappers of
transforms, the negative bit, zeros without memory, the device, traces, forward mode, counters) is asked every time, and the
answer is then None: the caller takes the whole way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from attnlab.kernels import torch_internals
from attnlab.kernels.attention import autograd, cpu, plain, sdpa
from attnlab.kernels.attention.masks import Causal, KeySubsample, Mask, Neighbourhood, Window
from attnlab.kernels.attention.problem import Problem
from attnlab.kernels.attention.scores.f_over_g import ScoreMap
from attnlab.kernels.compiled import counters

#: Tensors that are no subclass with a meaning of its own.
_TENSORS = frozenset((Tensor, torch.nn.Parameter))
#: Masks that equal ones can stand for (they hold whole numbers), and no mask.
_MASKS = frozenset((type(None), str, Causal, Window, Neighbourhood, KeySubsample))
_SCALES = frozenset((type(None), float, int))
_ROW_MAJOR = torch.contiguous_format


@dataclass(frozen=True, eq=False)
class _Call:
    """What is kept of a call: the record of the kernel, and a tensor of the shape and type of its output that takes no memory."""

    ready: cpu.Ready
    problem: Problem
    room: Tensor

    def output(self, reads: tuple[int, ...]) -> Tensor:
        """The output for q, k, v, and a bias if there is one, at these addresses."""
        o = torch.empty_like(self.room, memory_format=_ROW_MAJOR)
        self.ready.carry_out((*reads, o.data_ptr()))
        return o


class _Again(autograd.Forward):
    """``Forward`` of a call that is kept, outside transforms and forward mode: its derivatives are those of ``Forward``."""

    @staticmethod
    def forward(path: str, call: _Call, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        return call.output(tuple(x.data_ptr() for x in (q, k, v, bias) if x is not None))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.path, call, *tensors = inputs
        ctx.problem = call.problem
        ctx.save_for_backward(*tensors, None, None)


class _AgainFused(Function):
    """``Forward`` of a call on torch's fused operator that is kept; one output, and the record of its rows beside it."""

    @staticmethod
    def forward(ctx: Any, path: str, problem: Problem, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        o, lse = sdpa.directly(problem, q, k, v, bias)
        ctx.path, ctx.problem = path, problem
        ctx.save_for_backward(q, k, v, bias, o, lse)
        return o

    backward = autograd.Forward.backward


_calls: dict[tuple, _Call | Problem] = {}


def answer(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    score: str | ScoreMap,
    mask: str | Mask | Tensor | None,
    bias: object,
    scale: object,
    path: str,
) -> Tensor | None:
    """The output of a call without statistics, outside traces, or None if nothing is kept of one like it."""
    if (
        type(q) not in _TENSORS
        or type(k) not in _TENSORS
        or type(v) not in _TENSORS
        or type(mask) not in _MASKS
        or type(scale) not in _SCALES
        or (bias is not None and (type(bias) not in _TENSORS or bias.requires_grad))
        or torch_internals.transforms_active()
        or torch_internals.forward_mode_active()
    ):
        return None
    derivative = (q.requires_grad or k.requires_grad or v.requires_grad) and torch.is_grad_enabled()
    tensors = (q, k, v) if bias is None else (q, k, v, bias)
    try:
        known = _calls.get(_key(tensors, score, mask, scale, path, derivative))
        if known is None or plain.only() or counters.active() is not None:
            return None
        for x in tensors:
            if not x.is_cpu or x.is_neg() or x._is_zerotensor():
                return None
        reads = tuple([x.data_ptr() for x in tensors])
    except (TypeError, RuntimeError):  # an option that has no hash; a tensor without strides or memory
        return None
    if not all(reads):
        return None
    fused = type(known) is Problem
    if not (fused or derivative):
        return known.output(reads)
    moved = None if bias is None else bias.expand(*q.shape[:-1], k.shape[-2])
    if derivative:
        return torch_internals.apply_directly(
            _AgainFused if fused else _Again, "sdpa" if fused else "c", known, q, k, v, moved
        )
    return sdpa.directly(known, q, k, v, moved)[0]


def _key(tensors: tuple[Tensor, ...], score, mask, scale, path: str, derivative: bool) -> tuple:
    """What a call must share with an earlier one; ``derivative``: whether one may be asked for, by which a path is chosen."""
    lies = [(x.shape, x.stride(), x.dtype) for x in tensors]
    return *lies, score, mask, scale, path, derivative


def keep(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    score: str | ScoreMap,
    mask: str | Mask | Tensor | None,
    bias: Tensor | None,
    scale: object,
    path: str,
    chosen: str,
    problem: Problem,
) -> None:
    """Remember a call on ``chosen`` ("c", "sdpa") that has passed all checks, for the next one like it.

    Called where no transform is active and no option but the bias is a tensor.
    """
    tensors = (q, k, v) if bias is None else (q, k, v, bias)
    lead = q.shape[:-2]
    if (
        any(type(x) not in _TENSORS or torch_internals.is_wrapped(x) or not x.is_cpu or not x.numel() for x in tensors)
        or type(mask) not in _MASKS
        or type(scale) not in _SCALES
        or (bias is not None and (bias.requires_grad or bias.dtype != q.dtype))
        or not lead == k.shape[:-2] == v.shape[:-2]
        or lead.numel() > (cpu.MANY if chosen == "c" else math.inf)
        or (chosen == "sdpa" and not sdpa.takes(problem, q, k, v))
    ):
        return
    made: _Call | Problem = problem
    if chosen == "c":
        with torch_internals.kept_tensors():
            shape = *q.shape[:-1], v.shape[-1]
            moved = None if bias is None else bias.expand(*q.shape[:-1], k.shape[-2])
            ready = cpu.ready_for("forward", 1, problem, (q, k, v, moved), (q.new_empty(shape), None, None))
            made = _Call(ready, problem, q.new_empty(()).expand(shape))
    if len(_calls) >= 512:
        _calls.clear()
    derivative = (q.requires_grad or k.requires_grad or v.requires_grad) and torch.is_grad_enabled()
    _calls[_key(tensors, score, mask, scale, path, derivative)] = made
