"""Derivatives of the compiled and fused paths: reverse, forward, twice, and under ``torch.func`` transforms.

``Forward`` maps (q, k, v, bias) to the output; its backward is ``Backward``, its forward mode ``Tangent``; the
derivative of ``Backward`` is ``Second``. With Phi = <G, tangent of the output>, Second gives all first derivatives of
Phi, which by the symmetry of second derivatives serves double backward, forward-over-reverse and reverse-over-forward
alike. Derivatives of ``Second`` (third order) go through the differentiable ``formulas``.

The leading axes of all tensors are equal here, so ``vmap`` only adds one in front.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from attnlab.kernels import torch_internals
from attnlab.kernels.attention import cpu, formulas, gpu, sdpa, softmax_blocks
from attnlab.kernels.attention.function_pieces import mapped_in_front, pulled_back, pushed_forward, zeros_where_none
from attnlab.kernels.attention.problem import Problem

#: Paths without second derivatives of their own; their forward pass keeps the output and a record of each row.
FUSED = {"sdpa": sdpa, "gpu": gpu}
#: Keys, values and their tangents of a group of problems past so many bytes slow the compiled second derivative down.
PACKED_BYTES = 8 << 20


def wanted(*tensors: Tensor | None) -> bool:
    """Whether anything may ask for a derivative of what is computed now."""
    if torch_internals.transforms_active() or torch_internals.forward_mode_active():
        return True
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)


def apply(function: type[Function], path: str, problem: Problem, *tensors: Tensor | None) -> Any:
    """``function.apply``, by the short way outside ``torch.func`` transforms."""
    if torch_internals.transforms_active():
        return function.apply(path, problem, *tensors)
    return torch_internals.apply_directly(function, path, problem, *tensors)


class Forward(Function):
    """(path, problem, q, k, v, bias) -> output; with it, on fused paths, the record of each row that their backward needs."""

    @staticmethod
    def forward(
        path: str, problem: Problem, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None
    ) -> Tensor | tuple[Tensor, Tensor]:
        if path in FUSED:
            return FUSED[path].forward(problem, q, k, v, *(() if bias is None else (bias,)))
        return cpu.forward(problem, q, k, v, bias)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.path, ctx.problem, *tensors = inputs
        if ctx.path in FUSED:
            ctx.mark_non_differentiable(output[1])
            ctx.save_for_backward(*tensors, *output)
        else:
            ctx.save_for_backward(*tensors, None, None)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, g: Tensor, *_: Any) -> tuple[Any, ...]:
        q, k, v, bias, o, lse = ctx.saved_tensors
        want = bias is not None and ctx.needs_input_grad[5]
        path, weights = getattr(ctx, "kept", (ctx.path, None))
        if not (
            torch.is_grad_enabled() or torch_internals.transforms_active() or torch_internals.forward_mode_active()
        ):
            return (
                None,
                None,
                *Backward.forward(path, ctx.problem, want, q, k, v, bias, g, o, lse, weights, None),
                *(None,) * (not want),
            )
        grads = backward_with_a_graph(ctx, want, q, k, v, bias, g, o, lse)
        return None, None, *grads, *(None,) * (not want)

    @staticmethod
    def jvp(ctx: Any, _path: None, _problem: None, *tangents: Tensor | None) -> Any:
        q, k, v, bias = ctx.saved_tensors
        qt, kt, vt, bt = zeros_where_none(tangents, (q, k, v, bias))
        tangent = Tangent.apply(ctx.path, ctx.problem, q, k, v, bias, qt, kt, vt, bt)
        return (tangent, None) if ctx.path in FUSED else tangent

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, Any]:
        return Forward.apply(*mapped_in_front(info, in_dims, args)), (0, 0) if args[0] in FUSED else 0


def backward_with_a_graph(
    ctx: Any,
    want: bool,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    g: Tensor,
    o: Tensor | None,
    lse: Tensor | None,
) -> tuple[Tensor, ...]:
    """The backward pass of ``Forward`` where it may be differentiated in turn.

    ``ctx`` has the path and the problem, and receives as ``kept`` what later passes may use.
    """
    # detached: a graph through o would run this backward again, on zeros, in every second derivative
    o = o if o is None else o.detach()
    path, *known = _prepared(ctx, q, k, v, bias, g, o, lse)
    ctx.kept = path, known[0]
    return apply(Backward, path, ctx.problem, want, q, k, v, bias, g, o, lse, *known)


def _prepared(ctx, q, k, v, bias, g, o, lse):
    """The path of a backward pass that will be differentiated, and what it keeps for the passes to come."""
    path, problem = ctx.path, ctx.problem
    if (
        path != "sdpa"
        or torch_internals.transforms_active()
        or torch_internals.forward_mode_active()
        or torch_internals.is_batched_gradient(g)
        or not softmax_blocks.supports(problem, q)
    ):
        return path, None, None
    if _compiled_is_faster(problem, q, k, v):
        return "c", None, None
    if not softmax_blocks.worth_keeping(q, k, v):
        return path, None, None
    with torch.no_grad():
        return path, *softmax_blocks.Call(problem, q, k, v, bias, g, o, lse).prepared()


class Backward(Function):
    """(path, problem, want_bias, q, k, v, bias, g, o, lse, weights, slopes) -> dq, dk, dv, and dbias if wanted.

    o and lse are by-products of the forward pass that fused paths reuse (None on the compiled path), the last two are what
    ``softmax_blocks.Call.prepared`` made, or None; as functions of q, k, v and g they carry no derivative of their own.
    """

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
        o: Tensor | None,
        lse: Tensor | None,
        weights: Tensor | None,
        slopes: Tensor | None,
    ) -> tuple[Tensor, ...]:
        if torch_internals.is_batched_gradient(g):
            grads = formulas.backward(problem, q, k, v, bias, g)
            return grads if want_bias else grads[:3]
        if weights is not None:
            grads = softmax_blocks.Call(problem, q, k, v, bias, g, o, lse).backward(weights, slopes, want_bias)
            if grads is not None:
                return grads if want_bias else grads[:3]
        if path in FUSED:
            return FUSED[path].backward(problem, q, k, v, o, lse, g, *(() if bias is None else (bias, want_bias)))
        grads = cpu.backward(problem, q, k, v, bias, g, want_bias)
        return grads if want_bias else grads[:3]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.path, ctx.problem, ctx.want_bias, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Any, ...]:
        q, k, v, bias, g, *by_products = ctx.saved_tensors
        cotangents = zeros_where_none((*cotangents, None)[:4], (q, k, v, bias))
        dg, *rest = apply(Second, ctx.path, ctx.problem, ctx.want_bias, q, k, v, bias, *cotangents, g, *by_products)
        dbias = rest[3] if ctx.want_bias else None
        return None, None, None, *rest[:3], dbias, dg, *(None,) * 4

    @staticmethod
    def jvp(
        ctx: Any,
        _path: None,
        _problem: None,
        _want: None,
        qt: Tensor | None,
        kt: Tensor | None,
        vt: Tensor | None,
        bt: Tensor | None,
        gt: Tensor | None,
        *_: None,
    ) -> Any:
        q, k, v, bias, g, *by_products = ctx.saved_tensors
        tangents = zeros_where_none((qt, kt, vt, bt), (q, k, v, bias))
        _, *change = Second.apply(ctx.path, ctx.problem, ctx.want_bias, q, k, v, bias, *tangents, g, *by_products)
        if gt is None:
            return tuple(change)
        # the slopes are of g, not of its tangent
        direct = Backward.apply(ctx.path, ctx.problem, ctx.want_bias, q, k, v, bias, gt, *by_products[:3], None)
        return tuple(a + b for a, b in zip(change, direct, strict=True))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, Any]:
        out = Backward.apply(*mapped_in_front(info, in_dims, args))
        return out, (0,) * len(out)


class Tangent(Function):
    """(path, problem, q, k, v, bias, and their tangents) -> tangent of the output."""

    @staticmethod
    def forward(
        path: str,
        problem: Problem,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None,
        qt: Tensor | None,
        kt: Tensor | None,
        vt: Tensor | None,
        bt: Tensor | None,
    ) -> Tensor:
        return _second(path, problem, False, q, k, v, bias, (qt, kt, vt, bt), None)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.path, ctx.problem, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        q, k, v, bias, qt, kt, vt, bt = ctx.saved_tensors
        want = bias is not None and (ctx.needs_input_grad[5] or ctx.needs_input_grad[9])
        _, *primal = Second.apply(ctx.path, ctx.problem, want, q, k, v, bias, qt, kt, vt, bt, g, *(None,) * 4)
        path = "formulas" if ctx.path in FUSED else ctx.path
        linear = _backward_of(path, ctx.problem, want, q, k, v, bias, g)
        return None, None, *primal[:3], (primal[3] if want else None), *linear[:3], (linear[3] if want else None)

    @staticmethod
    def jvp(ctx: Any, _path: None, _problem: None, *tangents: Tensor | None) -> Any:
        primals = ctx.saved_tensors
        live = [i for i, x in enumerate(primals) if x is not None]
        filled = zeros_where_none(tangents, primals)

        def tangent(*xs):
            full = dict(zip(live, xs, strict=True))
            q, k, v, bias, *ts = (full.get(i) for i in range(8))
            return formulas.second(ctx.problem, q, k, v, bias, tuple(ts), None)[0]

        return pushed_forward(tangent, tuple(primals[i] for i in live), tuple(filled[i] for i in live))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, Any]:
        return Tangent.apply(*mapped_in_front(info, in_dims, args)), 0


def _backward_of(path, problem, want, q, k, v, bias, g):
    """First backward without by-products of a forward pass."""
    if path == "formulas":
        grads = formulas.backward(problem, q, k, v, bias, g)
        return grads if want else grads[:3]
    return Backward.apply(path, problem, want, q, k, v, bias, g, *(None,) * 4)


def _compiled_is_faster(problem: Problem, q: Tensor, k: Tensor, v: Tensor) -> bool:
    """Whether compiled backward passes and second derivatives beat ``softmax_blocks``, by costs fitted to 823 sizes.

    The kernel computes a group of problems at a time and only pairs that are visible, the blocks all pairs; wide heads cost
    the kernel more than products of matrices, and packed keys and values that leave the cache too much.
    """
    n, n_q, n_k, width = q.shape[:-2].numel(), q.shape[-2], k.shape[-2], (q.shape[-1] + v.shape[-1]) / 2
    groups = -(-n * q.element_size() // 64)
    kernel = groups * problem.rows.n_pairs * (width + 4) * (1 + width / 64)
    blocks = 30_000 + n * n_q * n_k * (3 + 0.25 * width) * q.element_size() / 8
    widths = q.shape[-1], v.shape[-1]
    return (
        kernel < blocks
        and 256 * n_k * width < PACKED_BYTES
        and cpu.supports(problem.score, q.dtype, *widths)
        and all(cpu.library(cpu.map_of(problem.score)[0], q.dtype, *widths, order) is not None for order in (1, 2))
    )


def _second(path, problem, want, q, k, v, bias, tangents, g, by_products=(None,) * 4):
    """As ``formulas.second``, by the fastest way for the setting."""
    batched = any(x is not None and torch_internals.is_batched_gradient(x) for x in (*tangents, g))
    found = None
    if not batched and path not in FUSED:
        return cpu.second(problem, q, k, v, bias, tangents, g, want)
    if not batched and path == "sdpa" and softmax_blocks.supports(problem, q):
        if _compiled_is_faster(problem, q, k, v):
            return cpu.second(problem, q, k, v, bias, tangents, g, want)
        found = softmax_blocks.Call(problem, q, k, v, bias, g, *by_products[:2]).second(
            tangents, *by_products[2:], want
        )
    return formulas.second(problem, q, k, v, bias, tangents, g) if found is None else found


class Second(Function):
    """(path, problem, want_bias, q, k, v, bias, their tangents, g, o, lse, weights, slopes) -> tangent, dq, dk, dv, dbias.

    The last only if it is wanted; the last four arguments are those of ``Backward``.
    """

    @staticmethod
    def forward(
        path: str,
        problem: Problem,
        want_bias: bool,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None,
        qt: Tensor | None,
        kt: Tensor | None,
        vt: Tensor | None,
        bt: Tensor | None,
        g: Tensor,
        o: Tensor | None,
        lse: Tensor | None,
        weights: Tensor | None,
        slopes: Tensor | None,
    ) -> tuple[Tensor, ...]:
        out = _second(path, problem, want_bias, q, k, v, bias, (qt, kt, vt, bt), g, (o, lse, weights, slopes))
        return out if want_bias else out[:4]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        _, ctx.problem, ctx.want_bias, *tensors = inputs
        tensors = tensors[:9]
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def _again(ctx):
        """The same map as a differentiable function of the tensors that are there."""
        tensors = ctx.saved_tensors
        live = [i for i, x in enumerate(tensors) if x is not None]

        def function(*xs):
            full = dict(zip(live, xs, strict=True))
            q, k, v, bias, qt, kt, vt, bt, g = (full.get(i) for i in range(9))
            out = formulas.second(ctx.problem, q, k, v, bias, (qt, kt, vt, bt), g)
            return out if ctx.want_bias else out[:4]

        return function, live, tensors

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Any, ...]:
        function, live, tensors = Second._again(ctx)
        pulled = pulled_back(function, [tensors[i] for i in live], tuple(cotangents))
        grads = dict(zip(live, pulled, strict=True))
        return None, None, None, *(grads.get(i) for i in range(9)), *(None,) * 4

    @staticmethod
    def jvp(ctx: Any, _path: None, _problem: None, _want: None, *tangents: Tensor | None) -> Any:
        function, live, tensors = Second._again(ctx)
        filled = zeros_where_none(tangents[:9], tensors)
        return pushed_forward(function, tuple(tensors[i] for i in live), tuple(filled[i] for i in live))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, Any]:
        out = Second.apply(*mapped_in_front(info, in_dims, args))
        return out, (0,) * len(out)


# torch binds the arguments of every call to the signature of forward, which it works out anew unless it is stored
for _function in (Forward, Backward, Tangent, Second):
    _function.forward.__signature__ = inspect.signature(_function.forward)
