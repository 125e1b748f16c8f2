"""Frozen random key and query weights: residuals, separable labellings, conditioning (statements 4 and 10)."""

from __future__ import annotations

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, budget, identical, ordered, replicas
from attnlab.papers.lab.conditions import outside
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.mahdavi2024_memorization.paper import FROZEN, paper
from attnlab.simulators.memorization.frozen import FrozenSetting, dichotomies, residuals, spectra
from attnlab.theory.memorization import ranks as theory

EFFECTIVE = 1e-3  # singular values above this share of the largest count for the effective rank


def rank_of(setting):
    """Rank of the features of a frozen setting for many examples."""
    return theory.shared_context_rank(10**6, setting.n_heads, setting.n_context)


def effective(values):
    """Number of singular values above EFFECTIVE, ``(replica, width)``."""
    return (values > EFFECTIVE).sum(-1)


def wide_enough(setting):
    """Which of the widths are at least n, ``(width,)``."""
    return np.array(setting.head_dims) >= setting.n_context


def no_widths(setting):
    """VACUOUS where the swept widths lack 1, or one of at least n; None otherwise."""
    if wide_enough(setting).any() and min(setting.head_dims) == 1:
        return None
    return outside(f"head_dims={setting.head_dims!r} lack 1 or a width of at least n_context={setting.n_context}")


@paper.claim(
    "residual_law",
    source="consequence of the rank law",
    statements=[10],
    kind="extrapolation",
    setting=FROZEN,
    parts=4,
    formula="E MSE = sigma^2 (1 - R / T), R = H (n - 1) + 1, sigma^2 = 1/12",
    assumptions=["one shared context of rank n", "T > R", "labels uniform on [0, 1)"],
    judged="12 T times the error equals T - R at every T > R, within the interval of the replicas, each an average "
    "over label "
    "vectors: at most that of T - R squared normal numbers; the twin is one dimension off",
)
def residual_law(setting: FrozenSetting, lab: Lab) -> Verdict:
    """The best readout of frozen features leaves the share 1 - R/T of the labels' variance, to a single dimension.

    Twin: R = H (n - 1), a readout that cannot fit the mean.
    """
    R, of, verdicts = rank_of(setting), f"mean over replicas of {setting.n_labels} draws", []
    runs = lab.simulate(residuals, setting)
    for column, T in enumerate(setting.examples):
        if T > R:
            spread = (2 * (T - R) / setting.n_labels) ** 0.5
            verdicts.append(
                agrees(
                    12 * T * runs["mse"][:, column],  # uniform labels have variance 1/12
                    12 * T * theory.frozen_residual(T, R),
                    of=of,
                    within=budget(replicas(spread, runs.n, of=of)),
                    twin=Twin.of("R - 1", predicted=12 * T * theory.frozen_residual(T, R - 1)),
                ).named(f"T = {T}")
            )
    if not verdicts:
        return outside(f"examples={setting.examples!r} lie below the rank {R}; the law speaks of T > R")
    return all_of(*verdicts)


@paper.claim(
    "all_labels_fit",
    source="Theorem 1",
    statements=[1, 10],
    setting=FROZEN,
    formula="MSE = 0 for T <= R, random frozen weights",
    assumptions=["one shared context of rank n"],
    judged="every replica's error at T <= R below the square of 1e-10; the twin is the least T above R",
)
def all_labels_fit(setting: FrozenSetting, lab: Lab) -> Verdict:
    """Up to T = R a random frozen layer fits any real labels: weights drawn at random are a construction.

    Twin: as small at the next number of examples.
    """
    few = np.array(setting.examples) <= rank_of(setting)
    if few.all() or not few.any():
        return outside(f"examples={setting.examples!r} lie on one side of the rank {rank_of(setting)}")
    runs = lab.simulate(residuals, setting)
    return bounded(
        runs["mse"][:, few].max(-1),
        1e-20,
        of="every replica",
        twin=Twin.of("T above R, too", measured=runs["mse"][:, ~few][:, 0]),
    )


@paper.claim(
    "separable_count",
    source="Cover 1965, with the rank law",
    statements=[10],
    kind="extrapolation",
    setting=FROZEN,
    parts=2,
    formula="2 sum_{k<R} C(T - 1, k) of the 2^T labellings",
    assumptions=["one shared context of rank n", "frozen weights"],
    judged="whole numbers, every labelling tried, each with a certificate that it is separable or not",
)
def separable_count(setting: FrozenSetting, lab: Lab) -> Verdict:
    """The number of labellings with two classes that frozen features separate is Cover's number at the rank R, exactly.

    Twins: a rank of H n; labellings without certificate.
    """
    runs = lab.simulate(dichotomies, setting)
    law = np.array(
        [theory.separable_dichotomies(T, theory.shared_context_rank(T, H, n)) for n, H, T in setting.counted]
    )
    rival = np.array([theory.separable_dichotomies(T, H * n) for n, H, T in setting.counted])
    counted = identical(
        runs["count"], np.tile(law, (runs.n, 1)), twin=Twin.of("rank H n", b=np.tile(rival, (runs.n, 1)))
    )
    doubts = runs["unclear"]
    clear = identical(doubts, np.zeros_like(doubts), twin=Twin.of("one unclear", b=np.ones_like(doubts)))
    return all_of(counted.named("count"), clear.named("certificates"))


@paper.claim(
    "separable_share",
    source="Cover 1965, with the rank law",
    statements=[10],
    kind="extrapolation",
    setting=FROZEN,
    parts=3,
    formula="P = 2^(1 - T) sum_{k<R} C(T - 1, k), 1/2 at T = 2 R",
    assumptions=["one shared context of rank n", "frozen weights", "random labels"],
    judged="share of random labellings within the interval of the replicas, each an average over independent "
    "labellings",
)
def separable_share(setting: FrozenSetting, lab: Lab) -> Verdict:
    """Random labellings with two classes are separable with Cover's probability, one half at twice the rank.

    Twins: the rank R - 1 or R + 1, whichever is nearer.
    """
    runs = lab.simulate(dichotomies, setting)
    R, verdicts = theory.shared_context_rank(10**6, setting.small_heads, setting.small_context), []
    of = f"mean over replicas of {setting.n_sampled} draws"
    for column, T in enumerate(setting.sampled):
        law, below, above = (float(theory.separable_probability(T, R + k)) for k in (0, -1, 1))
        nearer = min((below, above), key=lambda rival: abs(rival - law))
        verdicts.append(
            agrees(
                runs["separable"][:, column].mean(1),
                law,
                of=of,
                within=budget(replicas((law * (1 - law) / setting.n_sampled) ** 0.5, runs.n, of=of)),
                twin=Twin.of("rank off by one", predicted=nearer),
            ).named(f"T = {T}")
        )
    return all_of(*verdicts)


@paper.claim(
    "width_is_conditioning",
    source="Theorem 1, r = min(n, d_h)",
    statements=[4],
    kind="extrapolation",
    setting=FROZEN,
    parts=2,
    formula="effective rank (singular values above 1e-3): R at every d_h >= n, more than H below it at d_h = 1",
    assumptions=["Gaussian inputs", "logits of standard deviation 3"],
    judged="every replica: R exactly at full width; the difference to width one above H, one dimension for each head",
    note="What head width buys in a frozen layer is conditioning, up to about d_h = n, not rank.",
)
def width_is_conditioning(setting: FrozenSetting, lab: Lab) -> Verdict:
    """Narrow heads have the full rank with tiny singular values; the effective rank is full at d_h = n and lower at d_h = 1.

    Twins: one dimension less at full width; an effective rank that is the published count, 1 at d_h = 1.
    """
    if (verdict := no_widths(setting)) is not None:
        return verdict
    found, R = effective(lab.simulate(spectra, setting)["gaussian"]).astype(float), rank_of(setting)
    narrow, wide = found[:, np.argmin(setting.head_dims)], found[:, wide_enough(setting)].min(-1)
    count = theory.constructive_count(setting.n_heads, setting.n_context, 1)
    full = agrees(
        wide, float(R), of="every replica", within=0.5, twin=Twin.of("one less", predicted=float(R - 1))
    )  # dimensions are counted
    fewer = ordered(
        narrow,
        wide,
        by=float(setting.n_heads),
        of="every replica",
        twin=Twin.of("the published count", by=R - count - 0.5),
    )
    return all_of(full.named("d_h >= n"), fewer.named("d_h = 1"))


@paper.claim(
    "published_start",
    source="Section 5, initialisation",
    statements=[4],
    kind="extrapolation",
    setting=FROZEN,
    formula="effective rank at uniform inputs and Xavier weights more than H below that at Gaussian inputs, d_h = n",
    judged="every replica: the difference above H, one dimension for each head",
    note="Attention is nearly uniform at the published start.",
)
def published_start(setting: FrozenSetting, lab: Lab) -> Verdict:
    """At the start of the published experiment the features are nearly collinear: the rank is there, its use is not.

    Twin: all heads are one, an effective rank of n.
    """
    if (verdict := no_widths(setting)) is not None:
        return verdict
    runs, column = lab.simulate(spectra, setting), int(np.argmax(wide_enough(setting)))
    gaussian, published = (effective(runs[kind])[:, column].astype(float) for kind in ("gaussian", "published"))
    return ordered(
        published,
        gaussian,
        by=float(setting.n_heads),
        of="every replica",
        twin=Twin.of("one head's rank", by=rank_of(setting) - setting.n_context - 0.5),
    )
