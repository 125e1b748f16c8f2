"""Attention over random keys: queries and keys are drawn so that their logits are Gaussian, and rows are measured."""

from dataclasses import dataclass

import numpy as np
import torch

from attnlab.kernels.attention import attention
from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class Setting:
    """``n_queries`` rows per replica, each over its own ``n_keys`` keys, with logits of standard deviation ``logit_std``."""

    n_keys: int = 256
    logit_std: float = 0.8
    n_queries: int = 4000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_keys", "logit_std", "n_queries", "n_replicas")


@simulation(name="gaussian_logits.rows", block=8, devices=("cpu", "cuda"))
def rows(setting: Setting, seeds, device):
    """n sum_j p_j^2, averaged over the rows of a replica, from the statistics that the attention kernel returns."""
    measured = []
    for seed in seeds:
        keys = np.random.default_rng(seed).normal(size=(setting.n_queries, setting.n_keys, 1))
        k = torch.as_tensor(keys, device=device)
        q = torch.full((setting.n_queries, 1, 1), setting.logit_std, dtype=k.dtype, device=device)
        _, statistics = attention(q, k, k, scale=1.0, statistics=("participation_ratio",))
        measured.append(float((setting.n_keys / statistics["participation_ratio"]).mean()))
    return {"inverse_participation": np.array(measured)}
