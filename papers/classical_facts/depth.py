"""Facts on repeated or unbounded attention: rank collapse, Sinkhorn's contraction, growth of the Lipschitz constant."""

from __future__ import annotations

import torch

from attnlab.analysis import Matrix, Real, Twin, Vector, for_all
from attnlab.analysis.theorems.statement.claim import Claim as ForAll
from attnlab.papers.classical_facts.measures import SLACK, UP_TO, diameter, length, self_attention, spread
from attnlab.papers.classical_facts.setting import Setting
from attnlab.theory.softmax_attention import output_bounds as attention_bounds
from attnlab.theory.softmax_attention import rank_collapse, sinkhorn

LAYERS = 3


def layers(x, n_layers):
    """Tokens after pure self-attention layers."""
    for _ in range(n_layers):
        x = self_attention(x)
    return x


def opposite(s, n_layers):
    """Half the distance of two scalar tokens -s and s after pure self-attention layers."""
    for _ in range(n_layers):
        s = s * (2 * torch.sigmoid(2 * s * s) - 1)
    return s


def two_tokens(m, h):
    """Distance of two scalar tokens m - h and m + h after a pure self-attention layer."""
    return 2 * h * (torch.sigmoid(2 * h * (m + h)) - torch.sigmoid(2 * h * (m - h)))


def rank_collapse_layer(setting: Setting) -> dict[str, ForAll]:
    """One layer without skip connection shrinks the diameter D of the tokens to at most tanh(D^2 / 4) D."""

    def bound(constant):
        return lambda x: rank_collapse.collapsed_diameter_bound(diameter(x), constant)

    return {
        "searched": for_all(x=Matrix("n", 2, -1, 1)).bound(
            lambda x: diameter(self_attention(x)),
            at_most=bound(1.0),
            sizes={"n": setting.dim},
            twin=Twin.of("D^2 / 4.2", at_most=bound(1 / 1.05)),
        ),
        "certified": for_all(m=Real(-1, 1), h=Real(0, 1)).bound(
            two_tokens,
            at_most=lambda h: rank_collapse.collapsed_diameter_bound(2 * h) + SLACK,
            name=UP_TO,
            twin=Twin.of("D^2 / 5", at_most=lambda h: rank_collapse.collapsed_diameter_bound(2 * h, 0.8)),
        ),
    }


def rank_collapse_depth(setting: Setting) -> dict[str, ForAll]:
    """Pure attention loses rank doubly exponentially: D / 2 is at most (D_0 / 2)^(3^L) after L layers."""

    def cubic(x):
        return 2 * (diameter(x) / 2) ** (3**LAYERS)

    def iterated(x):
        return rank_collapse.diameter_after_layers_bound(diameter(x), LAYERS)

    def quartic(x):
        return 2 * (diameter(x) / 2) ** (3.2**LAYERS)

    return {
        "searched": for_all(x=Matrix("n", 2, -0.7, 0.7)).bound(
            lambda x: torch.stack([diameter(layers(x, LAYERS)), iterated(x)]),
            at_most=lambda x: torch.stack([iterated(x), cubic(x)]),
            sizes={"n": setting.dim},
            assuming={"tokens apart": lambda x: diameter(x) - 0.5},
            twin=Twin.of("rate 3.2^L", at_most=lambda x: torch.stack([quartic(x), cubic(x)])),
        ),
        "certified": for_all(s=Real(0.25, 1)).bound(
            lambda s: opposite(s, 2), at_most=lambda s: s**9, twin=Twin.of("s^10", at_most=lambda s: s**10)
        ),
    }


def growth(setting: Setting) -> dict[str, ForAll]:
    """Dot-product self-attention is not Lipschitz: on tokens in [-R, R] the constant grows at least like R^2 / 2."""

    def ratio(r):
        x, y = torch.stack([0 * r, r, -r])[:, None], torch.stack([1 / r, r, -r])[:, None]
        return r * length((self_attention(y) - self_attention(x))[:, 0])

    def first_token(r):
        e = torch.cosh(1 + 0 * r)
        return (((1 / r**2).exp() / r + 2 * r * torch.sinh(1 + 0 * r)) / ((1 / r**2).exp() + 2 * e)) / r

    return {
        "searched": for_all(r=Real(1, 20)).bound(
            ratio,
            at_least=lambda r: attention_bounds.self_attention_growth(r),
            twin=Twin.of("growth like R^3", at_least=lambda r: r * attention_bounds.self_attention_growth(r)),
        ),
        "certified": for_all(r=Real(1, 1000)).bound(
            first_token,
            at_least=lambda r: attention_bounds.self_attention_growth(r) / r**2,
            twin=Twin.of("growth like R^3", at_least=lambda r: attention_bounds.self_attention_growth(r) / r),
        ),
    }


def projective_diameter(s):
    """Largest Hilbert distance of two images of exp(s)."""
    return spread(s[:, None, :] - s[None, :, :]).amax(-1).amax(-1)


def birkhoff(setting: Setting) -> dict[str, ForAll]:
    """Multiplying by exp(S) contracts Hilbert's projective metric by tanh(Delta / 4), Delta the diameter of its image."""

    def image(s, a):
        return (s + a[None, :]).logsumexp(-1)

    def bound(factor):
        return lambda s, a, b: sinkhorn.birkhoff_contraction(factor * projective_diameter(s)) * spread(a - b)

    def two(s, a, b):
        return spread(image(s, a) - image(s, b))

    n = setting.dim
    return {
        "searched": for_all(s=Matrix("n", "n", -1, 1), a=Vector("n", -2, 2), b=Vector("n", -2, 2)).bound(
            two, at_most=bound(1.0), sizes={"n": n}, twin=Twin.of("Delta / 4.4", at_most=bound(1 / 1.1))
        ),
        "certified": for_all(a=Real(-3, 3), d=Real(0, 2)).bound(
            log_odds_slope,
            at_most=lambda d: sinkhorn.birkhoff_contraction(2 * d) + SLACK,
            name=UP_TO,
            twin=Twin.of("Delta / 4.4", at_most=lambda d: sinkhorn.birkhoff_contraction(2 * d / 1.1)),
        ),
    }


def log_odds_slope(a, d):
    """Slope of the log ratio of the two entries of K (exp(a), 1) by a, for K = [[e^d, 1], [1, e^d]]; here Delta = 2 d."""
    return torch.sigmoid(a + d) - torch.sigmoid(a - d)


def sinkhorn_rate(setting: Setting) -> dict[str, ForAll]:
    """Sinkhorn's algorithm, started at softmax attention, converges geometrically: factor tanh(Delta / 4)^2 a step."""

    def column_error(s, n_steps):
        rows = s.log_softmax(-1)
        for _ in range(n_steps):
            rows = rows - rows.logsumexp(0, keepdim=True)
            rows = rows - rows.logsumexp(1, keepdim=True)
        return spread(rows.logsumexp(0))

    def bound(s, power):
        ratio = sinkhorn.birkhoff_contraction(projective_diameter(s))
        return torch.stack(
            [ratio**power * column_error(s, 1), sinkhorn.sinkhorn_error_bound(projective_diameter(s), 1)]
        )

    return {
        "searched": for_all(s=Matrix("n", "n", -1, 1)).bound(
            lambda s: torch.stack([column_error(s, 2), column_error(s, 1)]),
            at_most=lambda s: bound(s, 2),
            sizes={"n": setting.dim},
            twin=Twin.of("one more half-step", at_most=lambda s: bound(s, 3)),
        )
    }
