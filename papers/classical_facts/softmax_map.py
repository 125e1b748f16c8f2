"""Facts on the softmax map: how far it moves, how peaked it is, its limits. Each function states one, in its forms.

A form is the statement at a level: ``searched`` in the dimension of the setting; ``certified`` (with a slack) or ``symbolic``
in the small dimension where that is possible. Logits are ``x`` and ``y``, ``b`` is the inverse temperature.
"""

from __future__ import annotations

import torch

from attnlab.analysis import Real, Sphere, Twin, Vector, for_all
from attnlab.analysis.theorems.statement.claim import Claim as ForAll
from attnlab.papers.classical_facts.measures import SLACK, UP_TO, softmax_from, spread, variance
from attnlab.papers.classical_facts.setting import Setting
from attnlab.theory.softmax_attention import softmax as theory


def moved(x, y, b):
    """Difference of the two softmax vectors."""
    return (b * x).softmax(-1) - (b * y).softmax(-1)


def two_way(x):
    """``2 p (1 - p)`` of two logits: the norm of the Jacobian."""
    p = x.softmax(-1)
    return 2 * p[0] * p[1]


def row_sums(x):
    """Absolute row sums of the Jacobian, its l1 and l-infinity norm: ``2 p_i (1 - p_i)``; the last logit is 0."""
    p = softmax_from(x)
    return 2 * p * (1 - p)


def _lipschitz(norm, setting):
    def bound(constant):
        return lambda x, y, b: constant(b) * norm(x - y)

    pair = {"x": Vector("n", -8, 8), "y": Vector("n", -8, 8), "b": Real(0.5, 2)}
    return for_all(**pair).bound(
        lambda x, y, b: norm(moved(x, y, b)),
        at_most=bound(theory.softmax_lipschitz),
        sizes={"n": setting.dim},
        twin=Twin.of("constant 0.48 beta", at_most=bound(lambda b: 0.48 * b)),
    )


def lipschitz_l2(setting: Setting) -> dict[str, ForAll]:
    """Softmax moves in l2 by at most beta / 2 times the move of its logits, and no smaller constant serves all logits."""
    return {
        "searched": _lipschitz(lambda v: (v * v).sum(-1).sqrt(), setting),
        "symbolic": for_all(x=Vector(2)).bound(
            two_way, at_most=theory.softmax_lipschitz(), twin=Twin.of("0.49", at_most=0.49)
        ),
    }


def lipschitz_l1(setting: Setting) -> dict[str, ForAll]:
    """Softmax moves in l1 by at most beta / 2 times the l1 move of its logits."""
    return {
        "searched": _lipschitz(lambda v: v.abs().sum(-1), setting),
        "certified": for_all(x=Vector(2, -4, 4)).bound(
            row_sums, at_most=theory.softmax_lipschitz() + SLACK, name=UP_TO, twin=Twin.of("0.49", at_most=0.49)
        ),
    }


def lipschitz_linf(setting: Setting) -> dict[str, ForAll]:
    """Softmax moves in l-infinity by at most beta / 2 times the l-infinity move of its logits."""
    return {
        "searched": _lipschitz(lambda v: v.abs().amax(-1), setting),
        "symbolic": for_all(x=Vector(2)).bound(
            two_way, at_most=theory.softmax_lipschitz(), twin=Twin.of("0.49", at_most=0.49)
        ),
    }


def l1_saturates(setting: Setting) -> dict[str, ForAll]:
    """Softmax moves in l1 by at most 2 tanh(spread / 4) when its logits move by a vector of that spread."""

    def left(x, y):
        return (x.softmax(-1) - y.softmax(-1)).abs().sum(-1)

    def two(s, t):
        return 2 * (torch.sigmoid(s) - torch.sigmoid(t)).abs()

    return {
        "searched": for_all(x=Vector("n", -4, 4), y=Vector("n", -4, 4)).bound(
            left,
            at_most=lambda x, y: theory.softmax_l1_bound(spread(x - y)),
            sizes={"n": setting.dim},
            twin=Twin.of("2 tanh(spread / 4.2)", at_most=lambda x, y: 2 * torch.tanh(spread(x - y) / 4.2)),
        ),
        "certified": for_all(s=Real(-4, 4), t=Real(-4, 4)).bound(
            two,
            at_most=lambda s, t: theory.softmax_l1_bound((s - t).abs()) + SLACK,
            name=UP_TO,
            twin=Twin.of("2 tanh(spread / 5)", at_most=lambda s, t: 2 * torch.tanh((s - t).abs() / 5)),
        ),
    }


def jacobian_form(setting: Setting) -> dict[str, ForAll]:
    """The Jacobian is half the weighted sum of squared differences over pairs: semidefinite, constants in its kernel."""

    def pairs(x, u):
        p = x.softmax(-1)
        return ((u[:, None] - u[None, :]) ** 2 * p[:, None] * p[None, :]).sum() / 2

    def form(x, u):
        return variance(x.softmax(-1), u)

    twin = Twin.of("diag p alone", left=lambda x, u: (x.softmax(-1) * u * u).sum(-1))
    return {
        "searched": for_all(x=Vector("n", -5, 5), u=Vector("n", -2, 2)).identity(
            form, equals=pairs, within=1e-10, sizes={"n": setting.dim}, twin=twin
        ),
        "symbolic": for_all(x=Vector(2), u=Vector(2)).identity(form, equals=pairs, twin=twin),
    }


def jacobian_norm(setting: Setting) -> dict[str, ForAll]:
    """The Jacobian's l2 norm is at most the largest weight, and equal weights reach it."""
    return _jacobian(
        setting,
        5,
        theory.jacobian_norm_bound,
        Twin.of("max p (1 - p)", at_most=lambda x: (x.softmax(-1) * (1 - x.softmax(-1))).amax(-1)),
        Twin.of("max p (1 - p)", at_most=lambda x: (softmax_from(x) * (1 - softmax_from(x))).amax(-1)),
    )


def jacobian_saturates(setting: Setting) -> dict[str, ForAll]:
    """The Jacobian's l2 norm is at most twice the mass beside the largest weight: saturated softmax passes no gradient."""

    def smaller(x):
        return 2 * (1 - x.softmax(-1).amax(-1)) * 0.95

    return _jacobian(
        setting,
        6,
        theory.jacobian_saturation_bound,
        Twin.of("1.9 (1 - max p)", at_most=smaller),
        Twin.of("(1 - max p)", at_most=lambda x: 1 - softmax_from(x).amax(-1)),
    )


def _jacobian(setting, ends, bound, twin, small_twin):
    return {
        "searched": for_all(x=Vector("n", -ends, ends), u=Sphere("n")).bound(
            lambda x, u: variance(x.softmax(-1), u),
            at_most=lambda x: bound(x.softmax(-1).amax(-1)),
            sizes={"n": setting.dim},
            twin=twin,
        ),
        "certified": for_all(x=Vector(1, -3, 3), u=Sphere(2)).bound(
            lambda x, u: variance(softmax_from(x), u),
            at_most=lambda x: bound(softmax_from(x).amax(-1)) + SLACK,
            name=UP_TO,
            twin=small_twin,
        ),
    }


def largest_weight_at_spread(setting: Setting) -> dict[str, ForAll]:
    """Logits of spread s give no weight above 1 / (1 + (n - 1) exp(-s)): bounded logits disperse in long contexts."""
    return {
        "searched": for_all(x=Vector("n", -3, 3)).bound(
            lambda x: x.softmax(-1).amax(-1),
            at_most=lambda x, n: theory.largest_weight_bound(spread(x), int(n)),
            sizes={"n": setting.dim},
            twin=Twin.of("exp(0.95 s)", at_most=lambda x, n: 1 / (1 + (n - 1) * (-0.95 * spread(x)).exp())),
        ),
        "certified": for_all(x=Vector(2, 0, 4)).bound(
            lambda x: 1 / (1 + (-x).exp().sum(-1)),
            at_most=lambda x: theory.largest_weight_bound(x.amax(-1), 3) + SLACK,
            name=UP_TO,
            twin=Twin.of("exp(0.9 s)", at_most=lambda x: 1 / (1 + 2 * (-0.9 * x.amax(-1)).exp())),
        ),
    }


def smallest_weight_at_spread(setting: Setting) -> dict[str, ForAll]:
    """Logits of spread s give no weight below 1 / (1 + (n - 1) exp(s))."""
    return {
        "searched": for_all(x=Vector("n", -2, 2)).bound(
            lambda x: x.softmax(-1).amin(-1),
            at_least=lambda x, n: theory.smallest_weight_bound(spread(x), int(n)),
            sizes={"n": setting.dim},
            twin=Twin.of("one logit above", at_least=lambda x, n: 1 / (n - 1 + spread(x).exp())),
        ),
        "certified": for_all(x=Vector(2, 0, 3)).bound(
            lambda x: 1 / (1 + x.exp().sum(-1)),
            at_least=lambda x: theory.smallest_weight_bound(x.amax(-1), 3) - SLACK,
            name=UP_TO,
            twin=Twin.of("one logit above", at_least=lambda x: 1 / (2 + x.amax(-1).exp())),
        ),
    }


def shift_invariance(setting: Setting) -> dict[str, ForAll]:
    """Softmax does not change when the same number is added to all logits."""

    def statement(x, c, within=0.0, n=None):
        return for_all(x=x, c=c).identity(
            lambda x, c: (x + c).softmax(-1),
            equals=lambda x: x.softmax(-1),
            within=within,
            sizes=n,
            twin=Twin.of("the same factor", left=lambda x, c: ((1 + c) * x).softmax(-1)),
        )

    return {
        "searched": statement(Vector("n", -5, 5), Real(-5, 5), 1e-12, {"n": setting.dim}),
        "symbolic": statement(Vector(3), Real()),
    }


def argmax_limit(setting: Setting) -> dict[str, ForAll]:
    """Softmax is within 2 (n - 1) / (n - 1 + exp(beta g)) of the one-hot argmax in l1, g the lead of the top logit."""

    def distance(y, g, b):
        return 2 - 2 / (1 + (-b * (g + y)).exp().sum(-1))

    return {
        "searched": for_all(y=Vector("n", 0, 3), g=Real(0, 2), b=Real(0.5, 3)).bound(
            distance,
            at_most=lambda g, b, n: theory.argmax_distance_bound(g, b, int(n) + 1),
            sizes={"n": setting.dim - 1},
            twin=Twin.of("rate 1.05 g", at_most=lambda g, b, n: 2 * n / (n + (1.05 * b * g).exp())),
        ),
        "certified": for_all(y=Vector(2, 0, 3), g=Real(0, 2)).bound(
            lambda y, g: distance(y, g, 1),
            at_most=lambda g: theory.argmax_distance_bound(g, 1.0, 3) + SLACK,
            name=UP_TO,
            twin=Twin.of("rate 1.1 g", at_most=lambda g: 4 / (2 + (1.1 * g).exp())),
        ),
    }


def uniform_limit(setting: Setting) -> dict[str, ForAll]:
    """Softmax is within 2 tanh(beta spread / 4) of equal weights in l1: linearly in beta as the temperature grows."""
    return {
        "searched": for_all(x=Vector("n", -3, 3), b=Real(0.1, 2)).bound(
            lambda x, b, n: ((b * x).softmax(-1) - 1 / n).abs().sum(-1),
            at_most=lambda x, b: theory.uniform_distance_bound(spread(x), b),
            sizes={"n": setting.dim},
            twin=Twin.of("2 tanh(beta spread / 4.5)", at_most=lambda x, b: 2 * torch.tanh(b * spread(x) / 4.5)),
        ),
        "certified": for_all(x=Real(0, 4)).bound(
            lambda x: 2 * torch.sigmoid(x) - 1,
            at_most=lambda x: theory.uniform_distance_bound(x, 1.0) + SLACK,
            name=UP_TO,
            twin=Twin.of("2 tanh(beta spread / 4.5)", at_most=lambda x: 2 * torch.tanh(x / 4.5)),
        ),
    }


def cocoercive(setting: Setting) -> dict[str, ForAll]:
    """Softmax is 2 / beta co-coercive, twice the constant often given."""

    def product(x, y, b):
        return (moved(x, y, b) * (x - y)).sum(-1)

    def bound(constant):
        return lambda x, y, b: constant(b) * (moved(x, y, b) ** 2).sum(-1)

    def two(s, t):
        return (torch.sigmoid(s) - torch.sigmoid(t)) * (s - t)

    def two_bound(constant, slack):
        return lambda s, t: 2 * constant * (torch.sigmoid(s) - torch.sigmoid(t)) ** 2 - slack

    return {
        "searched": for_all(x=Vector("n", -4, 4), y=Vector("n", -4, 4), b=Real(0.5, 2)).bound(
            product,
            at_least=bound(theory.cocoercivity),
            sizes={"n": setting.dim},
            twin=Twin.of("2.1 / beta", at_least=bound(lambda b: 2.1 / b)),
        ),
        "certified": for_all(s=Real(-2, 2), t=Real(-2, 2)).bound(
            two,
            at_least=two_bound(theory.cocoercivity(), SLACK),
            name=UP_TO,
            twin=Twin.of("3 / beta", at_least=two_bound(3.0, 0.0)),
        ),
    }
