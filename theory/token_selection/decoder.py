r"""The decoder of a one-layer attention model while attention rests: growth, residual, and the gradient it sends back.

Tian, Wang, Chen and Du 2023 (arXiv 2305.16380), sections 3 and 4. Notation: K classes, drawn uniformly; M output ids;
eta the decoder's learning rate; t counts gradient steps on one sequence (or on the mean over classes), so ``visits =
t / K`` counts those a class has had. Inputs ``f_n`` of the classes are orthonormal here;
:mod:`attnlab.theory.token_selection.overlapping_inputs` treats overlapping ones.
"""

import numpy as np
from scipy.special import lambertw, wrightomega

from attnlab.theory.checks import check_positive


def decoder_growth_exact(visits, vocabulary: int, rate: float) -> np.ndarray:
    r"""The scalar h that the whole decoder follows: own logits are (M - 1) h, all others -h.

    .. math:: \frac{dh}{ds} = \frac{\eta}{M - 1 + e^{Mh}}, \quad h(0) = 0
        \iff e^{Mh} + (M-1) M h = M \eta s + 1.

    With the Wright function, omega(x) = W(e^x): M h = C - omega(C - ln(M - 1)), C = (M eta s + 1) / (M - 1). Accurate to
    rounding of C, that is to about 1e-16 C; no exponential overflows. ``visits`` (s) of any shape, at least 0.

    Reference: Tian et al. 2023, lemma on the backpropagated gradient (the implicit form).
    """
    s = _checked(visits, vocabulary, rate)
    C = (vocabulary * rate * s + 1) / (vocabulary - 1)
    return (C - wrightomega(C - np.log(vocabulary - 1)).real) / vocabulary


def decoder_growth_steps_exact(n_steps: int, vocabulary: int, rate: float) -> np.ndarray:
    r"""h after 0, 1, ..., n_steps visits by gradient descent, ``(n_steps + 1,)``.

    .. math:: h^*(s) = h^*(s-1) + \frac{\eta}{M - 1 + e^{M h^*(s-1)}}, \qquad 0 \le h^*(s) - h(s) \le \frac{2\eta}{M}.
    """
    _checked(n_steps, vocabulary, rate)
    h = np.zeros(n_steps + 1)
    for s in range(n_steps):
        h[s + 1] = h[s] + rate * _inv_denominator(h[s], vocabulary)
    return h


def decoder_step_gap_bound(vocabulary: int, rate: float) -> float:
    """Upper bound 2 eta / M on how far gradient descent runs ahead of its flow, h* - h."""
    _checked(0.0, vocabulary, rate)
    return 2 * rate / vocabulary


def decoder_step_gap_limit(vocabulary: int, rate: float) -> float:
    r"""Largest h* - h for small steps, eta / (2 e M): a tenth of the published bound.

    Why: the error of Euler's method is (h'/2) ln(h'(0) / h'), up to terms of order eta^2; with h' = eta y, y <= 1 / M, its
    largest value over y is at y = 1 / (e M).
    """
    _checked(0.0, vocabulary, rate)
    return rate / (2 * np.e * vocabulary)


def residual_exact(growth, vocabulary: int) -> np.ndarray:
    r"""Probability 1 - alpha_n that is missing at the next token: (M - 1) / (M - 1 + e^{M h})."""
    return (vocabulary - 1) * _inv_denominator(np.asarray(growth, np.float64), vocabulary)


def backward_speed_exact(visits, vocabulary: int, rate: float) -> np.ndarray:
    r"""Length of the gradient sent back, g_n = Y (e_n - alpha_n) = speed f_n for orthonormal inputs.

    .. math:: f_n^T Y (e_n - \alpha_n) = M h\, (1 - \alpha_n) = \frac{M (M-1)\, h}{M - 1 + e^{Mh}}.

    The own logit is (M - 1) h with weight 1 - alpha_n, and the M - 1 others, at -h each, share the same weight: M h in all.
    """
    h = decoder_growth_exact(visits, vocabulary, rate)
    return vocabulary * (vocabulary - 1) * h * _inv_denominator(h, vocabulary)


def backward_speed_approx(visits, vocabulary: int, rate: float) -> np.ndarray:
    r"""The paper's gamma, :math:`(M-1)^2 h / (M - 1 + e^{Mh})`: the exact speed times 1 - 1/M."""
    return (1 - 1 / vocabulary) * backward_speed_exact(visits, vocabulary, rate)


def backward_speed_early_limit(visits, vocabulary: int, rate: float) -> np.ndarray:
    """The speed before any class is learnt: (1 - 1/M) eta s, linear in time."""
    return (1 - 1 / vocabulary) * rate * _checked(visits, vocabulary, rate)


def backward_speed_late_limit(visits, vocabulary: int, rate: float) -> np.ndarray:
    """The speed long after: ln(M eta s) / (eta s), which falls like log t / t; relative error of order lnln / ln."""
    s = _checked(visits, vocabulary, rate)
    return np.log(vocabulary * rate * s) / (rate * s)


def backward_speed_peak_exact(vocabulary: int, rate: float) -> tuple[float, float]:
    r"""When the speed is largest, in visits, and how large it is then.

    .. math:: u^* = 1 + W\!\left(\frac{M-1}{e}\right), \quad s^* = \frac{e^{u^*} + (M-1) u^* - 1}{M \eta}, \quad
        \text{speed}^* = (M-1)\, e^{-u^*}, \qquad u = M h.

    Why: u / (M - 1 + e^u) is stationary where M - 1 = (u - 1) e^u; there M - 1 + e^u = u e^u.
    """
    _checked(0.0, vocabulary, rate)
    u = 1 + float(lambertw((vocabulary - 1) / np.e).real)
    return _visits_at(u, vocabulary) / rate, (vocabulary - 1) * float(np.exp(-u))


def snap_visits_limit(vocabulary: int, rate: float) -> float:
    """The paper's end of scanning, t_0 / K = 2 ln M / eta, in visits per class."""
    _checked(0.0, vocabulary, rate)
    return 2 * float(np.log(vocabulary)) / rate


def _visits_at(u: float, vocabulary: int) -> float:
    """eta s at which M h = u, from the implicit form."""
    return float(np.exp(u) + (vocabulary - 1) * u - 1) / vocabulary


def _inv_denominator(h, vocabulary: int) -> np.ndarray:
    """1 / (M - 1 + e^{M h}), written so that nothing overflows."""
    decay = np.exp(-vocabulary * h)
    return decay / ((vocabulary - 1) * decay + 1)


def _checked(visits, vocabulary: int, rate: float) -> np.ndarray:
    if vocabulary < 2:
        raise ValueError(f"vocabulary={vocabulary!r} leaves nothing to predict; use at least 2 ids")
    check_positive(rate=rate)
    s = np.asarray(visits, np.float64)
    if not np.all(s >= 0):
        raise ValueError(f"visits must be at least 0, got {np.min(s)!r}; they count the steps that each class has had")
    return s
