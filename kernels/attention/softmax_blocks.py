r"""Derivatives of plain softmax attention on the CPU, in blocks of the matrix of weights that stay in the cache.

The formulas of ``formulas`` with f = g = exp, where they become short. With P the weights, a the tangent of the logits,
dP = G v^T, b = G \dot v^T, delta = <G, o> and C = <G, \dot o> of each row,

.. math:: \dot P = P \circ (a - \textstyle\sum P a), \qquad \partial s = P \circ (dP - \delta), \qquad
          \frac{\partial \langle G, \dot o \rangle}{\partial s} = \dot P \circ (dP - \delta) + P \circ (b - C).

A block is some problems by some queries by the keys that these see. Its matrices lie in room that all blocks use again:
nothing of the size of all weights is made. What is not finite is left to ``formulas``: the answer is then None.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from attnlab.kernels import torch_internals
from attnlab.kernels.attention.problem import Problem
from attnlab.kernels.attention.scores.f_over_g import Softmax

#: Bytes of one matrix of a block, of which five are in use at a time.
BLOCK_BYTES = 1 << 18
#: Fewest queries of a block: products of fewer rows are slow.
FEWEST_QUERIES = 64
#: Keys of a row below which torch's operations on rows cost more for each row than for its numbers.
SHORT = 64


def supports(problem: Problem, q: Tensor) -> bool:
    """Whether the formulas hold for this call."""
    score = problem.score
    return (
        type(score) is Softmax
        and score.sink is None
        and problem.rows is not None
        and q.device.type == "cpu"
        and q.dtype in (torch.float32, torch.float64)
        and q.numel() > 0
    )


def backward(
    problem: Problem,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    g: Tensor,
    o: Tensor | None,
    lse: Tensor | None,
    want_bias: bool,
) -> tuple[Tensor, ...] | None:
    """Gradients (dq, dk, dv, dbias or None) for the cotangent ``g`` of the output ``o``."""
    found = _run(problem, q, k, v, bias, None, g, o, lse, want_bias)
    return None if found is None else found[1:]


def second(
    problem: Problem,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    tangents: tuple[Tensor | None, ...],
    g: Tensor | None,
    o: Tensor | None,
    lse: Tensor | None,
    want_bias: bool,
) -> tuple[Tensor | None, ...] | None:
    """As ``formulas.second``: (tangent,) or (tangent, dq, dk, dv, dbias or None)."""
    found = _run(problem, q, k, v, bias, tangents, g, o, lse, want_bias)
    return found if found is None or g is not None else found[:1]


@dataclass
class _Blocks:
    """How the matrix of weights of all problems is cut."""

    problem: Problem
    n: int
    n_q: int
    n_k: int
    dtype: torch.dtype

    def __post_init__(self):
        rows = self.problem.rows
        self.cut = not rows.full and rows.cols is None  # each query sees one run of keys
        entries = max(1, BLOCK_BYTES // self.dtype.itemsize)
        self.queries = min(self.n_q, max(FEWEST_QUERIES, entries // self.n_k))
        if self.cut and self.n_q > FEWEST_QUERIES:
            self.queries = min(self.queries, max(FEWEST_QUERIES, -(-self.n_q // 8)))
        self.problems = min(self.n, max(1, entries // (self.queries * self.n_k)))

    def __iter__(self) -> Iterator[tuple[slice, slice, slice]]:
        """Problems, queries and keys of each block."""
        rows = self.problem.rows
        for start in range(0, self.n_q, self.queries):
            queries = slice(start, min(start + self.queries, self.n_q))
            low, high = 0, self.n_k
            if self.cut:
                first, last = rows.first[queries], rows.last[queries]
                low, high = int(first.min()), int(last.max())
            for first in range(0, self.n, self.problems):
                yield slice(first, min(first + self.problems, self.n)), queries, slice(low, high)


def _run(problem, q, k, v, bias, tangents, g, o, lse, want_bias):
    shapes = q.shape, k.shape, v.shape
    lead = q.shape[:-2]
    n, n_q, n_k, scale = lead.numel(), q.shape[-2], k.shape[-2], problem.scale
    q, k, v, g, o = (_three(x, n) for x in (q, k, v, g, o))
    blocks = _Blocks(problem, n, n_q, n_k, q.dtype)
    whole = blocks.queries == n_q  # every block has all queries: what is summed over them is written once
    bias = _matrices(bias, n)
    lse = None if lse is None else lse.reshape(n, n_q, 1)
    second = tangents is not None
    if second:
        qt, kt, vt = (_three(x, n) for x in tangents[:3])
        bt = _matrices(tangents[3], n)
        tangent = q.new_empty(n, n_q, v.shape[-1])
    if g is not None:
        dq, fresh = q.new_empty(shapes[0]).view(q.shape), torch.empty if whole else torch.zeros
        dk, dv = (fresh(x.shape, dtype=q.dtype) for x in (k, v))
        dbias = q.new_zeros(n, n_q, n_k) if want_bias else None
        delta = None if o is None else (g * o).sum(-1, keepdim=True)
    room = [q.new_empty(blocks.problems * blocks.queries * n_k) for _ in range(5 if second else 3)]
    old = 0 if whole else 1
    for p, i, j in blocks:
        size = p.stop - p.start, i.stop - i.start, j.stop - j.start
        s, w, dp, wt, ds = (x[: size[0] * size[1] * size[2]].view(size) for x in (*room, *room)[:5])
        s.baddbmm_(q[p, i], k[p, j].mT, beta=0, alpha=scale)
        if bias is not None:
            s += _part(bias, p, i, j)
        if not problem.rows.full:
            s += _additive(problem, i, j, s.dtype)
        if lse is None:
            torch.softmax(s, -1, out=w)
        else:
            s -= lse[p, i]
            torch.exp(s, out=w)
        if second:
            s.baddbmm_(qt[p, i], k[p, j].mT, beta=0, alpha=scale).baddbmm_(q[p, i], kt[p, j].mT, alpha=scale)
            if bt is not None:
                s += _part(bt, p, i, j)
            _slope(s, w, wt)
            t = tangent[p, i].baddbmm_(wt, v[p, j], beta=0).baddbmm_(w, vt[p, j])
        if g is None:
            continue
        g_own = g[p, i]
        dp.baddbmm_(g_own, v[p, j].mT, beta=0)
        dp -= (g_own * torch.bmm(w, v[p, j])).sum(-1, keepdim=True) if delta is None else delta[p, i]
        if not second:
            dp *= w
            dq[p, i].baddbmm_(dp, k[p, j], beta=0, alpha=scale)
            dk[p, j].baddbmm_(dp.mT, q[p, i], beta=old, alpha=scale)
            dv[p, j].baddbmm_(w.mT, g_own, beta=old)
        else:
            torch.mul(w, dp, out=ds)
            dp *= wt
            s.baddbmm_(g_own, vt[p, j].mT, beta=0)
            s -= (g_own * t).sum(-1, keepdim=True)
            dp.addcmul_(w, s)
            dq[p, i].baddbmm_(dp, k[p, j], beta=0, alpha=scale).baddbmm_(ds, kt[p, j], alpha=scale)
            dk[p, j].baddbmm_(dp.mT, q[p, i], beta=old, alpha=scale).baddbmm_(ds.mT, qt[p, i], alpha=scale)
            dv[p, j].baddbmm_(wt.mT, g_own, beta=old)
        if want_bias:
            dbias[p, i, j] = dp
    if not torch_internals.all_finite(tangent if g is None else dq):
        return None  # every number that is not finite is seen in a row of these
    out = (tangent.view(*lead, n_q, v.shape[-1]) if second else None,)
    if g is None:
        return out
    dbias = dbias.view(*lead, n_q, n_k) if want_bias else None
    return *out, *(x.view(shape) for x, shape in zip((dq, dk, dv), shapes, strict=True)), dbias


def _slope(s: Tensor, w: Tensor, out: Tensor) -> None:
    """w (s - sum w s) of each row."""
    if s.shape[-1] >= SHORT:
        torch_internals.softmax_backward(s, w, out=out)
    else:
        torch.mul(w, s, out=out)
        out.addcmul_(w, out.sum(-1, keepdim=True), value=-1)


def _three(x: Tensor | None, n: int) -> Tensor | None:
    """One axis of problems in front."""
    return None if x is None else x.reshape(n, *x.shape[-2:])


def _matrices(x: Tensor | None, n: int) -> Tensor | None:
    """As ``_three``; what all problems share is not copied for each."""
    if x is None:
        return None
    shared = all(stride == 0 or size == 1 for size, stride in zip(x.shape[:-2], x.stride()[:-2], strict=True))
    return x[(0,) * (x.ndim - 2)][None] if shared else _three(x, n)


def _part(x: Tensor, p: slice, i: slice, j: slice) -> Tensor:
    return x[p if x.shape[0] > 1 else slice(None), i, j]


def _additive(problem: Problem, i: slice, j: slice, dtype: torch.dtype) -> Tensor:
    """0 where a query sees a key, minus infinity elsewhere."""
    visible = problem.rows.visible[i, j]
    return torch.zeros(visible.shape, dtype=dtype).masked_fill_(~visible, -torch.inf)
