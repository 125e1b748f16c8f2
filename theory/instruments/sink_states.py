r"""States behind sinks: what a written component along the first token's direction u does, and how large a coordinate stands out.

A state is m u + w, w orthogonal to u of norm s; pre-norm attention sees its direction only, of cosine
:math:`c = m/\sqrt{m^2 + s^2}` with u.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from attnlab.theory.checks import check_count, check_not_negative, check_positive


def cosine_of_written(written: float, rest: float) -> float:
    r"""Cosine with u of a state with component ``written`` along u and ``rest`` across: :math:`m/\sqrt{m^2 + s^2}`."""
    check_positive(rest=rest)
    return written / math.hypot(written, rest)


def smallest_written(rest: float, tau: float = 0.9) -> float:
    r"""The component from which the cosine exceeds tau: :math:`s/\sqrt{1/\tau^2 - 1}`, 2.06 s at tau = 0.9."""
    check_positive(rest=rest, tau=tau)
    return rest / math.sqrt(1 / tau**2 - 1)


def lifetime_exact(written: float, update: float, start: int, tau: float = 0.9) -> int:
    r"""Number of layers after which the written state is seen, where every layer adds an orthogonal update of norm s.

    The layers l >= ``start`` (from 0) with :math:`s^2 (l + 1) \le m^2 (1/\tau^2 - 1)`: quadratic in the written norm.
    """
    check_positive(update=update, tau=tau)
    check_count(at_least=0, start=start)
    return max(0, math.floor((written / update) ** 2 * (1 / tau**2 - 1) * (1 + 1e-12)) - start)


def weights_of_sinks(bonus: float, cosines: tuple[float, ...], n_others: int) -> np.ndarray:
    r"""Weights of the sinks for a query of component b along u: :math:`e^{b c_k} / (\sum_k e^{b c_k} + n)`, others of score 0."""
    check_count(at_least=0, n_others=n_others)
    lifted = np.exp(bonus * np.asarray(cosines, dtype=np.float64))
    return lifted / (lifted.sum() + n_others)


def weakening_exact(bonus: float, cosine: float, n_secondary: int, n_tokens: int) -> float:
    r"""The factor by which the first token's weight falls when S other tokens get the cosine c: Z/(Z + S(e^{bc} - 1)), Z = e^b +
    T - 1.

    Nothing about the first token changes: a fall by this factor is no mechanism of its own.
    """
    check_count(n_tokens=n_tokens, n_secondary=n_secondary)
    whole = math.exp(bonus) + n_tokens - 1
    return whole / (whole + n_secondary * math.expm1(bonus * cosine))


def phi_exact(massive: float, dim: int) -> float:
    r"""Largest coordinate over root mean square for one coordinate M among D - 1 of mean square 1:
    :math:`M\sqrt D/\sqrt{M^2 + D - 1}`.

    Below sqrt(D) for every M.
    """
    check_positive(massive=massive)
    check_count(at_least=2, dim=dim)
    return massive * math.sqrt(dim) / math.sqrt(massive**2 + dim - 1)


def massive_at(phi: float, dim: int) -> float:
    r"""The coordinate M at which :func:`phi_exact` is ``phi``: :math:`\phi\sqrt{(D-1)/(D-\phi^2)}`; ``ValueError`` from sqrt(D)
    on."""
    check_positive(phi=phi)
    if phi**2 >= dim:
        raise ValueError(f"phi={phi!r} is out of reach at dim={dim}: it lies below {dim**0.5:.4g}")
    return phi * math.sqrt((dim - 1) / (dim - phi**2))


def gaussian_phi_quantile_bound(dim: int, level: float) -> float:
    r"""A quantile of the largest coordinate over rms of a Gaussian state, from above, by a sum over coordinates.

    .. math:: D\, P\bigl(|t_{D-1}| > q\sqrt{(D-1)/(D-q^2)}\bigr) = 1 - \text{level}, \qquad
              x_1/\mathrm{rms} = \sqrt D\, t/\sqrt{t^2 + D - 1}.

    Two coordinates pass together with about half the square of 1 - level: so near is the true quantile's level.
    """
    check_count(at_least=2, dim=dim)
    if not 0.5 <= level < 1:
        raise ValueError(f"level={level!r} must lie between 0.5 and 1")
    t = -float(special.stdtrit(dim - 1, (1 - level) / (2 * dim)))
    return math.sqrt(dim) * t / math.sqrt(t**2 + dim - 1)


def gaussian_phi_mean_bound(dim: int) -> float:
    r"""Another upper estimate of the mean, :math:`\sqrt{2\ln 2D}`: 3.1 where the mean is 2.6 (D = 64)."""
    check_count(at_least=2, dim=dim)
    return math.sqrt(2 * math.log(2 * dim))


def returned_share(weight: float, sink_mass: float) -> float:
    r"""The share of the mass released by sinks of mass a_S that a key of weight a gets back in proportion:
    :math:`a/(1 - a_S)`."""
    check_not_negative(weight=weight, sink_mass=sink_mass)
    return weight / (1 - sink_mass)


def distance_after_calibration(sink_mass: float, keep: float, apart: float) -> float:
    r"""Distance of the output from the rest's mean o_r when a sink of mass w keeps the share beta:
    :math:`\beta w \lVert v_s - o_r\rVert`."""
    check_not_negative(sink_mass=sink_mass, keep=keep, apart=apart)
    return keep * sink_mass * apart


def gain_of_no_op(sink_mass: float, keep: float) -> float:
    r"""Norm of the output after over before, for a sink whose value is 0: :math:`(1 - \beta w)/(1 - w)`."""
    check_not_negative(sink_mass=sink_mass, keep=keep)
    return (1 - keep * sink_mass) / (1 - sink_mass)
