"""Claims: cost, the relative error of random projections and what survives of it, small logits, ranks."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, budget, finite_size, identical, replicas
from attnlab.kernels.operators.operator import Sizes
from attnlab.papers.lab.conditions import at_least, at_most, one_of, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.linformer.paper import ADDITIVE, COUNTS, ERROR, PUBLISHED, SKETCHES, SPECTRA, STEPS, VALUES, paper
from attnlab.simulators.sketching.projections import (
    CountSetting,
    SketchSetting,
    SpectrumSetting,
    StepSetting,
    counts,
    given,
    given_row,
    sketches,
    small_steps,
    spectra,
    values_only,
)
from attnlab.theory.score_statistics.log_sum import mean_participation_exact
from attnlab.theory.sketching import projected_softmax as theory
from attnlab.theory.sketching.linformer import multiply_adds, relative_error

#: Spread of the squared error of one sketch over its mean, values of mean 0 and 3: 16 replicas of 2000 draws of
#: np.random.SeedSequence(77), n = 128, k = 32, s = 1.
SPREAD_OF_A_SKETCH = {0.0: 0.286, 3.0: 0.651}
#: Spread of the stable rank at n = 512 and s = 1/2, 1 from 16 replicas of the same seed.
SPREAD_OF_STABLE_RANK = {0.5: 0.00125, 1.0: 0.0272}


@paper.claim(
    "linear_cost",
    source="equation 7",
    statements=[1],
    parts=2,
    setting=COUNTS,
    formula="2 n k (d + d_v) multiply-adds, below softmax's from n = 2 k on",
    judged="counted by torch, equal in every cell; which of the two costs more, at n = 2 k and at one token more",
    reads=("cells",),
)
def linear_cost(setting: CountSetting, lab: Lab) -> Verdict:
    """The cost of projected attention is linear in the length and below softmax's beyond two tokens for each projection.

    Twins: projections that cost nothing; n = k.
    """
    ends = CountSetting(tuple((2 * k + more, d, v, k) for _, d, v, k in setting.cells for more in (0, 1)))
    runs, at_end = lab.simulate(counts, setting, ends)
    law = np.array([[multiply_adds(Sizes(n=n, d=d, d_v=v), n_projected=k) for n, d, v, k in setting.cells]])
    cost = identical(runs["projected"][:1], law, twin=Twin.of("free projections", b=law // 2))
    lengths = np.array([[n for n, _, _, _ in ends.cells]])
    first = np.array([[theory.crossover_length(k) for _, _, _, k in ends.cells]])
    dearer = at_end["softmax"][:1] > at_end["projected"][:1]
    crossing = identical(dearer, lengths > first, twin=Twin.of("n = k", b=lengths > first // 2))
    return all_of(cost.named("count"), crossing.named("crossover"))


@paper.claim(
    "relative_error_of_projections",
    source="equation 5, the proof of theorem 1",
    statements=[2],
    setting=PUBLISHED,
    expected="REFUTED",
    formula="|P R^T R w - P w| <= eps |P w| for any column w of the values, k = 5 log n / (eps^2 - eps^3)",
    judged="eps = 1/2, values of mean zero: mean over draws of the relative error of a column, every column of every replica",
    note="Random projections keep p . w to eps |p| |w|, not to eps |p . w|: see sketched_outputs "
    "and additive_error. That *some* matrix "
    "of low rank gives P w is true for want of content: see rank_of_the_values.",
    reads=("n_tokens",),
    covers={"n_tokens": at_least(512, "below, the width comes near the length"), "value_mean": one_of(0.0)},
)
def relative_error_of_projections(setting: SketchSetting, lab: Lab) -> Verdict:
    """A random projection of logarithmic width keeps every output to a relative error eps. Twin: eps / 2."""
    runs = lab.simulate(sketches, setting)
    error = runs["column"].min(1)
    return bounded(error, ERROR, twin=Twin.of("eps / 2", bound=ERROR / 2), of="every replica")


@paper.claim(
    "sketched_outputs",
    source="corrects equation 5; derived here",
    statements=[2],
    kind="extrapolation",
    parts=2,
    setting=SKETCHES,
    formula="mean square relative error sum(|p_i|^2 |v_c|^2 + O_ic^2) / (k |O|^2): about n/k for values of mean zero",
    judged="mean over replicas of the squared error of all outputs, for values of mean 0 and 3; its "
    "spread is that of another seed",
    reads=("n_tokens", "n_projected", "spread", "n_values", "data"),
    covers={
        "n_tokens": one_of(128, why="the spread is known there"),
        "spread": one_of(1.0),
        "n_projected": one_of(32),
        "value_mean": one_of(0.0, why="the claim is judged at 0 and 3"),
    },
)
def sketched_outputs(setting: SketchSetting, lab: Lab) -> Verdict:
    """The error of sketched outputs is exact: far above them for values of mean zero, small where values share a mean.

    Twins: for mean zero n/(k + 4); for mean 3 without the squared output.
    """
    parts = []
    every = lab.simulate(sketches, *(replace(setting, value_mean=mean) for mean in SPREAD_OF_A_SKETCH))
    of = f"mean over replicas of {setting.n_draws} draws"
    for (mean, spread), runs in zip(SPREAD_OF_A_SKETCH.items(), every, strict=True):
        P, V = given(replace(setting, value_mean=mean))
        law = relative_error(P, V, setting.n_projected) ** 2
        rival = law - 1 / setting.n_projected if mean else law * setting.n_projected / (setting.n_projected + 4)
        parts.append(
            agrees(
                runs["square"],
                law,
                within=budget(replicas(spread * law / math.sqrt(setting.n_draws), runs.n, of=of)),
                of=of,
                twin=Twin.of("the nearest rival", predicted=rival),
            ).named(f"mean {mean:g}")
        )
    return all_of(*parts)


@paper.claim(
    "additive_error",
    source="corrects equation 5",
    statements=[2],
    kind="extrapolation",
    setting=ADDITIVE,
    formula="P(some row errs by more than eps |p| |w|) <= 2 n e^(-k (eps^2 - eps^3) / 4) = 2 n^(-1/4)",
    judged="share of draws, eps = 1/2",
    reads=("n_tokens", "n_projected"),
    covers={"n_values": one_of(1)},
)
def additive_error(setting: SketchSetting, lab: Lab) -> Verdict:
    """At the published width the error of every row is below eps times the lengths of weights and values. Twin: at k / 16."""
    runs, few = lab.simulate(sketches, setting, replace(setting, n_projected=setting.n_projected // 16))
    bound = theory.additive_violation_bound(setting.n_tokens, ERROR, setting.n_projected)
    return bounded(
        runs["violated"], bound, twin=Twin.of("a sixteenth of the width", measured=few["violated"]), low=0.0, high=1.0
    )


@paper.claim(
    "rank_of_the_values",
    source="theorem 1",
    statements=[2],
    kind="construction",
    setting=VALUES,
    formula="P' = P Q Q^T, Q a basis of the columns of V: P' V = P V, rank P' <= d_v whatever n",
    judged="outputs within 64 n roundings of the size of the values, and the rank",
)
def rank_of_the_values(setting: SketchSetting, lab: Lab) -> Verdict:
    """A matrix whose rank is the width of the values gives all outputs exactly. Twin: one rank less."""
    runs = lab.simulate(values_only, setting)
    size = 1 + abs(setting.value_mean)
    outputs = identical(
        runs["output"],
        runs["exact"],
        rounding=64 * setting.n_tokens,
        scale=size,
        twin=Twin.of("one rank less", a=runs["fewer"]),
    )
    rank = identical(
        runs["rank"],
        np.full(runs.n, setting.n_values),
        twin=Twin.of("log2 n", b=np.full(runs.n, int(math.log2(setting.n_tokens)))),
    )
    return all_of(outputs.named("outputs"), rank.named("rank"))


@paper.claim(
    "small_steps_keep_the_output",
    source="equation 9, the proof of theorem 2",
    statements=[3],
    setting=STEPS,
    expected="REFUTED",
    formula="|exp(x E^T) F y - exp(x) y| <= eps |exp(x) y|, E = delta R, F = e^(-delta) R, delta a small constant",
    judged="eps = 1/2, delta = 0.01: mean over draws of the relative error, every replica",
    note="With small delta all exponentials are near 1 and x drops out: see output_of_small_steps.",
    reads=("step",),
    covers={"step": at_most(0.1, "delta is a small constant")},
)
def small_steps_keep_the_output(setting: StepSetting, lab: Lab) -> Verdict:
    """Projecting keys by a small multiple of R and values by R keeps exponential attention to a relative error eps.

    Twin: eps / 2.
    """
    runs = lab.simulate(small_steps, setting)
    return bounded(runs["error"], ERROR, twin=Twin.of("eps / 2", bound=ERROR / 2), of="every replica")


@paper.claim(
    "output_of_small_steps",
    source="corrects equation 9; derived here",
    statements=[3],
    kind="extrapolation",
    parts=2,
    setting=STEPS,
    formula="mean delta (x . y) e^(delta^2 |x|^2 / (2 k) - delta), variance near |y|^2: no softmax is left",
    judged="mean over replicas of mean and variance over draws; the spread of a square is that of a "
    "normal number, the mean counts in units of "
    "exp(x) . y",
    reads=("n_tokens", "n_projected", "spread", "value_mean", "step", "data"),
    covers={"step": at_most(0.1, "beyond, the output is not normal")},
)
def output_of_small_steps(setting: StepSetting, lab: Lab) -> Verdict:
    """With a small step the output is a random number of the size of the values, whatever the logits.

    Twins: mean exp(x) . y; a fifth more variance.
    """
    runs = lab.simulate(small_steps, setting)
    x, y = given_row(setting)
    sizes = x, y, setting.n_projected, setting.step
    mean, variance = theory.small_step_mean_exact(*sizes), theory.small_step_variance_exact(*sizes)
    exact, of = float(np.exp(x) @ y), f"mean over replicas of {setting.n_draws} draws"
    centre = agrees(
        runs["mean"],
        mean,
        within=budget(replicas(math.sqrt(variance / setting.n_draws), runs.n, of=of)),
        of=of,
        scale=exact,
        twin=Twin.of("exp(x) . y", predicted=exact),
    )
    spread = agrees(
        runs["variance"],
        variance,
        within=budget(replicas(variance * math.sqrt(2 / setting.n_draws), runs.n, of=of)),
        of=of,
        twin=Twin.of("a fifth more", predicted=1.2 * variance),
    )
    return all_of(centre.named("mean"), spread.named("variance"))


@paper.claim(
    "stable_rank",
    source="section 3; the law is derived here",
    statements=[4],
    kind="extrapolation",
    parts=2,
    setting=SPECTRA,
    formula="|P|_F^2 / s_1^2 = n E sum p^2 / (1 + (n E sum p^2 - 1) / n), near e^(s^2), for Gaussian scores of spread s",
    judged="mean over replicas; margin: the spread of another seed, and 1/n of the value for the "
    "second order of the singular value",
    reads=("n_tokens", "spreads"),
    covers={
        "spreads": that(lambda s: s == (0.5, 1.0), "1/2 and 1", "the spreads over replicas are known there"),
        "n_tokens": one_of(512, why="the spread over replicas is known there"),
    },
)
def stable_rank(setting: SpectrumSetting, lab: Lab) -> Verdict:
    """A softmax matrix over Gaussian scores has a stable rank near e^(s^2), whatever its length. Twin: the limit of long rows."""
    runs = lab.simulate(spectra, setting)
    parts = []
    for k, s in enumerate(setting.spreads):
        n = setting.n_tokens
        law = theory.stable_rank_of_participation(n, mean_participation_exact(n, s))
        rival = math.exp(s * s) if s >= 1 else 1.01 * law
        parts.append(
            agrees(
                runs["stable_rank"][:, k],
                law,
                within=budget(replicas(SPREAD_OF_STABLE_RANK[s], runs.n), finite_size(n, law, of="n")),
                twin=Twin.of("long rows" if s >= 1 else "1 % more", predicted=rival),
            ).named(f"s = {s:g}")
        )
    return all_of(*parts)
