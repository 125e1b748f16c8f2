"""Derivatives of calls that also ask for statistics of the rows; ``autograd`` has those of the output alone.

The cotangents of output and raw statistics go back together in one pass of the kernel; second derivatives and forward mode
are those of the reference.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from attnlab.kernels import torch_internals
from attnlab.kernels.attention import cpu, gpu
from attnlab.kernels.attention.function_pieces import mapped_in_front, pulled_back, pushed_forward, zeros_where_none
from attnlab.kernels.attention.problem import Problem, on_device
from attnlab.kernels.attention.reference import attention_reference
from attnlab.kernels.attention.statistics import Mass


class WithStatistics(Function):
    """(path, problem, q, k, v, bias) -> output and raw statistics (..., query, 10); with them, on the Triton path, its rows."""

    @staticmethod
    def forward(
        path: str, problem: Problem, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, ...]:
        if path == "gpu":
            return gpu.forward_with_statistics(problem, q, k, v, bias)
        return cpu.forward(problem, q, k, v, bias, with_stats=True)[:2]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.path, ctx.problem, *tensors = inputs
        if ctx.path == "gpu":
            ctx.mark_non_differentiable(output[2])
            ctx.save_for_backward(*tensors, *output)
        else:
            ctx.save_for_backward(*tensors, None, None, None)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, g: Tensor, dstats: Tensor, *_: Any) -> tuple[Any, ...]:
        *tensors, o, raw, rows = ctx.saved_tensors
        want = tensors[3] is not None and ctx.needs_input_grad[5]
        kept = (x if x is None else x.detach() for x in (o, raw, rows))  # by-products carry no derivative of their own
        grads = StatisticsBackward.apply(ctx.path, ctx.problem, want, *tensors, g, dstats, *kept)
        return (None, None, *grads) if want else (None, None, *grads, None)

    @staticmethod
    def jvp(ctx: Any, _path: None, _problem: None, *tangents: Tensor | None) -> Any:
        function, primals, live = _raw(ctx.problem, ctx.saved_tensors[:4])
        filled = zeros_where_none(tangents, ctx.saved_tensors[:4])
        found = pushed_forward(function, primals, tuple(filled[i] for i in live))
        return (*found, None) if ctx.path == "gpu" else found

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, Any]:
        return WithStatistics.apply(*mapped_in_front(info, in_dims, args)), (0, 0, 0) if args[0] == "gpu" else (0, 0)


class StatisticsBackward(Function):
    """(path, problem, want_bias, q, k, v, bias, g, dstats, o, raw, rows) -> dq, dk, dv, and dbias if wanted."""

    @staticmethod
    def forward(
        path: str,
        problem: Problem,
        want_bias: bool,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None,
        g: Tensor,
        dstats: Tensor,
        o: Tensor | None,
        raw: Tensor | None,
        rows: Tensor | None,
    ) -> tuple[Tensor, ...]:
        if torch_internals.is_batched_gradient(g) or torch_internals.is_batched_gradient(dstats):
            function, primals, _ = _raw(problem, (q, k, v, bias))
            with torch_internals.full_precision(q.device.type), torch.enable_grad():
                leaves = [x.detach().requires_grad_() for x in primals]
                grads = torch.autograd.grad(function(*leaves), leaves, (g, dstats))
            return grads if want_bias else grads[:3]
        if path == "gpu":
            return gpu.backward(problem, q, k, v, o, rows, g, bias, want_bias, (raw, dstats))
        grads = cpu.backward(problem, q, k, v, bias, g, want_bias, dstats)
        return grads if want_bias else grads[:3]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        _, ctx.problem, ctx.want_bias, *tensors = inputs
        ctx.save_for_backward(*tensors[:6])
        ctx.save_for_forward(*tensors[:6])

    @staticmethod
    def _again(ctx):
        """The same map as a differentiable function, from the derivative of the reference."""
        *tensors, g, dstats = ctx.saved_tensors
        function, primals, live = _raw(ctx.problem, tensors)
        n = 4 if ctx.want_bias else 3

        def gradient(g, dstats, *primals):
            return torch.func.vjp(function, *primals)[1]((g, dstats))[:n]

        return gradient, (g, dstats, *primals), live

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Any, ...]:
        gradient, primals, live = StatisticsBackward._again(ctx)
        dg, ddstats, *rest = pulled_back(gradient, primals, tuple(cotangents))
        grads = dict(zip(live, rest, strict=True))
        return None, None, None, *(grads.get(i) for i in range(4)), dg, ddstats, None, None, None

    @staticmethod
    def jvp(ctx: Any, _path: None, _problem: None, _want: None, *tangents: Tensor | None) -> Any:
        gradient, primals, live = StatisticsBackward._again(ctx)
        filled = zeros_where_none(tangents[:6], ctx.saved_tensors)
        order = (filled[4], filled[5], *(filled[i] for i in live))
        return pushed_forward(gradient, primals, order)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, Any]:
        out = StatisticsBackward.apply(*mapped_in_front(info, in_dims, args))
        return out, (0,) * len(out)


def _raw(problem: Problem, tensors):
    """Output and raw statistics as the reference makes them, a function of the tensors that are there."""
    live = [i for i, x in enumerate(tensors) if x is not None]
    names = tuple("participation_ratio" if name == "square" else name for name in cpu.RAW)
    with_mass = "mass" in problem.names

    def function(*xs):
        full = dict(zip(live, xs, strict=True))
        q, k, v, bias = (full.get(i) for i in range(4))
        o, found = attention_reference(
            q,
            k,
            v,
            bias,
            on_device(problem.rows, q.device),
            problem.scale,
            problem.score,
            names if with_mass else names[:-1],
            problem.mass if with_mass else Mass(),
        )
        ratio = found["participation_ratio"]
        square = torch.where(ratio == 0, 0.0, 1.0 / torch.where(ratio == 0, 1.0, ratio))
        columns = [square if name == "participation_ratio" else found.get(name, ratio * 0) for name in names]
        wide = torch.float32 if q.dtype in (torch.bfloat16, torch.float16) else q.dtype  # as the Triton path has them
        return o, torch.stack(columns, -1).to(wide)

    return function, tuple(tensors[i] for i in live), live


# see the end of ``autograd.py``
for _function in (WithStatistics, StatisticsBackward):
    _function.forward.__signature__ = inspect.signature(_function.forward)
