"""Frozen random key and query weights: residuals, separable labellings, conditioning (statements 4 and 10)."""

from __future__ import annotations

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, identical, share
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
    mask = np.array(setting.head_dims) >= setting.n_context
    if not mask.any() or min(setting.head_dims) > 1:
        raise ValueError(
            f"head_dims={setting.head_dims!r} must hold 1 and a width of at least n_context={setting.n_context}"
        )
    return mask


@paper.claim(
    "residual_law",
    source="consequence of the rank law",
    statements=[10],
    setting=FROZEN,
    parts=4,
    formula="E MSE = sigma^2 (1 - R / T), R = H (n - 1) + 1, sigma^2 = 1/12",
    assumptions=["one shared context of rank n", "T > R", "labels uniform on [0, 1)"],
    judged="12 T times the error within half a dimension of T - R, at every T > R; the twin is one dimension off",
)
def residual_law(setting: FrozenSetting, lab: Lab) -> Verdict:
    """The best readout of frozen features leaves the share 1 - R/T of the labels' variance, to a single dimension.

    Twin: R = H (n - 1), a readout that cannot fit the mean.
    """
    runs, R = lab.simulate(residuals, setting), rank_of(setting)
    verdicts = []
    for column, T in enumerate(setting.examples):
        if T > R:
            left = T * runs["mse"][:, column] / theory.frozen_residual(T, R) * (1 - R / T)
            verdicts.append(
                agrees(left, T - R, within=0.5, twin=Twin.of("R - 1", predicted=T - R + 1)).named(f"T = {T}")
            )
    if not verdicts:
        raise ValueError(f"examples={setting.examples!r} lie below the rank {R}; use some above it")
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
    runs, examples = lab.simulate(residuals, setting), np.array(setting.examples)
    few = examples <= rank_of(setting)
    if few.all() or not few.any():
        raise ValueError(
            f"examples={setting.examples!r} lie on one side of the rank {rank_of(setting)}; use some on each"
        )
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
    setting=FROZEN,
    parts=3,
    formula="P = 2^(1 - T) sum_{k<R} C(T - 1, k), 1/2 at T = 2 R",
    assumptions=["one shared context of rank n", "frozen weights", "random labels"],
    judged="share of random labellings within half of the distance to the nearer rival rank R - 1 or R + 1",
)
def separable_share(setting: FrozenSetting, lab: Lab) -> Verdict:
    """Random labellings with two classes are separable with Cover's probability, one half at twice the rank.

    Twins: the rank R - 1 or R + 1, whichever is nearer.
    """
    runs = lab.simulate(dichotomies, setting)
    R, verdicts = theory.shared_context_rank(10**6, setting.small_heads, setting.small_context), []
    for column, T in enumerate(setting.sampled):
        law, below, above = (float(theory.separable_probability(T, R + k)) for k in (0, -1, 1))
        nearer = min((below, above), key=lambda rival: abs(rival - law))
        verdicts.append(
            share(
                runs["separable"][:, column].ravel(),
                predicted=law,
                within=abs(nearer - law) / 2,
                unit="labelling",
                twin=Twin.of("rank off by one", predicted=nearer),
            ).named(f"T = {T}")
        )
    return all_of(*verdicts)


@paper.claim(
    "width_is_conditioning",
    source="Theorem 1, r = min(n, d_h)",
    statements=[4],
    setting=FROZEN,
    parts=2,
    formula="effective rank (singular values above 1e-3) < 5/6 R at d_h = 1, > 19/20 R at every d_h >= n",
    assumptions=["Gaussian inputs", "logits of standard deviation 3"],
    judged="share of replicas at least 1/2",
    note="What head width buys in a frozen layer is conditioning, up to about d_h = n, not rank.",
)
def width_is_conditioning(setting: FrozenSetting, lab: Lab) -> Verdict:
    """Narrow heads have the full rank with tiny singular values; the effective rank grows with d_h and is full at d_h = n.

    Twins: the effective rank at full width; that at width one.
    """
    found, R = effective(lab.simulate(spectra, setting)["gaussian"]), rank_of(setting)
    narrow, wide = found[:, np.argmin(setting.head_dims)], found[:, wide_enough(setting)].min(-1)
    few = share(narrow < 5 / 6 * R, at_least=0.5, twin=Twin.of("full width", successes=wide < 5 / 6 * R))
    full = share(wide > 0.95 * R, at_least=0.5, twin=Twin.of("width one", successes=narrow > 0.95 * R))
    return all_of(few.named("d_h = 1"), full.named("d_h >= n"))


@paper.claim(
    "published_start",
    source="Section 5, initialisation",
    statements=[4],
    setting=FROZEN,
    formula="effective rank at uniform inputs and Xavier weights < 2/3 of that at Gaussian inputs, d_h = n",
    judged="share of replicas at least 1/2",
    note="Attention is nearly uniform at the published start.",
)
def published_start(setting: FrozenSetting, lab: Lab) -> Verdict:
    """At the start of the published experiment the features are nearly collinear: the rank is there, its use is not.

    Twin: Gaussian inputs.
    """
    runs, column = lab.simulate(spectra, setting), int(np.argmax(wide_enough(setting)))
    gaussian, published = (effective(runs[kind])[:, column] for kind in ("gaussian", "published"))
    return share(
        published < 2 / 3 * gaussian,
        at_least=0.5,
        twin=Twin.of("Gaussian inputs", successes=gaussian < 2 / 3 * gaussian),
    )
