"""Claims on delta attention: exact anchors, what it costs, and when the correction helps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, finite_size, identical, ordered, relative, replicas
from attnlab.papers.lab.conditions import at_least, at_most
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.linear_and_exact_variants.paper import ANCHORED, ANCHORS, paper
from attnlab.simulators.sparse_selection.corrections import AnchorSetting, DeltaSetting, anchors, delta
from attnlab.theory.sparse_selection import delta as theory

#: (spread of scores, autocorrelation of queries, gap) at which the criterion is judged.
CASES = ((0.7, 0.99, 16), (0.7, 0.99, 64), (0.7, 0.0, 64), (1.0, 0.9, 16))
#: Standard deviations over replicas of 32 blocks of the error ratio in these cases, and of that with the anchors' rows replaced
#: in the first: 24 children of np.random.SeedSequence(1).
RATIO_STD, RECOMPUTED_STD = (0.004, 0.0126, 0.0259, 0.0432), 0.00096


def lags(setting: AnchorSetting) -> np.ndarray:
    """Correlations of a block's queries with its first, lags 0 to g - 1."""
    return setting.correlation ** np.arange(setting.gap) if setting.correlation else np.eye(setting.gap)[0]


@paper.claim(
    "anchors_are_exact",
    source="equations 5 and 6 of Willette et al.",
    statements=[12],
    kind="construction",
    setting=ANCHORED,
    parts=2,
    formula="at anchors the output is full attention's; sum |O^ - O|^2 = sum |D_i - D_a(i)|^2",
    judged="the operator's rows at anchors against full attention within 1000 roundings; the sum of squares against the identity "
    "within 1000 n",
)
def anchors_are_exact(setting: DeltaSetting, lab: Lab) -> Verdict:
    """Delta attention equals full attention at anchors, and elsewhere errs by how much the sparse error has moved since.

    Twins: the sparse method's rows; the sum without the correction.
    """
    runs, n = lab.simulate(delta, setting), setting.n_tokens
    rows = slice(None, None, setting.gap)
    full, sparse = runs["full"], runs["sparse"]
    D = full - sparse
    found = np.square(full - runs["corrected"]).sum((1, 2))
    law = np.array([theory.corrected_error_exact(each, setting.gap) for each in D])
    plain = np.square(D).sum((1, 2))
    return all_of(
        identical(
            runs["corrected"][:, rows],
            full[:, rows],
            rounding=1000,
            scale=5.0,
            twin=Twin.of("sparse", a=sparse[:, setting.gap - 1 :: setting.gap][:, : full[:, rows].shape[1]]),
        ).named("anchors"),
        identical(found, law, rounding=1000 * n, scale=float(plain.max()), twin=Twin.of("uncorrected", b=plain)).named(
            "elsewhere"
        ),
    )


@paper.claim(
    "sparsity_that_is_kept",
    source="section 4 of Willette et al., g = 64",
    statements=[13],
    kind="anchor",
    setting=ANCHORED,
    formula="1/g of the scores beside those of the sparse method: 1.56 % at g = 64, 98.4 % left out",
    judged="scores counted on masks, all causal ones as the unit, at g = 64 without a window or sinks but the own key, 4096 "
    "tokens; "
    "the printed digit is 0.5 %, half of it the margin",
)
def sparsity_that_is_kept(setting: DeltaSetting, lab: Lab) -> Verdict:
    """An anchor every 64 tokens costs 1.5 % of the scores. Twin: every 32 tokens."""
    wide = replace(setting, n_tokens=4096, window=1, sinks=0, gap=64, dim=2, n_replicas=1)
    runs = lab.simulate(delta, wide, replace(wide, gap=32))
    return agrees(
        1 - runs[0]["pairs"],
        0.985,
        within=budget(relative(0.0025, 1.0, "half of the last digit")),
        of="every replica",
        twin=Twin.of("g = 32", measured=1 - runs[1]["pairs"]),
    )


@paper.claim(
    "when_the_correction_helps",
    source="not in the paper; derived here",
    statements=[14],
    kind="extrapolation",
    setting=ANCHORS,
    parts=len(CASES),
    formula="corrected over uncorrected squared error 2 (1 - mean R), R = ((1 - 2a)/((1 - a r)^2 - a^2))^(d/2), a = s^2/d",
    judged="squared errors of rows of the map over blocks of stationary queries; spreads from other seeds; the first term in 1/m "
    "that the limit drops",
    reads=("dim", "n_kept"),
    covers={"n_kept": at_least(512), "n_keys": at_least(2048), "n_blocks": at_least(32), "dim": at_least(16)},
)
def when_the_correction_helps(setting: AnchorSetting, lab: Lab) -> Verdict:
    """The error of a fixed subset of keys is known in advance, by the spread of the scores and the autocorrelation of the
    queries.

    Twin: errors with the autocorrelation of the queries, rho^lag.
    """
    cells = [replace(setting, score_std=s, correlation=rho, gap=g) for s, rho, g in CASES]
    parts = []
    for cell, runs, std in zip(cells, lab.simulate(anchors, *cells), RATIO_STD, strict=True):
        law = theory.error_ratio(theory.subset_autocorrelation_limit(lags(cell), cell.dim, cell.score_std))
        dropped = theory.subset_ratio_dropped_approx(lags(cell), cell.score_std, cell.n_kept, cell.n_keys)
        rival = theory.autoregressive_ratio(cell.correlation, cell.gap)
        parts.append(
            agrees(
                runs["corrected"],
                law,
                within=budget(replicas(std, runs.n), finite_size(cell.n_kept, dropped * cell.n_kept, of="m")),
                twin=Twin.of("rho^lag", predicted=rival),
            ).named(f"s = {cell.score_std:g}, rho = {cell.correlation:g}, g = {cell.gap}")
        )
    return all_of(*parts)


@paper.claim(
    "anchors_alone_help_less",
    source="section 3 of Willette et al. (recompute)",
    statements=[14],
    setting=ANCHORS,
    parts=2,
    formula="1 - 1/g against 2 (1 - mean R)",
    judged="squared error with the anchors' rows replaced over the sparse method's, mean over replicas, within the spread of "
    "other "
    "seeds; paired with the corrected one",
    reads=("gap",),
    covers={
        "n_blocks": at_least(32),
        "score_std": at_most(0.8, "beyond, the correction may hurt"),
        "gap": at_least(16),
    },
)
def anchors_alone_help_less(setting: AnchorSetting, lab: Lab) -> Verdict:
    """Replacing the anchors alone leaves 1 - 1/g of the squared error; the correction leaves far less where scores are of
    spread 0.7.

    Twins: nothing gained; by the whole error.
    """
    runs = lab.simulate(anchors, setting)
    law = theory.recomputed_ratio_exact(setting.gap)
    return all_of(
        agrees(
            runs["recomputed"],
            law,
            within=budget(replicas(RECOMPUTED_STD, runs.n)),
            twin=Twin.of("nothing", predicted=1.0),
        ).named("recomputed"),
        ordered(runs["corrected"], runs["recomputed"], by=0.5, twin=Twin.of("by all of it", by=1.0)).named("corrected"),
    )
