r"""Derivatives of "f over g" attention written out: backward, forward mode, and the derivative of the backward.

They need the row's logits once, and no graph. The compiled path implements the same lines; here they are plain tensor
operations, so that autograd can go on to third order. With u = 1/Z, dP = G v^T, F = sum f dP and delta = u F:

.. math:: \partial s = u (f' dP - g' \delta), \qquad \dot p = u (f' a - p A), \quad A = \sum_j g'_j a_j,

where a is the tangent of the logits. For :math:`\Phi = \langle G, \dot o\rangle` with B = sum f b, b = G \dot v^T and
X = sum f' a dP,

.. math:: \frac{\partial \Phi}{\partial s} = u\bigl[f'' a\, dP + f'(b - u A\, dP) - \delta g'' a
          + g' u (2 u F A - X - B)\bigr],

and the derivative of Phi in G is the forward-mode derivative of the output.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from attnlab.kernels import torch_internals
from attnlab.kernels.attention.problem import Problem, on_device
from attnlab.kernels.attention.scores.f_over_g import FOverG


def _precise(function):
    """The function with autocast off, and short types in float32, as the kernels have them."""

    @functools.wraps(function)
    def run(problem: Problem, q: Tensor, *arguments):
        with torch_internals.full_precision(q.device.type):
            if q.dtype not in (torch.bfloat16, torch.float16):
                return function(problem, q, *arguments)
            found = function(problem, *(_in(torch.float32, x) for x in (q, *arguments)))
            return tuple(x.to(q.dtype) for x in found)

    return run


def _in(dtype: torch.dtype, x):
    """A tensor, or a tuple of them, in another type; anything else as it is."""
    if isinstance(x, tuple):
        return tuple(_in(dtype, y) for y in x)
    return x.to(dtype) if isinstance(x, Tensor) else x


class _Row:
    """f, g, their derivatives and 1/Z of every row."""

    def __init__(self, problem: Problem, q: Tensor, k: Tensor, bias: Tensor | None):
        score = problem.score
        if not isinstance(score, FOverG):
            raise TypeError(f"score={score!r} is not of the family f over g; use path='reference'")
        s = problem.scale * (q @ k.mT)
        seen = on_device(problem.rows, s.device)
        if bias is not None:
            s, shown = s + bias, bias != -torch.inf
            seen = shown if seen is None else seen & shown
        self.hides = seen is not None
        visible = s != -torch.inf
        visible = visible if seen is None else visible & seen
        s = torch.where(visible, s, 0.0)
        m = score.level(s.detach(), visible).detach()
        self.f, self.g, self.f1, self.f2, self.g1, self.g2 = (
            torch.where(visible, x, 0.0) for x in (score.f(s, m), score.g(s, m), *score.derivatives(s, m))
        )
        z = score.constant(m, visible.sum(-1, keepdim=True).to(s.dtype)) + self.g.sum(-1, keepdim=True)
        self.u = torch.where(z == 0, 0.0, 1.0 / torch.where(z == 0, 1.0, z))
        self.visible = visible

    def seen(self, x: Tensor) -> Tensor:
        """A quantity of each pair, zero where the pair is hidden: zero times NaN would not be."""
        return torch.where(self.visible, x, 0.0) if self.hides else x

    def times(self, x: Tensor, y: Tensor, transposed: bool = False) -> Tensor:
        """x y, or x^T y, for x that is zero at hidden pairs; there what is not finite in y does not count."""
        x = x.mT if transposed else x
        if not self.hides or torch_internals.all_finite(y):
            return x @ y
        seen = (self.visible.mT if transposed else self.visible).to(y.dtype)
        lost = ~torch.isfinite(y)
        return x @ torch.where(lost, 0.0, y) + torch.where(seen @ lost.to(y.dtype) > 0, torch.nan, 0.0).to(y.dtype)


@_precise
def backward(
    problem: Problem, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, g: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients (dq, dk, dv, dbias) for the output's cotangent ``g``; dbias has the shape of the logits."""
    row = _Row(problem, q, k, bias)
    p, dp = row.f * row.u, row.seen(g @ v.mT)
    delta = (p * dp).sum(-1, keepdim=True)
    ds = row.seen(row.u * (row.f1 * dp - row.g1 * delta))
    scale = problem.scale
    return scale * row.times(ds, k), scale * row.times(ds, q, True), row.times(row.seen(p), g, True), ds


@_precise
def second(
    problem: Problem, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, tangents: tuple, g: Tensor | None
) -> tuple[Tensor, ...]:
    """Tangent of the output for ``tangents`` of (q, k, v, bias); with ``g`` also the gradients of <g, tangent>.

    Returns (tangent,) or (tangent, dq, dk, dv, dbias).
    """
    qt, kt, vt, bt = tangents
    row = _Row(problem, q, k, bias)
    scale, u = problem.scale, row.u
    a = scale * (qt @ k.mT + q @ kt.mT)
    if bt is not None:
        a = a + bt
    a = torch.where(row.visible, a, 0.0)
    p, A = row.f * u, (row.g1 * a).sum(-1, keepdim=True)
    p, pt = row.seen(p), row.seen(u * (row.f1 * a - p * A))
    tangent = row.times(pt, v) + row.times(p, vt)
    if g is None:
        return (tangent,)
    dp, b = row.seen(g @ v.mT), row.seen(g @ vt.mT)
    delta = (p * dp).sum(-1, keepdim=True)
    X, B = ((x * y).sum(-1, keepdim=True) for x, y in ((row.f1 * a, dp), (row.f, b)))
    ds = row.seen(u * (row.f1 * dp - row.g1 * delta))
    ds2 = row.seen(
        u * (row.f2 * a * dp + row.f1 * (b - u * A * dp) - delta * row.g2 * a + row.g1 * u * (2 * delta * A - X - B))
    )
    dq = scale * (row.times(ds2, k) + row.times(ds, kt))
    dk = scale * (row.times(ds2, q, True) + row.times(ds, qt, True))
    return tangent, dq, dk, row.times(pt, g, True), ds2
