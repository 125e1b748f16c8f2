r"""How far softmax can move and how peaked it can be: Lipschitz constants, weight bounds, the limits of temperature.

Letters: ``p = softmax(beta x)`` with ``n`` logits ``x`` and inverse temperature ``beta``; ``J = diag(p) - p p^T`` is the
Jacobian of softmax at ``beta = 1``; the spread of a vector is its maximum minus its minimum.
"""

from typing import Any

from attnlab.theory.array_functions import exp, tanh
from attnlab.theory.checks import check_count, check_not_negative, check_positive, check_share


def softmax_lipschitz(inverse_temperature: float = 1.0) -> float:
    r"""Sharp Lipschitz constant of ``x -> softmax(beta x)`` in the l1, l2 and l-infinity norms alike.

    .. math:: \|\mathrm{softmax}(\beta x) - \mathrm{softmax}(\beta y)\| \le \frac{\beta}{2} \|x - y\|.

    Every n >= 2; reached at two equal logits far above the rest. Other sources often give the constant ``beta``.

    Why: ``u^T J u`` is the variance of u under p, at most ``(max u - min u)^2 / 4 <= |u|^2 / 2`` (Popoviciu); the rows
    of J have absolute sum ``2 p_i (1 - p_i) <= 1/2``, and J is symmetric, so l1 and l-infinity agree.

    >>> softmax_lipschitz(3.0)
    1.5
    """
    check_positive(inverse_temperature=inverse_temperature)
    return inverse_temperature / 2


def softmax_l1_bound(spread: Any) -> Any:
    r"""Largest l1 distance of two softmax vectors whose logits differ by a vector of the given spread.

    .. math:: \|\mathrm{softmax}(x) - \mathrm{softmax}(y)\|_1 \le 2 \tanh(\Delta / 4),
              \qquad \Delta = \max_i (x_i - y_i) - \min_i (x_i - y_i).

    Sharp for every spread, n >= 2. It implies the bounds ``spread / 2`` and ``|x - y|_inf``, and never exceeds 2.

    Why: the mass that p gives a set A is ``sigmoid(a)`` with ``a`` its log-odds, which change by at most the spread;
    ``sigmoid(s/2) - sigmoid(-s/2) = tanh(s/4)`` is the largest change, and the l1 distance is twice that of masses.
    """
    check_not_negative(spread=spread)
    return 2 * tanh(spread / 4)


def jacobian_norm_bound(largest_weight: Any) -> Any:
    r"""Bound on the l2 norm of the softmax Jacobian by the largest weight: ``lambda_max(J) <= max_i p_i``.

    Sharp for equal weights, where ``J = (I - 11^T / n) / n``. Why: ``diag(p) - J = p p^T`` is positive semidefinite.
    """
    check_share(largest_weight=largest_weight)
    return largest_weight


def jacobian_saturation_bound(largest_weight: Any) -> Any:
    r"""Bound on the l2 norm of the softmax Jacobian by the mass beside the largest weight: ``2 (1 - max_i p_i)``.

    Sharp to first order as the weight tends to 1: gradients through a saturated softmax vanish linearly.

    Why: the variance of u under p is at most ``sum_i p_i (u_i - u_top)^2``, and each square at most ``2 |u|^2``.
    """
    check_share(largest_weight=largest_weight)
    return 2 * (1 - largest_weight)


def largest_weight_bound(spread: Any, n_keys: int) -> Any:
    r"""Largest weight that n logits of the given spread can give: ``1 / (1 + (n - 1) exp(-spread))``.

    Sharp: one logit at the top, the others at the bottom. At fixed spread it tends to zero like ``exp(spread) / n``:
    bounded logits cannot attend sharply in long contexts.
    """
    check_count(n_keys=n_keys)
    check_not_negative(spread=spread)
    return 1 / (1 + (n_keys - 1) * exp(-spread))


def smallest_weight_bound(spread: Any, n_keys: int) -> Any:
    r"""Smallest weight that n logits of the given spread can give: ``1 / (1 + (n - 1) exp(spread))``.

    Sharp: one logit at the bottom, the others at the top.
    """
    check_count(n_keys=n_keys)
    check_not_negative(spread=spread)
    return 1 / (1 + (n_keys - 1) * exp(spread))


def argmax_distance_bound(gap: Any, inverse_temperature: float, n_keys: int) -> Any:
    r"""Largest l1 distance of ``softmax(beta x)`` from the one-hot argmax, if the top logit leads by ``gap``.

    .. math:: \|\mathrm{softmax}(\beta x) - e_{\mathrm{top}}\|_1 = 2 (1 - p_{\mathrm{top}})
              \le \frac{2 (n - 1)}{n - 1 + e^{\beta g}} \le 2 (n - 1) e^{-\beta g}.

    Sharp when all other logits tie: the limit beta to infinity is reached at the exponential rate of the gap.
    """
    check_count(at_least=2, n_keys=n_keys)
    check_not_negative(gap=gap)
    check_positive(inverse_temperature=inverse_temperature)
    return 2 * (n_keys - 1) / (n_keys - 1 + exp(inverse_temperature * gap))


def uniform_distance_bound(spread: Any, inverse_temperature: float) -> Any:
    r"""Largest l1 distance of ``softmax(beta x)`` from equal weights: ``2 tanh(beta spread / 4)``.

    Reached when a share ``1 / (1 + exp(beta spread / 2))`` of the logits is at the top and the rest at the bottom. The
    limit beta to 0 is reached linearly.
    """
    check_positive(inverse_temperature=inverse_temperature)
    return softmax_l1_bound(inverse_temperature * spread)


def cocoercivity(inverse_temperature: float = 1.0) -> float:
    r"""Largest constant c with ``<softmax(beta x) - softmax(beta y), x - y> >= c |softmax(beta x) - softmax(beta y)|^2``.

    .. math:: c = 2 / \beta,

    the inverse of the Lipschitz constant, because softmax is the gradient of a convex function (Baillon and Haddad,
    Israel J. Math. 26, 1977). Gao and Pavel (arXiv 1704.00805) give ``1 / beta``.
    """
    return 1 / softmax_lipschitz(inverse_temperature)
