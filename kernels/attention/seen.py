"""Calls on the compiled path that are like an earlier one: a look-up, an output, the kernel.

A small call spends more time on its checks than on its numbers. Whether they pass follows from the types, shapes, strides
and options of a call, by which what an earlier one worked out is kept here; what does not follow from them (wrappers of
transforms, the negative bit, zeros without memory, the device, traces, forward mode, counters) is asked every time, and the
answer is then None: the caller takes the whole way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnlab.kernels import torch_internals
from attnlab.kernels.attention import autograd, cpu, plain
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

    def output(self, reads: tuple[int, int, int]) -> Tensor:
        """The output for q, k, v at these addresses."""
        o = torch.empty_like(self.room, memory_format=_ROW_MAJOR)
        self.ready.carry_out((*reads, o.data_ptr()))
        return o


class _Again(autograd.Forward):
    """``Forward`` of a call that is kept, outside transforms and forward mode: its derivatives are those of ``Forward``."""

    @staticmethod
    def forward(path: str, call: _Call, q: Tensor, k: Tensor, v: Tensor, bias: None) -> Tensor:
        return call.output((q.data_ptr(), k.data_ptr(), v.data_ptr()))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.path, call, *tensors = inputs
        ctx.problem = call.problem
        ctx.save_for_backward(*tensors, None, None)


_calls: dict[tuple, _Call] = {}


def answer(
    q: Tensor, k: Tensor, v: Tensor, score: str | ScoreMap, mask: str | Mask | Tensor | None, scale: object, path: str
) -> Tensor | None:
    """The output of a call without bias and statistics, outside traces, or None if nothing is kept of one like it."""
    if (
        type(q) not in _TENSORS
        or type(k) not in _TENSORS
        or type(v) not in _TENSORS
        or type(mask) not in _MASKS
        or type(scale) not in _SCALES
        or torch_internals.transforms_active()
        or torch_internals.forward_mode_active()
    ):
        return None
    try:
        key = (
            q.shape, k.shape, v.shape, q.stride(), k.stride(), v.stride(), q.dtype, k.dtype, v.dtype, score, mask, scale, path
        )  # fmt: skip
        known = _calls.get(key)
        if known is None or not (q.is_cpu and k.is_cpu and v.is_cpu) or plain.only() or counters.active() is not None:
            return None
        reads = q.data_ptr(), k.data_ptr(), v.data_ptr()
    except (TypeError, RuntimeError):  # an option that has no hash; a tensor without strides or memory
        return None
    for x in (q, k, v):
        if x.is_neg() or x._is_zerotensor():
            return None
    if not all(reads):
        return None
    if (q.requires_grad or k.requires_grad or v.requires_grad) and torch.is_grad_enabled():
        return torch_internals.apply_directly(_Again, "c", known, q, k, v, None)
    return known.output(reads)


def keep(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    score: str | ScoreMap,
    mask: str | Mask | Tensor | None,
    scale: object,
    path: str,
    problem: Problem,
) -> None:
    """Remember a call on the compiled path that has passed all checks, for the next one like it.

    Called where no transform is active and no option is a tensor.
    """
    tensors = q, k, v
    if (
        any(type(x) not in _TENSORS or torch_internals.is_wrapped(x) or not x.is_cpu or not x.numel() for x in tensors)
        or type(mask) not in _MASKS
        or type(scale) not in _SCALES
        or not q.shape[:-2] == k.shape[:-2] == v.shape[:-2]
        or q.shape[:-2].numel() > cpu.MANY
    ):
        return
    with torch_internals.kept_tensors():
        shape = *q.shape[:-1], v.shape[-1]
        ready = cpu.ready_for("forward", 1, problem, (q, k, v, None), (q.new_empty(shape), None, None))
        room = q.new_empty(()).expand(shape)
    if len(_calls) >= 512:
        _calls.clear()
    key = (
        q.shape, k.shape, v.shape, q.stride(), k.stride(), v.stride(), q.dtype, k.dtype, v.dtype, score, mask, scale, path
    )  # fmt: skip
    _calls[key] = _Call(ready, problem, room)
