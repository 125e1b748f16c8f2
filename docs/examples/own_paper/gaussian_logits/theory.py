"""The inverse participation ratio of softmax weights over n independent Gaussian logits."""

import math


def inverse_participation_limit(logit_std: float) -> float:
    r"""Limit of n E sum_j p_j^2 as n grows, for p = softmax(x) and n independent logits x_j ~ N(0, s^2).

    .. math:: n \sum_j p_j^2 = \frac{\frac1n\sum_j e^{2 x_j}}{(\frac1n\sum_j e^{x_j})^2} \to \frac{e^{2 s^2}}{e^{s^2}} = e^{s^2}.
    """
    _positive("logit_std", logit_std)
    return math.exp(logit_std**2)


def inverse_participation_approx(logit_std: float, n_keys: int) -> float:
    r"""The same at finite n, to first order in 1/n.

    With A the mean of e^{2x} and B that of e^x, the second-order expansion of A / B^2 around the means gives

    .. math:: n E \sum_j p_j^2 \approx e^{s^2}\Bigl(1 + \frac{3 (e^{s^2} - 1) - 2 (e^{2 s^2} - 1)}{n}\Bigr),

    from Var(B) / E[B]^2 = (e^{s^2} - 1) / n and Cov(A, B) / (E[A] E[B]) = (e^{2 s^2} - 1) / n.
    """
    _positive("n_keys", n_keys)
    square = logit_std**2
    correction = 3 * math.expm1(square) - 2 * math.expm1(2 * square)
    return inverse_participation_limit(logit_std) * (1 + correction / n_keys)


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value!r}")
