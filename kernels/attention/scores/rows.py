"""Score maps beside the family "f over g": hard maxima, entmax, clipped softmax, standardised rows.

They run on the reference path (plain tensor operations), where all derivatives come from autograd.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention.scores.f_over_g import ScoreMap, Softmax


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
    second the second one. The log-normaliser reported is tau.
    """

    alpha: float = 1.5
    name: ClassVar[str] = "entmax"

    def __post_init__(self):
        if not 1 < self.alpha <= 4:
            raise ValueError(f"alpha={self.alpha!r} must lie in (1, 4]; use score='softmax' for alpha = 1")

    def weights(self, s: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        s, visible, any_key = _hide(s, visible)
        r = 1.0 / (self.alpha - 1)
        with torch.no_grad():
            top = torch.where(any_key, _top(s.detach()), 0.0)
            top = torch.where(top == torch.inf, 0.0, top)
        # the weights do not change when a row is shifted: below its largest logit no digit of tau is lost
        x = (torch.where(visible, s, top) - top) * (self.alpha - 1)
        with torch.no_grad():
            hidden = torch.where(visible, x.detach(), -torch.inf)
            low, high = (
                torch.full_like(top, -1.0),
                torch.zeros_like(top),
            )  # the top weight is at most 1; at tau = 0 the sum is 0
            for _ in range(60 if s.dtype == torch.float64 else 30):
                mid = (low + high) / 2
                heavy = ((hidden - mid).clamp(min=0) ** r).sum(-1, keepdim=True) >= 1
                low, high = torch.where(heavy, mid, low), torch.where(heavy, high, mid)
            support = hidden > low
        tau = low
        for _ in range(2):
            u = torch.where(support, x - tau, 1.0)
            total = torch.where(support, u**r, 0.0).sum(-1, keepdim=True)
            slope = torch.where(support, r * u ** (r - 1), 0.0).sum(-1, keepdim=True)
            tau = tau + torch.where(any_key, (total - 1) / torch.where(any_key, slope, 1.0), 0.0)
            support = support & (x > tau.detach())
        weights = torch.where(support, torch.where(support, x - tau, 1.0) ** r, 0.0)
        return weights, torch.where(any_key, tau + (self.alpha - 1) * top, -torch.inf).squeeze(-1)


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
        if not (self.gamma <= 0 and self.zeta >= 1):
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

    def default_scale(self, head_dim: int) -> float:
        return 1.0

    def weights(self, s: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        visible = visible & (s != -torch.inf)
        s = torch.where(visible, s, 0.0)
        n = visible.sum(-1, keepdim=True).clamp(min=1).to(s.dtype)
        centred = torch.where(visible, s - s.sum(-1, keepdim=True) / n, 0.0)
        variance = (centred * centred).sum(-1, keepdim=True) / n
        flat = variance == 0  # the root has no slope there: weights are 0
        spread = torch.where(flat, 0.0, torch.where(flat, 1.0, variance).sqrt()) + self.eps
        return torch.where(visible, self.gain * centred / spread + self.offset, 0.0), spread.log().squeeze(-1)
