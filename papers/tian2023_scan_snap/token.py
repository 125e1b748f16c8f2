"""Claims on single tokens: which logits rise, which fall, and which token takes over (statements 4 and 5)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, all_of, bounded, converges, ordered, share
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.tian2023_scan_snap.paper import direction, paper, scales
from attnlab.simulators.token_selection.training import Setting, train_tokens
from attnlab.theory.token_selection import attention

POPULATION = Setting(
    batch=0,
    profile="random",
    n_classes=4,
    classes_per_query=2,
    decoder_rate=0.5,
    attention_rate=0.5,
    n_steps=800,
    n_records=60,
)
ROUNDING = 1e-12  # of a step of a logit: 800 additions of numbers below one


def moves(runs):
    """Changes of logits between records; the first step is left out, which moves the decoder only."""
    return np.diff(runs["z"][:, 1:], axis=1)


def steps_of(setting, runs):
    """Smallest and largest change of a logit between records: ``(least distinct, largest common)``, each ``(replica,)``."""
    change = moves(runs)
    C = setting.n_common
    return change[..., C:].min((1, 2, 3)), change[..., :C].max((1, 2, 3))


@paper.claim(
    "fate_of_tokens",
    source="Theorem on the fate of tokens, Section 5",
    statements=[4],
    parts=4,
    setting=scales(POPULATION),
    formula="dz_l/dt > 0 for distinct l, < 0 for common l",
    assumptions=[
        "symmetric classes with random frequencies",
        "ten common tokens, or one; two queries, or one",
        "zero start, mean over classes and endless sequences",
        "eta_Y = eta_Z",
    ],
    judged="in every replica no logit moves the wrong way between any two records, up to 1e-12 of rounding",
)
def fate_of_tokens(setting: Setting, lab: Lab) -> Verdict:
    """Every distinct token's logit rises all the time, and every common token's falls.

    Twin of each: the tokens of the other kind do the same.
    """
    several, single = lab.simulate(
        train_tokens, setting, replace(setting, n_common=1, classes_per_query=setting.n_classes)
    )
    parts = []
    for name, chosen, runs in (("ten common", setting, several), ("one common", replace(setting, n_common=1), single)):
        low, high = steps_of(chosen, runs)
        change = moves(runs)
        C = chosen.n_common
        parts.append(
            bounded(
                low,
                0.0,
                side="below",
                within=ROUNDING,
                of="every replica",
                twin=Twin.of("common tokens rise too", measured=change[..., :C].min((1, 2, 3))),
            ).named(f"{name}: distinct rise")
        )
        parts.append(
            bounded(
                high,
                0.0,
                within=ROUNDING,
                of="every replica",
                twin=Twin.of("distinct tokens fall too", measured=change[..., C:].max((1, 2, 3))),
            ).named(f"{name}: common fall")
        )
    return all_of(*parts)


UNEQUAL = replace(
    POPULATION,
    profile="independent",
    n_common=1,
    classes_per_query=4,
    n_steps=400,
    decoder_rate=1.0,
    attention_rate=1.0,
)


@paper.claim(
    "distinct_always_rise",
    source="Theorem on the fate of tokens, Section 5",
    statements=[4],
    setting=scales(UNEQUAL),
    expected="REFUTED",
    formula="dz_l/dt > 0 for distinct l",
    assumptions=["one common token of unequal frequency in four classes of one query", "eta_Y = eta_Z"],
    judged="in every replica no distinct logit falls between two records, up to 1e-12 of rounding",
    note="The theorem takes attention as slow against the decoder. With equal rates the decoder remembers the attention "
    "of "
    "before: the error, of order eta_Z / eta_Y, exceeds the drive of order 1 / M. See distinct_rise_if_slow.",
)
def distinct_always_rise(setting: Setting, lab: Lab) -> Verdict:
    """Distinct tokens' logits rise whatever the frequencies and rates. False where attention moves as fast as the decoder."""
    low, _ = steps_of(setting, lab.simulate(train_tokens, setting))
    return bounded(
        low,
        0.0,
        side="below",
        within=ROUNDING,
        of="every replica",
        twin=Twin.of("every step of at least 1e-6", bound=1e-6),
    )


@paper.claim(
    "distinct_rise_if_slow",
    source="corrects the theorem on the fate of tokens",
    statements=[4],
    setting=scales(replace(UNEQUAL, attention_rate=0.002)),
    formula="dz_l/dt > 0 for distinct l, dz_l/dt < 0 for the common one, if eta_Z << eta_Y / M",
    assumptions=["one common token of unequal frequency in four classes of one query", "eta_Y = 500 eta_Z, M = 46"],
    judged="in every replica no logit moves the wrong way between two records, up to 1e-12 of rounding",
    parts=2,
)
def distinct_rise_if_slow(setting: Setting, lab: Lab) -> Verdict:
    """With slow attention distinct tokens' logits rise and a single common token's falls at unequal frequencies, too.

    Twin of each: the tokens of the other kind do the same.
    """
    runs = lab.simulate(train_tokens, setting)
    low, high = steps_of(setting, runs)
    change, C = moves(runs), setting.n_common
    rise = bounded(
        low,
        0.0,
        side="below",
        within=ROUNDING,
        of="every replica",
        twin=Twin.of("the common token rises too", measured=change[..., :C].min((1, 2, 3))),
    )
    fall = bounded(
        high,
        0.0,
        within=ROUNDING,
        of="every replica",
        twin=Twin.of("distinct tokens fall too", measured=change[..., C:].max((1, 2, 3))),
    )
    return all_of(rise.named("distinct rise"), fall.named("common falls"))


RATIOS = (4, 8, 16, 32, 64)
GAIN = replace(POPULATION, n_classes=2, classes_per_query=1, decoder_rate=0.25, n_steps=200, n_records=8)


def gain_gap(runs, C, exponent):
    """Relative error of d ln r = exponent dz at the end: the most frequent token against the second, mean over classes."""
    f = direction(runs["c"])[..., C:]  # tokens stand in the order of their frequency
    gain = (f[..., -1] / f[..., -2]) ** 2 - 1
    risen = (runs["z"][:, -1] - runs["z"][:, 0])[..., -1]
    return np.log(gain[:, -1] / gain[:, 0]).sum(-1) / (exponent * risen.sum(-1)) - 1


@paper.claim(
    "relative_gain",
    source="Theorem on the growth of relative gains, Section 5",
    statements=[5],
    setting=scales(GAIN),
    formula="ln r(t) - ln r(0) = 2 (z_l(t) - z_l(0)), r = f_l^2 / f_l'^2 - 1",
    assumptions=[
        "symmetric classes with random frequencies",
        "eta_Y / eta_Z from 4 to 64 at fixed eta_Y t",
        "the two most frequent tokens",
    ],
    judged="the relative error of the law vanishes like (eta_Z / eta_Y)^1 (slope within 0.2: the next order is squared, "
    "and at ratio 4 reaches a tenth of the first)",
)
def relative_gain(setting: Setting, lab: Lab) -> Verdict:
    """The relative gain of two distinct tokens grows as e^{2 dz} of the more frequent one, in the limit of slow attention.

    Twin: it grows as e^{dz}, as the ratio f_l / f_l' of a frozen rival does.
    """
    runs = lab.simulate(
        train_tokens, *(replace(setting, attention_rate=setting.decoder_rate / ratio) for ratio in RATIOS)
    )
    gaps, rival = (np.stack([gain_gap(run, setting.n_common, exponent) for run in runs], axis=1) for exponent in (2, 1))
    return converges(np.array(RATIOS, float), gaps, rate=1.0, within=0.2, twin=Twin.of("exponent 1", gaps=rival))


@paper.claim(
    "frequency_bias",
    source="Section 5, frequency bias",
    statements=[5],
    parts=2,
    setting=scales(POPULATION),
    undecided_at_smoke="8 replicas that are all in order show a share of 0.4, not of 1/2",
    formula="P_l > P_l' implies z_l(t) > z_l'(t) for distinct l, l' of a class",
    assumptions=["symmetric classes with random frequencies"],
    judged="share of replicas in which all logits stand in the order of the frequencies at the end is at least 1/2; "
    "mean log of c of the most frequent to the rarest token rises",
)
def frequency_bias(setting: Setting, lab: Lab) -> Verdict:
    """The more frequent a distinct token, the more its logit rises: the most frequent takes over, the rarest is dropped first.

    Twins: logits rise in the order of the ids, which says nothing (tokens compared with those of the wrong rank); the reverse.
    """
    runs = lab.simulate(train_tokens, setting)
    C = setting.n_common
    end, c = runs["z"][:, -1, :, C:], runs["c"]

    def sorted_by_frequency(z):
        return (np.diff(z, axis=-1) > 0).all((1, 2))

    order = share(
        sorted_by_frequency(end),
        at_least=0.5,
        twin=Twin.of("another order", successes=sorted_by_frequency(np.roll(end, 1, axis=-1))),
    )
    lead = np.log(c[..., -1] / c[..., C]).mean(-1)
    return all_of(
        order.named("order"),
        ordered(
            lead[:, 0], lead[:, -1], twin=Twin.of("the rarest gains", smaller=lead[:, -1], larger=lead[:, 0])
        ).named("lead"),
    )


DOMINANT = replace(
    POPULATION,
    n_common=1,
    classes_per_query=4,
    attention_rate=0.05,
    decoder_rate=0.5,
    n_steps=400,
    n_records=400,
    spacing="linear",
)


@paper.claim(
    "dominant_bounds",
    source="Theorem on the dominant token, Section 5",
    statements=[5],
    parts=2,
    setting=scales(DOMINANT),
    formula="exp(2 f_l(0)^2 B) <= chi_l <= exp(2 B), chi_l = e^{2 (z_l(t) - z_l(0))}, B = eta_Z int xi",
    assumptions=[
        "most frequent distinct token",
        "one common token",
        "eta_Y = 10 eta_Z",
        "xi averaged over distinct tokens",
    ],
    judged="ln chi at the end, class by class, against both bounds (relative slack eta_Z / eta_Y for the lower one, "
    "the size of the correction of the law)",
)
def dominant_bounds(setting: Setting, lab: Lab) -> Verdict:
    """The growth of the most frequent distinct token lies between e^{2 f(0)^2 B} and e^{2 B}.

    Twin of each bound: the other one in its place.
    """
    runs = lab.simulate(train_tokens, setting)
    C, rate = setting.n_common, setting.attention_rate / setting.n_classes  # a class is one of K in the mean
    f = direction(runs["c"])
    xi = runs["signal"] / f - (f * runs["signal"]).sum(-1, keepdims=True)  # (replica, record, class, local)
    weight = f[..., C:] ** 2
    mean = (weight * xi[..., C:]).sum(-1) / weight.sum(-1)
    exposure = rate * (mean[:, :-1] * np.diff(runs["steps"], axis=1)[..., None]).sum(1)  # (replica, class)
    start = (f[:, 0, :, -1] ** 2).mean(-1)
    log_chi = 2 * (runs["z"][:, -1] - runs["z"][:, 0])[..., -1].mean(-1)
    low, high = (
        np.log(bound)
        for bound in zip(
            *(attention.dominant_growth_bounds(s, b) for s, b in zip(start, exposure.mean(-1), strict=True)),
            strict=True,
        )
    )
    slack = setting.attention_rate / setting.decoder_rate * float(np.mean(low))
    below = bounded(
        log_chi, high, of="every replica", twin=Twin.of("the lower bound from above", bound=low * (1 - 0.5))
    )
    above = bounded(
        log_chi,
        low,
        side="below",
        within=slack,
        of="every replica",
        twin=Twin.of("the upper bound from below", bound=high),
    )
    return all_of(below.named("upper"), above.named("lower"))
