"""Attention in as few tensor operations as torch needs: the path of the reference where nothing is out of the ordinary.

For softmax, sigmoid, ReLU and linear weights, what a program in plain torch would write: one product, one function, one
product, in place where autograd allows, cut into pieces that stay in the cache. Rows without a key and numbers that
are not finite are left to ``reference``; ``attention_direct`` looks at what came out, and at what might still do harm in a
backward pass, before it answers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from attnlab.kernels import torch_internals
from attnlab.kernels.attention.reference import attention_reference
from attnlab.kernels.attention.scores.f_over_g import Linear, ReLU, ScoreMap, Sigmoid, Softmax
from attnlab.kernels.attention.statistics import Mass

#: Above this size the logits are made in pieces: larger temporaries are mapped afresh at every call (page faults).
CHUNK_BYTES = 8 << 20
#: Statistics that a softmax row has in a few more operations.
QUICK = frozenset(("log_sum_exp", "entropy", "max_weight", "participation_ratio", "row_sum", "mass", "column_sum"))


def attention_direct(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    visible: Tensor | None,
    scale: float,
    score: ScoreMap,
    names: tuple[str, ...] = (),
    mass: Mass | None = None,
) -> tuple[Tensor, dict[str, Tensor]] | None:
    """As ``attention_reference``, or None where that is not to be had in few operations."""
    if not _covers(score, names) or torch_internals.tracing():
        return None
    hides = visible is not None or bias is not None
    if visible is not None and not torch_internals.all_true(visible.any(-1)):
        return None
    if bias is not None and type(score) in (Linear, ReLU) and not torch_internals.all_finite(bias):
        return None
    o, found = _run(q, k, v, bias, visible, scale, score, names, mass)
    if hides and not torch_internals.all_finite(o, *found.values()):
        return None
    # a hidden key that is not finite leaves the output alone, but 0 times it would be NaN in the gradient of q
    wanted = torch_internals.transforms_active() or (torch.is_grad_enabled() and (q.requires_grad or k.requires_grad))
    if hides and wanted and not torch_internals.all_finite(k):
        return None
    return o, found


def _covers(score: ScoreMap, names: tuple[str, ...]) -> bool:
    kind = type(score)
    return (kind is Softmax and score.sink is None and QUICK.issuperset(names)) or (
        kind in (Sigmoid, ReLU, Linear) and not names
    )


def _run(q, k, v, bias, visible, scale, score, names, mass):
    s = (q if scale == 1.0 else q * scale) @ k.mT
    own = not torch_internals.transforms_active()  # nobody else sees s: change it where it lies
    if bias is not None:
        s = s.add_(bias) if own and _fits(bias, s) else s + bias
    kind = type(score)
    hidden = None if visible is None else ~visible
    if kind is Softmax:
        if hidden is not None:
            s = s.masked_fill_(hidden, -torch.inf) if own and _fits(hidden, s) else s.masked_fill(hidden, -torch.inf)
        if not names:
            return torch.softmax(s, -1) @ v, {}
        log_w = torch.log_softmax(s, -1)
        w = log_w.exp()
        if hidden is not None:
            log_w = log_w.masked_fill(hidden, 0.0)
        return w @ v, {name: _statistic(name, w, log_w, s, mass) for name in names}
    if kind is Sigmoid:
        if hidden is not None:  # before the map: what is hidden may be NaN, and so would be its slope
            s = s.masked_fill_(hidden, -torch.inf) if own and _fits(hidden, s) else s.masked_fill(hidden, -torch.inf)
        w = _sigmoid(s, own, score)
    elif kind is ReLU:
        w = s.relu_() if own else s.relu()
    else:
        w = s
    if hidden is not None and kind is not Sigmoid:
        w = w.masked_fill(hidden, 0.0)
    o = w @ v
    if kind is not Sigmoid and score.divide == "count":
        o = o / (k.shape[-2] if visible is None else visible.sum(-1, keepdim=True).to(o.dtype))
    return o, {}


class _Sigmoid(torch.autograd.Function):
    """The sigmoid, with a slope that keeps its digits where 1 - p rounds to 0: p (1 - p) from the smaller of the two.

    Not by |s|, whose slope at 0 is 0: derivatives of all orders come from this one.
    """

    @staticmethod
    def forward(ctx, s):
        ctx.save_for_backward(s)
        ctx.save_for_forward(s)
        return s.sigmoid()

    @staticmethod
    def backward(ctx, g):
        (s,) = ctx.saved_tensors
        return torch.ops.aten.sigmoid_backward(g, torch.where(s >= 0, -s, s).sigmoid_())

    jvp = backward


def _sigmoid(s: Tensor, own: bool, score: ScoreMap) -> Tensor:
    if torch_internals.transforms_active():
        return score.f(s, s[..., :1])
    if (s.requires_grad and torch.is_grad_enabled()) or torch_internals.forward_mode_active():
        return _Sigmoid.apply(s)
    return s.sigmoid_() if own else s.sigmoid()


def _fits(x: Tensor, s: Tensor) -> bool:
    """Whether ``x`` broadcasts to ``s`` without making it larger."""
    return x.ndim <= s.ndim and all(a in (1, b) for a, b in zip(x.shape[::-1], s.shape[::-1], strict=False))


def _statistic(name: str, w: Tensor, log_w: Tensor, s: Tensor, mass: Mass | None) -> Tensor:
    if name == "entropy":
        return -(w * log_w).sum(-1)
    if name == "log_sum_exp":
        return torch.logsumexp(s, -1)
    if name == "max_weight":
        return w.amax(-1)
    if name == "participation_ratio":
        return 1.0 / (w * w).sum(-1)
    if name in ("row_sum", "column_sum"):
        return w.sum(-1 if name == "row_sum" else -2)
    return w[..., list((mass or Mass()).keys)].sum(-1)


def attention_in_chunks(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    visible: Tensor | None,
    scale: float,
    score: ScoreMap,
    names: tuple[str, ...] = (),
    mass: Mass | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The same result; the first leading axis is cut so that the logits of a piece stay within ``CHUNK_BYTES``.

    Only for equal leading axes of q, k and v and score maps without tensors of their own (a piece must see its part).
    """
    lead = q.shape[0] if q.ndim > 2 else 1
    total = q.numel() // max(q.shape[-1], 1) * k.shape[-2] * q.element_size()
    pieces = min(lead, -(-total // CHUNK_BYTES))
    if pieces <= 1:
        return direct_or_reference(q, k, v, bias, visible, scale, score, names, mass)

    def part(x: Tensor | None, cut: slice) -> Tensor | None:
        return x[cut] if x is not None and x.ndim == q.ndim and x.shape[0] != 1 else x

    outputs, found = [], []
    step = -(-lead // pieces)
    for start in range(0, lead, step):
        cut = slice(start, start + step)
        own = part(bias, cut), part(visible, cut)
        o, stats = direct_or_reference(q[cut], k[cut], v[cut], *own, scale, score, names, mass)
        outputs.append(o)
        found.append(stats)
    return torch.cat(outputs), {name: torch.cat([stats[name] for stats in found]) for name in names}


def direct_or_reference(*arguments: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """The few operations where they are right, the specification elsewhere."""
    return attention_direct(*arguments) or attention_reference(*arguments)
