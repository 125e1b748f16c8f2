r"""The specification of attention, in plain tensor operations: what every fast path must reproduce.

.. math:: s = \text{scale}\; q k^\top + \text{bias}, \qquad W = \text{score map}(s), \qquad o = W v .

Run it in float64 to get the values that the error budget is measured against. All derivatives of any order, forward
mode and ``torch.func`` transforms come from autograd. It is also the path for score maps that have no compiled form.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attnlab.kernels.attention.scores.f_over_g import ScoreMap
from attnlab.kernels.attention.statistics import Mass, row_statistics

#: Above this size the logits are made in pieces: larger temporaries are mapped afresh at every call (page faults).
CHUNK_BYTES = 8 << 20


def attention_reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    visible: Tensor | None,
    scale: float,
    score: ScoreMap,
    names: tuple[str, ...] = (),
    mass: Mass | None = None,
):
    """Output (..., query, value) and the dictionary of the named statistics (..., query).

    q (..., query, d), k (..., key, d), v (..., key, d_v); leading axes broadcast. ``visible`` is boolean, True where a
    query sees a key.
    """
    s = scale * (q @ k.mT)
    if bias is not None:
        s = s + bias
    seen = torch.ones(s.shape[-2:], dtype=torch.bool, device=s.device) if visible is None else visible
    w, log_z = score.weights(s, seen)
    found = row_statistics(names, mass or Mass(), w, s, seen, log_z) if names else {}
    return w @ v, found


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
):
    """The same result; the first leading axis is cut so that the logits of a piece stay within ``CHUNK_BYTES``.

    Only for equal leading axes of q, k and v and score maps without tensors of their own (a piece must see its part).
    """
    lead = q.shape[0] if q.ndim > 2 else 1
    total = q.numel() // max(q.shape[-1], 1) * k.shape[-2] * q.element_size()
    pieces = min(lead, -(-total // CHUNK_BYTES))
    if pieces <= 1:
        return attention_reference(q, k, v, bias, visible, scale, score, names, mass)

    def part(x: Tensor | None, cut: slice) -> Tensor | None:
        return x[cut] if x is not None and x.ndim == q.ndim and x.shape[0] != 1 else x

    outputs, found = [], []
    step = -(-lead // pieces)
    for start in range(0, lead, step):
        cut = slice(start, start + step)
        own = part(bias, cut), part(visible, cut)
        o, stats = attention_reference(q[cut], k[cut], v[cut], *own, scale, score, names, mass)
        outputs.append(o)
        found.append(stats)
    return torch.cat(outputs), {name: torch.cat([stats[name] for stats in found]) for name in names}
