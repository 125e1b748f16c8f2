r"""How the output of one layer feels the source: squared Frobenius norms of its derivative with respect to all source tokens.

Tokens of width d are standard normal, queries are scaled to scores of spread s, keys are tokens, :math:`W_V` has entries of
variance 1/d. The derivative with respect to token j is :math:`a_j [W_V + (v_j - o) q^\top / \sqrt d]`: a value path, and a
path through
the scores.
"""

from __future__ import annotations

from attnlab.theory.checks import check_count, check_standard_deviation


def value_path_exact(n_source: int, n_target: int, dim: int, participation: float) -> float:
    r"""Map held fixed: :math:`d\, n\, P / (n + t)`, P the mean of :math:`\sum_j a_j^2` over rows of n + t keys (1/(n+t) if flat).

    Why: :math:`E |W_V|_F^2 = d`, and every key has the same share of P.
    """
    check_count(n_source=n_source, dim=dim)
    check_count(at_least=0, n_target=n_target)
    return dim * n_source * participation / (n_source + n_target)


def both_paths_approx(n_source: int, n_target: int, dim: int, spread: float, participation: float) -> float:
    r"""Through values and scores: :math:`\big( 1 + s^2 + (2 s^2 + s^4) / d \big)` times the value path; in long rows

    .. math:: E |J|_F^2 \to \big( d (1 + s^2) + 2 s^2 + s^4 \big)\, \frac{n\, e^{s^2}}{(n + t)^2},

    so |J| falls like 1 / (n + t). What is left out is of the order of the weight of a token on itself, :math:`e^{2 s^2} / (n
    + t)`.

    Why: weighed by :math:`a_j^2` the token is :math:`x_j = 2 w + z`, :math:`w = q / \sqrt d`, and :math:`o \to W_V w`, so
    :math:`E |v_j - o|^2 = d + s^2`, and the two paths overlap by :math:`2 E\, w^\top W_V^\top W_V (w + z) = 2 s^2`.
    """
    check_standard_deviation(spread=spread)
    return value_path_exact(n_source, n_target, dim, participation) * (
        1 + spread**2 + (2 * spread**2 + spread**4) / dim
    )
