r"""The law of a score matrix by its moments: spread, width, and the score of a planted key.

Scores of a query with n keys are independent normal numbers of standard deviation s_q. It varies from query to query,

.. math:: s_q^2 = s^2\, \chi^2_\nu / \nu ,

as that of Gaussian queries and keys in :math:`\nu` directions, :math:`s_{ij} = q_i \cdot k_j/\sqrt d`. Beside them a row may
have one key of score ``height``. P is the softmax of a row, and sums over many keys are taken as their means:

.. math:: n \sum_j P_j^2 \to e^{s_q^2}, \qquad \frac{n^2 \sum_j P_j^3}{n \sum_j P_j^2} \to e^{2 s_q^2}, \qquad
          p = \frac{e^h}{e^h + (n - 1)\, e^{s_q^2/2}} .

The error that all laws of the room predict is the relative Frobenius error of the map,

.. math:: \epsilon = \sqrt{\frac{\mathbb E |\hat W - P|_F^2}{\mathbb E |P|_F^2}} :

the root mean square error of the outputs over their root mean square, for independent values of mean zero. Derived here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh_tridiagonal

from attnlab.theory.checks import check_count, check_positive

NODES = 24
"""Nodes of the Gauss-Laguerre rule over squared lengths of queries."""


@dataclass(frozen=True)
class ScoreLaw:
    """``n_keys`` n, root mean square ``spread`` s of the scores, ``width`` nu; ``height`` of a planted score, None without."""

    n_keys: int
    spread: float
    width: int
    height: float | None = None

    def __post_init__(self) -> None:
        check_count(at_least=2, n_keys=self.n_keys)
        check_count(width=self.width)
        check_positive(spread=self.spread)

    def row_moment(self, exponent: float) -> float:
        r"""Mean over queries of :math:`e^{c\, s_q^2}`, :math:`(1 - 2 c s^2/\nu)^{-\nu/2}`; c is ``exponent``.

        Errors: ``ValueError`` from :math:`c = \nu / (2 s^2)` on, where it is infinite.
        """
        left = 1 - 2 * exponent * self.spread**2 / self.width
        if not left > 0:
            raise ValueError(
                f"spread={self.spread!r} at width={self.width!r}: the mean of e^({exponent:g} s_q^2) over queries is infinite; "
                f"a spread below {math.sqrt(self.width / (2 * exponent)):.3g} or a greater width has one"
            )
        return left ** (-self.width / 2)

    def variances(self) -> tuple[np.ndarray, np.ndarray]:
        r"""Nodes :math:`s_q^2` and weights of the rule for means over queries, both of shape (node,).

        From the recurrence of the Laguerre polynomials (Golub and Welsch 1969): weights with their sum divided out do not
        overflow in wide heads, where :math:`\Gamma(\nu/2)` does.
        """
        k, a = np.arange(NODES), self.width / 2 - 1
        x, vectors = eigh_tridiagonal(2 * k + 1 + a, np.sqrt(k[1:] * (k[1:] + a)))
        return 2 * self.spread**2 * x / self.width, vectors[0] ** 2

    def planted_weight(self, variance: np.ndarray) -> np.ndarray:
        """Weight p of the planted key in rows of these variances; 0 without one."""
        if self.height is None:
            return np.zeros_like(variance)
        return 1 / (1 + (self.n_keys - 1) * np.exp(variance / 2 - self.height))

    def relative(self, of_row: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> float:
        r"""Relative error from the squared error of a row, ``of_row(variance, p, Q)`` of shape (node,).

        p is the planted weight and :math:`Q = (1 - p)^2 e^{s_q^2}/n` the sum of squares of the other weights.
        """
        self.row_moment(2.0)  # the error has a mean, and the corrections of order 1/n have one
        variance, weight = self.variances()
        p = self.planted_weight(variance)
        Q = (1 - p) ** 2 * np.exp(variance) / self.n_keys
        return math.sqrt(float(weight @ of_row(variance, p, Q)) / float(weight @ (p**2 + Q)))


def mean_of_values_error_limit(law: ScoreLaw) -> float:
    r"""Error of the map 1/n, which reads no score: :math:`\sqrt{1 - 1/(n\,\mathbb E \sum_j P_j^2)}`.

    Every approximation that errs more is worse than no scores at all; answering zero errs by 1.
    """
    return law.relative(lambda variance, p, Q: p**2 + Q - 1 / law.n_keys)
