"""Torch's fused CPU attention (flash, tiled over keys) as a path: fast for long contexts and wide heads.

Its operators have no second derivative and no forward mode; ``autograd`` supplies both from ``formulas``. They take
four axes, equal query and value widths, and boolean masks as an additive term without gradient; everything else goes to
another path.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attnlab.kernels.attention import torch_internals
from attnlab.kernels.attention.problem import Problem
from attnlab.kernels.attention.scores.f_over_g import ScoreMap, Softmax


def supports(score: ScoreMap, dtype: torch.dtype, head_dim: int, value_dim: int) -> bool:
    """Whether the operators cover this score map, dtype and widths."""
    plain = type(score) is Softmax and score.sink is None
    return plain and torch_internals.has_flash() and dtype in (torch.float32, torch.float64) and head_dim == value_dim


def _four(x: Tensor) -> Tensor:
    """Four axes and a unit stride along the width: the operator reads neighbours in memory whatever the stride says."""
    x = x if x.stride(-1) == 1 else x.contiguous()
    return x.reshape(-1, 1, *x.shape[-2:])


def _mask(problem: Problem, like: Tensor) -> Tensor | None:
    rows = problem.rows
    if rows.full or rows.causal:
        return None
    return torch.zeros(rows.visible.shape, dtype=like.dtype).masked_fill(~rows.visible, -torch.inf)


def forward(problem: Problem, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Output and log-sum-exp (which the backward needs)."""
    operator = torch_internals.flash_operators()[0]
    if _plain(q, k, v):
        return operator(q, k, v, 0.0, problem.rows.causal, attn_mask=_mask(problem, q), scale=problem.scale)
    o, lse = operator(
        _four(q), _four(k), _four(v), 0.0, problem.rows.causal, attn_mask=_mask(problem, q), scale=problem.scale
    )
    return _shaped(o, (*q.shape[:-1], v.shape[-1])), _shaped(lse, q.shape[:-1])


def backward(problem: Problem, q: Tensor, k: Tensor, v: Tensor, o: Tensor, lse: Tensor, g: Tensor):
    """Gradients (dq, dk, dv)."""
    operator = torch_internals.flash_operators()[1]
    if _plain(q, k, v, g, o):
        return operator(g, q, k, v, o, lse, 0.0, problem.rows.causal, attn_mask=_mask(problem, q), scale=problem.scale)
    grads = operator(
        _four(g),
        _four(q),
        _four(k),
        _four(v),
        _four(o),
        lse.reshape(-1, 1, lse.shape[-1]),
        0.0,
        problem.rows.causal,
        attn_mask=_mask(problem, q),
        scale=problem.scale,
    )
    return tuple(_shaped(grad, x.shape) for grad, x in zip(grads, (q, k, v), strict=True))


def _plain(*tensors: Tensor) -> bool:
    """Whether the operators can take and give the tensors as they are: four axes, unit stride, no forward mode around."""
    return (
        not torch_internals.forward_mode_active()
        and all(x.ndim == 4 and x.stride(-1) == 1 for x in tensors)
        and not torch_internals.transforms_active()
    )


def _shaped(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``x`` in another shape; not by reshape, whose views would carry the wrong layout into forward-mode tangents."""
    return torch_internals.flash_operators()[2](x.contiguous(), shape)
