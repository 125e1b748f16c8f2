"""What each key receives, the weights summed over the queries: a gradient itself, with the derivatives of ``autograd``."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from attnlab.kernels import torch_internals
from attnlab.kernels.attention import autograd, cpu, formulas
from attnlab.kernels.attention.function_pieces import mapped_in_front, zeros_where_none
from attnlab.kernels.attention.problem import Problem


def column_sums(path: str, problem: Problem, q: Tensor, k: Tensor, bias: Tensor | None) -> Tensor:
    """What each key receives, the weights summed over the queries, (..., key); in float32 where the types have 16 bits."""
    if q.dtype in (torch.bfloat16, torch.float16):
        q, k, bias = q.float(), k.float(), None if bias is None else bias.float()
    return autograd.apply(ColumnSums, path, problem, q, k, bias)


class ColumnSums(Function):
    r"""(path, problem, q, k, bias) -> :math:`c_j = \sum_i W_{ij}`, (..., key).

    The output is linear in the values, so c is the gradient of :math:`\sum_i o_i` in values of width one, and the derivative of
    :math:`\langle x, c \rangle` is that of :math:`\sum_i o_i` with the values x: passes that each path has.
    """

    @staticmethod
    def forward(path: str, problem: Problem, q: Tensor, k: Tensor, bias: Tensor | None) -> Tensor:
        v, g = _columns(q, k)
        if path not in autograd.FUSED:
            return cpu.forward(problem, q, k, v, bias, with_columns=True)[2]
        fused, more = autograd.FUSED[path], () if bias is None else (bias,)
        o, record = fused.forward(problem, q, k, v, *more)
        return fused.backward(problem, q, k, v, o, record, g, *more)[2].squeeze(-1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.path, ctx.problem, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, x: Tensor) -> tuple[Any, ...]:
        q, k, bias = ctx.saved_tensors
        want = bias is not None and ctx.needs_input_grad[4]
        (_, g), v = _columns(q, k), x.unsqueeze(-1)
        if torch_internals.is_batched_gradient(x):
            dq, dk, _, dbias = formulas.backward(ctx.problem, q, k, v, bias, g)
            return None, None, dq, dk, dbias if want else None
        o, record = None, None
        if ctx.path in autograd.FUSED:
            o, record = autograd.Forward.apply(ctx.path, ctx.problem, q, k, v, bias)
            o = o.detach()  # as in ``autograd.Forward``
        dq, dk, _, *dbias = autograd.Backward.apply(
            ctx.path, ctx.problem, want, q, k, v, bias, g, o, record, None, None
        )
        return None, None, dq, dk, dbias[0] if want else None

    @staticmethod
    def jvp(ctx: Any, _path: None, _problem: None, *tangents: Tensor | None) -> Any:
        q, k, bias = ctx.saved_tensors
        v, g = _columns(q, k)
        qt, kt, bt = zeros_where_none(tangents, (q, k, bias))
        return autograd.Second.apply(
            ctx.path, ctx.problem, False, q, k, v, bias, qt, kt, torch.zeros_like(v), bt, g, *(None,) * 4
        )[3].squeeze(-1)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, Any]:
        return ColumnSums.apply(*mapped_in_front(info, in_dims, args)), 0


def _columns(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Values of width one, zeros, and cotangents of one."""
    return k.new_zeros((*k.shape[:-1], 1)), q.new_ones((*q.shape[:-1], 1))


# see the end of ``autograd.py``
ColumnSums.forward.__signature__ = inspect.signature(ColumnSums.forward)
