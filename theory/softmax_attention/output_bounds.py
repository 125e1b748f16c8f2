r"""What a softmax attention head can output, and how much it can change: hull, dropped keys, logits, queries, labels.

A head outputs ``o = sum_i p_i v_i`` with weights ``p = softmax(beta x)``. The diameter of a set of vectors is the largest
distance of two of them.
"""

from typing import Any

from attnlab.theory.array_functions import tanh
from attnlab.theory.checks import check_not_negative, check_positive, check_share


def dropped_mass_bound(kept_mass: Any, largest_value: Any) -> Any:
    r"""Largest change of the output when keys are dropped and the rest renormalised: ``2 (1 - gamma) max_i |v_i|``.

    ``kept_mass`` is gamma, the weight that the kept keys had. Sharp when the dropped values are minus the kept ones.

    Why: the change is ``(1 - gamma)`` times the difference of the means over kept and dropped keys.
    """
    check_share(kept_mass=kept_mass)
    check_not_negative(largest_value=largest_value)
    return 2 * (1 - kept_mass) * largest_value


def truncation_bound(kept_mass: Any, largest_value: Any) -> Any:
    r"""Largest change of the output when keys are dropped without renormalising: ``(1 - gamma) max_i |v_i|``."""
    return dropped_mass_bound(kept_mass, largest_value) / 2


def output_change_bound(logit_spread: Any, value_diameter: Any) -> Any:
    r"""Largest change of the output when the logits change by a vector of the given spread.

    .. math:: \|o(x) - o(y)\| \le \tanh(\Delta / 4) \, \mathrm{diam}(v).

    Sharp. Why: the weights that move carry a mass of at most ``tanh(spread / 4)`` (`softmax_l1_bound` / 2), and each
    moves by at most the diameter.
    """
    check_not_negative(logit_spread=logit_spread)
    check_not_negative(value_diameter=value_diameter)
    return tanh(logit_spread / 4) * value_diameter


def query_gradient_bound(inverse_temperature: float, key_diameter: Any, value_diameter: Any) -> Any:
    r"""Bound on the norm of the derivative of the output by the query: ``beta diam(k) diam(v) / 4``.

    Here the logits are ``k_i . q``. Sharp for two keys of equal weight. Why: the derivative is ``beta`` times the
    covariance of values and keys under p; by Cauchy-Schwarz and Popoviciu it is at most the product of half diameters.
    """
    check_positive(inverse_temperature=inverse_temperature)
    check_not_negative(key_diameter=key_diameter)
    check_not_negative(value_diameter=value_diameter)
    return inverse_temperature * key_diameter * value_diameter / 4


def loss_gradient_bound(correct_weight: Any) -> Any:
    r"""Bound on the l2 norm of the gradient of ``-log softmax(x)_y`` by x: ``sqrt(2) (1 - p_y)``.

    Sharp when one wrong class has all of the wrong mass; with it spread evenly the norm is ``sqrt(n / (n - 1)) (1 - p_y)``.
    """
    check_share(correct_weight=correct_weight)
    return 2**0.5 * (1 - correct_weight)


def self_attention_growth(radius: Any) -> Any:
    r"""Lower bound on the Lipschitz constant of self-attention with three scalar tokens in ``[-R, R]``: ``R^2 / 2``.

    Tokens attend with logits ``x_i x_j``. At ``(0, R, -R)`` and ``(1/R, R, -R)`` the outputs differ by more than
    ``R^2 / 2`` times the distance of the inputs for every R >= 1, so no constant serves all inputs (Kim, Papamakarios
    and Mnih, 2021, Theorem 3.1).

    Why: the first token's weights are equal at 0, and its output moves at the rate of the variance, ``2 R^2 / 3``.
    """
    check_positive(radius=radius)
    return radius**2 / 2
