"""Claims on single tokens: which logits rise, which fall, and which token takes over (statements 4 and 5)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, budget, finite_size, ordered, relative, rounding
from attnlab.papers.lab.conditions import at_least, outside
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.tian2023_scan_snap.paper import ENDLESS_CLASSES, descent, direction, paper, scales
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
    n_replicas=32,
)


def moves_its_way(setting, runs, kind):
    """Between any two records every logit of a kind, ``"distinct"`` or ``"common"``, moves its way, in every replica.

    The first step is left out, which moves the decoder only. ``by``: 4 roundings a step of a logit below one.
    """
    change, C = np.diff(runs["z"][:, 1:], axis=1), setting.n_common  # (replica, record, class, local)
    moved, none = change[..., C:] if kind == "distinct" else -change[..., :C], np.zeros(runs.n)
    return ordered(
        none,
        moved.min((1, 2, 3)),
        by=rounding(4 * setting.n_steps).size,
        of="every replica",
        twin=Twin.of("all at the pace of their mean", smaller=moved.mean((2, 3)).min(1)),
        null=Twin.of("nothing is learnt", larger=none),
    )


FATES = "between any two records of every replica each logit moves its way by more than 4 roundings a step"


@paper.claim(
    "fate_of_tokens",
    source="Theorem on the fate of tokens, Section 5",
    statements=[4],
    parts=4,
    setting=scales(POPULATION),
    covers=ENDLESS_CLASSES,
    formula="dz_l/dt > 0 for distinct l, < 0 for common l",
    assumptions=[
        "symmetric classes with random frequencies",
        "ten common tokens, or one; two queries, or one",
        "zero start, mean over classes and endless sequences",
        "eta_Y = eta_Z",
    ],
    judged=FATES,
)
def fate_of_tokens(setting: Setting, lab: Lab) -> Verdict:
    """Every distinct token's logit rises all the time, and every common token's falls.

    Twin of each: all tokens of the kind move at the pace of their mean. Null control: logits at rest.
    """
    chosen = setting, replace(setting, n_common=1, classes_per_query=setting.n_classes)
    parts = []
    for name, one, runs in zip(("ten", "one"), chosen, lab.simulate(train_tokens, *chosen), strict=True):
        parts += [moves_its_way(one, runs, kind).named(f"{name} common: {kind}") for kind in ("distinct", "common")]
    return all_of(*parts)


SLOW = 10  # eta_Y / (M eta_Z) from which attention counts as slow: errors of a tenth of the drive


def slow(setting):
    """Whether attention is slow against the decoder, eta_Z << eta_Y / M."""
    return setting.decoder_rate >= SLOW * setting.vocabulary * setting.attention_rate


UNEQUAL = replace(
    POPULATION,
    profile="independent",
    n_common=1,
    classes_per_query=4,
    n_steps=400,
    decoder_rate=1.0,
    attention_rate=1.0,
)
UNEQUAL_CLASSES = {name: test for name, test in ENDLESS_CLASSES.items() if name not in ("profile", "n_common")}


@paper.claim(
    "distinct_always_rise",
    source="our reading of the theorem on the fate of tokens at any rates",
    statements=[4],
    kind="extrapolation",
    setting=scales(UNEQUAL),
    covers=UNEQUAL_CLASSES,
    expected="REFUTED",
    formula="dz_l/dt > 0 for distinct l",
    assumptions=["one common token of unequal frequency in four classes of one query", "eta_Y = eta_Z"],
    judged="in every replica no distinct logit falls between two records, by more than 4 roundings a step",
    note="The theorem takes attention as slow against the decoder. With equal rates the decoder remembers the attention of "
    "before: the error, of order eta_Z / eta_Y, exceeds the drive of order 1 / M. See distinct_rise_if_slow.",
)
def distinct_always_rise(setting: Setting, lab: Lab) -> Verdict:
    """Distinct tokens' logits rise whatever the frequencies and rates. False where attention moves as fast as the decoder.

    Twin: they rise at the pace of their mean.
    """
    if slow(setting):
        return outside("attention is slow here, and the theorem holds: see distinct_rise_if_slow")
    return moves_its_way(setting, lab.simulate(train_tokens, setting), "distinct")


@paper.claim(
    "distinct_rise_if_slow",
    source="Theorem on the fate of tokens, Section 5",
    statements=[4],
    setting=scales(replace(UNEQUAL, attention_rate=0.002)),
    reads=("decoder_rate", "attention_rate"),
    covers=UNEQUAL_CLASSES,
    formula="dz_l/dt > 0 for distinct l, dz_l/dt < 0 for the common one, if eta_Z << eta_Y / M",
    assumptions=["one common token of unequal frequency in four classes of one query", "eta_Y = 500 eta_Z, M = 46"],
    judged=FATES,
    parts=2,
)
def distinct_rise_if_slow(setting: Setting, lab: Lab) -> Verdict:
    """With slow attention distinct tokens' logits rise and a single common token's falls at unequal frequencies, too.

    Twin of each: all tokens of the kind move at the pace of their mean. Null control: logits at rest.
    """
    if not slow(setting) or setting.n_common != 1:
        return outside(
            f"eta_Y / eta_Z = {setting.decoder_rate / setting.attention_rate:.4g} at M = {setting.vocabulary} and "
            f"{setting.n_common} common tokens: the theorem is of slow attention, eta_Y >= {SLOW} M eta_Z, and one common token"
        )
    runs = lab.simulate(train_tokens, setting)
    return all_of(*(moves_its_way(setting, runs, kind).named(kind) for kind in ("distinct", "common")))


#: eta_Y / eta_Z in units of M: the drive of a logit is of order 1 / M, the decoder's memory of order eta_Z / eta_Y.
RATIOS = (64, 128)
GAIN = replace(POPULATION, n_classes=2, classes_per_query=1, decoder_rate=0.25, n_steps=200, n_records=8)


def gain_exponent(runs, C):
    """d ln r / dz at the end, the most frequent token against the second, mean over classes ``(replica,)``, and the rise of both.

    Tokens stand in the order of their frequency.
    """
    f, z = direction(runs["c"])[..., C:], runs["z"]
    gain, risen = (f[..., -1] / f[..., -2]) ** 2 - 1, z[:, -1] - z[:, 0]
    first, second = risen[..., -1].sum(-1), risen[..., -2].sum(-1)
    return np.log(gain[:, -1] / gain[:, 0]).sum(-1) / first, first, second


@paper.claim(
    "relative_gain",
    source="Theorem on the growth of relative gains, Section 5",
    statements=[5],
    setting=scales(GAIN),
    covers=ENDLESS_CLASSES,
    formula="ln r(t) - ln r(0) = 2 (z_l(t) - z_l(0)), r = f_l^2 / f_l'^2 - 1",
    assumptions=[
        "symmetric classes with random frequencies",
        "eta_Y = 64 M eta_Z and 128 M eta_Z, eta_Y t fixed",
        "the two most frequent tokens",
    ],
    judged="every replica: the exponent, extrapolated from ratios 64 M and 128 M to slow attention, is 2 within 2 / 64^2, the "
    "second order in M eta_Z / eta_Y",
)
def relative_gain(setting: Setting, lab: Lab) -> Verdict:
    """The relative gain of two distinct tokens grows as e^{2 dz} of the more frequent one, in the limit of slow attention.

    Twin: as e^{2 dz} of the less frequent one. Null control: logits at rest.
    """
    runs = lab.simulate(
        train_tokens,
        *(replace(setting, attention_rate=setting.decoder_rate / (ratio * setting.vocabulary)) for ratio in RATIOS),
    )
    found = [gain_exponent(run, setting.n_common) for run in runs]
    exponents, (_, first, second) = np.stack([each[0] for each in found], axis=1), found[-1]
    law = float(np.log(attention.relative_gain_exact(1.0, 1.0)))
    return agrees(
        2 * exponents[:, -1] - exponents[:, -2],
        law,
        within=budget(finite_size(RATIOS[0], law, power=2, of="(eta_Y / M eta_Z)")),
        of="every replica",
        twin=Twin.of("of the second token", predicted=law * second / first),
        null=np.zeros(len(first)),
    )


@paper.claim(
    "frequency_bias",
    source="Section 5, frequency bias",
    statements=[5],
    parts=2,
    setting=scales(POPULATION),
    covers=ENDLESS_CLASSES,
    formula="P_l > P_l' implies z_l(t) > z_l'(t) for distinct l, l' of a class",
    assumptions=["symmetric classes with random frequencies"],
    judged="in every replica all logits stand in the order of the frequencies at the end; in the first eight the lead of the "
    "most frequent over the rarest is that of the reduced steps up to rounding",
)
def frequency_bias(setting: Setting, lab: Lab) -> Verdict:
    """The more frequent a distinct token, the more its logit rises: the most frequent takes over, the rarest is dropped first.

    Twins: neighbours in frequency are equally far apart; the lead of the most frequent over the second rarest. Null control:
    logits at rest.
    """
    runs = lab.simulate(train_tokens, setting)
    z, none = runs["z"][:, -1, :, setting.n_common :], np.zeros(runs.n)
    steps = np.diff(z, axis=-1)  # tokens stand in the order of their frequency
    order = ordered(
        none,
        steps.min((1, 2)),
        by=rounding(4 * setting.n_steps).size,
        of="every replica",
        twin=Twin.of("equally far apart", smaller=steps.mean((1, 2))),
        null=Twin.of("nothing is learnt", larger=none),
    )
    few = slice(min(8, runs.n))
    paths = np.stack([descent(setting, row).z_distinct[-1] for row in runs["profile"][few, 0]])
    lead = agrees(
        (z[few, ..., -1] - z[few, ..., 0]).mean(-1),
        paths[:, -1] - paths[:, 0],
        within=budget(rounding(100 * setting.n_steps)),
        of="every replica",
        twin=Twin.of("over the second rarest", predicted=paths[:, -1] - paths[:, 1]),
        null=none[few],
    )
    return all_of(order.named("order"), lead.named("lead"))


DOMINANT = replace(
    POPULATION,
    n_common=1,
    n_distinct=2,
    common_weight=0.1,
    classes_per_query=4,
    attention_rate=1e-4,
    decoder_rate=1.0,
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
    reads=("attention_rate", "decoder_rate", "n_classes"),
    covers=ENDLESS_CLASSES | {"n_records": at_least(400, "xi is summed over all steps"), "n_distinct": at_least(2)},
    formula="exp(2 f_l(0)^2 B) <= chi_l <= exp(2 B), chi_l = e^{2 (z_l(t) - z_l(0))}, B = eta_Z int xi",
    assumptions=[
        "most frequent distinct token",
        "one common token",
        "eta_Y = 10 000 eta_Z",
        "xi averaged over distinct tokens",
    ],
    judged="every replica: ln chi / 2 B at the end against both bounds, f_l(0)^2 and 1, with the slack M eta_Z / eta_Y "
    "of attention that moves against the drive 1 / M",
)
def dominant_bounds(setting: Setting, lab: Lab) -> Verdict:
    """The growth of the most frequent distinct token lies between e^{2 f(0)^2 B} and e^{2 B}.

    Twins: the share of the second token in the upper bound; the upper bound from below. Null control for the lower one: logits
    at rest.
    """
    if setting.n_common != 1 or setting.classes_per_query != setting.n_classes:
        return outside("the theorem is of one common token and one query: n_common=1, classes_per_query=n_classes")
    if not slow(setting):
        return outside(f"the theorem is of slow attention, eta_Y >= {SLOW} M eta_Z")
    runs = lab.simulate(train_tokens, setting)
    C, rate = setting.n_common, setting.attention_rate / setting.n_classes  # a class is one of K in the mean
    f = direction(runs["c"])
    xi = runs["signal"] / f - (f * runs["signal"]).sum(-1, keepdims=True)  # (replica, record, class, local)
    weight = f[..., C:] ** 2
    mean = (weight * xi[..., C:]).sum(-1) / weight.sum(-1)
    exposure = rate * (mean[:, :-1] * np.diff(runs["steps"], axis=1)[..., None]).sum(1)  # (replica, class)
    start, second = ((f[:, 0, :, token] ** 2).mean(-1) for token in (-1, -2))
    log_chi = 2 * (runs["z"][:, -1] - runs["z"][:, 0])[..., -1].mean(-1)
    mean_exposure = exposure.mean(-1)
    bounds = [attention.dominant_growth_bounds(s, b) for s, b in zip(start, mean_exposure, strict=True)]
    low, high = np.log(bounds).T / (2 * mean_exposure)
    grown = log_chi / (2 * mean_exposure)
    # the decoder's memory of earlier attention, against a drive of 1 / M
    memory = setting.vocabulary * setting.attention_rate / setting.decoder_rate
    slack = budget(relative(memory, 1.0, "moving attention"))
    below = bounded(
        grown,
        high,
        within=slack,
        of="every replica",
        twin=Twin.of("share of the second token", bound=low * second / start),
    )
    above = bounded(
        grown,
        low,
        side="below",
        within=slack,
        of="every replica",
        twin=Twin.of("the upper bound from below", bound=high),
        null=np.zeros_like(grown),
    )
    return all_of(below.named("upper"), above.named("lower"))
