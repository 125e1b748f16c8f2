r"""Attention scores of random queries and keys: variance and fourth moment.

``q`` and ``k`` have ``dim`` independent standard normal entries; a score is ``scale * q . k``.
"""

from attnlab.theory.checks import check_count, check_positive


def score_variance_exact(dim: int, scale: float) -> float:
    r"""Variance of the scores: ``scale^2 dim``; 1 for the usual ``scale = dim^(-1/2)``.

    Vaswani et al. 2017, section 3.2.1, footnote 4. Holds for any independent entries of mean 0 and variance 1.
    """
    check_count(dim=dim)
    check_positive(scale=scale)
    return scale**2 * dim


def score_kurtosis_exact(dim: int) -> float:
    r"""Fourth moment over the squared variance: ``3 + 6 / dim``. Scores are heavier-tailed than Gaussian at finite dim.

    Why: given q the score is normal with variance ``|q|^2 scale^2``, and ``E |q|^4 = dim (dim + 2)``.
    """
    check_count(dim=dim)
    return 3 + 6 / dim
