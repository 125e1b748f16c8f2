r"""Rank collapse of attention without skip connections: the diameter of the tokens shrinks, in the end doubly exponentially.

Tokens ``x_i`` become ``sum_j p_ij x_j`` with ``p_i = softmax_j(beta x_i . x_j)``; ``D`` is their diameter.
"""

from typing import Any

import numpy as np

from attnlab.theory.array_functions import tanh
from attnlab.theory.checks import check_count, check_not_negative, check_positive


def collapsed_diameter_bound(diameter: Any, inverse_temperature: float = 1.0) -> Any:
    r"""Largest diameter of the tokens after one layer.

    .. math:: D' \le \tanh(\beta D^2 / 4) \, D \le \tfrac{\beta}{4} D^3.

    Sharp: two tokens at ``-D/2`` and ``D/2`` reach it. So pure attention always contracts, and cubically once D is small
    (Dong, Cordonnier and Loukas, 2021, have the cubic rate for the distance from rank one).

    Why: logits of two queries differ by ``beta (x_i - x_k) . x_j``, a vector over j of spread at most ``beta D^2``; their
    weights then differ by a mass of at most ``tanh(spread / 4)``, which moves by at most D.
    """
    check_not_negative(diameter=diameter)
    check_positive(inverse_temperature=inverse_temperature)
    return tanh(inverse_temperature * diameter**2 / 4) * diameter


def diameter_after_layers_bound(diameter: Any, n_layers: int, inverse_temperature: float = 1.0) -> Any:
    r"""Largest diameter after ``n_layers`` layers: `collapsed_diameter_bound` applied that many times.

    Sharp at every depth, for two opposite tokens.
    """
    check_count(n_layers=n_layers)
    for _ in range(n_layers):
        diameter = collapsed_diameter_bound(diameter, inverse_temperature)
    return diameter


def doubly_exponential_bound(diameter: float, n_layers: int, inverse_temperature: float = 1.0) -> float:
    r"""Closed form of the rate: ``D_L <= (2 / sqrt(beta)) (sqrt(beta) D / 2)^(3^L)``.

    Weaker than `diameter_after_layers_bound`, and below the start only for ``D < 2 / sqrt(beta)``.
    """
    check_count(n_layers=n_layers)
    check_not_negative(diameter=diameter)
    check_positive(inverse_temperature=inverse_temperature)
    unit = 2 / np.sqrt(inverse_temperature)
    return float(unit * (diameter / unit) ** (3.0**n_layers))
