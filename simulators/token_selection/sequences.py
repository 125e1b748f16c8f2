"""Attention over drawn sequences, token by token: gradients by automatic differentiation, and what long sequences attend to.

Tian, Wang, Chen and Du 2023 (arXiv 2305.16380), section 2. Here a sequence is a list of tokens and attention one of positions, so
that nothing of the reduction to counts is assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class SequenceSetting:
    """Random frequencies on ``n_tokens`` types, random logits of standard deviation ``logit_std``, sequences of ``lengths``.

    ``lengths`` count contextual tokens. ``n_ids``: output ids. ``n_sequences``: sequences drawn per replica and length.
    """

    n_tokens: int = 12
    n_ids: int = 20
    lengths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    logit_std: float = 1.0
    n_sequences: int = 400
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 2, "n_tokens", "n_ids")
        require_at_least(self, 0, "logit_std")
        require_positive(self, "lengths", "n_sequences", "n_replicas")


def attended(tokens: Tensor, z: Tensor) -> Tensor:
    """X^T b ``(..., token)``: softmax attention with logits z over positions, summed by type. ``tokens (..., position)``."""
    X = torch.nn.functional.one_hot(tokens, z.shape[-1]).to(z)  # (..., position, token)
    b = torch.softmax(X @ z, dim=-1)
    return (b[..., None] * X).sum(-2)


@simulation(name="token_selection_sequences.sequence_gradients", block=8)
def sequence_gradients(
    setting: SequenceSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """Downhill gradients of the cross-entropy of one sequence (the first of ``lengths``), at random Y and z.

    Returns ``counts``, ``z``, ``z_velocity (replica, token)``; ``Y``, ``Y_velocity (replica, token, id)``; ``target (replica,)``,
    the next token; ``residual (replica, id)``, e_n - alpha.
    """
    found = []
    for stream in generators(seeds, "data"):
        p, z, Y = _random_model(setting, stream)
        tokens = torch.multinomial(p, setting.lengths[0], replacement=True, generator=stream)
        target = int(torch.randint(setting.n_ids, (), generator=stream))
        leaves = z.clone().requires_grad_(), Y.clone().requires_grad_()
        with torch.enable_grad():
            mixed = attended(tokens, leaves[0])
            outputs = (mixed / torch.linalg.vector_norm(mixed)) @ leaves[1]
            loss = torch.logsumexp(outputs, 0) - outputs[target]
            dz, dY = torch.autograd.grad(loss, leaves)
        residual = -torch.softmax(outputs.detach(), 0)
        residual[target] += 1
        counts = torch.bincount(tokens, minlength=setting.n_tokens).double()
        found.append(
            {
                "counts": counts,
                "z": z,
                "z_velocity": -dz,
                "Y": Y,
                "Y_velocity": -dY,
                "target": torch.tensor(target),
                "residual": residual,
            }
        )
    return {name: torch.stack([each[name] for each in found]).numpy() for name in found[0]}


@simulation(name="token_selection_sequences.sampled_attention", block=8)
def sampled_attention(
    setting: SequenceSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """Attention by type on drawn sequences of each length.

    Returns ``frequencies``, ``z (replica, token)``; ``mean_attention (replica, length, token)``; ``second_moment``, the mean
    square of the same shape; ``worst_gap (replica, length, sequence)``: the largest |count / length - P| over types, and
    ``first_gap``, that of the first type alone.
    """
    found = []
    for stream in generators(seeds, "data"):
        p, z, _ = _random_model(setting, stream)
        rows: dict[str, list[Tensor]] = {"mean_attention": [], "second_moment": [], "worst_gap": [], "first_gap": []}
        for length in setting.lengths:
            drawn = torch.rand(setting.n_sequences, length, generator=stream, dtype=torch.float64)
            tokens = torch.bucketize(drawn, p.cumsum(0)[:-1], right=True)
            b = torch.softmax(z[tokens], dim=-1)  # attention over positions
            c = torch.zeros(setting.n_sequences, setting.n_tokens, dtype=torch.float64).scatter_add_(1, tokens, b)
            share = torch.zeros_like(c).scatter_add_(1, tokens, torch.ones_like(b)) / length
            gaps = (share - p).abs()
            rows["mean_attention"].append(c.mean(0))
            rows["second_moment"].append((c**2).mean(0))
            rows["worst_gap"].append(gaps.max(1).values)
            rows["first_gap"].append(gaps[:, 0])
        found.append({"frequencies": p, "z": z} | {name: torch.stack(values) for name, values in rows.items()})
    return {name: torch.stack([each[name] for each in found]).numpy() for name in found[0]}


def _random_model(setting: SequenceSetting, stream: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Frequencies (uniform weights on (0.1, 1)), attention logits and a standard normal decoder."""
    weights = 0.1 + 0.9 * torch.rand(setting.n_tokens, generator=stream, dtype=torch.float64)
    z = setting.logit_std * torch.randn(setting.n_tokens, generator=stream, dtype=torch.float64)
    Y = torch.randn(setting.n_tokens, setting.n_ids, generator=stream, dtype=torch.float64)
    return weights / weights.sum(), z, Y
