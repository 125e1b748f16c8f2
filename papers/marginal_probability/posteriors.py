"""Claims: attention as the posterior of Gaussian keys, its calibration and denoising; queries that share keys one-to-one."""

from __future__ import annotations

import math
from dataclasses import replace

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, replicas
from attnlab.papers.lab.conditions import that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.marginal_probability.paper import CHANNEL, SWAPS, paper
from attnlab.simulators.latent_structures.channel import ChannelSetting, channel, swaps
from attnlab.theory.latent_structures import two_keys as theory

UPPER = 3, 4  # bins above one half
PLAIN = {
    "sharpness": that(lambda c: c == 1, "1", "other temperatures are derived from this setting"),
    "tilt": that(lambda t: t == 0, "0", "unequal norms are derived from this setting"),
    "bins": that(lambda b: len(b) == 6, "five bins", "two of them are judged"),
}
READS = ("separation", "bins", "n_draws")


def _in_bin(setting: ChannelSetting, right, k: int, separation: float, sharpness: float, shift: float, twin) -> Verdict:
    """How often key 1 is right in bin k against the law, and a twin (label, separation, sharpness, shift)."""
    low, high = setting.bins[k : k + 2]
    share, law = theory.share_in_bin_exact(separation, low, high, sharpness, shift)
    rival = theory.share_in_bin_exact(twin[1], low, high, *twin[2:])[1]
    draws = f"mean over replicas of {int(setting.n_draws * share)} draws"
    std = math.sqrt(law * (1 - law) / (setting.n_draws * share))
    within = budget(replicas(std, len(right), of=draws))
    return agrees(right, law, within=within, of=draws, twin=Twin.of(twin[0], predicted=rival))


def _loss(setting: ChannelSetting, loss, separation: float, sharpness: float, twin: tuple[str, float]) -> Verdict:
    law, std = (f(separation, sharpness) for f in (theory.log_loss_exact, theory.log_loss_std))
    draws = f"mean over replicas of {setting.n_draws} draws"
    within = budget(replicas(std / math.sqrt(setting.n_draws), len(loss), of=draws))
    return agrees(loss, law, within=within, of=draws, twin=Twin.of(twin[0], predicted=twin[1]))


@paper.claim(
    "calibration",
    source="Gaussian mixtures; the laws are derived here",
    statements=[1, 2],
    kind="extrapolation",
    setting=CHANNEL,
    formula="true probability where p is stated: sigma((logit p - b) / c), c = beta s^2, b = c (|k_1|^2 - |k_2|^2) / 2 s^2",
    judged="share of draws in which key 1 is right, where its stated probability lies in the two upper bins, for c = 1, 1/2, 2 "
    "and for unequal norms; the spread over replicas is binomial",
    reads=READS,
    covers=PLAIN,
    parts=8,
)
def calibration(setting: ChannelSetting, lab: Lab) -> Verdict:
    """Softmax attention on Gaussian keys is calibrated at beta = 1/s^2 and equal norms, else it errs by a power and a factor
    of odds.

    Twins: calibrated; for c = 1, c = 1.2.
    """
    cases = (("c = 1", 1.0, 0.0), ("c = 1/2", 0.5, 0.0), ("c = 2", 2.0, 0.0), ("norms", 1.0, 0.4))
    found = lab.simulate(channel, *[replace(setting, sharpness=c, tilt=t) for _, c, t in cases])
    parts = []
    for (name, c, tilt), runs in zip(cases, found, strict=True):
        for k in UPPER:
            twin = (
                ("calibrated", setting.separation, 1.0, 0.0)
                if name != "c = 1"
                else ("c = 1.2", setting.separation, 1.2, 0.0)
            )
            verdict = _in_bin(setting, runs["right"][:, k], k, setting.separation, c, c * tilt, twin)
            parts.append(verdict.named(f"{name}, bin {k + 1}"))
    return all_of(*parts)


@paper.claim(
    "posterior_mean",
    source="Gaussian mixtures: the posterior mean is attention",
    statements=[1, 2],
    setting=CHANNEL,
    formula="E (1 - tanh(c l / 2))^2 and E ln(1 + e^(-c l)), l normal of mean D^2/2 and variance D^2",
    judged="squared error in units of |k_1 - k_2|^2 / 4 and log loss, mean over draws and replicas, at c = 1, 1/2 and 2",
    reads=READS,
    covers=PLAIN,
    parts=6,
)
def posterior_mean(setting: ChannelSetting, lab: Lab) -> Verdict:
    """Attention denoises with the error of the posterior mean at beta = 1/s^2, and with more at other temperatures, by one
    integral.

    Twins: 5 % more error; the log loss of c = 1, and for c = 1 5 % more.
    """
    cases = (("c = 1", 1.0), ("c = 1/2", 0.5), ("c = 2", 2.0))
    found = lab.simulate(channel, *[replace(setting, sharpness=c) for _, c in cases])
    draws = f"mean over replicas of {setting.n_draws} draws"
    best, parts = theory.log_loss_exact(setting.separation), []
    for (name, c), runs in zip(cases, found, strict=True):
        law, std = (f(setting.separation, c) for f in (theory.denoising_error_exact, theory.denoising_error_std))
        error = agrees(
            runs["error"],
            law,
            within=budget(replicas(std / math.sqrt(setting.n_draws), runs.n, of=draws)),
            of=draws,
            twin=Twin.of("5 % more", predicted=1.05 * law),
        )
        rival = ("the least", best) if c != 1 else ("5 % more", 1.05 * best)
        loss = _loss(setting, runs["log_loss"], setting.separation, c, rival)
        parts += [error.named(f"error, {name}"), loss.named(f"log loss, {name}")]
    return all_of(*parts)


@paper.claim(
    "queries_that_share_keys",
    source="derived here",
    statements=[3],
    kind="extrapolation",
    setting=SWAPS,
    formula="exact: separation D sqrt 2, c = 1; softmax: D, c = 1; Sinkhorn: D sqrt 2, c = 1/2",
    judged="two queries read two keys one-to-one: share right in the highest bin, and log loss, of three estimates",
    reads=READS,
    covers=PLAIN,
    parts=6,
)
def queries_that_share_keys(setting: ChannelSetting, lab: Lab) -> Verdict:
    """When queries share keys one-to-one, softmax stays calibrated but loses information, Sinkhorn's plan is too timid by a square root of the odds.

    Twins: in bins, a rival temperature (c = 2 for calibrated ones, calibrated for Sinkhorn's); in log loss, another estimate's.
    """  # noqa: E501
    runs = lab.simulate(swaps, setting)
    D, k = setting.separation, UPPER[-1]
    pair = D * math.sqrt(2)
    rivals = {"softmax": theory.log_loss_exact(D), "exact": theory.log_loss_exact(pair)}
    estimates = (
        ("exact", pair, 1.0, ("c = 2", pair, 2.0, 0.0), ("softmax", rivals["softmax"])),
        ("softmax", D, 1.0, ("c = 2", D, 2.0, 0.0), ("exact", rivals["exact"])),
        ("Sinkhorn", pair, 0.5, ("calibrated", pair, 1.0, 0.0), ("exact", rivals["exact"])),
    )
    parts = []
    for row, (name, separation, sharpness, bin_twin, loss_twin) in enumerate(estimates):
        right = _in_bin(setting, runs["right"][:, row, k], k, separation, sharpness, 0.0, bin_twin)
        loss = _loss(setting, runs["log_loss"][:, row], separation, sharpness, loss_twin)
        parts += [right.named(f"{name}, bin {k + 1}"), loss.named(f"{name}, log loss")]
    return all_of(*parts)
