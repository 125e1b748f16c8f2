r"""Error of softmax over the keys that a proxy of their scores ranks highest.

The kept keys hold the mass g and the share h of :math:`\sum_j P_j^2`; kept weights grow by 1/g, the others become 0:

.. math:: \epsilon^2 = h\, (1/g - 1)^2 + 1 - h .

For many normal scores and a proxy of correlation rho, :math:`g = \Phi(\rho s_q - t)` and :math:`h = \Phi(2 \rho s_q - t)`, t the
threshold (:mod:`attnlab.theory.sparse_selection.retained_mass` for g). Here both are means over a finite number of candidates:

.. math:: g = \int \mathrm{P}(\mathrm{Bin}(N - 1, \Phi(-z)) < r)\, \varphi(z - \rho s_q)\, dz ,

r of N kept: the chance that fewer than r others lie above. h has 2 rho s_q. Derived here.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import bdtr, ndtr

from attnlab.theory.checks import check_count
from attnlab.theory.score_ensembles.law import ScoreLaw


def kept_mass_exact(tilt: np.ndarray, n_kept: int, n_candidates: int) -> np.ndarray:
    r"""Mean of :math:`e^{c z_j - c^2/2}/N` over the r largest of N independent normal z, summed: (tilt,); ``tilt`` is c.

    1 for r = N, and r/N for c = 0.
    """
    check_count(n_kept=n_kept, n_candidates=n_candidates)
    if n_kept >= n_candidates:
        return np.ones_like(np.asarray(tilt, dtype=np.float64))
    # the trapezoidal rule loses no digits where the step is well below the width of the threshold, at least 1.25 / sqrt N
    x = np.linspace(-9.0, 9.0, 2 * math.ceil(9.0 * max(math.sqrt(n_candidates) / 0.6, 8.0)) + 1)
    weight = np.exp(-(x**2) / 2) * (x[1] - x[0]) / math.sqrt(2 * math.pi)
    z = np.asarray(tilt, dtype=np.float64)[..., None] + x
    return np.asarray(bdtr(n_kept - 1, n_candidates - 1, ndtr(-z)) @ weight)


def selection_error(
    law: ScoreLaw, n_kept: int, n_candidates: int, correlation: float = 1.0, always: float = 0.0
) -> float:
    """Softmax over the best ``n_kept`` of ``n_candidates`` groups of keys, ranked by a proxy of this ``correlation``.

    ``always`` is the share of the keys that are kept whatever their scores. A planted key must stand above all others and is
    kept: ranked by its own score (correlation 1).
    """
    if law.height is not None and (correlation < 1 or law.height < law.spread * math.sqrt(2 * math.log(law.n_keys))):
        raise ValueError(
            f"height={law.height!r}: whether a planted key is kept is known for correlation 1 and heights from "
            f"spread sqrt(2 ln n) = {law.spread * math.sqrt(2 * math.log(law.n_keys)):.3g} on"
        )
    planted = law.height is not None

    def of_row(variance: np.ndarray, p: np.ndarray, Q: np.ndarray) -> np.ndarray:
        tilt = correlation * np.sqrt(variance)
        g, h = (
            always + (1 - always) * kept_mass_exact(c * tilt, max(n_kept - planted, 1), n_candidates - planted)
            for c in (1, 2)
        )
        inverse = 1 / (p + (1 - p) * g)
        return (p**2 + h * Q) * (inverse - 1) ** 2 + (1 - h) * Q

    return law.relative(of_row)
