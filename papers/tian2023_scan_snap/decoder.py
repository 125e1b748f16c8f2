"""Claims on the gradient, on long sequences, and on the decoder while attention rests (statements 1 to 3)."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from attnlab.analysis import (
    Twin,
    Verdict,
    agrees,
    all_of,
    budget,
    converges,
    follows,
    frozen,
    identical,
    relative,
    replicas,
    rounding,
    step_size,
)
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.lab.conditions import at_most, one_of, that
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.tian2023_scan_snap.paper import paper, scales
from attnlab.simulators.token_selection.decoder import DecoderSetting, train_decoder
from attnlab.simulators.token_selection.sequences import SequenceSetting, sampled_attention, sequence_gradients
from attnlab.theory.token_selection import attention, decoder
from attnlab.theory.token_selection import overlapping_inputs as overlaps

SMALL_STEPS = {"rate": at_most(2.0, "larger steps leave the flow")}
PLAIN = SMALL_STEPS | {
    "gradient": one_of("plain", why="the equations are of gradient descent on the mean over classes")
}
WEAKLY = PLAIN | {"overlap": at_most(0.05, "the theorem is of weakly correlated inputs")}
ONE_SEQUENCE = SequenceSetting(lengths=(127,), n_sequences=1)


@paper.claim(
    "gradient",
    source="Lemma 1",
    statements=[1],
    parts=2,
    setting=Scales(*(ONE_SEQUENCE,) * 3),
    formula="dY/dt = f (e_n - alpha)^T, dz/dt = X^T diag(b) X (I - f f^T) Y (e_n - alpha) / |X^T b|",
    assumptions=["one sequence of finite length", "random Y and z"],
    judged="float64 identity with automatic differentiation over positions; budget: one rounding for each position, "
    "token and output id, in units of the largest entry of Y (of f, 1, for dY/dt)",
)
def gradient(setting: SequenceSetting, lab: Lab) -> Verdict:
    """The gradient flow of one sequence has the published closed form, in which the sequence enters by its counts only.

    Twins: the normalisation of the attended vector does not act back (no projection); the decoder learns from the attention c
    instead of its direction f.
    """
    runs = lab.simulate(sequence_gradients, setting)
    forms = [
        attention.gradient_flow_exact(*args)
        for args in zip(runs["counts"], runs["z"], runs["Y"], runs["residual"], strict=True)
    ]
    dY, dz = (np.stack(each) for each in zip(*forms, strict=True))
    f = attention.attention_direction(runs["counts"], runs["z"])
    rounding = setting.lengths[0] + setting.n_tokens + setting.n_ids
    signal = np.einsum("rli,ri->rl", runs["Y"], runs["residual"])
    logits = identical(
        runs["z_velocity"],
        dz,
        rounding=rounding,
        scale=np.abs(runs["Y"]).max(),
        twin=Twin.of("no projection", b=f * signal),
    )
    c = f / f.sum(-1, keepdims=True)
    matrix = identical(
        runs["Y_velocity"],
        dY,
        rounding=rounding,
        scale=1.0,
        twin=Twin.of("c in place of f", b=c[..., None] * runs["residual"][:, None]),
    )
    return all_of(logits.named("attention"), matrix.named("decoder"))


LENGTHS = SequenceSetting(lengths=(128, 256, 512, 1024), n_sequences=1_600, n_replicas=32)
#: Of a replica's mean square gap over its limit, both over 400 sequences of 1024 tokens: estimated from the
#: half-width of an interval of an
#: earlier run at seed 1, not read off its replicas.
SPREAD_OF_GAPS = 0.06


@paper.claim(
    "long_sequences",
    source="Section 3, equation for c",
    statements=[2],
    parts=2,
    setting=Scales(replace(LENGTHS, n_replicas=16), LENGTHS, replace(LENGTHS, n_sequences=2_000)),
    covers={"lengths": that(lambda lengths: len(lengths) >= 3, "three or more", "a rate needs three lengths")},
    undecided_at_smoke="16 replicas leave the rate open by more than a second term of 1 / (T P) allows",
    formula="c_l proportional to P(l) e^{z_l}; T E|c_T - c|^2 -> sum c^2 / P - 2 sum c^3 / P + |c|^2 sum c^2 / P",
    assumptions=["tokens drawn independently", "random frequencies and logits"],
    judged="T times the mean square gap is its limit at the longest sequences, and the mean gap falls like 1 / T; both within a "
    "second term of relative size 1 / (T P), P = 1/12 the mean frequency",
)
def long_sequences(setting: SequenceSetting, lab: Lab) -> Verdict:
    """Attention by type tends to P(l) e^{z_l}, normalised, as sequences grow; the mean square gap falls like 1 / T.

    Twins: a limit without the third moments; a gap of 1 / sqrt(T), the size of Hoeffding's bound.
    """
    runs = lab.simulate(sampled_attention, setting)
    lengths, (P, z) = np.array(setting.lengths, float), (runs["frequencies"], runs["z"])
    c = P * np.exp(z)
    c = (c / c.sum(-1, keepdims=True))[:, None]
    gap = (runs["second_moment"] - 2 * c * runs["mean_attention"] + c**2).sum(-1)
    limit = attention.attention_fluctuation_limit(P, z)
    second = setting.n_tokens / lengths  # 1 / (T P)
    spread = SPREAD_OF_GAPS * (400 / setting.n_sequences) ** 0.5
    of = f"mean over replicas of {setting.n_sequences} draws"
    size = float(limit.mean())
    coefficient = agrees(
        gap[:, -1] * lengths[-1],
        limit,
        of=of,
        within=budget(relative(second[-1], size, "1/(T P)"), replicas(spread * size, len(gap), of=of)),
        twin=Twin.of("independent fluctuations", predicted=(c[:, 0] ** 2 / P).sum(-1)),
    )
    rate = converges(
        lengths,
        gap,
        rate=1.0,
        within=budget(Piece("1/(T P)", float(np.log2((1 + second[0]) / (1 + second[0] / 2))))),
        twin=Twin.of("Hoeffding's 1 / sqrt(T)", rate=0.5),
    )
    return all_of(coefficient.named("coefficient"), rate.named("rate"))


WEAK = DecoderSetting(overlap=0.01, n_steps=1_000, n_replicas=32)


@functools.cache
def descent(setting, parts=1):
    """h at the steps of plain descent on orthonormal inputs, ``(n_steps + 1,)``, in ``parts`` smaller steps each."""
    rate = setting.rate / setting.n_classes / parts
    return decoder.decoder_growth_steps_exact(setting.n_steps * parts, setting.vocabulary, rate)[::parts]


@functools.cache
def of_overlaps(setting, times):
    """Effect of the largest overlap on residual and speed, by plain flow with that overlap everywhere."""
    sizes = setting.n_classes, setting.vocabulary, setting.rate
    largest = setting.overlap * (1 + setting.spread)
    one, none = (overlaps.equal_overlap_flow(times, rho, *sizes) for rho in (largest, 0.0))
    return {name: float(np.abs(one[name] - none[name]).max()) for name in ("residual", "own")}


def after_start(runs):
    """The recorded steps after the start, ``(record,)``, and which records they are."""
    later = runs["steps"][0] > 0
    return runs["steps"][0][later], later


@paper.claim(
    "residual",
    source="Lemma on the decoder, Section 4",
    statements=[3],
    setting=scales(WEAK),
    reads=("n_classes", "vocabulary", "rate", "overlap", "spread", "n_steps"),
    covers=WEAKLY,
    formula="1 - alpha_n = (M - 1) / (M - 1 + e^{M h}), e^{M h} + (M - 1) M h = M eta t / K + 1",
    assumptions=["frozen attention", "K = 10, M = 1000, overlaps up to 0.015", "mean over classes a step"],
    judged="largest distance at any record within steps (h by descent at eta and eta / 2) and overlaps (the plain flow at the "
    "largest overlap against none)",
)
def residual(setting: DecoderSetting, lab: Lab) -> Verdict:
    """The residual of every class shrinks along one scalar curve, through a softmax over all M output ids.

    Twin: a tenth of the ids fewer. Null control: the residual at the start.
    """
    runs = lab.simulate(train_decoder, setting)
    steps, later = after_start(runs)

    def curve(vocabulary):
        h = decoder.decoder_growth_exact(steps / setting.n_classes, vocabulary, setting.rate)
        return decoder.residual_exact(h, vocabulary)

    M, seen = setting.vocabulary, runs["residual"].mean(-1)[:, later]
    whole, halved = (decoder.residual_exact(descent(setting, parts)[steps], M) for parts in (1, 2))
    among = of_overlaps(setting, tuple(steps.astype(float)))["residual"]
    return follows(
        seen,
        curve(M),
        within=budget(step_size(whole, halved), Piece("overlaps", among)),
        times=steps.astype(float),
        twin=Twin.of("a tenth of the ids fewer", predicted=curve(M - M // 10)),
        null=frozen(seen),
    )


TINY = DecoderSetting(n_classes=2, vocabulary=34, overlap=0.0, rate=0.1, n_steps=4_000, n_records=400, n_replicas=8)


@paper.claim(
    "backward_speed",
    source="Theorem on the backpropagated gradient, Section 4",
    statements=[3],
    parts=4,
    setting=scales(WEAK),
    reads=("n_classes", "vocabulary", "rate", "overlap", "spread", "n_steps"),
    covers=WEAKLY,
    formula="speed = M (M - 1) h / (M - 1 + e^{M h}); peak (M - 1) e^{-u}, u = 1 + W((M - 1) / e)",
    assumptions=["frozen attention", "weak overlaps; orthonormal inputs at M = 34"],
    judged="own coefficient of the gradient sent back, mean over classes, follows the curve within steps "
    "and overlaps; at M = 34 it is that of the steps of descent up to rounding, and its peak has height and time of the "
    "formula within steps",
)
def backward_speed(setting: DecoderSetting, lab: Lab) -> Verdict:
    """The gradient sent back to attention grows linearly, peaks, and decays like log t / t.

    The published gamma, (M - 1)^2 h / (M - 1 + e^{M h}), is the leading order in 1 / M of the exact M (M - 1) h / (...); at
    M = 34 the two are told apart. Twins: a decoder that grows linearly while the residual falls; the published leading order; a
    peak after ln M visits. Null controls: the speed at the start.
    """
    runs, tiny = lab.simulate(train_decoder, setting), lab.simulate(train_decoder, TINY)
    steps, later = after_start(runs)
    visits, M = steps / setting.n_classes, setting.vocabulary
    speed = decoder.backward_speed_exact(visits, M, setting.rate)
    grown = decoder.decoder_growth_exact(visits, M, setting.rate)
    own = np.einsum("rtnn->rt", runs["coefficients"])[:, later] / setting.n_classes
    whole, halved = (M * h * decoder.residual_exact(h, M) for h in (descent(setting, k)[steps] for k in (1, 2)))
    linear = decoder.backward_speed_early_limit(visits, M, setting.rate) * decoder.residual_exact(grown, M)
    shape = follows(
        own,
        speed,
        within=budget(
            step_size(whole, halved), Piece("overlaps", of_overlaps(setting, tuple(steps.astype(float)))["own"])
        ),
        times=steps.astype(float),
        twin=Twin.of("linear growth", predicted=linear),
        null=frozen(own),
    )
    M, after = TINY.vocabulary, tiny["steps"][0]
    exact, finer = (M * h * decoder.residual_exact(h, M) for h in (descent(TINY, 1), descent(TINY, 2)))
    seen = np.einsum("rtnn->rt", tiny["coefficients"]) / TINY.n_classes
    small = follows(
        seen,
        exact[after],
        within=budget(rounding(4 * TINY.n_steps)),
        of="every replica",
        twin=Twin.of("leading order in 1 / M", predicted=(1 - 1 / M) * exact[after]),
        null=frozen(seen),
    )
    at, top = decoder.backward_speed_peak_exact(M, TINY.rate)
    at *= TINY.n_classes  # in steps
    height = agrees(
        seen.max(1),
        top,
        within=budget(step_size(exact.max(), finer.max()), relative((1 / at) ** 2, top, "records a step apart")),
        of="every replica",
        twin=Twin.of("leading order in 1 / M", predicted=(1 - 1 / M) * top),
        null=seen[:, 0],
    )
    ahead = np.log((M - 1 + np.exp(M * descent(TINY)[int(at)])) / M) / 2  # steps by which Euler's method leads the flow
    time = agrees(
        top_of(after, seen),
        at,
        within=budget(Piece("steps ahead of the flow", float(ahead)), Piece("records", 1.0)),
        of="every replica",
        twin=Twin.of("ln M visits", predicted=np.log(M) / TINY.rate * TINY.n_classes),
    )
    return all_of(shape.named("shape"), small.named("M = 34"), height.named("height"), time.named("time"))


def top_of(times, curves):
    """When each curve ``(replica, time)`` is largest, by a parabola through its largest record and the neighbours."""
    i = np.clip(curves.argmax(1), 1, len(times) - 2)[:, None] + np.arange(-1, 2)
    (a, b, c), (x, y, z) = times[i].T.astype(float), np.take_along_axis(curves, i, 1).T
    left, right = (y - x) / (b - a), (z - y) / (c - b)
    return (a + b) / 2 - left * (c - a) / (2 * (right - left))
