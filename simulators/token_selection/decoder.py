r"""The linear decoder trained on frozen, overlapping inputs, one input a class.

Tian, Wang, Chen and Du 2023 (arXiv 2305.16380), section 4: unit inputs f_n with one common direction,
f_n = sqrt(1 - rho_n) e_n + sqrt(rho_n) e_0, so that f_n^T f_{n'} = sqrt(rho_n rho_{n'}).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnlab.simulators.ensemble.monitor import current
from attnlab.simulators.ensemble.plan import log_spaced_steps
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class DecoderSetting:
    """``overlap``: rho_n lies within ``spread`` (relative) of it, uniformly. ``gradient``: ``"plain"`` descent, the mean over
    classes per step; ``"sampled"``: one class per step, drawn at random; ``"decorrelated"``: F (F^T F)^{-1} in place of F."""

    n_classes: int = 10
    vocabulary: int = 1000
    overlap: float = 0.01
    spread: float = 0.5
    gradient: str = "plain"
    rate: float = 0.5
    n_steps: int = 1000
    n_records: int = 40
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_classes", "rate", "n_steps", "n_records", "n_replicas")
        require_at_least(self, 0, "overlap", "spread")
        require_one_of(self, "gradient", ("plain", "sampled", "decorrelated"))
        if self.overlap * (1 + self.spread) >= 1:
            raise ValueError(
                f"overlap={self.overlap!r} with spread={self.spread!r} reaches 1; use overlap * (1 + spread) < 1"
            )
        if self.vocabulary <= self.n_classes:
            raise ValueError(f"vocabulary={self.vocabulary!r} must exceed n_classes={self.n_classes!r}")


@simulation(name="token_selection_decoder.train_decoder", block=8)
def train_decoder(
    setting: DecoderSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """Gradient descent on Y from zero, in float64.

    Returns ``gram (replica, class, class)`` and, along ``steps (replica, record)``: ``residual (replica, record, class)``, 1 -
    alpha_n at the next token, and ``coefficients (replica, record, n, n')`` of f_{n'} in g_n = Y (e_n - alpha_n).
    """
    R, K, M = len(seeds), setting.n_classes, setting.vocabulary
    streams = [np.random.default_rng(seed) for seed in seeds]
    rho = setting.overlap * (1 + setting.spread * np.stack([stream.uniform(-1, 1, K) for stream in streams]))
    F = np.concatenate(
        [np.sqrt(rho)[:, None], np.sqrt(1 - rho)[:, None] * np.eye(K)], axis=1
    )  # (replica, token, class)
    gram = F.swapaxes(1, 2) @ F
    inward = F if setting.gradient != "decorrelated" else F @ np.linalg.inv(gram)
    back = np.linalg.inv(gram) @ F.swapaxes(1, 2)  # coefficients of a vector in the span of F
    steps = log_spaced_steps(setting.n_steps, setting.n_records)
    Y, target = np.zeros((R, K + 1, M)), np.eye(K, M)
    rows: dict[str, list[np.ndarray]] = {"residual": [], "coefficients": []}
    for step in range(setting.n_steps + 1):
        logits = F.swapaxes(1, 2) @ Y  # (replica, class, id)
        alpha = np.exp(logits - logits.max(-1, keepdims=True))
        wrong = target - alpha / alpha.sum(-1, keepdims=True)
        if step in steps:
            rows["residual"].append(wrong[:, range(K), range(K)])
            rows["coefficients"].append((back @ (Y @ wrong.swapaxes(1, 2))).swapaxes(1, 2))
            current().progress(step, setting.n_steps)
        if setting.gradient == "sampled":
            seen = np.stack([stream.integers(K) == np.arange(K) for stream in streams])
            Y += setting.rate * inward @ (seen[..., None] * wrong)
        else:
            Y += setting.rate / K * inward @ wrong
    return {"gram": gram, "steps": np.tile(steps, (R, 1))} | {
        name: np.stack(each, axis=1) for name, each in rows.items()
    }
