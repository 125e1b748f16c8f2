r"""Risk of given effective matrices on sampled prompts of several lengths and any covariance, the query averaged out exactly.

The error on a query is ``(w - G^T beta)^T x_q``; its mean square over queries is :math:`(w - G^T\beta)^T S (w - G^T\beta)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.simulators.ensemble.monitor import current
from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation

_PART = 2**20  # numbers drawn at once


@dataclass(frozen=True)
class RiskSetting:
    """``matrices``: effective matrices ``((row, ...), ...)``, ``()`` for one of zeros.

    ``spectrum``: eigenvalues of the covariance of the test, diagonal. ``prior``: covariance of the task vector, ``()`` for the
    identity.
    """

    matrices: tuple[tuple[tuple[float, ...], ...], ...] = ()
    spectrum: tuple[float, ...] = (1.0, 0.5)
    prior: tuple[tuple[float, ...], ...] = ()
    noise_std: float = 0.0
    lengths: tuple[int, ...] = (10, 20, 40)
    n_sequences: int = 2_000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "spectrum", "lengths", "n_sequences", "n_replicas")
        require_at_least(self, 0, "noise_std")
        d = len(self.spectrum)
        for name, matrices in (("matrices", self.matrices), ("prior", (self.prior,) if self.prior else ())):
            for each in matrices:
                if len(each) != d or any(len(row) != d for row in each):
                    raise ValueError(
                        f"{name} holds {each!r}; use {d} rows of {d} entries, as spectrum has {d} eigenvalues"
                    )


@simulation(name="linear_attention_risk.risk", block=8)
def risk(setting: RiskSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Risks ``(replica, matrix, length)``, the noise of the query included, and ``lengths (replica, length)``.

    ``unlimited (replica, matrix)``: the risk on the same task vectors with ``beta = S w``, its value in an unlimited context.

    Matrices and lengths see the same sequences: a prompt of length M is the first M examples of the longest.
    """
    d, longest = len(setting.spectrum), max(setting.lengths)
    G = (
        torch.tensor(setting.matrices, dtype=torch.float64)
        if setting.matrices
        else torch.zeros(1, d, d, dtype=torch.float64)
    )
    S = torch.tensor(setting.spectrum, dtype=torch.float64)
    root = (
        torch.linalg.cholesky(torch.tensor(setting.prior, dtype=torch.float64))
        if setting.prior
        else torch.eye(d).double()
    )
    total = torch.zeros(len(seeds), len(G), len(setting.lengths) + 1, dtype=torch.float64)
    for row, stream in enumerate(generators(seeds, "data")):
        for low in range(0, setting.n_sequences, part := max(1, _PART // (longest * d))):
            n = min(part, setting.n_sequences - low)
            x = torch.empty(n, longest, d, dtype=torch.float64).normal_(generator=stream) * S.sqrt()
            w = torch.empty(n, d, dtype=torch.float64).normal_(generator=stream) @ root.mT
            y = (x @ w[..., None])[..., 0] + setting.noise_std * torch.empty(n, longest).double().normal_(
                generator=stream
            )
            sums = (y[..., None] * x).cumsum(dim=1)
            betas = [sums[:, length - 1] / length for length in setting.lengths] + [w * S]
            for column, beta in enumerate(betas):
                left = w - beta @ G  # (matrix, n, dim)
                total[row, :, column] += (left**2 * S).sum((-2, -1))
        current().progress(row + 1, len(seeds))
    mean = (total / setting.n_sequences + setting.noise_std**2).numpy()
    return {"lengths": np.tile(setting.lengths, (len(seeds), 1)), "risk": mean[..., :-1], "unlimited": mean[..., -1]}
