r"""The specification of attention, in plain tensor operations: what every fast path must reproduce.

.. math:: s = \text{scale}\; q k^\top + \text{bias}, \qquad W = \text{score map}(s), \qquad o = W v .

Run it in float64 to get the values that the error budget is measured against. All derivatives of any order, forward
mode and ``torch.func`` transforms come from autograd. It is also the path for score maps that have no compiled form, and
what stands in a graph that torch traces.

A number that is not finite counts where it is seen and nowhere else, and there as IEEE arithmetic has it: a key at infinity
makes the logit plus or minus infinity (or NaN), a value at infinity an output of its sign. As 0 times NaN is NaN, the products
run on finite copies, and what a query sees of the others is added to its logits and outputs.
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
        lost_v = None
        s = scale * (q @ k.mT)
    else:
        whole = scale * (q.detach() @ k.detach().mT)
        q, lost_q = finite(q)
        k, lost_k = finite(k)
        v, lost_v, infinite = finite_values(v)
        lost = lost_q.any(-1)[..., :, None] | lost_k.any(-1)[..., None, :]
        s = scale * (q @ k.mT) + torch.where(lost, whole, 0.0)
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
    return (o if lost_v is None else o + lost_values(w, seen, lost_v, infinite)), found


def finite(x: Tensor) -> tuple[Tensor, Tensor]:
    """The tensor with zero where it is not finite, and where that is."""
    lost = ~torch.isfinite(x)
    return torch.where(lost, 0.0, x), lost


def finite_values(v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As ``finite``, and the signs of the entries that are infinite, 0 elsewhere."""
    whole, lost = finite(v)
    return whole, lost, torch.where(v.isinf(), v, 0.0).sign().detach()


def lost_values(w: Tensor, seen: Tensor, lost: Tensor, infinite: Tensor) -> Tensor:
    """What a query sees of values that are not finite, 0 where it sees none.

    Infinities of one sign, times weights that are not 0, are that infinity; anything else is NaN. The gradient reaches the
    weights as that of such a value does.
    """
    sign = w.detach().sign()
    balance, there = sign @ infinite, sign.abs() @ infinite.abs()
    lost = lost.to(w.dtype)
    counted = seen.to(w.dtype) @ lost
    one_sign = (balance.abs() == there) & (there == counted)
    factor = torch.where(counted == 0, 0.0, torch.where(one_sign, balance.sign() * torch.inf, torch.nan)).to(w.dtype)
    size = torch.where(w.isinf(), 1.0, w.abs())  # infinity times 0 would be NaN
    return (size @ lost) * factor
