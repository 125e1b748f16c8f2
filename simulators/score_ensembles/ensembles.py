r"""Five laws of queries and keys (n, d); scores are q . k / sqrt(d), of root mean square ``spread`` s.

====================  =====================================================================================================
``gaussian``          all channels of q and k independent, normal, of variance :math:`s` each: :math:`s_{ij}` has variance s^2
``low_rank``          the same in a random subspace of ``rank`` r dimensions, per-channel variance :math:`s \sqrt{d/r}`
``clustered``         queries as in ``gaussian``; keys :math:`\sqrt{1 - \tau}\, c + \sqrt \tau\, g` around ``n_clusters`` centres
                      c, tau = ``within``: every key alone is normal as before
``heavy_tailed``      queries as before; keys are multivariate t with ``tail`` degrees of freedom, scaled to the same variance
``planted``           Gaussian in the first half of the channels; in the other half query i has the number
                      :math:`a = \sqrt{h \sqrt d}` in channel i mod d/2 and one key per channel has a there and zeros elsewhere:
                      every row has one score of exactly ``height`` h, the others are as in ``gaussian`` with d/2 directions
====================  =====================================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attnlab.simulators.ensemble.setting import (
    checked,
    require_at_least,
    require_inside,
    require_one_of,
    require_positive,
)

ENSEMBLES = ("gaussian", "clustered", "heavy_tailed", "low_rank", "planted")


@dataclass(frozen=True)
class EnsembleSetting:
    """An ensemble by name with its numbers, the ``operator`` of the atlas by name and which of its ``ladder`` is climbed.

    ``rung`` is the only rung that is measured, -1 for all. ``n_draws`` seeds of the operator per draw of queries and keys;
    ``n_replicas`` draws of these.
    """

    ensemble: str = "gaussian"
    n_tokens: int = 512
    dim: int = 16
    spread: float = 0.5
    rank: int = 4
    n_clusters: int = 16
    within: float = 0.1
    tail: float = 4.0
    height: float = 5.0
    operator: str = "sparse_selection/random_keys"
    ladder: str = ""
    rung: int = -1
    n_draws: int = 1
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_one_of(self, "ensemble", ENSEMBLES)
        require_positive(self, "spread", "rank", "n_clusters", "height", "n_draws", "n_replicas")
        require_at_least(self, 2, "n_tokens", "dim")
        require_inside(self, 0, 1, "within")
        if self.tail <= 2:
            raise ValueError(f"tail={self.tail!r} must be above 2: below, keys have no variance")
        if self.rank > self.dim:
            raise ValueError(f"rank={self.rank!r} must be at most dim={self.dim!r}")
        if self.ensemble == "planted" and (self.dim % 2 or self.n_tokens < self.dim):
            raise ValueError(f"dim={self.dim!r} must be even and at most n_tokens={self.n_tokens!r} for planted keys")


def queries_and_keys(setting: EnsembleSetting, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Queries and keys (token, dim) of one draw."""
    n, d, root = setting.n_tokens, setting.dim, setting.spread**0.5
    if setting.ensemble == "low_rank":
        basis = np.linalg.qr(rng.standard_normal((d, setting.rank)))[0]
        q, k = root * (d / setting.rank) ** 0.25 * rng.standard_normal((2, n, setting.rank))
        return q @ basis.T, k @ basis.T
    if setting.ensemble == "planted":
        half = d // 2
        q, k = root * (d / half) ** 0.25 * rng.standard_normal((2, n, half))
        code = (setting.height * d**0.5) ** 0.5 * np.eye(half)
        planted = rng.permutation(n)[:half]
        k[planted] = 0.0
        codes = np.zeros((n, half))
        codes[planted] = code
        return np.hstack([q, code[np.arange(n) % half]]), np.hstack([k, codes])
    q, k = root * rng.standard_normal((2, n, d))
    if setting.ensemble == "clustered":
        centres = root * rng.standard_normal((setting.n_clusters, d))
        k = (1 - setting.within) ** 0.5 * centres[np.arange(n) % setting.n_clusters] + setting.within**0.5 * k
    if setting.ensemble == "heavy_tailed":
        k = k * ((setting.tail - 2) / rng.chisquare(setting.tail, (n, 1))) ** 0.5
    return q, k
