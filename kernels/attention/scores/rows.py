"""Score maps beside the family "f over g": hard maxima, entmax, clipped softmax, standardised rows.

They run on the reference path (plain tensor operations), where all derivatives come from autograd.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention.scores.f_over_g import ScoreMap, Softmax, is_number


def _top(s: Tensor) -> Tensor:
    """Largest entry of each row, minus infinity where there is none."""
    return s.amax(-1, keepdim=True) if s.shape[-1] else s.new_full((*s.shape[:-1], 1), -torch.inf)


def _hide(s: Tensor, visible: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits with hidden keys at minus infinity, the visible set, and which rows see at least one key."""
    visible = visible & (s != -torch.inf)
    return torch.where(visible, s, -torch.inf), visible, visible.any(-1, keepdim=True)


@dataclass(frozen=True)
class Hardmax(ScoreMap):
    """All weight on the largest logit. ``ties``: "first" (lowest index, leftmost-hard) or "average" (shared equally).

    The weights are locally constant, so the logits receive zero gradients. The log-normaliser is the largest logit.
    """

    ties: str = "first"
    name: ClassVar[str] = "hardmax"

    def __post_init__(self):
        if self.ties not in ("first", "average"):
            raise ValueError(f"ties={self.ties!r} is unknown; use 'first' or 'average'")

    def weights(self, s: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        s, visible, any_key = _hide(s, visible)
        top = _top(s)
        winners = ((s == top) & visible).to(s.dtype).detach()
        if self.ties == "first":
            winners = winners * (winners.cumsum(-1) == 1)
        weights = winners / winners.sum(-1, keepdim=True).clamp(min=1.0)
        weights = torch.where(torch.zeros_like(visible), s, weights)  # where the gradients of zero come from
        return weights, torch.where(any_key, top, -torch.inf).squeeze(-1)


@dataclass(frozen=True)
class Entmax(ScoreMap):
    r"""alpha-entmax: :math:`W_j = [(\alpha-1) s_j - \tau]_+^{1/(\alpha-1)}` with tau such that the row sums to one.

    ``alpha`` in (1, 4]; 2 is sparsemax, 1.5 has a smooth gradient, alpha -> 1 tends to softmax. tau is found by
    bisection and finished by two Newton steps that autograd sees: the first makes the first derivative exact, the
    second the second one. The log-normaliser reported is tau. Near alpha = 1 the power is :math:`e^{\log(1+y)/(\alpha-1)}`.
    """

    alpha: float = 1.5
    name: ClassVar[str] = "entmax"

    def __post_init__(self):
        if not (is_number(self.alpha) and 1 < self.alpha <= 4):
            raise ValueError(f"alpha={self.alpha!r} must be a number in (1, 4]; use score='softmax' for alpha = 1")

    def weights(self, s: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        s, visible, any_key = _hide(s, visible)
        a = self.alpha - 1
        with torch.no_grad():
            top = torch.where(any_key, _top(s.detach()), 0.0)
            top = torch.where(top == torch.inf, 0.0, top)
        # the weights do not change when a row is shifted: below its largest logit no digit of tau is lost
        x = torch.where(visible, s, top) - top
        with torch.no_grad():  # tau = a shift - 1; the top weight is at most 1, and at least 1 over the number of keys
            hidden = torch.where(visible, x.detach(), -torch.inf)
            n = visible.sum(-1, keepdim=True).clamp(min=1).to(s.dtype)
            low, high = torch.zeros_like(top), -torch.expm1(-a * n.log()) / a
            for _ in range(60 if s.dtype == torch.float64 else 30):
                mid = (low + high) / 2
                heavy = self._root((a * (hidden - mid)).clamp(min=-1)).sum(-1, keepdim=True) >= 1
                low, high = torch.where(heavy, mid, low), torch.where(heavy, high, mid)
            support = 1 + a * (hidden - low) > 0
        shift = low
        for _ in range(2):
            y = torch.where(support, a * (x - shift), 0.0)
            w = torch.where(support, self._root(y), 0.0)
            slope = (w / (1 + y)).sum(-1, keepdim=True)
            step = (w.sum(-1, keepdim=True) - 1) / torch.where(any_key, slope, 1.0)
            shift = shift + torch.where(any_key, step, 0.0)
            support = support & (1 + a * (x - shift).detach() > 0)
        weights = torch.where(support, self._root(torch.where(support, a * (x - shift), 0.0)), 0.0)
        return weights, torch.where(any_key, a * (shift + top) - 1, -torch.inf).squeeze(-1)

    def _root(self, y: Tensor) -> Tensor:
        """(1 + y)^(1/(alpha - 1)); near alpha = 1 a high power, for which 1 + y has lost the digits of y."""
        return (y.log1p() / (self.alpha - 1)).exp() if self.alpha < 1.5 else (1 + y) ** (1.0 / (self.alpha - 1))


@dataclass(frozen=True)
class Clipped(ScoreMap):
    r"""Clipped softmax: :math:`W = \mathrm{clip}((\zeta-\gamma)\,p + \gamma, 0, 1)`, gamma <= 0, zeta >= 1.

    A weight is exactly zero if and only if p <= -gamma/(zeta - gamma); clipped entries get no direct gradient. The
    paper takes gamma = -a/n with a of order 2 to 4.
    """

    gamma: float = -0.03
    zeta: float = 1.0
    name: ClassVar[str] = "clipped"

    def __post_init__(self):
        if not (is_number(self.gamma) and is_number(self.zeta) and self.gamma <= 0 and self.zeta >= 1):
            raise ValueError(f"need gamma <= 0 and zeta >= 1, got gamma={self.gamma!r}, zeta={self.zeta!r}")

    def weights(self, s: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        p, log_z = Softmax().weights(s, visible)
        stretched = ((self.zeta - self.gamma) * p + self.gamma).clamp(0.0, 1.0)
        return torch.where(visible & (s != -torch.inf), stretched, 0.0), log_z


@dataclass(frozen=True)
class Standardised(ScoreMap):
    r"""Normalised attention (NAP): :math:`W_j = a (s_j - \bar s)/(\mathrm{std}(s) + \epsilon) + b` over visible keys.

    Population moments; masked keys are excluded and get weight 0. Leaves the convex hull of the values. The default
    scale is 1, as in the paper. The log-normaliser reported is log(std + eps).
    """

    gain: float = 1.0
    offset: float = 0.0
    eps: float = 1e-3
    name: ClassVar[str] = "standardised"

    def __post_init__(self):
        if not (is_number(self.eps) and self.eps > 0):
            raise ValueError(f"eps={self.eps!r} must be a positive number; it is added to the standard deviation")

    def default_scale(self, head_dim: int) -> float:
        return 1.0

    def weights(self, s: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        visible = visible & (s != -torch.inf)
        s = torch.where(visible, s, 0.0)
        n = visible.sum(-1, keepdim=True).clamp(min=1).to(s.dtype)
        unit = _unit(s.detach())
        s = s / unit
        centred = torch.where(visible, s - s.sum(-1, keepdim=True) / n, 0.0)
        variance = (centred * centred).sum(-1, keepdim=True) / n
        flat = variance == 0  # the root has no slope there: weights are 0
        spread = torch.where(flat, 0.0, torch.where(flat, 1.0, variance).sqrt()) + self.eps / unit
        weights = torch.where(visible, self.gain * centred / spread + self.offset, 0.0)
        return weights, (spread.log() + unit.log()).squeeze(-1)


def _unit(s: Tensor) -> Tensor:
    """1, or for rows whose squares would leave the range the largest size of a logit."""
    if not s.shape[-1]:
        return s.new_ones((*s.shape[:-1], 1))
    size = s.abs().amax(-1, keepdim=True)
    return torch.where(size > torch.finfo(s.dtype).max ** 0.25, size, 1.0)
