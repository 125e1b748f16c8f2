"""Claims on the first scores: how rows concentrate, what windows, pointers, sources and bells weigh, how routing ends."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, budget, finite_size, identical, relative, replicas
from attnlab.papers.base_scores.paper import (
    ADDITIVE,
    BELLS,
    FROZEN,
    POINTERS,
    ROUTING,
    ROWS,
    SOURCES,
    WALKS,
    WINDOWS,
    paper,
)
from attnlab.papers.lab.conditions import at_least, not_yet, one_of, outside
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.base_scores.dynamics import (
    AdditiveSetting,
    RoutingSetting,
    WalkSetting,
    additive_effects,
    copies,
    routing,
)
from attnlab.simulators.base_scores.planted import (
    BellSetting,
    PointerSetting,
    SourcesSetting,
    WindowSetting,
    bells,
    flat_windows,
    sure_pointers,
    two_sources,
)
from attnlab.simulators.base_scores.rows import RowsSetting, rows
from attnlab.theory.base_scores import (
    dot_product,
    dynamic_routing,
    location_relative,
    luong,
    multi_source,
    pointer,
    predicted_window,
)

SPREADS = (0.5, 1.0)
#: Spread over replicas, relative to the mean, of n sum W^2 at these spreads: 16 replicas at another seed, 32 rows each.
SPREAD_OF_PARTICIPATION = {0.5: 0.0075, 1.0: 0.042}
#: Spread over replicas of the sum itself without the division, d = 64, n = 1024: 16 replicas at another seed, 32 rows each.
SPREAD_OF_FROZEN = 0.053
#: Spread over replicas of the entropy, same runs.
SPREAD_OF_ENTROPY = {0.5: 0.0036, 1.0: 0.0157}


@paper.claim(
    "spread_rows",
    source="section 3.2.1; the law is derived",
    statements=[1],
    setting=ROWS,
    parts=4,
    kind="extrapolation",
    reads=("n_keys", "dim"),
    covers={
        "score_std": one_of(1.0),
        "divided": one_of(True),
        "n_keys": at_least(256, "the spread must stay below half the freezing point"),
    },
    formula="n E sum W^2 -> e^{s^2}, entropy -> ln n - s^2/2, for scores of spread s = .5 and 1",
    judged="means over replicas; the margin holds what the limit drops at these n and d, "
    "|3 (e^{s^2} - 1) - 2 (e^{2 s^2} - 1)|/n + s^4/d of it, and (s^2 e^{s^2} - (e^{s^2} - 1)/2)/n nats, by expanding the "
    "ratio, and the spread of other seeds",
)
def spread_rows(setting: RowsSetting, lab: Lab) -> Verdict:
    """Scores of spread s leave a row on about n e^{-s^2} keys, with s^2/2 nats less than all of them.

    Twins: the variance of a log-normal weight, e^{s^2} - 1, for the second moment; s^2 nats.
    """
    parts = []
    every = lab.simulate(rows, *(replace(setting, score_std=s) for s in SPREADS))
    n, share = setting.n_keys, math.sqrt(32 / setting.n_rows)
    for s, runs in zip(SPREADS, every, strict=True):
        limit, weight = dot_product.participation(s), math.exp(s * s)
        within = budget(
            finite_size(n, limit * (3 * math.expm1(s * s) - 2 * math.expm1(2 * s * s)), of="n"),
            finite_size(setting.dim, limit * s**4, of="d"),
            replicas(SPREAD_OF_PARTICIPATION[s] * limit * share, runs.n),
        )
        parts.append(
            agrees(
                n * runs["participation"],
                limit,
                within=within,
                twin=Twin.of("variance of a log-normal weight", predicted=math.expm1(s * s)),
            ).named(f"participation at s = {s}")
        )
        dropped = s * s * weight - math.expm1(s * s) / 2
        parts.append(
            agrees(
                runs["entropy"],
                dot_product.entropy(s, n),
                within=budget(finite_size(n, dropped, of="n"), replicas(SPREAD_OF_ENTROPY[s] * share, runs.n)),
                twin=Twin.of("s^2 nats", predicted=math.log(n) - s * s),
                scale=s * s / 2,
            ).named(f"entropy at s = {s}")
        )
    return all_of(*parts)


@paper.claim(
    "frozen_rows",
    source="section 3.2.1, footnote 4; the law is derived",
    statements=[2],
    setting=FROZEN,
    kind="extrapolation",
    reads=("dim", "n_keys"),
    covers={"divided": one_of(False), "score_std": one_of(1.0)},
    formula="E sum W^2 = n int E[x^2 e^{-x}] (E e^{-x})^{n-1} du, x = e^{u + |q| z}, averaged over |q|",
    judged="mean over replicas; the spread over replicas is that of another seed",
    note="The limit 1 - sqrt(2 ln n) / s lies below at finite n: .535 against .597 at d = 64, n = 1024.",
)
def frozen_rows(setting: RowsSetting, lab: Lab) -> Verdict:
    """Without the division by sqrt(d) rows are frozen on a few keys, by an exact law at finite n.

    Twin: the limit of many keys.
    """
    if not setting.dim > 2 * math.log(setting.n_keys):
        return outside(
            f"dim={setting.dim}: rows of {setting.n_keys} keys freeze above 2 ln n = {2 * math.log(setting.n_keys):.3g}"
        )
    runs = lab.simulate(rows, setting)
    predicted = dot_product.participation_of_products(setting.dim, setting.n_keys, 1.0)
    limit = dot_product.frozen_participation(math.sqrt(setting.dim), setting.n_keys)
    return agrees(
        runs["participation"],
        predicted,
        within=budget(replicas(SPREAD_OF_FROZEN * math.sqrt(32 / setting.n_rows), runs.n)),
        twin=Twin.of("the limit of many keys", predicted=limit),
    )


@paper.claim(
    "local_rows",
    source="equation 10 of Luong et al.; the sum is derived",
    statements=[3],
    setting=WINDOWS,
    kind="construction",
    reads=("half_widths",),
    formula="row sum at equal scores = (1/(2D+1)) sum_{|t| <= D} e^{-2 t^2 / D^2}, .5981 for wide windows",
    judged="the operator's row sums, equal within 2 D + 10 roundings",
)
def local_rows(setting: WindowSetting, lab: Lab) -> Verdict:
    """The Gaussian of local attention shrinks the context of equal scores to the stated share, about .6.

    Twin: the limit of wide windows at every width.
    """
    runs = lab.simulate(flat_windows, setting)
    law = np.array([predicted_window.flat_row_sum(D) for D in setting.half_widths])
    return identical(
        runs["row_sum"],
        np.tile(law, (runs.n, 1)),
        rounding=2 * max(setting.half_widths) + 10,
        twin=Twin.of("wide windows", b=np.full((runs.n, law.size), predicted_window.flat_row_sum_limit())),
    )


@paper.claim(
    "additive_is_static",
    source="equation 8 of Luong et al. (concat); the law is derived",
    statements=[4],
    setting=ADDITIVE,
    parts=6,
    kind="extrapolation",
    reads=("weight_scales",),
    formula="variance of pairs over variance of queries and keys alone = 2 e^4 (1 + O(e^2)), by quadrature at every e",
    judged="both variances, unbiased two-way analysis of scores of m tokens through h units, mean over replicas; spreads: "
    "sqrt(1/(m - 1)) of the main effects; of pairs sqrt(2/m^2 + 8/(m h)), as sample variances of a^2 - 1 scatter by 14/m",
)
def additive_is_static(setting: AdditiveSetting, lab: Lab) -> Verdict:
    """Additive scores with small weights know queries and keys, and of their pairs a share that falls with the fourth power.

    Twins: half of the pairs, as if a^2 b and a b^2 were one term; for queries and keys alone, scores without saturation,
    2 e^2 (where that differs, from e = .3 on), and half of them.
    """
    runs, parts = lab.simulate(additive_effects, setting), []
    m = setting.n_tokens
    of = f"mean over replicas of {m} draws"
    for i, scale in enumerate(setting.weight_scales):
        main, pair = luong.variances(scale)
        pairs = budget(replicas(math.sqrt(2 / m**2 + 8 / (m * setting.hidden)) * pair, runs.n, of=of))
        alone = budget(replicas(main / math.sqrt(m - 1), runs.n, of=of))
        half = Twin.of("half of the pairs", predicted=pair / 2)
        parts.append(agrees(runs["pair"][:, i], pair, within=pairs, of=of, twin=half).named(f"pairs at {scale}"))
        linear = Twin.of("without saturation", predicted=2 * scale**2 if scale > 0.2 else main / 2)
        parts.append(
            agrees(runs["main"][:, i], main, within=alone, of=of, twin=linear).named(f"main effects at {scale}")
        )
    return all_of(*parts)


@paper.claim(
    "pointers_are_never_sure",
    source="equation 3 of Vinyals et al.; the bound is derived",
    statements=[5],
    setting=POINTERS,
    kind="extrapolation",
    reads=("n_keys",),
    formula="largest weight < 1 / (1 + (n - 1) e^{-2 |v|_1})",
    judged="no pointer of any replica above its bound, planted ones within 1e-5 of it",
)
def pointers_are_never_sure(setting: PointerSetting, lab: Lab) -> Verdict:
    """A pointer with read-out v gives no input a weight above 1/(1 + (n - 1) e^{-2 |v|_1}), and nearly reaches it.

    Twin: the same with |v|_1, as if the other logits were 0.
    """
    runs = lab.simulate(sure_pointers, setting)
    bound = np.array([pointer.largest_weight_bound(setting.n_keys, norm) for norm in runs["readout_norm"]])
    rival = np.array([pointer.largest_weight_bound(setting.n_keys, norm / 2) for norm in runs["readout_norm"]])
    return bounded(runs["largest"], bound, of="every replica", twin=Twin.of("|v|_1", bound=rival))


@paper.claim(
    "two_sources",
    source="equations 5 to 9 of Libovický and Helcl; the distance is derived",
    statements=[6],
    setting=SOURCES,
    kind="identity",
    formula="|y_hierarchical - y_flat| = |beta_1 - Z_1/(Z_1 + Z_2)| |c_1 - c_2|",
    judged="equal within 100 roundings of the contexts in every replica",
)
def hierarchy(setting: SourcesSetting, lab: Lab) -> Verdict:
    """The hierarchical combination of two sources is off the flat one by the weight it misplaces, times their distance.

    Twin: equal outer weights as the place where both agree.
    """
    runs = lab.simulate(two_sources, setting)
    cells = list(zip(runs["outer_weight"], runs["log_masses"], runs["contexts"], strict=True))
    law = np.array([multi_source.distance_to_flat(beta, masses, contexts) for beta, masses, contexts in cells])
    rival = np.array([abs(beta - 0.5) * np.linalg.norm(contexts[0] - contexts[1]) for beta, _, contexts in cells])
    return identical(runs["distance"], law, rounding=100, scale=runs["size"], twin=Twin.of("equal weights", b=rival))


@paper.claim(
    "bells_sum_to_one_if_wide",
    source="equation 3 and table 1 of Battenberg et al. (V1, V2); the sum is derived",
    statements=[7],
    setting=BELLS,
    kind="construction",
    reads=("widths",),
    formula="row sum - 1 = 2 sum_h e^{-2 pi^2 h^2 sigma^2} at the worst phase",
    judged="the operator's row sums, equal within 200 roundings (81 exponentials and a sum)",
)
def bells_sum_to_one_if_wide(setting: BellSetting, lab: Lab) -> Verdict:
    """Bells divided by their area sum to one over the keys if they are wide; at sigma = .2 the sum reaches 2.

    Twin: the first harmonic alone.
    """
    runs = lab.simulate(bells, setting)
    law = 1 + np.array([location_relative.row_sum_error(width) for width in setting.widths])
    one = 1 + np.array([location_relative.row_sum_error(width, 1) for width in setting.widths])
    return identical(
        runs["row_sum"],
        np.tile(law, (runs.n, 1)),
        rounding=200,
        twin=Twin.of("one harmonic", b=np.tile(one, (runs.n, 1))),
    )


@paper.claim(
    "copies_drift",
    source="section 4 of Battenberg et al. (generalisation); the law is derived",
    statements=[8],
    setting=WALKS,
    parts=3,
    kind="extrapolation",
    reads=("step_noise", "steps"),
    formula="accuracy after t steps = erf(1 / (2 s sqrt(2 t))), for every length of text",
    judged="means over replicas; a share p of m walks scatters by sqrt(p (1 - p) / m)",
)
def copies_drift(setting: WalkSetting, lab: Lab) -> Verdict:
    """A location-relative copy with step noise s loses its place by diffusion: what counts is the step, not the length.

    Twin: errors that add up, erf(1 / (2 sqrt 2 s t)).
    """
    runs, parts = lab.simulate(copies, setting), []
    for i, t in enumerate(setting.steps):
        p = location_relative.copy_accuracy(setting.step_noise, t)
        coherent = math.erf(1 / (2 * math.sqrt(2) * setting.step_noise * t))
        of = f"mean over replicas of {setting.n_walks} draws"
        parts.append(
            agrees(
                runs["accuracy"][:, i],
                p,
                within=budget(replicas(math.sqrt(p * (1 - p) / setting.n_walks), runs.n, of=of)),
                of=of,
                twin=Twin.of("errors that add up", predicted=coherent),
            ).named(f"step {t}")
        )
    return all_of(*parts)


@paper.claim(
    "routing_sharpens",
    source="algorithm 1 of Yoon et al.; the rate is derived",
    statements=[9],
    setting=ROUTING,
    kind="extrapolation",
    covers={"n_tokens": at_least(3, "the margin is that of the slower losers")},
    formula="d ln(1 - a_max) / dr = -min_{j != i*} (x_i* - x_j) . tanh(x_i*)",
    judged="slope between two depths, minus the rate of the same votes, mean over replicas; slower losers may still be "
    "ahead at the first depth: at most ln(n - 1) over the fall between them",
)
def routing_sharpens(setting: RoutingSetting, lab: Lab) -> Verdict:
    """Routing has no soft fixed point: it ends one-hot, exponentially in the rounds, at a rate that the votes name.

    Twin: the rate of the runner-up by logit at the mean vote, (x_i* - x_j) . x_i* without tanh.
    """
    runs = lab.simulate(routing, setting)
    if not np.isfinite(runs["slope"]).all():
        return not_yet(f"n_rounds={setting.n_rounds} is below what the slowest replica needs")
    cells = list(zip(runs["votes"], runs["winner"], strict=True))
    law = np.array([-dynamic_routing.sharpening_rate(x, i) for x, i in cells])
    rival = np.array([-np.delete((x[i] - x) @ x[i], i).min() for x, i in cells])
    fall = setting.log_gaps[0] - setting.log_gaps[1]
    late = relative(
        math.log(setting.n_tokens - 1) / fall, abs(law).max(), "losers that are still ahead at the first depth"
    )
    return agrees(
        runs["slope"],
        law,
        within=budget(late),
        of="every replica",
        twin=Twin.of("without tanh", predicted=rival),
        scale=float(np.abs(law).mean()),
    )
