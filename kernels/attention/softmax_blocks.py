r"""Derivatives of plain softmax attention on the CPU, in blocks of the matrix of weights that stay in the cache.

The formulas of ``formulas`` with f = g = exp, where they become short. With P the weights, a the tangent of the logits,
dP = G v^T, b = G \dot v^T, delta = <G, o> and C = <G, \dot o> of each row,

.. math:: \dot P = P \circ (a - \textstyle\sum P a), \qquad \partial s = P \circ (dP - \delta), \qquad
          \frac{\partial \langle G, \dot o \rangle}{\partial s} = \dot P \circ (dP - \delta) + P \circ (b - C).

A block is some problems by some queries by the keys that these see. Its matrices lie in room that all blocks use again:
nothing of the size of all weights is made. What is not finite is left to ``formulas``: the answer is then None.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from attnlab.kernels import torch_internals
from attnlab.kernels.attention.masks import additive
from attnlab.kernels.attention.problem import Problem
from attnlab.kernels.attention.scores.f_over_g import Softmax

#: Bytes of one matrix of a block, of which five are in use at a time.
BLOCK_BYTES = 1 << 20
#: Fewest queries of a block: products of fewer rows are slow.
FEWEST_QUERIES = 64
#: Keys of a row below which torch's operations on rows cost more for each row than for its numbers.
SHORT = 64

#: Largest matrices that are kept between passes where q and v together have ``WIDE`` columns, or rows are short.
KEPT_BYTES, WIDE = 1 << 26, 64
#: Bytes of the weights times columns of q and v below which the one operation of torch's fused attention is faster.
SMALL = 1 << 23


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


def worth_keeping(q: Tensor, k: Tensor, v: Tensor) -> bool:
    """Whether what ``Call.prepared`` makes costs less once than in each pass."""
    size, width = q.shape[:-1].numel() * k.shape[-2] * q.element_size(), q.shape[-1] + v.shape[-1]
    if size * width < SMALL:
        return False
    return size <= (KEPT_BYTES if width >= WIDE or k.shape[-2] < SHORT else BLOCK_BYTES)


@dataclass(frozen=True)
class _Block:
    """Problems, queries and keys of a block; ``whole``: all there are."""

    cut: tuple[slice, slice, slice]
    shape: tuple[int, int, int]
    whole: bool

    def rows(self, x: Tensor) -> Tensor:
        """The part of a tensor (problem, query, ...)."""
        return x if self.whole else x[self.cut[:2]]

    def keys(self, x: Tensor) -> Tensor:
        """The part of a tensor (problem, key, ...)."""
        return x if self.whole else x[self.cut[0], self.cut[2]]

    def matrices(self, room: list[Tensor]) -> list[Tensor]:
        """Matrices of the block's shape."""
        size = math.prod(self.shape)
        return [x[:size].view(self.shape) for x in room]


class Call:
    """The tensors of a call with one axis of problems in front, and how their matrix of weights is cut.

    q (..., query, d), k (..., key, d), v (..., key, d_v), bias (..., query, key) or None, all with equal leading axes; ``g``: the
    cotangent of the output, None where only a tangent is wanted; ``o``, ``lse``: output and log-sum-exp, or None.
    """

    def __init__(
        self,
        problem: Problem,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None,
        g: Tensor | None,
        o: Tensor | None,
        lse: Tensor | None,
    ) -> None:
        self.problem, self.lead = problem, q.shape[:-2]
        self.n, self.n_q, self.n_k = self.lead.numel(), q.shape[-2], k.shape[-2]
        self.q, self.k, self.v, self.g, self.o = (_three(x, self.n) for x in (q, k, v, g, o))
        self.bias = _matrices(bias, self.n)
        self.lse = None if lse is None else lse.reshape(self.n, self.n_q, 1)
        rows, entries = problem.rows, max(1, BLOCK_BYTES // q.element_size())
        self.runs = not rows.full and rows.cols is None  # each query sees one run of keys
        self.n_queries = min(self.n_q, max(FEWEST_QUERIES, entries // self.n_k))
        if self.runs:
            self.n_queries = min(self.n_queries, max(FEWEST_QUERIES, -(-self.n_q // 8)))
        widest = max(self.n_queries, self.n_k) * max(q.shape[-1], v.shape[-1])
        self.n_problems = min(self.n, max(1, entries // max(self.n_queries * self.n_k, widest)))

    def prepared(self) -> tuple[Tensor, Tensor]:
        """P and dP - delta, with one axis of problems in front: what a backward pass and its derivative share."""
        shape, seen = (self.n, self.n_q, self.n_k), self.problem.rows.full
        weights, slopes = (self.q.new_empty(shape) if seen else self.q.new_zeros(shape) for _ in range(2))
        for block in self.blocks():
            w = self.weights(block, weights[block.cut])
            self.slopes(block, w, slopes[block.cut])
        return weights, slopes

    def backward(
        self, weights: Tensor | None, slopes: Tensor | None, want_bias: bool
    ) -> tuple[Tensor | None, ...] | None:
        """Gradients (dq, dk, dv, dbias or None) for the cotangent ``g`` of the output ``o``."""
        grads, room = _Gradients(self, want_bias), self.room(2)
        for block in self.blocks():
            one, other = block.matrices(room)
            w = self.weights(block, one) if weights is None else weights[block.cut]
            ds = torch.mul(w, self.slopes(block, w, other) if slopes is None else slopes[block.cut], out=other)
            grads.add(block, ((ds, block.rows(self.q), block.keys(self.k)),), w)
        return grads.answer()

    def second(
        self, tangents: tuple[Tensor | None, ...], weights: Tensor | None, slopes: Tensor | None, want_bias: bool
    ) -> tuple[Tensor | None, ...] | None:
        """As ``formulas.second``: (tangent,) or (tangent, dq, dk, dv, dbias or None)."""
        qt, kt, vt = (_three(x, self.n) for x in tangents[:3])
        bt = _matrices(tangents[3], self.n)
        tangent = self.new(self.n_q, self.v.shape[-1])
        grads = None if self.g is None else _Gradients(self, want_bias)
        room, scale = self.room(5), self.problem.scale
        for block in self.blocks():
            w, s, wt, dp, ds = block.matrices(room)
            q, k, vt_ = block.rows(self.q), block.keys(self.k), block.keys(vt)
            qt_, kt_ = block.rows(qt), block.keys(kt)
            w = self.weights(block, w) if weights is None else weights[block.cut]
            s.baddbmm_(qt_, k.mT, beta=0, alpha=scale).baddbmm_(q, kt_.mT, alpha=scale)
            if bt is not None:
                s += _part(bt, *block.cut)
            _softmax_backward(s, w, wt)
            t = block.rows(tangent)
            _add_product(t, wt, block.keys(self.v), fresh=True)
            _add_product(t, w, vt_)
            if grads is None:
                continue
            dp = self.slopes(block, w, dp) if slopes is None else slopes[block.cut]
            torch.mul(w, dp, out=ds)
            _less_its_mean(block.rows(self.g), vt_, t, s)
            ds2 = s.mul_(w).addcmul_(wt, dp)
            grads.add(block, ((ds2, q, k), (ds, qt_, kt_)), wt)
        if grads is None:
            return (self.shaped(tangent),) if torch_internals.all_finite(tangent) else None
        found = grads.answer()
        return None if found is None else (self.shaped(tangent), *found)

    def blocks(self) -> Iterator[_Block]:
        rows, whole = self.problem.rows, self.n_queries == self.n_q and self.n_problems == self.n and not self.runs
        for start in range(0, self.n_q, self.n_queries):
            i = slice(start, min(start + self.n_queries, self.n_q))
            j = slice(int(rows.first[i].min()), int(rows.last[i].max())) if self.runs else slice(0, self.n_k)
            for first in range(0, self.n, self.n_problems):
                p = slice(first, min(first + self.n_problems, self.n))
                yield _Block((p, i, j), tuple(x.stop - x.start for x in (p, i, j)), whole)

    def new(self, rows: int, width: int, zeros: bool = False) -> Tensor:
        """A result (problem, rows, width), which lies with its rows side by side where that makes the products faster."""
        turned = 2 * width <= min(self.n_q, self.n_k)
        shape = (self.n, width, rows) if turned else (self.n, rows, width)
        found = (self.q.new_zeros if zeros else self.q.new_empty)(shape)
        return found.mT if turned else found

    def shaped(self, x: Tensor) -> Tensor:
        """A result with the leading axes of the call."""
        return x.contiguous().view(*self.lead, *x.shape[1:])

    def room(self, n: int) -> list[Tensor]:
        """Memory for ``n`` matrices of the largest block."""
        return [self.q.new_empty(self.n_problems * self.n_queries * self.n_k) for _ in range(n)]

    def weights(self, block: _Block, out: Tensor) -> Tensor:
        """P, from the log-sum-exp where it is known."""
        out.baddbmm_(block.rows(self.q), block.keys(self.k).mT, beta=0, alpha=self.problem.scale)
        if self.bias is not None:
            out += _part(self.bias, *block.cut)
        if not self.problem.rows.full:
            visible = self.problem.rows.visible[block.cut[1:]]
            out += additive(visible, out)
        if self.lse is None:
            return out.copy_(torch.softmax(out, -1))
        out -= block.rows(self.lse)
        return out.exp_()

    def slopes(self, block: _Block, w: Tensor, out: Tensor) -> Tensor:
        """dP - delta."""
        v = block.keys(self.v)
        return _less_its_mean(block.rows(self.g), v, w @ v if self.o is None else block.rows(self.o), out)


class _Gradients:
    """dq, dk, dv, and dbias if wanted, gathered from the blocks."""

    def __init__(self, call: Call, want_bias: bool):
        self.call = call
        self.all_queries = call.n_queries == call.n_q and not call.runs  # then each block writes its own part
        self.dq = call.new(call.n_q, call.q.shape[-1])
        self.dk, self.dv = (call.new(call.n_k, x.shape[-1], not self.all_queries) for x in (call.k, call.v))
        self.dbias = call.q.new_zeros(call.n, call.n_q, call.n_k) if want_bias else None

    def add(self, block: _Block, terms: Iterable[tuple[Tensor, Tensor, Tensor]], w: Tensor) -> None:
        """dq += scale x k and dk += scale x^T q of every (x, q, k), dv += w^T g."""
        scale, dq, dk = self.call.problem.scale, block.rows(self.dq), block.keys(self.dk)
        for i, (x, q, k) in enumerate(terms):
            _add_product(dq, x, k, i == 0, scale)
            _sum_over_rows(dk, x, q, self.all_queries and i == 0, scale)
            if i == 0 and self.dbias is not None:
                self.dbias[block.cut] = x
        _sum_over_rows(block.keys(self.dv), w, block.rows(self.call.g), self.all_queries)

    def answer(self) -> tuple[Tensor | None, ...] | None:
        """All of them, or None where a number is not finite: every such number is seen in a row of dq."""
        if not torch_internals.all_finite(self.dq):
            return None
        call, dbias = self.call, self.dbias
        return *map(call.shaped, (self.dq, self.dk, self.dv)), None if dbias is None else dbias.view(
            *call.lead, call.n_q, call.n_k
        )


def _less_its_mean(g: Tensor, v: Tensor, o: Tensor, out: Tensor) -> Tensor:
    """g v^T - <g, o>."""
    out.baddbmm_(g, v.mT, beta=0)
    out -= (g * o).sum(-1, keepdim=True)
    return out


def _add_product(out: Tensor, x: Tensor, y: Tensor, fresh: bool = False, scale: float = 1.0) -> None:
    """scale x y, to ``out`` or added to it; as y^T x^T where ``out`` lies that way."""
    beta = 0 if fresh else 1
    if out.stride(-1) == 1:
        out.baddbmm_(x, y, beta=beta, alpha=scale)
    else:
        out.mT.baddbmm_(y.mT, x.mT, beta=beta, alpha=scale)


def _sum_over_rows(out: Tensor, x: Tensor, y: Tensor, fresh: bool, scale: float = 1.0) -> None:
    """scale x^T y, to ``out`` or added to it."""
    if x.shape[-2] > 1:
        _add_product(out, x.mT, y, fresh, scale)
    elif fresh:
        torch.mul(x.mT, y if scale == 1.0 else y * scale, out=out)
    else:
        out.addcmul_(x.mT, y, value=scale)


def _softmax_backward(s: Tensor, w: Tensor, out: Tensor) -> None:
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
