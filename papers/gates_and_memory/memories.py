"""Claims on compressive memories: what they are, what a needle weighs, what is recalled, what repetition does."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy import special

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, finite_size, identical, replicas
from attnlab.papers.gates_and_memory.paper import NEEDLES, RECALLS, REPEATS, SEGMENTS, paper
from attnlab.papers.lab.conditions import at_least
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.gates_and_memory.memories import (
    NeedleSetting,
    RecallSetting,
    RepeatSetting,
    SegmentSetting,
    needles,
    recalls,
    repeats,
    segments,
)
from attnlab.theory.gates_and_memory import compressive_memory

#: Spreads of keys beside the setting's; pairs stored beside the setting's.
SPREADS, LOADS = (0.5, 5.0, 20.0), (24,)
#: A width at which a stored pair's own weight is that of wide keys.
WIDE = 10**9


@paper.claim(
    "memory_is_linear_attention",
    source="equations 3 to 6 and 10 of Munkhdalai et al.",
    statements=[1],
    setting=SEGMENTS,
    parts=2,
    kind="construction",
    formula="gate open: sum over earlier segments of phi(q).phi(k) v / sum of phi(q).phi(k); gate shut: softmax in the segment",
    judged="the operator's outputs beside sums over pairs, equal within 10^4 roundings",
)
def memory_is_linear_attention(setting: SegmentSetting, lab: Lab) -> Verdict:
    """The memory is linear attention over all earlier segments, none of its own; the gate shut leaves attention within segments.

    Twins: with the segment itself; attention over everything.
    """
    runs = lab.simulate(segments, setting)
    return all_of(
        identical(
            runs["memory"], runs["earlier"], rounding=1e4, twin=Twin.of("its own segment too", b=runs["own"])
        ).named("gate open"),
        identical(
            runs["local"], runs["softmax"], rounding=1e4, twin=Twin.of("attention over everything", b=runs["whole"])
        ).named("gate shut"),
    )


def cut_gain(key_std: float) -> float:
    """The gain if phi were relu + 1, without ELU's negative part."""
    a = key_std / math.sqrt(2 * math.pi)
    return (1 + 2 * a + key_std**2 / 2) / (1 + a) ** 2


@paper.claim(
    "needles_dilute",
    source="equation 3 of Munkhdalai et al. (memory retrieval); the weight is derived",
    statements=[2],
    setting=NEEDLES,
    parts=4,
    kind="extrapolation",
    reads=("key_std", "n_stored", "width"),
    covers={"n_stored": at_least(64, "the weight is that of many pairs"), "width": at_least(64, "keys must be wide")},
    formula="weight = g/(N - 1 + g), g(s) = E phi^2/(E phi)^2 < pi",
    judged="means over replicas of N times the weight; bias V/N and g |g - m3/(m1 m2)|/d; spread of a draw sqrt(V)",
)
def needles_dilute(setting: NeedleSetting, lab: Lab) -> Verdict:
    """A needle weighs g(s)/N, 1.46/N for unit keys, and 3.00/N for keys twenty times as long: below pi at every length.

    Twins: phi without its negative part; for the longest keys their limit pi.
    """
    cells = [setting, *(replace(setting, key_std=s) for s in SPREADS)]
    of, parts = f"mean over replicas of {setting.n_draws} draws", []
    for cell, runs in zip(cells, lab.simulate(needles, *cells), strict=True):
        s, N, d = cell.key_std, cell.n_stored, cell.width
        law = N * compressive_memory.needle_weight(N, s)
        (mean, variance), (wide, _) = (compressive_memory.own_weight(s, width) for width in (d, WIDE))
        within = budget(
            finite_size(N, variance, of="N"),
            finite_size(d, d * (mean - wide), of="d"),
            replicas(math.sqrt(variance / cell.n_draws), runs.n, of=of),
        )
        wrong = compressive_memory.gain_bound() if s > 10 else cut_gain(s)
        rival = Twin.of("pi" if s > 10 else "relu + 1", predicted=N * compressive_memory.diluted(wrong, N))
        parts.append(agrees(runs["weight"], law, within=within, of=of, twin=rival).named(f"s = {s:g}"))
    return all_of(*parts)


@paper.claim(
    "memory_recalls_few",
    source="section 2.1 of Munkhdalai et al. (memory); corrects the load N ln N = (g - 1)^2 d_v/4 of the sheet",
    statements=[3],
    setting=RECALLS,
    parts=2,
    kind="extrapolation",
    reads=("n_stored", "key_width", "value_width", "key_std"),
    covers={
        "n_stored": at_least(4, "the law is for four pairs or more"),
        "key_width": at_least(32, "the law is Gaussian"),
    },
    formula="p = E_u Phi((gbar - 1 + u)/sigma_w)^{N-1}: a common part u, of the pair asked for, and one w per rival",
    judged="means over replicas; a share p of n draws scatters by sqrt(p (1 - p)/n); skewness moves a probability by at most "
    "gamma/(6 sqrt(2 pi d)) to first order",
)
def memory_recalls_few(setting: RecallSetting, lab: Lab) -> Verdict:
    """A memory of N pairs returns the right value with a probability that one integral gives, far beyond the sheet's load.

    Twins: keys so wide that their weights do not fluctuate; leads over rivals that are independent, the sheet's bound.
    """
    cells = [setting, *(replace(setting, n_stored=n) for n in LOADS)]
    of, parts = f"mean over replicas of {setting.n_draws} draws", []
    for cell, runs in zip(cells, lab.simulate(recalls, *cells), strict=True):
        N, s, d, d_v = cell.n_stored, cell.key_std, cell.key_width, cell.value_width
        p = compressive_memory.recall_limit(N, s, d, d_v)
        lead = (compressive_memory.gain(s) - 1) / math.sqrt(2 * N / d_v)
        if N == setting.n_stored:
            rival = Twin.of("even keys", predicted=compressive_memory.recall_limit(N, s, 10**9, d_v))
        else:
            rival = Twin.of("independent leads", predicted=float(special.ndtr(lead)) ** (N - 1))
        skew = compressive_memory.feature_skewness(s) / (6 * math.sqrt(2 * math.pi))
        within = budget(
            finite_size(d, skew, power=0.5, of="d"), replicas(math.sqrt(p * (1 - p) / cell.n_draws), runs.n, of=of)
        )
        parts.append(agrees(runs["right"], p, within=within, of=of, twin=rival).named(f"N = {N}"))
    return all_of(*parts)


@paper.claim(
    "repeats_are_halved",
    source="equation 9 of Munkhdalai et al.; the recursion is derived",
    statements=[4],
    setting=REPEATS,
    parts=2,
    kind="extrapolation",
    reads=("n_segments",),
    formula="rho_{r+1} = (r rho_r + 1 - rho_r)/(r + 1), rho_1 = 1: 1, 1/2, 1/2, ...; without the delta update 1",
    judged="the operators' reads in every replica, equal within 1000 roundings",
)
def repeats_are_halved(setting: RepeatSetting, lab: Lab) -> Verdict:
    """A pair that is repeated once per segment is read with half its value by the delta update, with all of it without.

    Twins: 1/r, as if nothing were written again; one half.
    """
    runs, every = lab.simulate(repeats, setting), range(1, setting.n_segments + 1)
    law = [np.array([compressive_memory.repeated_read(r, delta) for r in every]) for delta in (True, False)]
    rows = [np.tile(values, (runs.n, 1)) for values in law]
    never = np.tile([1 / r for r in every], (runs.n, 1))
    return all_of(
        identical(runs["delta"], rows[0], rounding=1000, twin=Twin.of("written once", b=never)).named("delta"),
        identical(runs["plain"], rows[1], rounding=1000, twin=Twin.of("delta", b=rows[0])).named("plain"),
    )


@paper.claim(
    "segments_write_twice",
    source="equation 9 of Munkhdalai et al.; the consequence is derived",
    statements=[5],
    setting=REPEATS,
    kind="extrapolation",
    formula="change of M by a pair twice in one segment = 2 times its change by the pair once",
    judged="entries of the memory, equal within 1000 roundings of the largest",
)
def segments_write_twice(setting: RepeatSetting, lab: Lab) -> Verdict:
    """Within a segment the delta update is blind to itself: a pair that stands there twice is written twice.

    Twin: the delta rule in turn, which writes it once and a little.
    """
    runs = lab.simulate(repeats, setting)
    return identical(
        runs["twice"], 2 * runs["once"], rounding=1000, twin=Twin.of("in turn", a=runs["in_turn"], b=2 * runs["once"])
    )
