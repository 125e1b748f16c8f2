r"""Score maps of the family "f over g": how a row of logits becomes a row of weights.

.. math:: W_{ij} = \frac{f(s_{ij})}{Z_i}, \qquad Z_i = c_i + \sum_j g(s_{ij}), \qquad o_i = \sum_j W_{ij} v_j .

Softmax is f = g = exp, c = 0. Every member gives f, g, their first two derivatives and c in a scaled form that cannot
overflow: all of them are divided by one number per row that cancels in W (``level``: e^m for exponential maps, m^p for
powers). With G = dL/dO, dP = G V^T and delta_i = sum_j W_ij dP_ij, the gradient of the logits is

.. math:: \partial s_{ij} = \bigl(f'(s_{ij})\, dP_{ij} - g'(s_{ij})\, \delta_i\bigr) / Z_i .

Two conventions hold for every map. A masked key, and a key whose logit is minus infinity, takes no part in any sum.
A row with Z = 0 (no visible key, or a rectified map without a positive logit) has zero weights and zero gradients.

The maps that are not of this form (hard maxima, entmax, clipped and standardised rows) are in ``other_scores``.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor


def is_number(x: object) -> bool:
    """Whether a parameter of a map is a finite real number."""
    return isinstance(x, numbers.Real) and math.isfinite(x)


class ScoreMap:
    """What ``attention`` asks of a score map; members are frozen dataclasses."""

    name: ClassVar[str] = ""

    def prepare(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys as the logits see them; the identity for all but cosine."""
        return q, k

    def default_scale(self, head_dim: int) -> float:
        """The factor on q.k when the caller gives none."""
        return 1.0 / math.sqrt(head_dim)

    def of_logits(self) -> ScoreMap:
        """The map of the logits alone, once queries and keys are prepared; another one for cosine only."""
        return self

    def weights(self, s: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (..., query, key) and the log of the normaliser Z (..., query) for logits ``s``."""
        raise NotImplementedError


class FOverG(ScoreMap):
    """The family: a member supplies ``level``, ``f``, ``g``, ``derivatives`` and ``constant``."""

    def level(self, s: Tensor, visible: Tensor) -> Tensor:
        """The number m (..., query, 1) of each row that keeps f and g in range; no gradient passes through it."""
        return s.new_zeros((*s.shape[:-1], 1))

    def f(self, s: Tensor, m: Tensor) -> Tensor:
        """The numerator, divided by the row's common factor."""
        raise NotImplementedError

    def g(self, s: Tensor, m: Tensor) -> Tensor:
        """The summand of the normaliser, divided by the same factor."""
        raise NotImplementedError

    def derivatives(self, s: Tensor, m: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """f', f'', g', g'' in s, divided by the same factor."""
        raise NotImplementedError

    def constant(self, m: Tensor, n_visible: Tensor) -> Tensor:
        """c, divided by the same factor; ``n_visible`` (..., query, 1) counts the keys a row sees."""
        return torch.zeros_like(m)

    def log_level(self, m: Tensor) -> Tensor:
        """Log of the common factor."""
        return m

    def weights(self, s: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        visible = visible & (s != -torch.inf)  # NaN is visible: it has to be seen
        s = torch.where(visible, s, 0.0)
        m = self.level(s.detach(), visible).detach()
        f = torch.where(visible, self.f(s, m), 0.0)
        g = torch.where(visible, self.g(s, m), 0.0)
        n_visible = visible.sum(-1, keepdim=True).to(s.dtype)
        z = self.constant(m, n_visible) + g.sum(-1, keepdim=True)
        empty = z == 0
        z = torch.where(empty, 1.0, z)
        log_z = torch.where(empty, -torch.inf, z.log() + self.log_level(m))
        # hidden entries are cut off once more at the end: no cotangent of theirs, NaN or not, reaches the normaliser
        return torch.where(visible & ~empty, f / z, 0.0), log_z.squeeze(-1)


def _row_max(x: Tensor, visible: Tensor) -> Tensor:
    """Largest visible entry of each row, 0 where there is none."""
    if x.shape[-1] == 0:
        return x.new_zeros((*x.shape[:-1], 1))
    top = torch.where(visible, x, -torch.inf).amax(-1, keepdim=True)
    return torch.where(top > -torch.inf, top, 0.0)


@dataclass(frozen=True)
class Softmax(FOverG):
    r"""Softmax, optionally with a sink: :math:`W_j = e^{s_j} / (e^{b} + \sum_l e^{s_l})`.

    ``sink`` is the logit b of a key without a value: None for plain softmax, 0 for "softmax plus one", or a tensor
    aligned with the first leading axes (per replica, per head) which receives gradients.
    """

    sink: float | Tensor | None = None
    name: ClassVar[str] = "softmax"

    def __post_init__(self):
        if self.sink is None or isinstance(self.sink, Tensor):
            return
        try:
            fits = float(self.sink) < math.inf
        except (TypeError, ValueError):
            fits = False
        if not fits:
            raise ValueError(f"sink={self.sink!r} must be a number below plus infinity, a tensor, or None for no sink")

    def _sink(self, like: Tensor) -> Tensor | None:
        if self.sink is None:
            return None
        if not isinstance(self.sink, Tensor):
            return torch.full((), self.sink, dtype=like.dtype, device=like.device)
        b = self.sink.to(like)
        return b.reshape(b.shape + (1,) * (like.ndim - b.ndim)) if b.ndim else b

    def level(self, s: Tensor, visible: Tensor) -> Tensor:
        top = (
            torch.where(visible, s, -torch.inf).amax(-1, keepdim=True)
            if s.shape[-1]
            else s.new_full((*s.shape[:-1], 1), -torch.inf)
        )
        b = self._sink(top)
        if b is not None:
            top = torch.maximum(top, b.detach())
        return torch.where(top > -torch.inf, top, 0.0)

    def f(self, s: Tensor, m: Tensor) -> Tensor:
        return torch.exp(s - m)

    def g(self, s: Tensor, m: Tensor) -> Tensor:
        return torch.exp(s - m)

    def derivatives(self, s: Tensor, m: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        e = torch.exp(s - m)
        return e, e, e, e

    def constant(self, m: Tensor, n_visible: Tensor) -> Tensor:
        b = self._sink(m)
        return torch.zeros_like(m) if b is None else torch.exp(b - m)


@dataclass(frozen=True)
class Softpick(FOverG):
    r"""Rectified softmax: :math:`W_j = \mathrm{relu}(e^{s_j}-1) / (\epsilon + \sum_l |e^{s_l}-1|)`.

    Rows sum to at most one and to zero if no logit is positive. The level is m = max(0, max s), as e^{-m} must not
    overflow when every logit is very negative. ``eps`` is the unscaled constant of the formula.
    """

    eps: float = 1e-6
    name: ClassVar[str] = "softpick"

    def __post_init__(self):
        if not (is_number(self.eps) and self.eps >= 0):
            raise ValueError(f"eps={self.eps!r} must be a number, at least 0; it is added to the sum that divides")

    def level(self, s: Tensor, visible: Tensor) -> Tensor:
        return _row_max(s, visible).clamp(min=0.0)

    def _difference(self, s, m):
        """(e^s - 1) e^{-m} without cancellation at small s."""
        small = s.abs() < 0.35
        return torch.where(
            small, torch.expm1(torch.where(small, s, 0.0)) * torch.exp(-m), torch.exp(s - m) - torch.exp(-m)
        )

    def f(self, s: Tensor, m: Tensor) -> Tensor:
        return torch.relu(self._difference(s, m))

    def g(self, s: Tensor, m: Tensor) -> Tensor:
        return self._difference(s, m).abs()

    def derivatives(self, s: Tensor, m: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        e = torch.exp(s - m)
        up, sign = (s > 0) * e, torch.sign(s) * e
        return up, up, sign, sign

    def constant(self, m: Tensor, n_visible: Tensor) -> Tensor:
        return self.eps * torch.exp(-m)


@dataclass(frozen=True)
class Sigmoid(FOverG):
    r"""No competition between keys: :math:`W_j = 1/(1+e^{-s_j})`; use a bias of -ln n for rows that sum to about 1."""

    name: ClassVar[str] = "sigmoid"

    def f(self, s: Tensor, m: Tensor) -> Tensor:
        positive = s >= 0
        e = torch.exp(torch.where(positive, -s, s))  # slopes keep their digits where 1 - p rounds to 0
        return torch.where(positive, 1.0, e) / (1 + e)

    def g(self, s: Tensor, m: Tensor) -> Tensor:
        return torch.zeros_like(s)

    def derivatives(self, s: Tensor, m: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        p, rest = torch.sigmoid(s), torch.sigmoid(-s)
        return p * rest, p * rest * (rest - p), torch.zeros_like(s), torch.zeros_like(s)

    def constant(self, m: Tensor, n_visible: Tensor) -> Tensor:
        return torch.ones_like(m)


@dataclass(frozen=True)
class Linear(FOverG):
    """Linear attention W_j = s_j / N. ``divide``: "count" (N = visible keys of the row) or "one" (N = 1)."""

    divide: str = "count"
    name: ClassVar[str] = "linear"

    def __post_init__(self):
        if self.divide not in ("count", "one"):
            raise ValueError(f"divide={self.divide!r} is unknown; use 'count' (visible keys) or 'one'")

    def f(self, s: Tensor, m: Tensor) -> Tensor:
        return s.clone()

    def g(self, s: Tensor, m: Tensor) -> Tensor:
        return torch.zeros_like(s)

    def derivatives(self, s: Tensor, m: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        zero = torch.zeros_like(s)
        return torch.ones_like(s), zero, zero, zero

    def constant(self, m: Tensor, n_visible: Tensor) -> Tensor:
        return n_visible.expand(m.shape).clone() if self.divide == "count" else torch.ones_like(m)


@dataclass(frozen=True)
class ReLU(Linear):
    """Rectified attention W_j = max(s_j, 0) / N, N as in ``Linear``. The slope at 0 is taken as 0."""

    name: ClassVar[str] = "relu"

    def f(self, s: Tensor, m: Tensor) -> Tensor:
        return torch.relu(s)

    def derivatives(self, s: Tensor, m: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        zero = torch.zeros_like(s)
        return (s > 0).to(s.dtype), zero, zero, zero


@dataclass(frozen=True)
class Power(FOverG):
    r"""Powers of the logits, l1-normalised: f = s^p, g = |s|^p, or with ``rectified`` f = g = max(s, 0)^p.

    ``power`` is an integer from 1 to 16. The level is the largest |s|, or the largest positive s, so that large logits do
    not overflow and small ones do not vanish beside logits that do not count.
    """

    power: int = 2
    rectified: bool = False
    name: ClassVar[str] = "power"

    def __post_init__(self):
        if not (isinstance(self.power, int) and 1 <= self.power <= 16):
            raise ValueError(f"power={self.power!r} must be an integer from 1 to 16")

    def level(self, s: Tensor, visible: Tensor) -> Tensor:
        top = _row_max(torch.relu(s) if self.rectified else s.abs(), visible)
        return torch.where(top > 0, top, 1.0)

    def log_level(self, m: Tensor) -> Tensor:
        return self.power * m.log()

    def _base(self, s, m):
        return torch.relu(s) / m if self.rectified else s / m

    def f(self, s: Tensor, m: Tensor) -> Tensor:
        return self._base(s, m) ** self.power

    def g(self, s: Tensor, m: Tensor) -> Tensor:
        if self.rectified or self.power % 2 == 0:
            return self.f(s, m)  # smooth at 0, which |s|^p is not for autograd
        x = self._base(s, m)
        return x ** (self.power - 1) * x.abs() if self.power > 1 else x.abs()

    def derivatives(self, s: Tensor, m: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        p, x = self.power, self._base(s, m)
        sign = torch.sign(x) if p % 2 else torch.ones_like(x)  # |x|^p = sign(x)^p x^p
        first = p * x ** (p - 1) / m
        second = p * (p - 1) * x ** (p - 2) / (m * m) if p > 1 else torch.zeros_like(x)
        if self.rectified:
            first, second = first * (s > 0), second * (s > 0)
        return first, second, sign * first, sign * second


@dataclass(frozen=True)
class Softplus(FOverG):
    r"""l1-normalised softplus: :math:`W_j = \log(1+e^{s_j}) / \sum_l \log(1+e^{s_l})` (the positivity map of LSSA).

    If every logit of a row is very negative the map tends to softmax; the level m = min(0, max s) keeps that limit.
    """

    name: ClassVar[str] = "softplus"

    def level(self, s: Tensor, visible: Tensor) -> Tensor:
        return _row_max(s, visible).clamp(max=0.0)

    def _tail(self, s, m):
        """Where log(1+e^s) = e^s (1 - e^s/2) to every digit, and e^{-m} for the other entries (where m > -15)."""
        return s < -15, torch.exp(-m.clamp(min=-15.0))

    def f(self, s: Tensor, m: Tensor) -> Tensor:
        tail, factor = self._tail(s, m)
        low = torch.where(tail, s, -15.0)
        high = torch.where(tail, 0.0, s)
        rising = torch.exp((low - m).clamp(max=1.0))  # low <= m wherever it counts; the clamp guards hidden keys
        return torch.where(
            tail, rising * (1 - low.exp() / 2), torch.nn.functional.softplus(high, threshold=40.0) * factor
        )

    def g(self, s: Tensor, m: Tensor) -> Tensor:
        return self.f(s, m)

    def derivatives(self, s: Tensor, m: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        tail, factor = self._tail(s, m)
        low = torch.where(tail, s, -15.0)
        p = torch.sigmoid(s)
        first = torch.where(tail, torch.exp((low - m).clamp(max=1.0)) * (1 - p), p * factor)
        second = first * (1 - p)
        return first, second, first, second


@dataclass(frozen=True)
class Signed(FOverG):
    r"""Cog attention: :math:`W_j = \mathrm{sign}(s_j) e^{|s_j|} / \sum_l e^{|s_l|}`, so sum |W| = 1.

    Discontinuous at s = 0, where the weight and its derivative are taken as 0.
    """

    name: ClassVar[str] = "signed"

    def level(self, s: Tensor, visible: Tensor) -> Tensor:
        return _row_max(s.abs(), visible)

    def f(self, s: Tensor, m: Tensor) -> Tensor:
        return torch.sign(s) * torch.exp(s.abs() - m)

    def g(self, s: Tensor, m: Tensor) -> Tensor:
        return torch.exp(s.abs() - m)

    def derivatives(self, s: Tensor, m: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        e, sign = torch.exp(s.abs() - m), torch.sign(s)
        return sign * sign * e, sign * e, sign * e, sign * sign * e


@dataclass(frozen=True)
class Cosine(ScoreMap):
    """Another score map on cosines of q and k; the default scale is 1.

    Vectors with a norm of at most ``eps`` count as zero: their cosines are 0 and they receive no gradient.
    """

    inner: ScoreMap = Softmax()
    eps: float = 1e-12
    name: ClassVar[str] = "cosine"

    def __post_init__(self):
        if not isinstance(self.inner, ScoreMap):
            raise ValueError(
                f"inner={self.inner!r} must be a ScoreMap object, such as Softmax(); scores.score_map(name) gives one"
            )
        if not (is_number(self.eps) and self.eps >= 0):
            raise ValueError(
                f"eps={self.eps!r} must be a number, at least 0: the norm up to which a vector counts as zero"
            )

    def prepare(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        def unit(x):
            lost = ~torch.isfinite(x).all(
                -1, keepdim=True
            )  # NaN, without one in the gradients of a key that nobody sees
            x = torch.where(lost, 1.0, x)
            size = (
                x.detach().abs().amax(-1, keepdim=True)
            )  # squares of very large and very small numbers leave the range
            x = x / torch.where(size > 0, size, 1.0)
            square = (x * x).sum(-1, keepdim=True)
            safe = square.detach().sqrt() * size > self.eps
            direction = torch.where(safe, x / torch.where(safe, square, 1.0).sqrt(), 0.0)
            return direction + torch.where(lost, torch.nan, 0.0).to(x.dtype)

        return unit(q), unit(k)

    def default_scale(self, head_dim: int) -> float:
        return 1.0

    def of_logits(self) -> ScoreMap:
        return self.inner.of_logits()

    def weights(self, s: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        return self.inner.weights(s, visible)
