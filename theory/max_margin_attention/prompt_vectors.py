r"""Closed forms for a trained prompt vector, alone and together with the head that reads it.

Tarzanagh, Li, Zhang and Oymak 2023 (arXiv 2306.13596): f(X) = v^T X^T softmax(K p). The support vector machine of p is that of
:mod:`max_margin_attention` with one-dimensional queries.
"""

from __future__ import annotations

import clarabel
import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from attnlab.theory.max_margin_attention.dynamics import log_slope


def two_input_offset(high_score: ArrayLike, loss: str) -> np.ndarray:
    r"""Where the second coordinate of p settles for the inputs {(0, 0), (1, 1)} and {(0, 0), (1, -1)}.

    Their better tokens score C and 1 against zero. The first coordinate diverges; the multipliers of the two are equal, hence

    .. math:: p_2 = \tfrac12 \log \frac{C\, |\ell'(C)|}{|\ell'(1)|} .

    So the loss -u drifts towards the input of high score, and losses with a falling slope away from it.
    """
    C = np.asarray(high_score, dtype=np.float64)
    if np.any(C <= 0):
        raise ValueError(f"high_score={high_score!r} must be positive: the token must beat a score of zero")
    return (np.log(C) + log_slope(C, loss) - log_slope(1.0, loss)) / 2


def separating_gap(keys: ArrayLike, scores: ArrayLike, selected: int) -> float:
    r"""Where a cone of attraction ends: the lead of the better over the worse rival at which descent stops to keep its
    token.

    One input of three tokens: ``selected`` a scores between a better token b and a worse one c. Where a leads by far,
    descent moves p along :math:`w_c (k_a - k_c) + w_b (k_b - k_a)`, :math:`w_t = e^{k_t^T p} |\gamma_a - \gamma_t|`, so
    the gap :math:`g = (k_b - k_c)^T p` moves away from

    .. math:: g^* = \log \frac{(\gamma_a - \gamma_c)\, (k_a - k_c)^T (k_c - k_b)}{(\gamma_b - \gamma_a)\,
              (k_b - k_a)^T (k_b - k_c)},

    and a is kept exactly if :math:`g < g^*`: in the limit of large norm, for steps that are small against the gap's
    distance to g*. Derived here; the published theorem says that some cone around the direction is kept.

    ``keys (token, dim)``, ``scores (token,)``. Minus infinity where the worse rival drives the gap up too, so that a is
    never kept (it is not locally optimal); errors where there is no better or no worse token, or the better one does
    not lead when it counts.
    """
    K, gamma = np.asarray(keys, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if K.ndim != 2 or len(K) != 3 or gamma.shape != (3,) or selected not in range(3):
        raise ValueError(
            f"keys must be (3, dim), scores (3,) and selected 0, 1 or 2; got {K.shape}, {gamma.shape}, {selected!r}"
        )
    better, worse = (np.flatnonzero(side) for side in (gamma > gamma[selected], gamma < gamma[selected]))
    if len(better) != 1 or len(worse) != 1:
        raise ValueError(f"scores={scores!r} must have one token above and one below the selected one")
    a, b, c = K[selected], K[better[0]], K[worse[0]]
    outwards, inwards = float((b - a) @ (b - c)), float((a - c) @ (c - b))
    if outwards <= 0:
        raise ValueError(f"keys={keys!r}: growing attention to the better token lowers its lead over the worse one")
    if inwards <= 0:
        return -np.inf
    lost, gained = gamma[selected] - gamma[worse[0]], gamma[better[0]] - gamma[selected]
    return float(np.log(lost * inwards / (gained * outwards)))


def joint_prompt_direction(margins: ArrayLike, gaps: ArrayLike, growth_ratio: float) -> tuple[np.ndarray, float]:
    r"""The direction of the prompt when head and prompt are trained together, and the duality gap of its certificate.

    With :math:`m_i` the margins of the unit max-margin head, :math:`g_i` the key of the selected token minus the other one, and
    :math:`r = \lim \|p\| / \|v\|`, the loss falls as exp(- min_i ...) at a rate that is largest for

    .. math:: \hat p = \arg\max_{\|p\| \le 1} \min_i (m_i + r\, g_i^T p) .

    r -> 0 leaves out inputs whose margin is not the smallest (the relaxed program); r -> infinity is the plain one.
    ``margins (constraint,)``, ``gaps (constraint, dim)``. The direction is unique if the maximum beats every shorter p.
    """
    m, g, r = np.asarray(margins, dtype=np.float64), np.asarray(gaps, dtype=np.float64), float(growth_ratio)
    if g.ndim != 2 or m.shape != g.shape[:1] or not r > 0:
        raise ValueError(
            f"margins must be (constraint,), gaps (constraint, dim) and growth_ratio positive; got {m.shape}, "
            f"{g.shape}, {growth_ratio!r}"
        )
    d = g.shape[1]
    rows = np.vstack(
        [np.hstack([np.ones((len(m), 1)), -r * g]), np.zeros((1, d + 1)), np.hstack([np.zeros((d, 1)), -np.eye(d)])]
    )
    bounds = np.concatenate([m, [1.0], np.zeros(d)])
    settings = clarabel.DefaultSettings()
    settings.verbose, settings.max_threads = False, 1
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-12
    cost = np.concatenate([[-1.0], np.zeros(d)])
    found = clarabel.DefaultSolver(
        sparse.csc_matrix((d + 1, d + 1)),
        cost,
        sparse.csc_matrix(rows),
        bounds,
        [clarabel.NonnegativeConeT(len(m)), clarabel.SecondOrderConeT(d + 1)],
        settings,
    ).solve()
    p = np.array(found.x[1:])
    p = p / np.linalg.norm(p)
    lam = np.maximum(np.array(found.z[: len(m)]), 0)
    lam = lam / lam.sum()
    reached, bound = float(np.min(m + r * g @ p)), float(lam @ m + r * np.linalg.norm(lam @ g))
    return p, (bound - reached) / max(abs(bound), 1.0)
