r"""How attention logits of tokens move while the decoder learns: fate of tokens, scanning, snapping.

Tian, Wang, Chen and Du 2023 (arXiv 2305.16380), sections 4 and 5, and the gradient of section 2. ``f`` is the attention over
token types normalised to length one, ``xi`` the part of the gradient sent back that is left after normalisation.
"""

import numpy as np
from scipy.optimize import brentq

from attnlab.theory.checks import check_positive
from attnlab.theory.token_selection.decoder import decoder_growth_exact


def gradient_flow_exact(counts, logits, decoder, residual) -> tuple[np.ndarray, np.ndarray]:
    r"""Velocities of the decoder Y and of the query's attention logits z on one sequence, at learning rates one.

    .. math:: \dot Y = f (e_n - \alpha)^T, \qquad
        \dot z = \frac{X^T \mathrm{diag}(b) X}{\|X^T b\|} (I - f f^T)\, Y (e_n - \alpha)
        = \mathrm{diag}(f) (I - f f^T)\, Y (e_n - \alpha),

    for X^T diag(b) X = diag(X^T b): the sequence enters by its counts only. ``counts`` and ``logits`` (token,), ``decoder``
    (token, id), ``residual`` e_n - alpha (id,). Tokens that do not occur do not move.
    """
    f = attention_direction(counts, logits)
    signal = np.asarray(decoder, np.float64) @ np.asarray(residual, np.float64)
    return np.outer(f, residual), f * (signal - f * (f @ signal))


def attention_direction(counts, logits) -> np.ndarray:
    r"""f = c / |c| with c_l proportional to count_l e^{z_l}; last axis: tokens. Counts may be frequencies."""
    counts, z = np.asarray(counts, np.float64), np.asarray(logits, np.float64)
    if np.any(counts < 0) or np.any(counts.sum(-1) == 0):
        raise ValueError("counts must be at least 0 and not all 0: a sequence holds at least one token")
    with np.errstate(divide="ignore"):
        log_c = np.log(counts) + z
    c = np.exp(log_c - log_c.max(-1, keepdims=True))
    return c / np.linalg.norm(c, axis=-1, keepdims=True)


def attention_fluctuation_limit(frequencies, logits) -> np.ndarray:
    r"""T' E |c_T' - c|^2 for T' drawn tokens, T' to infinity: how fast attention by type forgets the sample.

    .. math:: \sum_l \frac{c_l^2}{P_l} - 2 \sum_l \frac{c_l^3}{P_l} + |c|^2 \sum_l \frac{c_l^2}{P_l}, \qquad
        c_l \propto P_l e^{z_l}.

    Last axis: tokens. Why: relative errors delta_l of the frequencies have T' cov = 1[l = m] / P_l - 1, and to first order
    dc_l = c_l (delta_l - sum_m c_m delta_m). Finite T' adds a relative error of order 1 / (T' min P).
    """
    P = np.asarray(frequencies, np.float64)
    c = P * np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    c = c / c.sum(-1, keepdims=True)
    noise = (c**2 / P).sum(-1)
    return noise - 2 * (c**3 / P).sum(-1) + (c**2).sum(-1) * noise


def frequency_gap_bound(length, failure: float) -> np.ndarray:
    r"""Hoeffding's bound on |count_l / T' - P(l)| for T' drawn tokens, exceeded with probability at most ``failure``.

    .. math:: \sqrt{\ln(2 / \delta) / (2 T')}
    """
    if not 0 < failure < 1:
        raise ValueError(f"failure={failure!r} is not a probability inside (0, 1)")
    return np.sqrt(np.log(2 / failure) / (2 * np.asarray(length, np.float64)))


def relative_gain_exact(start, logit_change) -> np.ndarray:
    r"""Relative gain r = f_l^2 / f_{l'}^2 - 1 of two distinct tokens of a class, when z_l has risen by ``logit_change``.

    .. math:: r(t) = r(0)\, e^{2 (z_l(t) - z_l(0))}

    Exact for dz/dt = eta f^2 xi with one xi for both tokens: then d ln(f_l / f_l') / dt = eta xi (f_l^2 - f_l'^2), so that
    dr/dt = 2 eta xi f_l^2 r = 2 r dz_l/dt. In training, f must move slowly against the decoder.
    """
    return np.asarray(start, np.float64) * np.exp(2 * np.asarray(logit_change, np.float64))


def dominant_growth_bounds(start_share2: float, exposure) -> tuple[np.ndarray, np.ndarray]:
    r"""Lower and upper bound of chi = e^{2 (z(t) - z(0))} of the most frequent distinct token.

    .. math:: e^{2 f(0)^2 B} \le \chi \le e^{2B}, \qquad B(t) = \eta_Z \int_0^t \xi,

    for its f^2 rises from ``start_share2`` and stays below one. ``exposure`` is B.
    """
    if not 0 < start_share2 <= 1:
        raise ValueError(
            f"start_share2={start_share2!r} is a squared entry of a unit vector; use 0 < start_share2 <= 1"
        )
    B = np.asarray(exposure, np.float64)
    return np.exp(2 * start_share2 * B), np.exp(2 * B)


def speed_integral_exact(
    time, n_classes: int, vocabulary: int, decoder_rate: float, attention_rate: float
) -> np.ndarray:
    r"""Gamma(t) = eta_Z times the integral of the paper's gamma: (eta_Z / eta_Y) K (M - 1)^2 h(t / K)^2 / 2.

    Why: gamma ds = (M - 1)^2 h ds / (M - 1 + e^{Mh}) = (M - 1)^2 h dh / eta_Y.
    """
    h = decoder_growth_exact(np.asarray(time, np.float64) / n_classes, vocabulary, decoder_rate)
    return attention_rate / decoder_rate * n_classes * (vocabulary - 1) ** 2 * h**2 / 2


def exposure_exact(speed_integral, scale: float) -> np.ndarray:
    r"""B(t) of one common token with frozen normalisers: ln(1 + 4 Gamma / C_0) / 4.

    Solves dz/dt = -(eta_Z / C_0) gamma e^{4z}, dB/dt = eta_Z (gamma / C_0) e^{4z} from z = B = 0: e^{-4z} = 1 + 4 Gamma / C_0,
    and B = -z. ``scale`` is C_0 = rho_0^4 / K.
    """
    check_positive(scale=scale)
    return np.log1p(4 * np.asarray(speed_integral, np.float64) / scale) / 4


def exposure_published(speed_integral, scale: float) -> np.ndarray:
    """The printed form ln(C_0 + 4 Gamma) / 4, which does not start at zero unless C_0 = 1."""
    check_positive(scale=scale)
    return np.log(scale + 4 * np.asarray(speed_integral, np.float64)) / 4


def scanning_limit(time, n_classes: int, vocabulary: int, decoder_rate: float, attention_rate: float) -> np.ndarray:
    r"""4 Gamma long before t_0: 2 (M-1)^2 / (K M^2) eta_Y eta_Z t^2, so that e^{2B} rises linearly once above one."""
    t = np.asarray(time, np.float64)
    return 2 * (1 - 1 / vocabulary) ** 2 / n_classes * decoder_rate * attention_rate * t**2


def snapping_limit(time, n_classes: int, vocabulary: int, decoder_rate: float, attention_rate: float) -> np.ndarray:
    r"""4 Gamma long after t_0: 2 K (M-1)^2 / M^2 (eta_Z / eta_Y) ln^2(M eta_Y t / K); e^{2B} rises like ln t."""
    t = np.asarray(time, np.float64)
    growth = np.log(vocabulary * decoder_rate * t / n_classes)
    return 2 * n_classes * (1 - 1 / vocabulary) ** 2 * attention_rate / decoder_rate * growth**2


def snap_time_limit(n_classes: int, vocabulary: int, decoder_rate: float) -> float:
    """The paper's t_0 = 2 K ln M / eta_Y."""
    check_positive(decoder_rate=decoder_rate)
    return 2 * n_classes * float(np.log(vocabulary)) / decoder_rate


def denser_after_exact(n_classes: int, vocabulary: int, decoder_rate: float) -> float:
    r"""The time after which, at fixed eta_Z, a larger decoder rate means less growth of attention.

    .. math:: t = \frac{K}{\eta_Y} \frac{e^{u} + (M-1) u - 1}{M}, \qquad (u - 2) e^u = (M-1) u - 2, \quad u > 2.

    Why: Gamma is proportional to h^2 / eta_Y; with u = M h its derivative in eta_Y at fixed t has the sign of
    2 eta_Y du/d eta_Y - u, and eta_Y du/d eta_Y = M eta_Y s / (M - 1 + e^u) = (e^u + (M-1) u - 1) / (M - 1 + e^u).
    """
    check_positive(decoder_rate=decoder_rate)
    top = np.log(vocabulary) + 10
    u = brentq(lambda u: (u - 2) - ((vocabulary - 1) * u - 2) * np.exp(-u), 2.0, top, xtol=1e-14)
    return n_classes / decoder_rate * float(np.exp(u) + (vocabulary - 1) * u - 1) / vocabulary
