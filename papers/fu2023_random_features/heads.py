"""Claims on finitely many heads: explicit values, the peak of least squares, the rate at which heads become many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Outcome, Twin, Verdict, agrees, bounded, exponent
from attnlab.papers.fu2023_random_features.paper import paper
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.random_feature_heads.features import ExplicitSetting, explicit_weights
from attnlab.simulators.random_feature_heads.few_heads import HeadsSetting, few_heads
from attnlab.theory.random_feature_heads.kernels import explicit_weights_error

EXPLICIT = Scales(
    smoke=ExplicitSetting(n_replicas=8),
    desk=ExplicitSetting(),
    paper=ExplicitSetting(cells=((30, 20, 100), (30, 20, 1000)), n_replicas=32),
)
HEADS = HeadsSetting()
FEW = Scales(
    smoke=replace(HEADS, n_test=300, n_replicas=8),
    desk=HEADS,
    paper=replace(HEADS, dim=30, n_keys=20, n_samples=620, heads=(5, 10, 20, 40, 80, 160, 320, 640)),
)
MORE = Scales(smoke=FEW.smoke, desk=replace(HEADS, n_replicas=32), paper=FEW.paper)


def peak(setting):
    """Index of the number of heads whose parameters are as many as the samples, M (d + 1) = n."""
    return int(np.argmin(np.abs(np.log(np.array(setting.heads) * (setting.dim + 1) / setting.n_samples))))


@paper.claim(
    "explicit_values",
    source="follows from the moments of ReLU heads",
    statements=[2, 3],
    setting=EXPLICIT,
    formula="v_m = sqrt(2 pi) beta / M: error (1/M) [pi/(N d) + (1 - 1/N) pi/(2 d^2) - 1/(N d)] on b_1",
    judged="ratio of measured to predicted error, mean over cells (d, N, M), 1 within 0.05",
)
def explicit_values(setting: ExplicitSetting, lab: Lab) -> Verdict:
    """Heads with explicit values represent the mean of <beta, x_i> with an error of exactly 1/M times a known constant.

    Twin: keys whose heads are independent of each other, so that the term in 1/d^2 is absent.
    """
    runs = lab.simulate(explicit_weights, setting)
    law = np.array([explicit_weights_error(*cell) for cell in setting.cells])
    cross = np.array([(1 - 1 / n) * np.pi / (2 * d**2) / m for d, n, m in setting.cells])
    return agrees(
        (runs["error"] / law).mean(1),
        1.0,
        within=0.05,
        twin=Twin.of("independent keys", predicted=float(((law - cross) / law).mean())),
    )


@paper.claim(
    "interpolation_peak",
    source="not in the paper; least squares at as many parameters as samples",
    statements=[3],
    setting=FEW,
    formula="ridgeless error > 10 Var f at M (d + 1) = n",
    assumptions=["a number of heads with M (d + 1) within a tenth of n"],
    judged="log10 of the error of b_2, mean over replicas above 1",
)
def interpolation_peak(setting: HeadsSetting, lab: Lab) -> Verdict:
    """Without a ridge the error passes ten times the variance where M heads have as many parameters as there are samples.

    A bound on the excess risk therefore needs the norm constraint. Twin: the same heads with a small ridge.
    """
    n_parameters = setting.heads[peak(setting)] * (setting.dim + 1)
    if abs(n_parameters / setting.n_samples - 1) > 0.1:
        return Verdict(
            Outcome.VACUOUS,
            "assumption",
            reason=f"no number of heads in {setting.heads} has M (d + 1) near n = "
            f"{setting.n_samples}: the nearest is {n_parameters}",
        )
    runs, j = lab.simulate(few_heads, setting), setting.targets.index("b2")
    return bounded(
        np.log10(runs["ridgeless"][:, peak(setting), j]),
        1.0,
        side="below",
        twin=Twin.of("small ridge", measured=np.log10(runs["ridge"][:, peak(setting), j])),
    )


@paper.claim(
    "rate_in_heads",
    source="Theorem on the excess risk, its part in M",
    statements=[3],
    setting=MORE,
    undecided_at_smoke="8 replicas leave an interval wider than the margin",
    formula="error(M) - error(infinitely many heads) ~ 1/M",
    judged="slope of the mean gap from the fourth largest number of heads on within 0.2 of -1, target b_1",
)
def rate_in_heads(setting: HeadsSetting, lab: Lab) -> Verdict:
    """With a ridge the error falls to that of infinitely many heads like 1/M, faster than the published M^{-1/2}.

    Twin: M^{-1/2}.
    """
    runs, j = lab.simulate(few_heads, setting), setting.targets.index("b1")
    gap = runs["ridge"][:, -4:, j] - runs["limit"][:, j, None]
    return exponent(
        setting.heads[-4:],
        gap,
        -1,
        within=0.2,
        bend=0.5,
        of="mean curve",
        twin=Twin.of("published rate", predicted=-0.5),
    )
