"""Facts on what an attention head outputs and how much the output can change. Keys and values are rows of ``k``, ``v``."""

from __future__ import annotations

import torch

from attnlab.analysis import Matrix, Real, Sphere, Twin, Vector, for_all
from attnlab.analysis.theorems.statement.claim import Claim as ForAll
from attnlab.papers.classical_facts.measures import SLACK, UP_TO, diameter, length, softmax_from
from attnlab.papers.classical_facts.setting import Setting
from attnlab.theory.softmax_attention import output_bounds as theory

VALUE_DIM = 2


def output(x, v):
    """The mean of the rows of v under softmax(x)."""
    return x.softmax(-1) @ v


def kept(x, v, n_kept):
    """``(weight of the first keys, output of these alone)``."""
    return x.softmax(-1)[:n_kept].sum(-1), output(x[:n_kept], v[:n_kept])


def hull(setting: Setting) -> dict[str, ForAll]:
    """The output lies in the convex hull of the values: in no direction does it exceed all of them."""

    def above(v, u):
        return v @ u - (v @ u).amin(-1)

    return {
        "searched": for_all(x=Vector("n", -3, 3), v=Matrix("n", VALUE_DIM, -2, 2), u=Sphere(VALUE_DIM)).bound(
            lambda x, v, u: output(x, v) @ u - (v @ u).amin(-1),
            at_most=lambda v, u: above(v, u).amax(-1),
            sizes={"n": setting.dim},
            twin=Twin.of("their mean", at_most=lambda v, u: above(v, u).sum(-1) / v.shape[0]),
        ),
        "certified": for_all(t=Real(-3, 3), a=Real(-1, 1), b=Real(-1, 1)).bound(
            lambda t, a, b: torch.sigmoid(t) * (a - b) + b,
            at_most=lambda a, b: torch.maximum(a, b) + SLACK,
            name=UP_TO,
            twin=Twin.of("their mean", at_most=lambda a, b: (a + b) / 2),
        ),
    }


def dropped_mass(setting: Setting) -> dict[str, ForAll]:
    """Dropping keys of total weight 1 - gamma and renormalising moves the output by at most 2 (1 - gamma) max |v|."""

    def change(x, v):
        return length(output(x, v) - kept(x, v, x.shape[0] // 2)[1])

    def bound(constant):
        return lambda x, v: constant(kept(x, v, x.shape[0] // 2)[0], length(v).amax(-1))

    return {
        "searched": for_all(x=Vector("n", -3, 3), v=Matrix("n", VALUE_DIM, -1, 1)).bound(
            change,
            at_most=bound(theory.dropped_mass_bound),
            sizes={"n": setting.dim},
            twin=Twin.of("as without renormalising", at_most=bound(theory.truncation_bound)),
        ),
        "certified": for_all(t=Real(-3, 3), a=Real(-1, 1)).bound(
            lambda t, a: torch.sigmoid(-t) * (1 - a),
            at_most=lambda t: theory.dropped_mass_bound(torch.sigmoid(t), 1.0) + SLACK,
            name=UP_TO,
            twin=Twin.of("as without renormalising", at_most=lambda t: theory.truncation_bound(torch.sigmoid(t), 1.0)),
        ),
    }


def truncated_mass(setting: Setting) -> dict[str, ForAll]:
    """Dropping keys of total weight 1 - gamma without renormalising moves the output by at most (1 - gamma) max |v|."""

    def change(x, v):
        half = x.shape[0] // 2
        return length(x.softmax(-1)[half:] @ v[half:])

    def bound(constant):
        return lambda x, v: constant * theory.truncation_bound(kept(x, v, x.shape[0] // 2)[0], length(v).amax(-1))

    return {
        "searched": for_all(x=Vector("n", -3, 3), v=Matrix("n", VALUE_DIM, -1, 1)).bound(
            change, at_most=bound(1.0), sizes={"n": setting.dim}, twin=Twin.of("0.98 times", at_most=bound(0.98))
        )
    }


def output_change(setting: Setting) -> dict[str, ForAll]:
    """The output moves by at most tanh(spread / 4) times the diameter of the values when logits move by that spread."""

    def bound(constant):
        return lambda x, y, v: theory.output_change_bound(constant * ((x - y).amax(-1) - (x - y).amin(-1)), diameter(v))

    return {
        "searched": for_all(x=Vector("n", -2, 2), y=Vector("n", -2, 2), v=Matrix("n", VALUE_DIM, -1, 1)).bound(
            lambda x, y, v: length(output(x, v) - output(y, v)),
            at_most=bound(1.0),
            sizes={"n": setting.dim},
            twin=Twin.of("spread / 4.4", at_most=bound(1 / 1.1)),
        ),
        "certified": for_all(s=Real(-2, 2), t=Real(-2, 2), d=Real(0, 1)).bound(
            lambda s, t, d: (torch.sigmoid(s) - torch.sigmoid(t)).abs() * d,
            at_most=lambda s, t, d: theory.output_change_bound((s - t).abs(), d) + SLACK,
            name=UP_TO,
            twin=Twin.of("spread / 5", at_most=lambda s, t, d: theory.output_change_bound(0.8 * (s - t).abs(), d)),
        ),
    }


def query_gradient(setting: Setting) -> dict[str, ForAll]:
    """The derivative of the output by the query has norm at most beta diam(k) diam(v) / 4."""

    def slope(q, k, v, a, u, b):
        p = (b * (k @ q)).softmax(-1)
        ka, vu = k @ a, v @ u
        return b * ((p * ka * vu).sum(-1) - (p * ka).sum(-1) * (p * vu).sum(-1))

    def bound(constant):
        return lambda k, v, b: constant * theory.query_gradient_bound(b, diameter(k), diameter(v))

    d = VALUE_DIM
    variables = {
        "q": Vector(d, -2, 2),
        "k": Matrix("n", d, -1, 1),
        "v": Matrix("n", d, -1, 1),
        "a": Sphere(d),
        "u": Sphere(d),
        "b": Real(0.5, 2),
    }
    return {
        "searched": for_all(**variables).bound(
            slope, at_most=bound(1.0), sizes={"n": setting.dim}, twin=Twin.of("0.95 times", at_most=bound(0.95))
        ),
        "symbolic": for_all(t=Real()).bound(
            lambda t: torch.sigmoid(t) * (1 - torch.sigmoid(t)),
            at_most=theory.query_gradient_bound(1.0, 1.0, 1.0),
            twin=Twin.of("0.24", at_most=0.24),
        ),
    }


def loss_gradient(setting: Setting) -> dict[str, ForAll]:
    """The gradient of the cross-entropy loss by the logits has norm at most sqrt(2) (1 - p) for the right weight p."""

    def norm(p):
        return ((p[1:] ** 2).sum(-1) + (1 - p[0]) ** 2).sqrt()

    def even(x, n):
        return (n / (n - 1)) ** 0.5 * (1 - x.softmax(-1)[0])

    return {
        "searched": for_all(x=Vector("n", -4, 4)).bound(
            lambda x: norm(x.softmax(-1)),
            at_most=lambda x: theory.loss_gradient_bound(x.softmax(-1)[0]),
            sizes={"n": setting.dim},
            twin=Twin.of("wrong mass spread evenly", at_most=even),
        ),
        "certified": for_all(x=Vector(2, -2, 2)).bound(
            lambda x: norm(softmax_from(x)),
            at_most=lambda x: theory.loss_gradient_bound(softmax_from(x)[0]) + SLACK,
            name=UP_TO,
            twin=Twin.of("wrong mass spread evenly", at_most=lambda x: 1.5**0.5 * (1 - softmax_from(x)[0])),
        ),
    }
