"""Claims on the gradient, on long sequences, and on the decoder while attention rests (statements 1 to 3)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, converges, follows, identical
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.tian2023_scan_snap.paper import paper, scales
from attnlab.simulators.token_selection.decoder import DecoderSetting, train_decoder
from attnlab.simulators.token_selection.sequences import SequenceSetting, sampled_attention, sequence_gradients
from attnlab.theory.token_selection import attention, decoder
from attnlab.theory.token_selection import overlapping_inputs as overlaps

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


LENGTHS = SequenceSetting(n_replicas=32)  # frequencies and logits differ much from replica to replica


@paper.claim(
    "long_sequences",
    source="Section 3, equation for c",
    statements=[2],
    setting=Scales(replace(LENGTHS, n_replicas=16), LENGTHS, replace(LENGTHS, n_sequences=2_000)),
    formula="E |c_T - c|^2 ~ 1 / T, c_l proportional to P(l) e^{z_l}",
    assumptions=["tokens drawn independently", "random frequencies and logits"],
    judged="log-log slope of the mean square gap over T = 64 to 1024 is -1 within 0.1, nothing left at infinite length "
    "(a second term of relative size 12 / T, one over the frequency, bends the slope by 0.05)",
)
def long_sequences(setting: SequenceSetting, lab: Lab) -> Verdict:
    """Attention by type tends to P(l) e^{z_l}, normalised, as sequences grow; the mean square gap falls like 1 / T.

    Twin: attention by type is the softmax of the logits alone, whatever the frequencies.
    """
    runs = lab.simulate(sampled_attention, setting)

    def gap(weights):
        c = (weights / weights.sum(-1, keepdims=True))[:, None]
        return (runs["second_moment"] - 2 * c * runs["mean_attention"] + c**2).sum(-1)

    size = np.exp(runs["z"])
    return converges(
        np.array(setting.lengths, float),
        gap(runs["frequencies"] * size),
        rate=1.0,
        within=0.1,
        twin=Twin.of("logits without frequencies", gaps=gap(size)),
    )


WEAK = DecoderSetting(overlap=0.01, n_steps=1_000)


@paper.claim(
    "residual",
    source="Lemma on the decoder, Section 4",
    statements=[3],
    setting=scales(WEAK),
    formula="1 - alpha_n = (M - 1) / (M - 1 + e^{M h}), e^{M h} + (M - 1) M h = M eta t / K + 1",
    assumptions=["frozen attention", "K = 10, M = 1000, overlaps up to 0.015", "mean over classes a step"],
    judged="largest distance at any record within the largest overlap, 0.015 (it also covers one step of 2 eta / M = "
    "0.001 in h, at most 0.003 in the residual)",
)
def residual(setting: DecoderSetting, lab: Lab) -> Verdict:
    """The residual of every class shrinks along one scalar curve, through a softmax over all M output ids.

    Twin: a softmax over the K next tokens only.
    """
    runs = lab.simulate(train_decoder, setting)
    visits = runs["steps"][0] / setting.n_classes

    def curve(vocabulary):
        return decoder.residual_exact(decoder.decoder_growth_exact(visits, vocabulary, setting.rate), vocabulary)

    return follows(
        runs["residual"].mean(-1),
        curve(setting.vocabulary),
        within=setting.overlap * (1 + setting.spread),
        times=runs["steps"][0].astype(float),
        twin=Twin.of("softmax over K ids", predicted=curve(setting.n_classes)),
    )


TINY = DecoderSetting(n_classes=2, vocabulary=34, overlap=0.0, rate=0.1, n_steps=4_000, n_replicas=8)


@paper.claim(
    "backward_speed",
    source="Theorem on the backpropagated gradient, Section 4",
    statements=[3],
    parts=2,
    setting=scales(WEAK),
    formula="speed = M (M - 1) h / (M - 1 + e^{M h}); peak (M - 1) e^{-u}, u = 1 + W((M - 1) / e)",
    assumptions=["frozen attention", "weak overlaps; orthonormal inputs for the second part"],
    judged="own coefficient of the gradient sent back, mean over classes, follows the curve within twice the largest "
    "overlap of its peak; at M = 34 with the steps of descent in place of the flow within 1 / (2 M) of its peak",
)
def backward_speed(setting: DecoderSetting, lab: Lab) -> Verdict:
    """The gradient sent back to attention grows linearly, peaks, and decays like log t / t.

    The published gamma, (M - 1)^2 h / (M - 1 + e^{M h}), is the leading order in 1 / M of the exact M (M - 1) h / (...); at
    M = 34 the two are told apart. Twins: the speed stays at its peak; the published leading order.
    """
    runs, tiny = lab.simulate(train_decoder, setting), lab.simulate(train_decoder, TINY)
    visits = runs["steps"][0] / setting.n_classes
    speed = decoder.backward_speed_exact(visits, setting.vocabulary, setting.rate)
    own = np.einsum("rtnn->rt", runs["coefficients"]) / setting.n_classes
    shape = follows(
        own / speed.max(),
        speed / speed.max(),
        within=2 * setting.overlap * (1 + setting.spread),
        twin=Twin.of("no decay", predicted=np.maximum.accumulate(speed) / speed.max()),
    )
    M, steps = TINY.vocabulary, tiny["steps"][0]
    # classes are visited by half a step each: the flow's h at the visits of descent with rate eta / K
    h = decoder.decoder_growth_steps_exact(int(steps[-1]), M, TINY.rate / TINY.n_classes)[steps]
    exact = M * h * decoder.residual_exact(h, M)
    published = (1 - 1 / M) * exact
    small = follows(
        np.einsum("rtnn->rt", tiny["coefficients"]) / TINY.n_classes / exact.max(),
        exact / exact.max(),
        within=1 / (2 * M),
        of="every replica",
        twin=Twin.of("leading order in 1 / M", predicted=published / exact.max()),
    )
    return all_of(shape.named("shape"), small.named("M = 34"))


STEPPED = DecoderSetting(n_classes=2, vocabulary=50, overlap=0.0, rate=1.0, n_steps=400, n_records=400, n_replicas=8)
GRID = ((50, 0.1), (50, 1.0), (1000, 0.2), (1000, 2.0), (1000, 4.0))


@paper.claim(
    "discrete_steps",
    source="Appendix, discrete steps; Figure 8",
    statements=[3],
    parts=len(GRID),
    setting=scales(STEPPED),
    formula="0 <= h*(s) - h(s) <= 2 eta / M",
    assumptions=["orthonormal inputs", "(M, eta) = (50, 0.1), (50, 1), (1000, 0.2), (1000, 2), (1000, 4)"],
    judged="largest gap over all steps within the bound (a fact about a deterministic recursion)",
    note="The bound is loose: for small steps the largest gap is eta / (2 e M), a tenth of it, by the error term of "
    "Euler's method; see `decoder_step_gap_limit`.",
)
def discrete_steps(setting: DecoderSetting, lab: Lab) -> Verdict:
    """Gradient descent on the decoder runs ahead of its flow by at most 2 eta / M in h.

    Twin: half of eta / (2 e M), the gap that small steps have.
    """
    runs = lab.simulate(
        train_decoder, *(replace(setting, vocabulary=M, rate=eta * setting.n_classes) for M, eta in GRID)
    )
    parts = []
    for (M, eta), run in zip(GRID, runs, strict=True):
        left = run["residual"][..., 0]
        h = np.log((M - 1) * (1 - left) / left) / M
        gap = h - decoder.decoder_growth_exact(run["steps"].astype(float), M, eta)
        least = max(0.0, float(-gap.min()))
        parts.append(
            bounded(
                gap.max(-1) + least,
                decoder.decoder_step_gap_bound(M, eta),
                of="every replica",
                twin=Twin.of("half of the gap of small steps", bound=decoder.decoder_step_gap_limit(M, eta) / 2),
            ).named(f"M={M}, eta={eta:g}")
        )
    return all_of(*parts)


OVERLAPPING = DecoderSetting(overlap=0.11, spread=0.0, gradient="decorrelated", n_steps=1_000, n_replicas=8)


def foreign(runs):
    """Mean coefficient of another class's input in the gradient sent back, relative to the own one, at the last record."""
    last = runs["coefficients"][:, -1]
    K = last.shape[-1]
    own = np.einsum("rnn->r", last) / K
    return (last.sum((1, 2)) - K * own) / (K * (K - 1)) / own


def foreign_predicted(setting):
    """The same from the decorrelated flow, to all orders in 1 / M."""
    gram = (1 - setting.overlap) * np.eye(setting.n_classes) + setting.overlap
    g = overlaps.decorrelated_coefficients_exact(
        gram, setting.n_steps / setting.n_classes, setting.vocabulary, setting.rate
    )
    return float(g[0, 1] / g[0, 0])


def foreign_plain(setting):
    """The same from the flow of plain descent."""
    flow = overlaps.equal_overlap_flow(
        [float(setting.n_steps)], setting.overlap, setting.n_classes, setting.vocabulary, setting.rate
    )
    return float(flow["other"][0] / flow["own"][0])


@paper.claim(
    "backward_mixture",
    source="Theorem on the backpropagated gradient, Section 4",
    statements=[3],
    setting=scales(OVERLAPPING),
    formula="g_n = speed (iota_n f_n - sum beta_nn' f_n'), beta_nn' = E'_nn' + O(1 / M)",
    assumptions=["decorrelated gradient F (F^T F)^{-1} of the proof", "K = 10, M = 1000, equal overlaps 0.11"],
    judged="ratio of the other to the own coefficient within a quarter of the distance to that of plain descent",
)
def backward_mixture(setting: DecoderSetting, lab: Lab) -> Verdict:
    """Under the gradient that the proof uses, the inputs of the other classes enter the gradient sent back through E'.

    Twin: plain gradient descent, solved exactly for equal overlaps.
    """
    right, rival = foreign_predicted(setting), foreign_plain(setting)
    return agrees(
        foreign(lab.simulate(train_decoder, setting)),
        right,
        within=abs(right - rival) / 4,
        of="every replica",
        twin=Twin.of("plain descent", predicted=rival),
    )


PLAIN = scales(replace(OVERLAPPING, gradient="plain"))


@paper.claim(
    "backward_mixture_plain",
    source="Theorem on the backpropagated gradient, Section 4",
    statements=[3],
    setting=PLAIN,
    expected="REFUTED",
    formula="beta_nn' = E'_nn' + O(1 / M)",
    assumptions=["plain gradient descent", "K = 10, M = 1000, equal overlaps 0.11"],
    judged="as backward_mixture",
    note="The proof inserts (F^T F)^{-1} into the decoder's gradient. Plain descent sends back a mixture of the same "
    "signs, 15 times weaker here; see backward_mixture_corrected.",
)
def backward_mixture_plain(setting: DecoderSetting, lab: Lab) -> Verdict:
    """Under plain gradient descent other classes' inputs enter the gradient sent back through E'. False: far more weakly."""
    published, plain = foreign_predicted(setting), foreign_plain(setting)
    return agrees(
        foreign(lab.simulate(train_decoder, setting)),
        published,
        within=abs(published - plain) / 4,
        of="every replica",
        twin=Twin.of("three scalars of plain descent", predicted=plain),
    )


@paper.claim(
    "backward_mixture_corrected",
    source="corrects the theorem on the backpropagated gradient",
    statements=[3],
    setting=PLAIN,
    formula="-[(x + y) q + (y - w)(M - K) s] / [x (1 - p) + (K - 1) y q + (M - K) w s]",
    assumptions=["plain gradient descent", "K = 10, M = 1000, equal overlaps 0.11"],
    judged="ratio within a tenth of itself (rate 0.5: the step changes h by at most 2 eta / M, a few percent of it)",
)
def backward_mixture_corrected(setting: DecoderSetting, lab: Lab) -> Verdict:
    """Under plain gradient descent three scalars a class give the mixture of inputs that is sent back.

    Twin: the published E'.
    """
    plain = foreign_plain(setting)
    return agrees(
        foreign(lab.simulate(train_decoder, setting)),
        plain,
        within=abs(plain) / 10,
        of="every replica",
        twin=Twin.of("E'", predicted=foreign_predicted(setting)),
    )
