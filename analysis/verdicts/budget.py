r"""Where a margin comes from: the pieces of a run's error budget, each with a name, added up.

A prediction is compared with a run that is not its idealisation: steps are finite, sizes are finite, numbers are rounded,
replicas are few. Each piece bounds one of these errors from what is known *before* the run; the margin of an equivalence
is their sum. It does not depend on how far away a rival is, and no piece is read off the values that are judged.

>>> within = budget(step_size(0.5004, 0.5001), finite_size(64, 0.02), replicas(0.01, 32, confidence=0.999))
>>> print(within)
0.00734 = step size 0.0006 + 1/64 0.000313 + replicas 0.00642

``within=budget(...)`` may be given to every judge; the verdict then carries the sum in words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from attnlab.analysis.statistics.intervals import skew_guard
from attnlab.analysis.verdicts.ledger import next_error
from attnlab.analysis.verdicts.wording import draws_of, read_of

MISSED = 0.0027  # share of runs in which a true prediction may lie outside a margin: that of three standard errors


@dataclass(frozen=True)
class Piece:
    """One source of error: its name and a bound of its size, in the unit of the measurement."""

    name: str
    size: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.size) and self.size >= 0):
            raise ValueError(f"the piece {self.name!r} of a budget must be finite and >= 0, got {self.size!r}")


@dataclass(frozen=True)
class Budget:
    """The sum of some pieces. ``float(budget)`` is the margin; its text says what it is made of."""

    pieces: tuple[Piece, ...]

    def __float__(self) -> float:
        return math.fsum(piece.size for piece in self.pieces)

    @property
    def beside_replicas(self) -> float:
        """What remains of the margin however many replicas run."""
        return math.fsum(piece.size for piece in self.pieces if piece.name != "replicas")

    def __str__(self) -> str:
        parts = " + ".join(f"{piece.name} {piece.size:.3g}" for piece in self.pieces)
        return f"{float(self):.3g} = {parts}" if len(self.pieces) > 1 else parts


def budget(*pieces: Piece) -> Budget:
    """The margin that some pieces add up to; at least one must be positive."""
    if not any(piece.size > 0 for piece in pieces):
        raise ValueError("a budget needs at least one piece above 0: nothing is measured without error")
    return Budget(tuple(pieces))


def step_size(whole: ArrayLike, halved: ArrayLike, order: int = 1) -> Piece:
    r"""Error of a prediction (or run) with step h, from the same with h/2; the largest over all entries.

    .. math:: |x_h - x| \approx \frac{|x_h - x_{h/2}|}{1 - 2^{-p}}

    with p the order of the scheme (1 for Euler steps, and for gradient descent read as a flow). The finer of the two is
    off by :math:`2^{-p}` of that.
    """
    gap = float(np.max(np.abs(np.asarray(whole, float) - np.asarray(halved, float)), initial=0.0))
    return Piece("step size", gap / (1 - 2.0**-order))


def euler_step(step: float, rate: float, amplitude: float = 1.0) -> Piece:
    r"""Largest distance between Euler steps and the flow :math:`\dot x = -\lambda x` from ``amplitude``.

    .. math:: \max_k |e^{-\lambda h k} - (1 - \lambda h)^k| \le r^{-1/(r-1)} - r^{-r/(r-1)}, \qquad
              r = \frac{-\log(1 - \lambda h)}{\lambda h},

    which is :math:`\lambda h / (2 e)` for small steps. For gradient descent h is the learning rate and lambda the largest
    curvature that matters.
    """
    x = step * rate
    if not 0 < x < 1:
        raise ValueError(f"step * rate must lie in (0, 1) for Euler steps to follow the flow, got {x:.4g}")
    r = -math.log1p(-x) / x
    u = math.log(r) / (r - 1)
    return Piece("step size", abs(amplitude) * (math.exp(-u) - math.exp(-r * u)))


def finite_size(n: float, leading: float = 1.0, power: float = 1.0, of: str = "") -> Piece:
    r"""What a limit of infinite size leaves out: ``leading`` :math:`\cdot\, n^{-\text{power}}`.

    ``leading`` is the coefficient of the first term that the prediction drops, from theory or from the gap at another size;
    ``of`` names the size (``"d"``).
    """
    if not n > 0 or not power > 0:
        raise ValueError(f"a size and its power must be positive, got n={n!r}, power={power!r}")
    name = f"1/{of or f'{n:g}'}" + (f"^{power:g}" if power != 1 else "")
    return Piece(name, abs(leading) * float(n) ** -power)


def rounding(roundings: float, scale: float = 1.0, eps: float = float(np.finfo(np.float64).eps)) -> Piece:
    """Roundings that the computation may make, in units of ``eps`` times the size of the numbers rounded."""
    return Piece("rounding", roundings * eps * abs(scale))


def sampling(std: float, n_samples: float, sigmas: float = 4.0) -> Piece:
    r"""Monte-Carlo error of a number that is itself an average, common to all replicas: ``sigmas`` standard errors.

    For a reference evaluated on one test set, say. Where each replica draws its own samples, use :func:`replicas` only:
    the spread over replicas holds this error already. Four sigmas leave out 6e-5 of a normal law.
    """
    return Piece("sampling", sigmas * std / math.sqrt(n_samples))


def replicas(
    std: float, n: int, confidence: float | None = None, of: str = "mean over replicas", points: int = 1
) -> Piece:
    r"""What ``n`` replicas that scatter by ``std`` leave open: the interval that judges use, and how far its centre may lie.

    .. math:: (g\, c\, t_{n-1,\,1-\alpha/2} + 3)\; \text{std} / \sqrt n, \qquad c^2 = \chi^2_{n-1,\,0.975} / (n-1),

    with g the widening for skewed replicas (:func:`~attnlab.analysis.statistics.intervals.skew_guard`), c the most by which
    the spread of n normal values is overestimated, and 3 standard errors for the centre, so that a true prediction is found
    inside in 98 % of runs at least. Without this piece no interval would fit into the margin. ``of`` as judges read it:
    ``"mean over replicas of 4000 draws"`` is widened less, ``"median over replicas"``
    takes the order statistics of normal values,
    :math:`(-\Phi^{-1}(l / (n+1)) + 3\sqrt{\pi/2n})\,\text{std}` with l their lower rank. A ``"mean trajectory"`` is judged
    at ``points`` times and components at once: each has its part of the error, and the 3 becomes the quantile that all
    of them respect.

    ``std`` is the spread that is known beforehand: from theory, or from runs at another seed; never that of the values
    judged, as then noisier data would get a wider margin. ``confidence`` defaults to what the current claim's share of the
    error budget leaves for its next judge.
    """
    if n < 2:
        raise ValueError(f"an interval of a mean needs n >= 2 replicas, got {n!r}")
    if points < 1:
        raise ValueError(f"points counts what is judged at once, at least 1, got {points!r}")
    alpha = (next_error() if confidence is None else 1 - confidence) / points
    sigmas = -float(special.ndtri(MISSED / 2 / points))
    path = of.startswith(("mean trajectory", "mean curve"))
    kind, level = ("mean", math.nan) if path else read_of(of)
    if kind == "mean":
        t = -float(special.stdtrit(n - 1, alpha / 2))
        wide = math.sqrt(float(special.chdtri(n - 1, 0.025)) / (n - 1))
        half = (skew_guard(n * draws_of(of), 1 - alpha) * wide * t + sigmas) / math.sqrt(n)
    elif kind == "quantile" and level == 0.5:
        rank = int(np.count_nonzero(special.bdtr(np.arange(n + 1), n, 0.5) <= alpha / 2))
        if rank == 0:
            raise ValueError(f"n={n} replicas give no interval of a median at error {alpha:.2g}; take more replicas")
        half = sigmas * math.sqrt(math.pi / (2 * n)) - float(special.ndtri(rank / (n + 1)))
    else:
        raise ValueError(f"a piece for replicas is known for means and medians, got of={of!r}")
    return Piece("replicas", half * abs(std))


def relative(share: float, size: float, why: str) -> Piece:
    """A known relative error of the measurement, such as that of a quadrature: ``share`` of ``size``; ``why`` names it."""
    return Piece(why, share * abs(size))
