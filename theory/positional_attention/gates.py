r"""What the gate of gated positional attention learns on tasks whose locality can be turned.

The head is d'Ascoli et al. 2021 (arXiv 2103.10697), equation 9, :math:`A = g P + (1 - g) C`, :math:`g = \sigma(\lambda)`;
the tasks and
their optima are derived here. Images are white, so that the loss of a target map T is the squared distance
:math:`\sum_i |A_i - T_i|^2`.
"""

from __future__ import annotations

import numpy as np

from attnlab.theory.checks import check_positive, check_share


def gate_gradient_exact(logit: float, map_gradient: np.ndarray, positional: np.ndarray, content: np.ndarray) -> float:
    r"""Derivative of the loss by the gate's logit, :math:`g (1 - g)\, \langle \partial L/\partial A,\, P - C\rangle`."""
    g = 1 / (1 + np.exp(-logit))
    return float(g * (1 - g) * (np.asarray(map_gradient) * (np.asarray(positional) - np.asarray(content))).sum())


def best_gate_exact(positional: np.ndarray, content: np.ndarray, target: np.ndarray) -> float:
    r"""Gate of least distance to a target map, :math:`\langle P - C, T - C\rangle / |P - C|^2`.

    Outside (0, 1) the gate runs to the end for ever.
    """
    away = np.asarray(positional, float) - content
    return float((away * (np.asarray(target, float) - content)).sum() / (away**2).sum())


def gate_descent_exact(start: float, best: float, size: float, learning_rate: float, steps: np.ndarray) -> np.ndarray:
    r"""Gates after so many steps of gradient descent on :math:`\frac1n |g P + (1-g) C - T|^2`, ``size`` :math:`= |P - C|^2/n`.

    .. math:: \lambda \leftarrow \lambda - 2 \eta\, g (1 - g)\, \frac{|P - C|^2}{n}\, (g - g^*) :

    two numbers of the maps decide, and a gate near 0 or 1 hardly moves.
    """
    check_share(start=start)
    check_positive(size=size, learning_rate=learning_rate)
    logit, found, now = np.log(start / (1 - start)), [], 0
    for step in steps:
        for _ in range(int(step) - now):
            g = 1 / (1 + np.exp(-logit))
            logit -= 2 * learning_rate * g * (1 - g) * size * (g - best)
        now = int(step)
        found.append(1 / (1 + np.exp(-logit)))
    return np.array(found)


def matching_gate_exact(local_share: float, match_weight: float, own_weight: float, blur: np.ndarray) -> float:
    r"""Gate of the best mixture :math:`u P + v C` for the target of :func:`matching_gate_limit` if content is not sharp yet.

    C has weight w on the match, o on the own cell and the rest on the n - 2 others alike; identities lie in any order, so that
    P meets C by its means on and off the diagonal, :math:`\bar p_0` and :math:`\bar p_1`:
    :math:`m = \langle P, C\rangle = \bar p_0\, o + \bar p_1 (1 - o)`. With a the mean sum of squares of a row of P and c that
    of C the optimum solves

    .. math:: (u - s)\, a + v\, m = (1 - s)\, \bar p_1, \qquad (u - s)\, m + v\, c = (1 - s)\, w ,

    and the gate is u / (u + v). How the rest lies on the others enters by c only, in second order.
    """
    check_share(local_share=local_share, match_weight=match_weight, own_weight=own_weight)
    P, n, s, w = np.asarray(blur, float), len(blur), local_share, match_weight
    on = np.trace(P) / n
    off = (1 - on) / (n - 1)
    meet = on * own_weight + off * (1 - own_weight)
    a, c = (P**2).sum() / n, w**2 + own_weight**2 + (1 - w - own_weight) ** 2 / (n - 2)
    u, v = np.linalg.solve([[a, meet], [meet, c]], [(1 - s) * off + s * a, (1 - s) * w + s * meet])
    return float(u / (u + v))


def matching_gate_limit(local_share: float) -> float:
    r"""Gate of a head that learns :math:`T = s P_0 + (1 - s) E`, a local blur and a look at one matching token anywhere: s.

    With P = P_0 and sharp content C = E the loss vanishes at g = s and nowhere else, if P and E differ.
    """
    check_share(local_share=local_share)
    return local_share


def matching_distance_limit(
    local_share: float | np.ndarray, local_distance: float, far_distance: float | np.ndarray
) -> np.ndarray:
    r"""Non-locality of that head, :math:`s D_{\mathrm{local}} + (1 - s) D_{\mathrm{far}}`, a mean over queries and matches."""
    check_share(local_share=local_share)
    return np.asarray(local_share * local_distance + (1 - local_share) * far_distance)
