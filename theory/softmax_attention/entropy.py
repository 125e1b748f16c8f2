r"""Entropy of attention weights: what bounds it, how it orders with other measures of spread, its slope in temperature.

Entropies are in nats. ``p = softmax(beta x)`` has n entries; the participation ratio is ``1 / sum_i p_i^2``.
"""

from typing import Any

from attnlab.theory.array_functions import log
from attnlab.theory.checks import check_count, check_not_negative, check_positive, check_share


def entropy_deficit_bound(spread: Any) -> Any:
    r"""Largest ``log(n) - H(softmax(x))`` for logits of the given spread: ``spread^2 / 8``.

    Sharp to first order for small spreads, half of the logits at either end. Logits of a bounded spread cannot
    concentrate attention on few of many keys.

    Why: the deficit is the divergence of ``softmax(x)`` from equal weights, whose logits differ by x.
    """
    check_not_negative(spread=spread)
    return spread**2 / 8


def fano_bound(largest_weight: Any, n_keys: int) -> Any:
    r"""Largest entropy of n weights whose largest is ``p``: ``h(p) + (1 - p) log(n - 1)`` with h the binary entropy.

    Sharp when the other weights are equal (Fano's inequality; Cover and Thomas, Elements of Information Theory,
    section 2.10). Defined for ``0 < p < 1``.
    """
    check_count(at_least=2, n_keys=n_keys)
    check_share(largest_weight=largest_weight)
    rest = 1 - largest_weight
    return -largest_weight * log(largest_weight) - rest * log(rest) + rest * float(log(float(n_keys - 1)))


def entropy_slope(inverse_temperature: float, variance: Any) -> Any:
    r"""Derivative of ``H(softmax(beta x))`` by beta: ``-beta Var_p(x)``, so entropy decreases in beta > 0.

    ``variance`` is the variance of the logits x under ``p = softmax(beta x)``.
    """
    check_positive(inverse_temperature=inverse_temperature)
    check_not_negative(variance=variance)
    return -inverse_temperature * variance


def expected_score_slope(variance: Any) -> Any:
    r"""Derivative of the expected logit ``sum_i p_i x_i`` by beta: ``Var_p(x)``, so it increases in beta.

    Why: the expected logit is the derivative of ``lse(beta x)`` by beta, and the variance is the second derivative.
    """
    check_not_negative(variance=variance)
    return variance


def expected_score_increase_bound(spread: Any, step: Any) -> Any:
    r"""Largest increase of the expected logit when beta grows by ``step``: ``step spread^2 / 4``.

    The smallest is 0. Sharp to first order in the step, for equal mass at either end (Popoviciu).
    """
    check_not_negative(spread=spread)
    check_not_negative(step=step)
    return step * spread**2 / 4
