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
from attnlab.kernels.attention import autograd, cpu, formulas, plain, sdpa
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
#: Up to so many multiply-adds torch's own graph is used: above, what an ``autograd.Function`` costs is no matter, and a second
#: derivative would pay for a first one in vain.
FEW = 1 << 22


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


@dataclass(frozen=True, eq=False)
class _Fused:
    """What is kept of a call on torch's fused operator.

    ``causal`` and ``mask`` (an additive term) are the operator's; ``as_it_is``: the caller's bias is that term. ``hides``,
    ``short``: whether o, or q and k too, must be finite, else the call takes the whole way. ``few``: so few numbers that
    torch's own graph, with two hooks, is faster than an ``autograd.Function``.
    """

    problem: Problem
    causal: bool
    mask: Tensor | None
    as_it_is: bool
    hides: bool
    short: bool
    few: bool

    def answer(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, derivative: bool) -> Tensor | None:
        by_function = derivative and not (self.few and torch_internals.keeps_what_is_saved())
        if by_function or (bias is not None and not self.as_it_is):
            moved = None if bias is None else bias.expand(*q.shape[:-1], k.shape[-2])
            if derivative:
                return torch_internals.apply_directly(_AgainFused, "sdpa", self.problem, q, k, v, moved)
            return sdpa.directly(self.problem, q, k, v, moved)[0]
        mask = self.mask if bias is None else bias
        fused = torch_internals.flash_operators()[0]
        o = fused(q, k, v, 0.0, self.causal, attn_mask=mask, scale=self.problem.scale)[0]
        if (self.hides or self.short) and not torch_internals.sums_are_finite(*((o, q, k) if self.short else (o,))):
            return None
        if derivative:
            pulled = _Pulled(self.problem, q, k, v, bias, self.hides)
            node = o.grad_fn
            node.register_prehook(pulled.before)
            node.register_hook(pulled.after)
        return o


class _Pulled:
    """Hooks of torch's own backward pass: they put in that of ``Forward`` where it may be differentiated, or is not finite.

    As ``ctx`` of ``autograd.backward_with_a_graph`` it holds the path, the problem and what is kept for later passes.
    """

    path = "sdpa"

    def __init__(self, problem: Problem, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, hides: bool) -> None:
        self.problem, self.tensors, self.hides = problem, (q, k, v, bias), hides
        self.g: Tensor | None = None

    def before(self, cotangents: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...] | None:
        """Where torch's pass will not do: keep the cotangent, and let torch have zeros. It reads neighbours along the width."""
        g = cotangents[0]
        assert g is not None  # the node runs for the output alone
        if (
            torch.is_grad_enabled()
            or torch_internals.transforms_active()
            or torch_internals.forward_mode_active()
            or torch_internals.is_batched_gradient(g)
        ):
            self.g = g
            return (torch.zeros(self._shape(), dtype=g.dtype), *cotangents[1:])
        return None if g.stride(-1) == 1 else (g.contiguous(), *cotangents[1:])

    def after(
        self, gradients: tuple[Tensor | None, ...], cotangents: tuple[Tensor | None, ...]
    ) -> tuple[Tensor | None, ...] | None:
        g, self.g = self.g, None
        if g is not None:
            q, k, v, bias = self._operands()
            with torch.no_grad():
                o, lse = sdpa.directly(self.problem, *(None if x is None else x.detach() for x in (q, k, v, bias)))
            found = autograd.backward_with_a_graph(self, False, q, k, v, bias, g, o, lse)
        elif self.hides and not torch_internals.sums_are_finite(*(x for x in gradients[:3] if x is not None)):
            with torch.no_grad():
                found = formulas.backward(self.problem, *self._operands(), cotangents[0])[:3]
        else:
            return None
        wanted = (None if old is None else new for old, new in zip(gradients, found, strict=False))
        return (*wanted, *gradients[3:])

    def _operands(self) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        q, k, v, bias = self.tensors
        return q, k, v, None if bias is None else bias.expand(*q.shape[:-1], k.shape[-2])

    def _shape(self) -> tuple[int, ...]:
        q, _, v, _ = self.tensors
        return *q.shape[:-1], v.shape[-1]


_calls: dict[tuple, _Call | _Fused] = {}


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
    if type(known) is _Fused:
        return known.answer(q, k, v, bias, derivative)
    if not derivative:
        return known.output(reads)
    moved = None if bias is None else bias.expand(*q.shape[:-1], k.shape[-2])
    return torch_internals.apply_directly(_Again, "c", known, q, k, v, moved)


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
        or (
            chosen == "sdpa"
            and not (sdpa.takes(problem, q, k, v) and (problem.rows.full or q.shape[-2] * k.shape[-2] <= sdpa.KEEP))
        )
    ):
        return
    moved = None if bias is None else bias.expand(*q.shape[:-1], k.shape[-2])
    if chosen == "c":
        with torch_internals.kept_tensors():
            shape = *q.shape[:-1], v.shape[-1]
            ready = cpu.ready_for("forward", 1, problem, (q, k, v, moved), (q.new_empty(shape), None, None))
            made: _Call | _Fused = _Call(ready, problem, q.new_empty(()).expand(shape))
    else:
        made = _fused(problem, q, k, v, bias)
    if len(_calls) >= 512:
        _calls.clear()
    derivative = (q.requires_grad or k.requires_grad or v.requires_grad) and torch.is_grad_enabled()
    _calls[_key(tensors, score, mask, scale, path, derivative)] = made


def _fused(problem: Problem, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> _Fused:
    causal, mask = sdpa.term(problem, q, None)
    rows = q.shape[-2], k.shape[-2]
    whole = bias is not None and bias.shape in (rows, (*q.shape[:-2], *rows))
    as_it_is = whole and problem.rows.full and bias.stride(-1) == 1
    few = q.shape[:-1].numel() * k.shape[-2] * (q.shape[-1] + v.shape[-1]) <= FEW and (bias is None or as_it_is)
    return _Fused(problem, causal, mask, as_it_is, not problem.rows.full or bias is not None, sdpa.is_short(k), few)
