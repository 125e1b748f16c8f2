r"""Statistics of the weights and logits, of rows and of columns; differentiable.

With W the weights, :math:`\pi = |W| / \sum_j |W_j|` (for softmax simply the weights) and s the visible logits of a row:

========================  ============================================================================================
log_sum_exp               log of the normaliser, :math:`\log \sum_j e^{s_j}` for softmax (``log Z`` in general)
entropy                   :math:`-\sum_j \pi_j \ln \pi_j`
max_weight                :math:`\max_j |W_j|`
participation_ratio       :math:`1 / \sum_j \pi_j^2`, the effective number of keys
row_sum                   :math:`\sum_j W_j`
logit_mean                plain mean of the visible logits
logit_variance            their variance (population)
weighted_logit_mean       :math:`\sum_j \pi_j s_j`
weighted_logit_variance   :math:`\sum_j \pi_j (s_j - \bar s_\pi)^2`, the slope of the mean in an inverse temperature
mass                      :math:`\sum_{j \in S} W_j` for ``Mass(keys=S)``; "mass" alone is S = {0}, the sink
column_sum                :math:`\sum_i W_{ij}` for every key j, over the queries i: what a key receives, (..., key)
========================  ============================================================================================

All but ``column_sum``, which has an entry per key, are (..., query). A row without a visible key, or without weight, has zero
statistics and adds nothing to a column. Its log_sum_exp is the log Z of an empty sum: minus
infinity for softmax, the sink's logit with a sink, 0 for sigmoid.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnlab.kernels.suggestions import did_you_mean

NAMES = (
    "log_sum_exp",
    "entropy",
    "max_weight",
    "participation_ratio",
    "row_sum",
    "logit_mean",
    "logit_variance",
    "weighted_logit_mean",
    "weighted_logit_variance",
    "mass",
)
#: What has an entry per key: (..., key).
OF_COLUMNS = ("column_sum",)
KNOWN = NAMES + OF_COLUMNS


@dataclass(frozen=True)
class Mass:
    """The statistic "mass": total weight on the chosen keys."""

    keys: tuple[int, ...] = (0,)

    def __post_init__(self):
        keys = self.keys.tolist() if isinstance(self.keys, Tensor) else self.keys
        keys = list(keys) if hasattr(keys, "__iter__") else []
        if not keys or any(not isinstance(key, int) or key < 0 for key in keys):
            raise ValueError(f"keys={self.keys!r} must be a non-empty tuple of key indices, such as Mass((0,))")
        object.__setattr__(self, "keys", tuple(sorted(set(keys))))  # a set: no key counts twice


def check_names(statistics: tuple, n_keys: int) -> tuple[tuple[str, ...], Mass]:
    """The names asked for, and the keys of the statistic "mass"; an unknown name is an error."""
    if isinstance(statistics, (str, Mass)):
        statistics = (statistics,)
    if not hasattr(statistics, "__iter__"):
        raise ValueError(f"statistics={statistics!r} must be a tuple of names, such as ('entropy',), or () for none")
    names, mass = [], None
    for item in statistics:
        if isinstance(item, Mass) or item == "mass":
            wanted = item if isinstance(item, Mass) else Mass()
            if mass is not None and mass != wanted:
                raise ValueError(
                    f"statistics ask for the mass on {mass.keys} and on {wanted.keys}; one call gives one of them"
                )
            mass, item = wanted, "mass"
        if item not in KNOWN:
            hint = did_you_mean(str(item), KNOWN)
            raise ValueError(f"statistics={item!r} is not a statistic{hint} Known: {', '.join(KNOWN)}")
        if item not in names:
            names.append(item)
    if mass is not None and n_keys and max(mass.keys) >= n_keys:
        raise ValueError(f"mass on keys {mass.keys} asked for, but there are only {n_keys} keys")
    return tuple(names), mass or Mass()


def row_statistics(
    names: tuple[str, ...], mass: Mass, w: Tensor, s: Tensor, visible: Tensor, log_z: Tensor
) -> dict[str, Tensor]:
    """The statistics (..., query) or (..., key) of weights and logits (..., query, key); plain tensor operations."""
    visible = visible & (s != -torch.inf)
    s = torch.where(visible, s, 0.0)
    size = w.abs()
    total = size.sum(-1, keepdim=True)
    weighted = total > 0
    pi = torch.where(weighted, size / torch.where(weighted, total, 1.0), 0.0)
    n = visible.sum(-1, keepdim=True).clamp(min=1).to(s.dtype)
    mean = s.sum(-1, keepdim=True) / n
    weighted_mean = (pi * s).sum(-1, keepdim=True)

    lost = (visible & s.isnan()).any(-1)  # a visible logit that is not a number: no statistic is one

    def one(name: str) -> Tensor:
        if name == "log_sum_exp":
            return torch.where(torch.zeros_like(lost), s.sum(-1), log_z)  # a gradient of 0 where Z is a constant
        if name == "entropy":
            positive = pi > 0
            return -torch.where(positive, pi * torch.where(positive, pi, 1.0).log(), 0.0).sum(-1)
        if name == "max_weight":
            return size.amax(-1) if s.shape[-1] else log_z * 0
        if name == "participation_ratio":
            square = (pi * pi).sum(-1)
            return torch.where(square > 0, 1.0 / torch.where(square > 0, square, 1.0), 0.0)
        if name == "row_sum":
            return w.sum(-1)
        if name == "mass":
            return w[..., list(mass.keys)].sum(-1)
        if name == "logit_mean":
            return mean.squeeze(-1)
        if name == "logit_variance":
            return (torch.where(visible, s - mean, 0.0) ** 2).sum(-1) / n.squeeze(-1)
        if name == "weighted_logit_mean":
            return weighted_mean.squeeze(-1)
        return (pi * (s - weighted_mean) ** 2).sum(-1)

    found = {name: torch.where(lost, torch.nan, one(name)) for name in names if name not in OF_COLUMNS}
    return {name: w.sum(-2) if name in OF_COLUMNS else found[name] for name in names}
