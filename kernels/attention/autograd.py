"""Derivatives of the compiled and fused paths: reverse, forward, twice, and under ``torch.func`` transforms.

``Forward`` maps (q, k, v, bias) to the output; its backward is ``Backward``, its forward mode ``Tangent``; the
derivative of ``Backward`` is ``Second``. With Phi = <G, tangent of the output>, Second gives all first derivatives of
Phi, which by the symmetry of second derivatives serves double backward, forward-over-reverse and reverse-over-forward
alike. Derivatives of ``Second`` (third order) go through the differentiable ``formulas``.

The leading axes of all tensors are equal here, so ``vmap`` only adds one in front.
"""

from __future__ import annotations

import inspect

import torch
from torch import Tensor
from torch.autograd import Function

from attnlab.kernels.attention import cpu, formulas, gpu, sdpa, torch_internals
from attnlab.kernels.attention.problem import Problem, on_device
from attnlab.kernels.attention.reference import attention_reference
from attnlab.kernels.attention.statistics import Mass

#: Paths without second derivatives of their own; their forward pass keeps the output and a record of each row.
FUSED = {"sdpa": sdpa, "gpu": gpu}


def _front(info, in_dims, args):
    """Arguments with the mapped axis in front, and expanded where an argument is not mapped."""
    out = []
    for dim, x in zip(in_dims, args, strict=True):
        if not isinstance(x, Tensor):
            out.append(x)
        elif dim is None:
            out.append(x.expand(info.batch_size, *x.shape))
        else:
            out.append(x.movedim(dim, 0))
    return out


def _fill(tangents, primals):
    """Zero tangents where autograd gave none."""
    pairs = zip(tangents, primals, strict=True)
    return [None if x is None else torch.zeros_like(x) if t is None else t for t, x in pairs]


def _push(function, primals, tangents):
    """Forward-mode derivative by two reverse passes: torch does not nest its own forward mode here."""
    out, pull = torch.func.vjp(function, *primals)
    many = isinstance(out, tuple)
    zero = tuple(map(torch.zeros_like, out)) if many else (torch.zeros_like(out),)
    _, push = torch.func.vjp(lambda *u: pull(u if many else u[0]), *zero)
    found = push(tuple(tangents))
    return found if many else found[0]


def wanted(*tensors: Tensor | None) -> bool:
    """Whether anything may ask for a derivative of what is computed now."""
    if torch_internals.transforms_active() or torch_internals.forward_mode_active():
        return True
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)


def apply(function, path: str, problem: Problem, *tensors: Tensor | None):
    """``function.apply``, by the short way outside ``torch.func`` transforms."""
    if torch_internals.transforms_active():
        return function.apply(path, problem, *tensors)
    return torch_internals.apply_directly(function, path, problem, *tensors)


class Forward(Function):
    """(path, problem, q, k, v, bias) -> output; with it, on fused paths, the record of each row that their backward needs."""

    @staticmethod
    def forward(path: str, problem: Problem, q, k, v, bias):
        if path in FUSED:
            return FUSED[path].forward(problem, q, k, v, *(() if bias is None else (bias,)))
        return cpu.forward(problem, q, k, v, bias)[0]

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.path, ctx.problem, *tensors = inputs
        if ctx.path in FUSED:
            ctx.mark_non_differentiable(output[1])
            ctx.save_for_backward(*tensors, *output)
        else:
            ctx.save_for_backward(*tensors, None, None)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx, g, *_):
        q, k, v, bias, o, lse = ctx.saved_tensors
        want = bias is not None and ctx.needs_input_grad[5]
        if not (
            torch.is_grad_enabled() or torch_internals.transforms_active() or torch_internals.forward_mode_active()
        ):
            return (
                None,
                None,
                *Backward.forward(ctx.path, ctx.problem, want, q, k, v, bias, g, o, lse),
                *(None,) * (not want),
            )
        # detached: a graph through o would run this backward again, on zeros, in every second derivative
        o = o if o is None else o.detach()
        grads = Backward.apply(ctx.path, ctx.problem, want, q, k, v, bias, g, o, lse)
        return None, None, *grads, *(None,) * (not want)

    @staticmethod
    def jvp(ctx, _path, _problem, *tangents):
        q, k, v, bias = ctx.saved_tensors
        qt, kt, vt, bt = _fill(tangents, (q, k, v, bias))
        tangent = Tangent.apply(ctx.path, ctx.problem, q, k, v, bias, qt, kt, vt, bt)
        return (tangent, None) if ctx.path in FUSED else tangent

    @staticmethod
    def vmap(info, in_dims, *args):
        return Forward.apply(*_front(info, in_dims, args)), (0, 0) if args[0] in FUSED else 0


class Backward(Function):
    """(path, problem, want_bias, q, k, v, bias, g, o, lse) -> dq, dk, dv, and dbias if wanted.

    o and lse are by-products of the forward pass that fused paths reuse (None on the compiled path); as functions of q
    and k they carry no derivative of their own.
    """

    @staticmethod
    def forward(path, problem, want_bias, q, k, v, bias, g, o, lse):
        if torch_internals.is_batched_gradient(g):
            grads = formulas.backward(problem, q, k, v, bias, g)
            return grads if want_bias else grads[:3]
        if path in FUSED:
            return FUSED[path].backward(problem, q, k, v, o, lse, g, *(() if bias is None else (bias, want_bias)))
        grads = cpu.backward(problem, q, k, v, bias, g, want_bias)
        return grads if want_bias else grads[:3]

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.path, ctx.problem, ctx.want_bias, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx, *cotangents):
        q, k, v, bias, g, _, _ = ctx.saved_tensors
        cotangents = _fill((*cotangents, None)[:4], (q, k, v, bias))
        dg, *rest = Second.apply(ctx.path, ctx.problem, ctx.want_bias, q, k, v, bias, *cotangents, g)
        dbias = rest[3] if ctx.want_bias else None
        return None, None, None, *rest[:3], dbias, dg, None, None

    @staticmethod
    def jvp(ctx, _path, _problem, _want, qt, kt, vt, bt, gt, _o, _lse):
        q, k, v, bias, g, o, lse = ctx.saved_tensors
        tangents = _fill((qt, kt, vt, bt), (q, k, v, bias))
        _, *change = Second.apply(ctx.path, ctx.problem, ctx.want_bias, q, k, v, bias, *tangents, g)
        if gt is None:
            return tuple(change)
        direct = Backward.apply(ctx.path, ctx.problem, ctx.want_bias, q, k, v, bias, gt, o, lse)
        return tuple(a + b for a, b in zip(change, direct, strict=True))

    @staticmethod
    def vmap(info, in_dims, *args):
        out = Backward.apply(*_front(info, in_dims, args))
        return out, (0,) * len(out)


class Tangent(Function):
    """(path, problem, q, k, v, bias, and their tangents) -> tangent of the output."""

    @staticmethod
    def forward(path, problem, q, k, v, bias, qt, kt, vt, bt):
        batched = any(x is not None and torch_internals.is_batched_gradient(x) for x in (qt, kt, vt, bt))
        engine = formulas.second if path in FUSED or batched else cpu.second
        return engine(problem, q, k, v, bias, (qt, kt, vt, bt), None)[0]

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.path, ctx.problem, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx, g):
        q, k, v, bias, qt, kt, vt, bt = ctx.saved_tensors
        want = bias is not None and (ctx.needs_input_grad[5] or ctx.needs_input_grad[9])
        _, *primal = Second.apply(ctx.path, ctx.problem, want, q, k, v, bias, qt, kt, vt, bt, g)
        path = "formulas" if ctx.path in FUSED else ctx.path
        linear = _backward_of(path, ctx.problem, want, q, k, v, bias, g)
        return None, None, *primal[:3], (primal[3] if want else None), *linear[:3], (linear[3] if want else None)

    @staticmethod
    def jvp(ctx, _path, _problem, *tangents):
        primals = ctx.saved_tensors
        live = [i for i, x in enumerate(primals) if x is not None]
        filled = _fill(tangents, primals)

        def tangent(*xs):
            full = dict(zip(live, xs, strict=True))
            q, k, v, bias, *ts = (full.get(i) for i in range(8))
            return formulas.second(ctx.problem, q, k, v, bias, tuple(ts), None)[0]

        return _push(tangent, tuple(primals[i] for i in live), tuple(filled[i] for i in live))

    @staticmethod
    def vmap(info, in_dims, *args):
        return Tangent.apply(*_front(info, in_dims, args)), 0


def _backward_of(path, problem, want, q, k, v, bias, g):
    """First backward without by-products of a forward pass."""
    if path == "formulas":
        grads = formulas.backward(problem, q, k, v, bias, g)
        return grads if want else grads[:3]
    return Backward.apply(path, problem, want, q, k, v, bias, g, None, None)


class Second(Function):
    """(path, problem, want_bias, q, k, v, bias, their tangents, g) -> tangent, dq, dk, dv, and dbias if wanted."""

    @staticmethod
    def forward(path, problem, want_bias, q, k, v, bias, qt, kt, vt, bt, g):
        batched = any(x is not None and torch_internals.is_batched_gradient(x) for x in (qt, kt, vt, bt, g))
        if path in FUSED or batched:
            out = formulas.second(problem, q, k, v, bias, (qt, kt, vt, bt), g)
        else:
            out = cpu.second(problem, q, k, v, bias, (qt, kt, vt, bt), g, want_bias)
        return out if want_bias else out[:4]

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, ctx.problem, ctx.want_bias, *tensors = inputs
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
    def backward(ctx, *cotangents):
        function, live, tensors = Second._again(ctx)
        _, pull = torch.func.vjp(function, *(tensors[i] for i in live))
        grads = dict(zip(live, pull(tuple(cotangents)), strict=True))
        return None, None, None, *(grads.get(i) for i in range(9))

    @staticmethod
    def jvp(ctx, _path, _problem, _want, *tangents):
        function, live, tensors = Second._again(ctx)
        filled = _fill(tangents, tensors)
        return _push(function, tuple(tensors[i] for i in live), tuple(filled[i] for i in live))

    @staticmethod
    def vmap(info, in_dims, *args):
        out = Second.apply(*_front(info, in_dims, args))
        return out, (0,) * len(out)


class WithStatistics(Function):
    """(path, problem, q, k, v, bias) -> output and raw statistics (..., query, 10); with them, on the Triton path, its rows."""

    @staticmethod
    def forward(path, problem, q, k, v, bias):
        if path == "gpu":
            return gpu.forward_with_statistics(problem, q, k, v, bias)
        return cpu.forward(problem, q, k, v, bias, with_stats=True)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.path, ctx.problem, *tensors = inputs
        if ctx.path == "gpu":
            ctx.mark_non_differentiable(output[2])
            ctx.save_for_backward(*tensors, *output)
        else:
            ctx.save_for_backward(*tensors, None, None, None)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx, g, dstats, *_):
        *tensors, o, raw, rows = ctx.saved_tensors
        want = tensors[3] is not None and ctx.needs_input_grad[5]
        kept = (x if x is None else x.detach() for x in (o, raw, rows))  # by-products carry no derivative of their own
        grads = StatisticsBackward.apply(ctx.path, ctx.problem, want, *tensors, g, dstats, *kept)
        return (None, None, *grads) if want else (None, None, *grads, None)

    @staticmethod
    def jvp(ctx, _path, _problem, *tangents):
        function, primals, live = _raw(ctx.problem, ctx.saved_tensors[:4])
        filled = _fill(tangents, ctx.saved_tensors[:4])
        found = _push(function, primals, tuple(filled[i] for i in live))
        return (*found, None) if ctx.path == "gpu" else found

    @staticmethod
    def vmap(info, in_dims, *args):
        return WithStatistics.apply(*_front(info, in_dims, args)), (0, 0, 0) if args[0] == "gpu" else (0, 0)


class StatisticsBackward(Function):
    """(path, problem, want_bias, q, k, v, bias, g, dstats, o, raw, rows) -> dq, dk, dv, and dbias if wanted."""

    @staticmethod
    def forward(path, problem, want_bias, q, k, v, bias, g, dstats, o, raw, rows):
        if torch_internals.is_batched_gradient(g) or torch_internals.is_batched_gradient(dstats):
            function, primals, _ = _raw(problem, (q, k, v, bias))
            with torch.enable_grad():
                leaves = [x.detach().requires_grad_() for x in primals]
                grads = torch.autograd.grad(function(*leaves), leaves, (g, dstats))
            return grads if want_bias else grads[:3]
        if path == "gpu":
            return gpu.backward(problem, q, k, v, o, rows, g, bias, want_bias, (raw, dstats))
        grads = cpu.backward(problem, q, k, v, bias, g, want_bias, dstats)
        return grads if want_bias else grads[:3]

    @staticmethod
    def setup_context(ctx, inputs, output):
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
    def backward(ctx, *cotangents):
        gradient, primals, live = StatisticsBackward._again(ctx)
        dg, ddstats, *rest = torch.func.vjp(gradient, *primals)[1](tuple(cotangents))
        grads = dict(zip(live, rest, strict=True))
        return None, None, None, *(grads.get(i) for i in range(4)), dg, ddstats, None, None, None

    @staticmethod
    def jvp(ctx, _path, _problem, _want, *tangents):
        gradient, primals, live = StatisticsBackward._again(ctx)
        filled = _fill(tangents[:6], ctx.saved_tensors)
        order = (filled[4], filled[5], *(filled[i] for i in live))
        return _push(gradient, primals, order)

    @staticmethod
    def vmap(info, in_dims, *args):
        out = StatisticsBackward.apply(*_front(info, in_dims, args))
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


# torch binds the arguments of every call to the signature of forward, which it works out anew unless it is stored
for _function in (Forward, Backward, Tangent, Second, WithStatistics, StatisticsBackward):
    _function.forward.__signature__ = inspect.signature(_function.forward)
