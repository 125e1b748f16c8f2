r"""Dynamic self-attention: where routing ends, how fast, and what it costs.

Yoon, Lee and Lee 2018 (arXiv 1808.07383) for the operator; the law is derived.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def sharpening_rate(votes: ArrayLike, winner: int) -> float:
    r"""Rate at which the weights become one-hot once ``winner`` i* leads.

    .. math:: \ln(1 - a_{\max}) = -r \Delta + \text{const}, \qquad
              \Delta = \min_{j \ne i^*} (x_{i^*} - x_j) \cdot \tanh x_{i^*} .

    Logits only add up: once z is near tanh(x_{i*}), each round adds x_j . tanh(x_{i*}) to logit j, so the gap to the
    next grows by Delta per round. A soft fixed point would need equal increments. ``votes`` (n, d). Positive where the
    winner can stay one.
    """
    x = np.asarray(votes, dtype=np.float64)
    gaps = (x[winner] - x) @ np.tanh(x[winner])
    return float(np.delete(gaps, winner).min())


def multiply_adds(sizes: Any, *, causal: bool = False, n_rounds: int = 3, n_outputs: int = 2) -> int:
    """Multiply-adds of one call: votes m n D^2, then a mix per round and logits after all but the last, (2 r - 1) m n D."""
    D = sizes.d_model
    return n_outputs * sizes.n * (D * D + (2 * n_rounds - 1) * D)
