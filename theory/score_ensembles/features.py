r"""Error of softmax's kernel by m independent positive random features, on Gaussian queries and keys.

x, y = q, k over :math:`d^{1/4}`, both of variance :math:`v = s/\sqrt\nu` per direction. To first order in 1/m the weights
of one row err by
:math:`P_j (\xi_j - \sum_l P_l \xi_l)`, with :math:`m\, \mathbb E\, \xi_j \xi_l = e^{a_j \cdot a_l} - 1`, :math:`a_j = x + y_j`
(:mod:`attnlab.theory.positive_features.attention_error`), so

.. math:: m\, \mathbb E \sum_j (\hat W_j - P_j)^2 = \sum_j P_j^2 \Bigl( e^{|a_j|^2} - 2 \sum_l P_l\, e^{a_j \cdot a_l}
          + \sum_{l l'} P_l P_{l'}\, e^{a_l \cdot a_{l'}} \Bigr) .

For many keys the three sums are Gaussian integrals, :math:`A\, e^{c |x|^2}`, and so are their means over x. The first has
:math:`c = 1 - v + 8 v/(1 - 2 v)`: the mean square error of the ensemble is finite only if :math:`2 c v < 1`. Derived here.
"""

from __future__ import annotations

import math

from attnlab.theory.checks import check_count
from attnlab.theory.score_ensembles.law import ScoreLaw


def features_error_approx(law: ScoreLaw, n_features: int, together: bool = True) -> float:
    """Relative error of the map, first order in 1/m; the next order is about 3 :func:`normaliser_variance_approx`, relatively.

    A mean over all draws of rows: long before it is infinite, rare ones carry it, and most draws err less.
    ``together=False``: as if the keys of a row erred independently, the rival.
    Errors: ``ValueError`` for a planted key, where the mean square error is infinite, and where the next order is as large.
    """
    check_count(n_features=n_features)
    if law.height is not None:
        raise ValueError(
            f"height={law.height!r}: features see the lengths of the planted key and its query, which a law of scores does not "
            "tell; give a law without one"
        )
    v, nu = law.spread / math.sqrt(law.width), law.width
    if not v < 0.5:
        raise ValueError(_infinite(law))
    own = (1 - 2 * v) ** (-nu / 2), 1 - v + 8 * v / (1 - 2 * v)
    pair = (1 - v**2) ** (-nu / 2), 1 + v / 2 + v * (3 + 2 * v) ** 2 / (2 * (1 - v**2))
    row = (1 - v**2) ** (-nu / 2), v + _row_rate(v)
    size, next_order = _mean(v, v, law), 3 * normaliser_variance_approx(law, n_features)
    if not next_order < 1:
        raise ValueError(
            f"n_features={n_features!r} at spread={law.spread!r}: row sums vary so much that the next order, {next_order:.3g} of "
            "the first, is no correction; take more features or a smaller spread"
        )
    if not together:
        return math.sqrt((own[0] * _mean(own[1], v, law) - size) / (n_features * size))
    total = sum(sign * A * _mean(c, v, law) for sign, (A, c) in ((1, own), (-2, pair), (1, row)))
    return math.sqrt(total / (n_features * size))


def normaliser_variance_approx(law: ScoreLaw, n_features: int) -> float:
    r"""Relative variance of a row sum, mean over queries:

    .. math:: \frac1m \Bigl(\mathbb E \sum_{l l'} P_l P_{l'}\, e^{a_l \cdot a_{l'}} - 1\Bigr)
    """
    check_count(n_features=n_features)
    v = law.spread / math.sqrt(law.width)
    return ((1 - v**2) ** (-law.width / 2) * _mean(_row_rate(v), v, law) - 1) / n_features


def greatest_spread(width: int) -> float:
    r"""Spread from which the mean square error of positive features is infinite: :math:`2 c v = 1` at :math:`v = s/\sqrt\nu`.

    :math:`2 v (1 - v)(1 - 2 v) + 16 v^2 = 1 - 2 v`, a cubic in v alone: the spread grows like the root of the width.
    """
    check_count(width=width)
    low, high = 0.0, 0.5
    for _ in range(60):
        v = (low + high) / 2
        low, high = (v, high) if 2 * v * (1 - v) * (1 - 2 * v) + 16 * v**2 < 1 - 2 * v else (low, v)
    return low * math.sqrt(width)


def _row_rate(v: float) -> float:
    r"""The rate c of the mean over two keys of a row,
    :math:`1 + \tfrac52 v + 2 v^2 + \tfrac12 v^3 + v (1 + v)^4/(2 (1 - v^2))`.
    """
    return 1 + 2.5 * v + 2 * v**2 + v**3 / 2 + v * (1 + v) ** 4 / (2 * (1 - v**2))


def _mean(rate: float, v: float, law: ScoreLaw) -> float:
    left = 1 - 2 * rate * v
    if not left > 0:
        raise ValueError(_infinite(law))
    return left ** (-law.width / 2)


def _infinite(law: ScoreLaw) -> str:
    return (
        f"spread={law.spread!r} at width={law.width!r}: the mean square error of positive features is infinite from "
        f"{greatest_spread(law.width):.3g} on; take a smaller spread or a greater width"
    )
