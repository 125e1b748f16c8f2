"""Facts on the entropy of attention weights, and on how weights change with temperature."""

from __future__ import annotations

import math

import torch

from attnlab.analysis import Real, Twin, Vector, for_all
from attnlab.analysis.theorems.statement.claim import Claim as ForAll
from attnlab.papers.classical_facts.measures import SLACK, UP_TO, entropy, softmax_from, spread, variance
from attnlab.papers.classical_facts.setting import Setting
from attnlab.theory.softmax_attention import entropy as theory
from attnlab.theory.softmax_attention import log_sum_exp


def entropy_range(setting: Setting) -> dict[str, ForAll]:
    """The entropy of n attention weights lies between 0 and log n."""

    def statement(n, slack=0.0):
        return for_all(x=Vector("n", -4, 4)).bound(
            lambda x: torch.stack([entropy(x), -entropy(x)]),
            at_most=lambda x, n: torch.stack([0 * x[0] + log_sum_exp.max_gap_bound(int(n)) + slack, 0 * x[0]]),
            sizes={"n": n},
            twin=Twin.of("log(n - 1/4)", at_most=lambda x, n: torch.stack([0 * x[0] + math.log(n - 0.25), 0 * x[0]])),
        )

    def binary(t):
        return (1 + t.exp()).log() - t * torch.sigmoid(t)

    return {
        "searched": statement(setting.dim),
        "certified": for_all(t=Real(-8, 8)).bound(
            binary, at_most=log_sum_exp.max_gap_bound(2) + SLACK, name=UP_TO, twin=Twin.of("0.68", at_most=0.68)
        ),
    }


def entropy_deficit(setting: Setting) -> dict[str, ForAll]:
    """Logits of spread s leave an entropy of at least log n - s^2 / 8."""

    def statement(n):
        return for_all(x=Vector("n", -1, 1)).bound(
            lambda x, n: math.log(n) - entropy(x),
            at_most=lambda x: theory.entropy_deficit_bound(spread(x)),
            sizes={"n": n},
            twin=Twin.of("s^2 / 9", at_most=lambda x: spread(x) ** 2 / 9),
        )

    return {
        "searched": statement(setting.dim + setting.dim % 2),
        "certified": for_all(t=Real(0.1, 6)).bound(
            lambda t: (2 + 0 * t).log() - (1 + t.exp()).log() + t * torch.sigmoid(t),
            at_most=lambda t: theory.entropy_deficit_bound(t),
            twin=Twin.of("s^2 / 10", at_most=lambda t: t * t / 10),
        ),
    }


def fano(setting: Setting) -> dict[str, ForAll]:
    """The largest weight bounds the entropy by Fano's inequality, and equal other weights reach it."""

    def top(x):
        return x.softmax(-1).amax(-1)

    def halved(x, n):
        p = top(x)
        return -p * p.log() - (1 - p) * (1 - p).log() + (1 - p) * math.log(n - 1.2)

    def entropy3(x):
        p = softmax_from(x)
        return -(p * p.log()).sum(-1)

    return {
        "searched": for_all(x=Vector("n", -3, 3)).bound(
            entropy,
            at_most=lambda x, n: theory.fano_bound(top(x), int(n)),
            sizes={"n": setting.dim},
            twin=Twin.of("log(n - 1.2)", at_most=halved),
        ),
        "certified": for_all(x=Vector(2, -2, 2)).bound(
            entropy3,
            at_most=lambda x: theory.fano_bound(softmax_from(x)[2], 3) + SLACK,
            name=UP_TO,
            twin=Twin.of(
                "log(n - 1.2)",
                at_most=lambda x: (
                    theory.fano_bound(softmax_from(x)[2], 3) + (math.log(1.8) - math.log(2)) * (1 - softmax_from(x)[2])
                ),
            ),
        ),
    }


def renyi_order(setting: Setting) -> dict[str, ForAll]:
    """The participation ratio is at least 1 / max p and at most exp(entropy), itself at most n."""

    def steps(x):
        p = x.softmax(-1)
        collision = -((p * p).sum(-1).log())
        return torch.stack([-(p.amax(-1).log()), collision, entropy(x)])

    def limits(x, n):
        p = x.softmax(-1)
        return torch.stack([-((p * p).sum(-1).log()), entropy(x), 0 * x[0] + math.log(n)])

    def turned(x, n):
        return torch.stack([limits(x, n)[0], 0.98 * entropy(x), 0 * x[0] + math.log(n)])

    def two(t):
        p = torch.sigmoid(t)
        return -((p * p + (1 - p) * (1 - p)).log())

    def binary(t):
        return (1 + t.exp()).log() - t * torch.sigmoid(t)

    return {
        "searched": for_all(x=Vector("n", -3, 3)).bound(
            steps, at_most=limits, sizes={"n": setting.dim}, twin=Twin.of("0.98 of the entropy", at_most=turned)
        ),
        "certified": for_all(t=Real(-6, 6)).bound(
            two,
            at_most=lambda t: binary(t) + SLACK,
            name=UP_TO,
            twin=Twin.of("0.97 of the entropy", at_most=lambda t: 0.97 * binary(t)),
        ),
    }


def entropy_slope(setting: Setting) -> dict[str, ForAll]:
    """The entropy falls with the inverse temperature at the rate beta times the variance of the logits."""

    def slope(x, b):
        return torch.func.jvp(lambda beta: entropy(beta * x), (b,), (torch.ones_like(b),))[1]

    def predicted(factor):
        return lambda x, b: factor * theory.entropy_slope(b, variance((b * x).softmax(-1), x))

    return {
        "searched": for_all(x=Vector("n", -2, 2), b=Real(0.2, 3)).identity(
            slope,
            equals=predicted(1),
            within=1e-9,
            sizes={"n": setting.dim},
            twin=Twin.of("without beta", equals=lambda x, b: -variance((b * x).softmax(-1), x)),
        )
    }


def score_slope(setting: Setting) -> dict[str, ForAll]:
    """The expected logit rises with the inverse temperature, by at most spread^2 / 4 times the step, and never falls."""

    def rise(x, b, h):
        return (((b + h) * x).softmax(-1) * x).sum(-1) - ((b * x).softmax(-1) * x).sum(-1)

    def ends(x, b, h):
        return torch.stack([rise(x, b, h), -rise(x, b, h)])

    def bound(constant):
        return lambda x, h: torch.stack([constant(spread(x), h), 0 * h])

    return {
        "searched": for_all(x=Vector("n", -1, 1), b=Real(0.1, 2), h=Real(0.01, 1)).bound(
            ends,
            at_most=bound(theory.expected_score_increase_bound),
            sizes={"n": setting.dim},
            twin=Twin.of("spread^2 / 4.2", at_most=bound(lambda s, h: h * s**2 / 4.2)),
        ),
        "certified": for_all(t=Real(0.5, 2), b=Real(0.1, 2), h=Real(0.1, 1)).bound(
            lambda t, b, h: (torch.sigmoid((b + h) * t) - torch.sigmoid(b * t)) * t,
            at_most=lambda t, h: theory.expected_score_increase_bound(t, h) + SLACK,
            name=UP_TO,
            twin=Twin.of("spread^2 / 6", at_most=lambda t, h: h * t * t / 6),
        ),
    }
