r"""The specification of attention, in plain tensor operations: what every fast path must reproduce.

.. math:: s = \text{scale}\; q k^\top + \text{bias}, \qquad W = \text{score map}(s), \qquad o = W v .

Run it in float64 to get the values that the error budget is measured against. All derivatives of any order, forward
mode and ``torch.func`` transforms come from autograd. It is also the path for score maps that have no compiled form, and
what stands in a graph that torch traces.

A number that is not finite counts where it is seen and nowhere else. As 0 times NaN is NaN, the products run on finite
copies, and what a query sees of the others is added to its logits and outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attnlab.kernels import torch_internals
from attnlab.kernels.attention.scores.f_over_g import ScoreMap
from attnlab.kernels.attention.statistics import Mass, row_statistics


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
    careful: bool = True,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Output (..., query, value) and the dictionary of the named statistics (..., query).

    q (..., query, d), k (..., key, d), v (..., key, d_v); leading axes broadcast. ``visible`` is boolean, True where a
    query sees a key. Not ``careful``: for finite numbers only.
    """
    careless = not careful or (bias is None and visible is None)
    if careless or torch_internals.all_finite(q, k, v):
        lost_q = lost_k = lost_v = None
    else:
        q, lost_q = finite(q)
        k, lost_k = finite(k)
        v, lost_v = finite(v)
    s = scale * (q @ k.mT)
    if lost_q is not None:
        lost = lost_q.any(-1)[..., :, None] | lost_k.any(-1)[..., None, :]
        s = s + torch.where(lost, torch.nan, 0.0).to(s.dtype)
    seen = torch.ones(s.shape[-2:], dtype=torch.bool, device=s.device) if visible is None else visible
    if bias is not None:
        s = s + bias
        seen = seen & (bias != -torch.inf)
    seen = seen & (s != -torch.inf)
    w, log_z = score.weights(s, seen)
    if careful:
        lost = (seen & s.isnan()).any(-1, keepdim=True)
        w = torch.where(seen, w * torch.where(lost, torch.nan, 1.0).to(w.dtype), 0.0)
        log_z = torch.where(lost.squeeze(-1), torch.nan, log_z)
    found = row_statistics(names, mass or Mass(), w, s, seen, log_z) if names else {}
    o = w @ v
    return (o if lost_v is None else o + lost_values(w, seen, lost_v)), found


def finite(x: Tensor) -> tuple[Tensor, Tensor]:
    """The tensor with zero where it is not finite, and where that is."""
    lost = ~torch.isfinite(x)
    return torch.where(lost, 0.0, x), lost


def lost_values(w: Tensor, seen: Tensor, lost: Tensor) -> Tensor:
    """NaN where a query sees a value that is not finite, 0 elsewhere; its gradient reaches the weights as such a value's does."""
    lost = lost.to(w.dtype)
    counted = torch.where((seen.to(w.dtype) @ lost) > 0, torch.nan, 0.0).to(w.dtype)
    return (w @ lost) * counted
