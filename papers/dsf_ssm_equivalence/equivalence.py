"""Claims: every model is one recurrence; which selective model is linear attention; decays above one; the reversed gate."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, identical, relative, replicas
from attnlab.papers.dsf_ssm_equivalence.paper import COUPLED, DECAYS, FORMS, GATES, paper
from attnlab.papers.lab.conditions import at_least, at_most, that
from attnlab.papers.lab.run.workbench import Lab, Runs
from attnlab.simulators.recurrent_forms.forms import (
    MODELS,
    DecaySetting,
    FormSetting,
    RetentionSetting,
    decays,
    maps,
    retention,
)
from attnlab.theory.recurrent_forms import gates
from attnlab.theory.recurrent_forms import transfer as theory
from attnlab.theory.recurrent_forms.transfer import Coefficients

LINEAR = {"model": that(lambda m: m == "linear", "linear", "the claim is about linear attention")}


def coefficients(model: str, runs: Runs, i: int) -> Coefficients:
    """Decays, gains and reads of replica i from its projections."""
    q, k = runs["queries"][i], runs["keys"][i]
    if model == "linear":
        return theory.linear_attention(q, k)
    if model == "normalised":
        return theory.normalised_attention(q, k, np.log(runs["normaliser"][i]))
    if model == "gated":
        return theory.gated_recurrence(*runs["logits"][i])
    rates = runs["rates"][i]
    return theory.selective(runs["steps"][i], rates if model == "s6" else rates[0], k, q)


def roundings(every: list[Coefficients]) -> tuple[float, float]:
    """How many roundings an entry may have, and their scale: the largest sum of products of one entry.

    A decay is rounded a few times in either computation, an entry multiplies up to L of them and adds n terms; logarithms of
    products
    up to size s cost s roundings in the exponent.
    """
    count, n = every[0].gain.shape
    logs = [np.cumsum(np.log(c.decay), axis=0) for c in every]
    spread = max(float(np.ptp(x, axis=0).max()) for x in logs)
    grown = max(
        float((x - np.minimum.accumulate(x, axis=0)).max()) for x in logs
    )  # the largest product of decays, 0 if none grows
    size = max(float(np.abs(c.read).max() * np.abs(c.gain).max()) for c in every) * n * math.exp(grown)
    return 8 * (count + n + spread), size


def powered(c: Coefficients, power: float = 1.02) -> Coefficients:
    return Coefficients(c.decay**power, c.gain, c.read)


@paper.claim(
    "one_recurrence",
    source="Section 3, the dynamical systems framework",
    statements=[1, 2],
    parts=len(MODELS),
    formula="h_i = A_i h_(i-1) + B_i u_i, y_i = C_i h_i; Phi_ij = C_i A_i ... A_(j+1) B_j",
    judged="the map of each model, run step by step on unit inputs, against the unrolled form, every entry to rounding",
    covers=LINEAR | {"same_query": that(lambda x: not x, "False")},
)
def one_recurrence(setting: FormSetting, lab: Lab) -> Verdict:
    """Linear and normalised attention, S6, SSD and the quasi-LSTM are one linear recurrence, with the listed coefficients.

    Twin: logarithms of decays 2 % larger.
    """
    parts = []
    for model, runs in zip(MODELS, lab.simulate(maps, *[replace(setting, model=m) for m in MODELS]), strict=True):
        every = [coefficients(model, runs, i) for i in range(runs.n)]
        most, size = roundings(every)
        law, rival = (np.stack([theory.transfer_matrix(f(c)) for c in every]) for f in (lambda c: c, powered))
        parts.append(
            identical(runs["stepped"], law, rounding=most, scale=size, twin=Twin.of("decays^1.02", b=rival)).named(
                model
            )
        )
    return all_of(*parts)


@paper.claim(
    "without_recurrence",
    source="Section 3, attention in the framework",
    statements=[1, 2],
    parts=len(MODELS),
    formula="phi(q_i).psi(k_j) / eta_i; sum_n C_in B_jn Delta_j e^(-a_n (c_i - c_j)), c the sums of Delta",
    judged="the map from pairs of positions against the unrolled coefficients, every entry to rounding",
    covers=LINEAR | {"same_query": that(lambda x: not x, "False")},
)
def without_recurrence(setting: FormSetting, lab: Lab) -> Verdict:
    """The same maps are attention over pairs of positions: normalised products of features, or a mask of decays times products.

    Twin: logarithms of decays 2 % larger.
    """
    parts = []
    for model, runs in zip(MODELS, lab.simulate(maps, *[replace(setting, model=m) for m in MODELS]), strict=True):
        every = [coefficients(model, runs, i) for i in range(runs.n)]
        most, size = roundings(every)
        law, rival = (np.stack([theory.transfer_matrix(f(c)) for c in every]) for f in (lambda c: c, powered))
        verdict = identical(runs["quadratic"], law, rounding=most, scale=size, twin=Twin.of("decays^1.02", b=rival))
        parts.append(verdict.named(model))
    return all_of(*parts)


@paper.claim(
    "coupled_selective_model",
    source="Section 4, linear attention and S6",
    statements=[3],
    setting=COUPLED,
    formula="Delta_i = ln(eta_i / eta_(i-1)) / a, b_i = psi(k_i) / (eta_i Delta_i)",
    judged="linear attention whose normaliser increases (one query for all), step by step, against that selective model, to "
    "rounding",
    covers=LINEAR | {"same_query": that(bool, "True", "the normaliser must increase")},
)
def coupled_selective_model(setting: FormSetting, lab: Lab) -> Verdict:
    """Where the normaliser increases, linear attention is the selective model whose step is its growth, and is normalised by it.

    Twin: the exact discretisation, gain (1 - e^(-a Delta)) / a for Delta.
    """
    runs = lab.simulate(maps, setting)
    rate, law, rival, every = 0.7, [], [], []
    for i in range(runs.n):
        c = theory.coupled_selective(runs["normaliser"][i], runs["queries"][i], runs["keys"][i], rate)
        steps = -np.log(c.decay[:, :1]) / rate
        every.append(c)
        law.append(theory.transfer_matrix(c))
        rival.append(theory.transfer_matrix(c._replace(gain=c.gain * -np.expm1(-rate * steps) / (rate * steps))))
    most, size = roundings(every)
    return identical(
        runs["stepped"],
        np.stack(law),
        rounding=most,
        scale=size,
        twin=Twin.of("exact discretisation", b=np.stack(rival)),
    )


@paper.claim(
    "reads_may_carry_the_normaliser",
    source="corrects the equivalence of linear attention and S6; derived here",
    statements=[3],
    kind="extrapolation",
    setting=FORMS,
    parts=2,
    formula="A_i g_i / g_(i-1), B_i g_i, C_i / g_i give the same map for any g > 0",
    judged="linear attention step by step against a selective model with steps of its own, every entry to rounding; its own "
    "decays "
    "exceed 1 in every replica",
    covers=LINEAR | {"same_query": that(lambda x: not x, "False", "decays above 1 need queries that differ")},
)
def reads_may_carry_the_normaliser(setting: FormSetting, lab: Lab) -> Verdict:
    """With free reads any decays below 1 serve, also where the normaliser falls: decay and gain need not reproduce eta.

    So "if and only if" holds for reads phi(q). Twins: reads phi(q) with those decays; decays that do not exceed 1.
    """
    runs = lab.simulate(maps, setting)
    law, rival, every, largest = [], [], [], []
    for i in range(runs.n):
        own = theory.linear_attention(runs["queries"][i], runs["keys"][i])
        target = np.exp(-0.3 * np.logaddexp(0, np.linspace(-2, 2, len(own.decay))))  # the decays of a selective model
        other = theory.regauged(own, np.cumprod(target / own.decay[:, 0]))
        every += [own, other]
        law.append(theory.transfer_matrix(other))
        rival.append(theory.transfer_matrix(other._replace(read=own.read)))
        eta = runs["normaliser"][i]
        largest.append(float((eta[:-1] / eta[1:]).max()))
    most, size = roundings(every)
    same = identical(
        runs["stepped"], np.stack(law), rounding=most, scale=size, twin=Twin.of("reads phi(q)", b=np.stack(rival))
    )
    above = np.array(largest) > 1
    exceeds = identical(above, np.ones_like(above), twin=Twin.of("never above 1", b=np.zeros_like(above)))
    return all_of(same.named("same map"), exceeds.named("own decays exceed 1"))


@paper.claim(
    "decays_above_one",
    source="conditions of the equivalence; the law is derived here",
    statements=[3],
    kind="extrapolation",
    setting=DECAYS,
    parts=2,
    formula="1/2 - f_0 ln(b/a) / (b - a), f_0 = integral of p(s)^2 s, p the density of sum_n phi(q_n)",
    judged="share of steps between positions a and b, mean over replicas, for 2 and 6 features; next order 2/a of the "
    "second term",
    reads=("first", "last", "n_rows"),
    covers={
        "first": at_least(20, "an expansion in one over the position"),
        "n_features": that(lambda n: n == 6, "6", "2 is derived from it"),
    },
)
def decays_above_one(setting: DecaySetting, lab: Lab) -> Verdict:
    """At nearly half of all steps the decay of linear attention exceeds 1, which no selective model has; never at more.

    Twin: exactly one half.
    """
    counts, parts = (2, 6), []
    steps = setting.n_rows * (setting.last - setting.first)
    draws = f"mean over replicas of {steps} draws"
    for n, runs in zip(counts, lab.simulate(decays, *[replace(setting, n_features=n) for n in counts]), strict=True):
        law = gates.share_of_decays_above_one_approx(n, setting.first, setting.last)
        # neighbouring steps share a query: a fall follows a rise more often than chance, so the binomial spread is an upper bound
        std = 0.5 / math.sqrt(steps)
        within = budget(replicas(std, runs.n, of=draws), relative(2 / setting.first, 0.5 - law, "next order"))
        verdict = agrees(
            runs["above"], law, within=within, of=draws, scale=0.5 - law, twin=Twin.of("1/2", predicted=0.5)
        )
        parts.append(verdict.named(f"{n} features"))
    return all_of(*parts)


@paper.claim(
    "reversed_gate",
    source="Section 5, the reversed sigmoid",
    statements=[6],
    setting=FORMS,
    formula="sigma(-x)^a = e^(-a softplus(x))",
    judged="decays of a selective model with step softplus(x) against the reversed sigmoid of its logit, to rounding",
    covers=LINEAR,
)
def reversed_gate(setting: FormSetting, lab: Lab) -> Verdict:
    """The reversed sigmoid to the power a is the decay of a selective model. Twin: a power 2 % larger."""
    runs = lab.simulate(maps, replace(setting, model="ssd"))
    x, rate = runs["step_logits"], runs["rates"][:, :1]
    law, rival = (
        np.array([[gates.reversed_gate(v, f * a[0]) for v in row] for row, a in zip(x, rate, strict=True)])
        for f in (1, 1.02)
    )
    return identical(
        runs["decay"][..., 0],
        law,
        rounding=8 + 8 * float(np.abs(x).max()),
        scale=1.0,
        twin=Twin.of("a 2 % larger", b=rival),
    )


@paper.claim(
    "reversing_alone_does_nothing",
    source="corrects the advantage of the reversed sigmoid; derived here",
    statements=[6],
    kind="extrapolation",
    setting=GATES,
    parts=4,
    formula="E prod_m sigma(x_m)^a = (E sigma(s z)^a)^t, the same for sigma(-x_m)",
    judged="mean over rows and replicas of what t gates leave of a stored 1: the standard gate, and reversed ones to three "
    "powers",
    reads=("n_steps", "spread", "powers", "n_rows"),
    covers={
        "powers": that(
            lambda p: len(p) == 3 and p[0] == 1 > max(p[1:]), "1 and two below", "the claim has as many parts"
        ),
        "n_steps": at_most(12, "longer products are rare events, whose mean needs more rows"),
    },
)
def reversing_alone_does_nothing(setting: RetentionSetting, lab: Lab) -> Verdict:
    """At random weights a reversed gate forgets as the standard one does; what makes it remember is a power a below 1.

    Twin: one gate more.
    """
    runs = lab.simulate(retention, setting)
    draws = f"mean over replicas of {setting.n_rows} draws"
    parts = []
    cases = [("standard", runs["standard"], 1.0)]
    cases += [(f"reversed, a = {a:g}", runs["reversed"][:, k], a) for k, a in enumerate(setting.powers)]
    for name, measured, power in cases:
        law = gates.retention_exact(setting.n_steps, setting.spread, power)
        std = math.sqrt(gates.retention_second_moment(setting.n_steps, setting.spread, power) - law**2)
        parts.append(
            agrees(
                measured,
                law,
                within=budget(replicas(std / math.sqrt(setting.n_rows), runs.n, of=draws)),
                of=draws,
                twin=Twin.of(
                    "one gate more", predicted=gates.retention_exact(setting.n_steps + 1, setting.spread, power)
                ),
            ).named(name)
        )
    return all_of(*parts)
