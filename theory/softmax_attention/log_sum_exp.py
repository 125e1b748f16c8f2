r"""Bounds on log-sum-exp, ``lse(x) = log sum_i exp(x_i)``: against the maximum and the mean, and how it curves."""

from typing import Any

from attnlab.theory.array_functions import log
from attnlab.theory.checks import check_count, check_not_negative, check_positive


def max_gap_bound(n_keys: int, inverse_temperature: float = 1.0) -> float:
    r"""Largest distance of ``lse(beta x) / beta`` from ``max x``: ``log(n) / beta``.

    .. math:: \max_i x_i \le \tfrac{1}{\beta} \log \sum_i e^{\beta x_i} \le \max_i x_i + \tfrac{\log n}{\beta}.

    Both sides are sharp: one logit far above the rest, and equal logits (Boyd and Vandenberghe, Convex Optimization,
    section 3.1.5).
    """
    check_count(n_keys=n_keys)
    check_positive(inverse_temperature=inverse_temperature)
    return float(log(float(n_keys))) / inverse_temperature


def mean_gap_bound(spread: Any) -> Any:
    r"""Largest ``lse(x) - log(n) - mean(x)``: ``spread^2 / 8``.

    The smallest is 0, at equal logits (Jensen). Sharp to first order for small spreads with half of the logits at either
    end. Why: Hoeffding's lemma for a logit drawn uniformly (Hoeffding, JASA 58, 1963).
    """
    check_not_negative(spread=spread)
    return spread**2 / 8


def smoothness(inverse_temperature: float = 1.0) -> float:
    r"""Sharp constant c of the quadratic upper bound on ``f(x) = lse(beta x) / beta`` in the l2 norm.

    .. math:: 0 \le f(y) - f(x) - \langle \mathrm{softmax}(\beta x), y - x \rangle \le c \|y - x\|_2^2, \qquad
              c = \beta / 4.

    Why: the Hessian of f is ``beta J``, of norm at most ``beta / 2`` (two equal logits far above the rest).
    """
    check_positive(inverse_temperature=inverse_temperature)
    return inverse_temperature / 4


def divergence_bound(spread: Any) -> Any:
    r"""Largest Kullback-Leibler divergence of two softmax vectors whose logits differ by a vector of that spread.

    .. math:: \mathrm{KL}(\mathrm{softmax}(x) \,\|\, \mathrm{softmax}(y)) \le \Delta^2 / 8.

    Sharp to first order for small spreads. Why: the divergence is ``f(y) - f(x) - <softmax(x), y - x>`` for f = lse,
    and along the segment the second derivative, a variance of ``y - x``, is at most ``spread^2 / 4`` (Popoviciu).
    """
    check_not_negative(spread=spread)
    return spread**2 / 8
