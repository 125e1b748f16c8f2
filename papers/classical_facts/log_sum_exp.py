"""Facts on log-sum-exp, the potential of attention: bounds, convexity, smoothness, the variational formula, divergences."""

from __future__ import annotations

import math

import torch

from attnlab.analysis import Real, Twin, Vector, for_all
from attnlab.analysis.theorems.statement.claim import Claim as ForAll
from attnlab.papers.classical_facts.measures import SLACK, UP_TO, divergence, entropy, lse, spread
from attnlab.papers.classical_facts.setting import Setting
from attnlab.theory.softmax_attention import log_sum_exp as theory


def bregman(x, y):
    """``lse(y) - lse(x) - <softmax(x), y - x>``."""
    return lse(y) - lse(x) - (x.softmax(-1) * (y - x)).sum(-1)


def lse_max(setting: Setting) -> dict[str, ForAll]:
    """Log-sum-exp at inverse temperature beta lies between the maximum and the maximum plus log(n) / beta."""

    def gaps(x, b):
        above = lse(b * x) / b - x.amax(-1)
        return torch.stack([above, -above])

    def statement(n, slack=0.0):
        return for_all(x=Vector("n", -4, 4), b=Real(0.5, 2)).bound(
            gaps,
            at_most=lambda b, n: torch.stack([(theory.max_gap_bound(int(n)) + slack) / b, slack + 0 * b]),
            sizes={"n": n},
            twin=Twin.of("log(n - 1/2) / beta", at_most=lambda b, n: torch.stack([math.log(n - 0.5) / b, 0 * b])),
        )

    def two(t):
        return (1 + (-t).exp()).log()

    return {
        "searched": statement(setting.dim),
        "symbolic": for_all(t=Real(0)).bound(
            two, at_most=lambda t: (2 + 0 * t).log(), twin=Twin.of("log 1.9", at_most=math.log(1.9))
        ),
    }


def lse_mean(setting: Setting) -> dict[str, ForAll]:
    """Log-sum-exp exceeds log(n) plus the mean by at least 0 and at most spread^2 / 8."""

    def gaps(x, n):
        above = lse(x) - math.log(n) - x.sum(-1) / n
        return torch.stack([above, -above])

    def bound(constant, slack=0.0):
        return lambda x: torch.stack([constant(spread(x)) + slack, 0 * spread(x) + slack])

    def two(t):
        return (torch.cosh(t / 2)).log()

    return {
        "searched": for_all(x=Vector("n", -1, 1)).bound(
            gaps,
            at_most=bound(theory.mean_gap_bound),
            sizes={"n": setting.dim},
            twin=Twin.of("variance of a uniform logit", at_most=bound(lambda s: s**2 / 24)),
        ),
        "certified": for_all(t=Real(0.1, 6)).bound(
            two, at_most=lambda t: theory.mean_gap_bound(t), twin=Twin.of("t^2 / 24", at_most=lambda t: t**2 / 24)
        ),
    }


def lse_smooth(setting: Setting) -> dict[str, ForAll]:
    """Log-sum-exp lies above its tangent planes by at most beta / 4 times the squared distance."""

    def above(x, y, b):
        return bregman(b * x, b * y) / b

    def bound(constant):
        return lambda x, y, b: constant(b) * ((x - y) ** 2).sum(-1)

    def two(t, s):
        return (1 + (t + s).exp()).log() - (1 + t.exp()).log() - torch.sigmoid(t) * s

    return {
        "searched": for_all(x=Vector("n", -6, 6), y=Vector("n", -6, 6), b=Real(0.5, 2)).bound(
            above,
            at_most=bound(theory.smoothness),
            sizes={"n": setting.dim},
            twin=Twin.of("0.23 beta", at_most=bound(lambda b: 0.23 * b)),
        ),
        "certified": for_all(t=Real(-3, 3), s=Real(-2, 2)).bound(
            two,
            at_most=lambda s: theory.smoothness() * s * s / 2 + SLACK,
            name=UP_TO,
            twin=Twin.of("0.15 beta", at_most=lambda s: 0.075 * s * s),
        ),
    }


def lse_convex(setting: Setting) -> dict[str, ForAll]:
    """Log-sum-exp lies nowhere below its tangent planes."""

    def two(t, s):
        return (1 + (t + s).exp()).log() - (1 + t.exp()).log() - torch.sigmoid(t) * s

    def plane(x, y):
        return lse(x) + (x.softmax(-1) * (y - x)).sum(-1)

    return {
        "searched": for_all(x=Vector("n", 0, 6), y=Vector("n", 0, 6)).bound(
            lambda y: lse(y),
            at_least=plane,
            sizes={"n": setting.dim},
            twin=Twin.of("strong convexity 0.01", at_least=lambda x, y: plane(x, y) + 0.01 * ((y - x) ** 2).sum(-1)),
        ),
        "certified": for_all(t=Real(-4, 4), s=Real(-3, 3)).bound(
            two, at_least=-SLACK, name=UP_TO, twin=Twin.of("0.01", at_least=0.01)
        ),
    }


def gibbs(setting: Setting) -> dict[str, ForAll]:
    """Log-sum-exp is the largest expected logit plus entropy over all weights, and softmax attains it."""

    def free_energy(x, y):
        return (y.softmax(-1) * x).sum(-1) + entropy(y)

    def statement(n):
        return for_all(x=Vector("n", 0, 3), y=Vector("n", -3, 3)).bound(
            free_energy,
            at_most=lambda x: lse(x),
            sizes={"n": n},
            twin=Twin.of("entropy counted 1.02 times", left=lambda x, y: free_energy(x, y) + 0.02 * entropy(y)),
        )

    def two(t, s):
        q = torch.sigmoid(s)
        return q * t + (1 + s.exp()).log() - q * s

    return {
        "searched": statement(setting.dim),
        "certified": for_all(t=Real(-3, 3), s=Real(-3, 3)).bound(
            two,
            at_most=lambda t: (1 + t.exp()).log() + SLACK,
            name=UP_TO,
            twin=Twin.of("0.98 times", at_most=lambda t: 0.98 * (1 + t.exp()).log()),
        ),
    }


def gibbs_gap(setting: Setting) -> dict[str, ForAll]:
    """What weights miss of log-sum-exp in the variational formula is their divergence from softmax."""

    def gap(x, y):
        return lse(x) - (y.softmax(-1) * x).sum(-1) - entropy(y)

    twin = Twin.of("the divergence the other way", equals=divergence)
    return {
        "searched": for_all(x=Vector("n", -3, 3), y=Vector("n", -3, 3)).identity(
            gap, equals=lambda x, y: divergence(y, x), within=1e-10, sizes={"n": setting.dim}, twin=twin
        ),
        "symbolic": for_all(x=Vector(2), y=Vector(2)).identity(gap, equals=lambda x, y: divergence(y, x), twin=twin),
    }


def divergence_at_spread(setting: Setting) -> dict[str, ForAll]:
    """The divergence of two softmax vectors is at most spread^2 / 8 of the difference of their logits."""
    return {
        "searched": for_all(x=Vector("n", -2, 2), y=Vector("n", -2, 2)).bound(
            divergence,
            at_most=lambda x, y: theory.divergence_bound(spread(x - y)),
            sizes={"n": setting.dim},
            twin=Twin.of("spread^2 / 9", at_most=lambda x, y: spread(x - y) ** 2 / 9),
        ),
        "certified": for_all(t=Real(-2, 2), s=Real(-2, 2)).bound(
            lambda t, s: (1 + (t + s).exp()).log() - (1 + t.exp()).log() - torch.sigmoid(t) * s,
            at_most=lambda s: theory.divergence_bound(s) + SLACK,
            name=UP_TO,
            twin=Twin.of("spread^2 / 12", at_most=lambda s: s**2 / 12),
        ),
    }


def pinsker(setting: Setting) -> dict[str, ForAll]:
    """The divergence of two softmax vectors is at least half their squared l1 distance."""

    def half_square(constant):
        return lambda x, y: constant * ((x.softmax(-1) - y.softmax(-1)).abs().sum(-1)) ** 2

    return {
        "searched": for_all(x=Vector("n", -2, 2), y=Vector("n", -2, 2)).bound(
            divergence,
            at_least=half_square(0.5),
            sizes={"n": setting.dim},
            twin=Twin.of("0.55", at_least=half_square(0.55)),
        ),
        "certified": for_all(t=Real(-2, 2), s=Real(-2, 2)).bound(
            lambda t, s: (1 + s.exp()).log() - (1 + t.exp()).log() - torch.sigmoid(t) * (s - t),
            at_least=lambda t, s: 2 * (torch.sigmoid(t) - torch.sigmoid(s)) ** 2 - SLACK,
            name=UP_TO,
            twin=Twin.of("1.5 times", at_least=lambda t, s: 3 * (torch.sigmoid(t) - torch.sigmoid(s)) ** 2),
        ),
    }
