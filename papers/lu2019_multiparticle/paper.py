"""The paper, its settings, and what its claims share: the systems of a run as theory sees them, and norms of errors."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.particle_flow.splitting_errors import Setting
from attnlab.theory.particle_flow.fields import ParticleSystem
from attnlab.theory.particle_flow.splitting import SCHEMES as STAGES
from attnlab.theory.particle_flow.splitting import error_terms

TITLE = "Understanding and Improving Transformer From a Multi-Particle Dynamic System Point of View"
paper = Paper(
    key="lu2019_multiparticle",
    title=TITLE,
    sources=[
        Source(
            authors="Yiping Lu, Zhuohan Li, Di He, Zhiqing Sun, Bin Dong, Tao Qin, Liwei Wang, Tie-Yan Liu",
            year=2019,
            arxiv="1906.02762",
            title=TITLE,
        )
    ],
    statements={
        1: "A residual Transformer layer is one step of Lie-Trotter splitting with Euler sub-steps for a system of particles.",
        2: "With exact sub-flows the local error of Lie-Trotter is O(gamma^2), of Strang-Marchuk O(gamma^3); global orders 1, 2.",
        3: "The leading error of Lie-Trotter, F first, is (gamma^2 / 2) (F'G - G'F).",
        4: "With the Euler sub-steps of a network both are first order; Macaron has the smaller constant, not the higher order.",
        5: "A Macaron layer has as many parameters as a Transformer layer.",
        6: "At equal parameters Macaron networks score better in translation and in language understanding.",
        7: "A Macaron stack of shared weights is a Transformer stack with half feed-forward steps at its ends.",
        8: "With fixed attention the error terms are commutators of the value and feed-forward matrices.",
        9: "Weights that depend on depth keep the second order only if frozen at the right times.",
        10: "Small stacks of both kinds, trained at equal parameters on the flow of a particle system.",
    },
)
DESK = Setting()
paper.scales(
    smoke=replace(DESK, depths=(4, 8, 16, 32, 64), n_replicas=8),
    desk=DESK,
    paper=Setting(n_particles=32, dim=512, hidden=1_024, n_heads=4),
)
paper.not_testable(
    6,
    "BLEU and GLUE scores need full-scale translation and pre-training runs; small stacks are compared in "
    "equal_parameters, where no such advantage is claimed by the paper",
)

N_POINTS = 4  # step sizes that a slope is taken over, the smallest of the run
WEIGHTS = ("W_Q", "W_K", "W_V", "W_O", "W_1", "b_1", "W_2", "b_2")


def with_depths(scales: Scales, **changes) -> Scales:
    """The same change of the settings at every scale."""
    return Scales(*(replace(scales.at(scale), **changes) for scale in ("smoke", "desk", "paper")))


def systems(runs, setting) -> ParticleSystem:
    """The random systems of a run, the replica axis first."""
    return ParticleSystem(*(runs[name] for name in WEIGHTS), n_heads=setting.n_heads, activation=setting.activation)


def errors(runs, which, scheme):
    """Error vectors ``(replica, depth, n, d)`` of one scheme, ``which`` "local" or "global"."""
    return runs[f"{which} error of {scheme}"]


def norm(X):
    """Frobenius norm over particles and coordinates, the last two axes."""
    return np.sqrt((np.asarray(X) ** 2).sum((-2, -1)))


@functools.cache
def terms(scheme):
    """Coefficients of the local error of a scheme such as ``"macaron euler"``."""
    splitting, sub_flow = scheme.split()
    return error_terms(STAGES[splitting], sub_flow)


def relative(vectors, predicted):
    """Distance of ``vectors (replica, depth, n, d)`` to ``predicted (replica, n, d)``, relative to its size."""
    return norm(vectors - predicted[:, None]) / norm(predicted)[:, None]
