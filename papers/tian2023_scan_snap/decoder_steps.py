"""Claims on the decoder's steps against its flow, and on the mixture of inputs that it sends back (statement 3)."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, budget, finite_size, relative, rounding
from attnlab.papers.lab.conditions import at_most, one_of
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.tian2023_scan_snap.decoder import PLAIN, SMALL_STEPS, descent
from attnlab.papers.tian2023_scan_snap.paper import paper, scales
from attnlab.simulators.token_selection.decoder import DecoderSetting, train_decoder
from attnlab.theory.token_selection import decoder
from attnlab.theory.token_selection import overlapping_inputs as overlaps

STEPPED = DecoderSetting(n_classes=2, vocabulary=50, overlap=0.0, rate=1.0, n_steps=400, n_records=400, n_replicas=8)
GRID = ((50, 0.1), (50, 1.0), (1000, 0.2), (1000, 2.0), (1000, 4.0))
ORTHONORMAL = PLAIN | {"overlap": one_of(0.0, why="the recursion is of orthonormal inputs")}


def grown(setting, run):
    """h of a run ``(record,)``; all replicas are equal. Own logits are (M - 1) h and all others -h, so the residual gives it."""
    M, left = setting.vocabulary, run["residual"][0, :, 0]
    return np.log((M - 1) * (1 - left) / left) / M


@paper.claim(
    "discrete_steps",
    source="Appendix, discrete steps; Figure 8",
    statements=[3],
    parts=2,
    setting=scales(STEPPED),
    reads=("n_steps",),
    covers=ORTHONORMAL,
    formula="0 <= h*(s) - h(s) <= 2 eta / M",
    assumptions=["orthonormal inputs", "(M, eta) = (50, 0.1), (50, 1), (1000, 0.2), (1000, 2), (1000, 4)"],
    judged="every record in all five settings: h of descent lies at most the bound above h of the flow, and nowhere below it by "
    "more than 4 roundings a step (facts about a deterministic recursion)",
    note="The published bound is ten times the gap, so sharper bounds pass, too; discrete_gap has the gap itself.",
)
def discrete_steps(setting: DecoderSetting, lab: Lab) -> Verdict:
    """Gradient descent on the decoder runs ahead of its flow, and by at most 2 eta / M in h.

    Twins: the gap of small steps, eta / (2 e M), as a bound for steps of any size; a flow that is a tenth of a visit ahead.
    """
    several = [replace(setting, vocabulary=M, rate=eta * setting.n_classes) for M, eta in GRID]
    runs = lab.simulate(train_decoder, *several)
    steps = [run["steps"][0].astype(float) for run in runs]
    h = np.concatenate([grown(one, run) for one, run in zip(several, runs, strict=True)])

    def flow(ahead, gap):
        return np.concatenate(
            [decoder.decoder_growth_exact(s + ahead, *size) + gap(*size) for s, size in zip(steps, GRID, strict=True)]
        )

    above = bounded(
        h,
        flow(0.0, decoder.decoder_step_gap_bound),
        of="every record",
        unit="record",
        twin=Twin.of("the gap of small steps", bound=flow(0.0, decoder.decoder_step_gap_limit)),
    )
    below = bounded(
        h,
        flow(0.0, lambda M, eta: 0.0),
        side="below",
        within=budget(rounding(4 * setting.n_steps)),
        of="every record",
        unit="record",
        twin=Twin.of("a tenth of a visit ahead", bound=flow(0.1, lambda M, eta: 0.0)),
    )
    return all_of(above.named("at most"), below.named("ahead"))


FINE = replace(STEPPED, rate=0.2, n_steps=100, n_records=1_000)


@paper.claim(
    "discrete_gap",
    source="sharpens the Appendix on discrete steps",
    statements=[3],
    kind="extrapolation",
    setting=scales(FINE),
    reads=("vocabulary", "rate", "n_classes"),
    covers=ORTHONORMAL | {"rate": at_most(0.5, "the gap is that of small steps")},
    formula="max (h* - h) -> eta / (2 e M)",
    assumptions=["orthonormal inputs", "M = 50, eta = 0.1, 0.05 and 0.025"],
    judged="h of descent at eta against eta / 2, and at eta / 2 against eta / 4, extrapolated to small steps: the largest over "
    "visits, in units of eta / M, within eta^2",
)
def discrete_gap(setting: DecoderSetting, lab: Lab) -> Verdict:
    """For small steps the largest gap between descent and its flow is eta / (2 e M), a tenth of the published bound.

    A gap a eta + b eta^2 shows in the difference of two descents; three of them give a. Twin: eta / (5 M).
    """
    M, eta = setting.vocabulary, setting.rate / setting.n_classes
    parts = (1, 2, 4)
    several = [
        replace(setting, rate=setting.rate / k, n_steps=k * setting.n_steps, n_records=k * setting.n_records)
        for k in parts
    ]
    runs = lab.simulate(train_decoder, *several)
    recorded = [run["steps"][0] / k for run, k in zip(runs, parts, strict=True)]
    visits = functools.reduce(np.intersect1d, recorded)
    h = [
        grown(one, run)[np.searchsorted(steps, visits)] for one, run, steps in zip(several, runs, recorded, strict=True)
    ]
    first = 2 * (4 * (h[1] - h[2]) - (h[0] - h[1]))  # a eta at each visit
    limit = decoder.decoder_step_gap_limit(M, eta) * M / eta
    return agrees(
        np.array([first.max() * M / eta]),
        limit,
        within=budget(relative(eta**2, limit, "order eta^3")),
        of="every setting",
        unit="setting",
        twin=Twin.of("eta / (5 M)", predicted=0.2),
    )


OVERLAPPING = DecoderSetting(overlap=0.11, spread=0.0, gradient="decorrelated", n_steps=1_000, n_replicas=8)
EQUAL = {"spread": one_of(0.0, why="all overlaps are equal")}


def coefficients(runs):
    """Coefficients of the own and of another class's input in the gradient sent back at the last record, ``(replica,)`` each."""
    last = runs["coefficients"][:, -1]
    K = last.shape[-1]
    own = np.einsum("rnn->r", last) / K
    return own, (last.sum((1, 2)) - K * own) / (K * (K - 1))


def decorrelated(setting, form):
    """The same ``(own, other)`` by a form of the decorrelated flow."""
    gram = (1 - setting.overlap) * np.eye(setting.n_classes) + setting.overlap
    g = form(gram, setting.n_steps / setting.n_classes, setting.vocabulary, setting.rate)
    return float(g[0, 0]), float(g[0, 1])


def plain(setting):
    """The same by the three scalars of plain descent, steps and all."""
    sizes = setting.n_classes, setting.vocabulary, setting.rate
    found = overlaps.equal_overlap_descent(setting.n_steps, setting.overlap, *sizes)
    return float(found["own"][-1]), float(found["other"][-1])


def leading_order(setting):
    """What the published form leaves out, relative to the own coefficient: the row sum of (I + E)^{-1} over M - 1, at most."""
    return finite_size(setting.vocabulary - 1, 1 / (1 - setting.overlap), of="M")


@paper.claim(
    "backward_mixture",
    source="Theorem on the backpropagated gradient, Section 4",
    statements=[3],
    parts=3,
    setting=scales(OVERLAPPING),
    reads=("n_classes", "vocabulary", "overlap", "rate", "n_steps"),
    covers=EQUAL | SMALL_STEPS | {"gradient": one_of("decorrelated", why="the proof's gradient is F (F^T F)^{-1}")},
    formula="g_n = speed (iota_n f_n - sum beta_nn' f_n'), iota_n = 1 - E'_nn, beta_nn' = E'_nn', up to O(1 / M)",
    assumptions=["decorrelated gradient F (F^T F)^{-1} of the proof", "K = 10, M = 1000, equal overlaps 0.11"],
    judged="ratio of the other to the own coefficient: that of E' within 1 / M, and that of all orders in 1 / M up to rounding; "
    " own coefficient that of the steps of descent, up to rounding",
)
def backward_mixture(setting: DecoderSetting, lab: Lab) -> Verdict:
    """Under the gradient that the proof uses, the inputs of the other classes enter the gradient sent back through E'.

    Twins: plain gradient descent, solved exactly for equal overlaps; the leading order against all orders; the own coefficient
    without E', the bare speed. Null control: no gradient is sent back.
    """
    own, other = coefficients(lab.simulate(train_decoder, setting))
    exact = decorrelated(setting, overlaps.decorrelated_coefficients_exact)
    leading = decorrelated(setting, overlaps.decorrelated_coefficients_approx)
    rival = plain(setting)
    published = agrees(
        other / own,
        leading[1] / leading[0],
        within=budget(leading_order(setting)),
        of="every replica",
        twin=Twin.of("plain descent", predicted=rival[1] / rival[0]),
    )
    whole = agrees(
        other / own,
        exact[1] / exact[0],
        within=budget(rounding(4 * setting.n_steps)),
        of="every replica",
        twin=Twin.of("leading order in 1 / M", predicted=leading[1] / leading[0]),
    )
    M, visits, h = setting.vocabulary, setting.n_steps / setting.n_classes, descent(setting)[-1]
    share = exact[0] / decoder.backward_speed_exact(visits, M, setting.rate)  # of the speed, the same at every h
    speed = M * h * decoder.residual_exact(h, M)
    size = agrees(
        own,
        share * speed,
        within=budget(rounding(4 * setting.n_steps)),
        of="every replica",
        twin=Twin.of("the bare speed", predicted=speed),
        null=np.zeros_like(own),
    )
    return all_of(published.named("ratio, leading order"), whole.named("ratio"), size.named("own"))


DESCENT = scales(replace(OVERLAPPING, gradient="plain"))


@paper.claim(
    "backward_mixture_plain",
    source="Theorem on the backpropagated gradient, Section 4",
    statements=[3],
    setting=DESCENT,
    reads=("n_classes", "vocabulary", "overlap", "rate", "n_steps"),
    covers=EQUAL | PLAIN,
    expected="REFUTED",
    formula="beta_nn' = E'_nn' + O(1 / M)",
    assumptions=["plain gradient descent", "K = 10, M = 1000, equal overlaps 0.11"],
    judged="ratio of the other to the own coefficient within 1 / M",
    note="The proof inserts (F^T F)^{-1} into the decoder's gradient. Plain descent sends back a mixture of the same "
    "signs, 15 times weaker here; see backward_mixture_corrected.",
)
def backward_mixture_plain(setting: DecoderSetting, lab: Lab) -> Verdict:
    """Under plain gradient descent other classes' inputs enter the gradient sent back through E'. False: far more weakly."""
    own, other = coefficients(lab.simulate(train_decoder, setting))
    leading, rival = decorrelated(setting, overlaps.decorrelated_coefficients_approx), plain(setting)
    return agrees(
        other / own,
        leading[1] / leading[0],
        within=budget(leading_order(setting)),
        of="every replica",
        twin=Twin.of("three scalars of plain descent", predicted=rival[1] / rival[0]),
    )


@paper.claim(
    "backward_mixture_corrected",
    source="corrects the theorem on the backpropagated gradient",
    statements=[3],
    kind="extrapolation",
    parts=2,
    setting=DESCENT,
    reads=("n_classes", "vocabulary", "overlap", "rate", "n_steps"),
    covers=EQUAL | PLAIN,
    formula="own x (1 - p) + (K - 1) y q + (M - K) w s, other -[(x + y) q + (y - w)(M - K) s]",
    assumptions=["plain gradient descent", "K = 10, M = 1000, equal overlaps 0.11"],
    judged="both coefficients equal those of the three scalars, step by step, up to rounding",
)
def backward_mixture_corrected(setting: DecoderSetting, lab: Lab) -> Verdict:
    """Under plain gradient descent three scalars a class give the mixture of inputs that is sent back.

    Twins: the flow of the three scalars, without steps. Null control: no gradient is sent back.
    """
    own, other = coefficients(lab.simulate(train_decoder, setting))
    sizes = setting.n_classes, setting.vocabulary, setting.rate
    flow = overlaps.equal_overlap_flow([float(setting.n_steps)], setting.overlap, *sizes)
    parts = [
        agrees(
            seen,
            law,
            within=budget(rounding(4 * setting.n_steps)),
            of="every replica",
            twin=Twin.of("the flow", predicted=float(flow[name][0])),
            null=np.zeros_like(seen),
        ).named(name)
        for name, seen, law in zip(("own", "other"), (own, other), plain(setting), strict=True)
    ]
    return all_of(*parts)
