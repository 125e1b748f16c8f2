"""Claims: the norm that selectivity costs, dilution, rows of Gaussian scores, gates on values, spikiness."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from attnlab.analysis import Simplex, Twin, Verdict, agrees, all_of, budget, for_all, identical, relative, replicas
from attnlab.analysis.verdicts.budget import Budget
from attnlab.papers.lab.conditions import outside, that
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.ssa_temperature.paper import DENOISING, DILUTION, KEPT, NORMS, RIVALS, ROWS, kept, paper
from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.score_statistics.denoising import DenoisingSetting, denoise
from attnlab.simulators.score_statistics.rows import RivalSetting, RowSetting, rivals, rows
from attnlab.simulators.score_statistics.selectivity import DilutionSetting, SelectivitySetting, dilution, least_norms
from attnlab.theory.score_statistics import denoising as risks
from attnlab.theory.score_statistics import gaussian_rows as theory
from attnlab.theory.score_statistics import selectivity as norms

EPS = float(np.finfo(float).eps)


@paper.claim(
    "norm_of_selectivity",
    source="Section on query selectivity; the constant is derived here",
    statements=[2],
    kind="extrapolation",
    setting=NORMS,
    parts=2,
    formula="|W| = sqrt(G_a^2 + G_b^2 - 2 G_a G_b cos t) / (|D| sin t); with temperatures G_a / |D|",
    judged="least-norm matrices found by least squares, within 8 d^2 cot(t/2) roundings (the condition of the two equations)",
)
def norm_of_selectivity(setting: SelectivitySetting, lab: Lab) -> Verdict:
    """The least matrix that is sharp for one query and has another gap for a query at an angle t is larger by about 1 / sin t.

    With a temperature for each query the angle does not matter. Twins: the gaps' product left out; the norm without one.
    """
    runs = lab.simulate(least_norms, setting)

    def law(function):
        return np.array(
            [[[function(*pair, c, t) for pair in setting.gaps] for t in setting.angles] for c in runs["contrast"]]
        )

    plain = law(norms.least_norm)
    condition = 1 / np.tan(np.array(setting.angles) / 2)[:, None]
    with_pair = identical(
        runs["norm"],
        plain,
        rounding=8 * setting.dim**2,
        scale=plain * condition,
        twin=Twin.of("no product of the gaps", b=law(lambda a, b, c, t: math.hypot(a, b) / (c * math.sin(t)))),
    )
    alone = law(lambda a, b, c, t: norms.least_norm_with_temperature(a, c))
    with_temperature = identical(
        runs["with_temperature"],
        alone,
        rounding=8 * setting.dim**2,
        scale=alone,
        twin=Twin.of("no temperatures", b=law(lambda a, b, c, t: norms.least_norm(a, 0.0, c, t))),
    )
    return all_of(with_pair.named("one matrix"), with_temperature.named("with temperatures"))


@paper.claim(
    "dilution",
    source="position-aware temperature",
    statements=[3],
    setting=DILUTION,
    parts=2,
    formula="p = e^(tau g) / (e^(tau g) + L - 1); constant for tau = (log(L - 1) + log(p / (1 - p))) / g",
    judged="softmax of explicit rows, within L roundings: at tau = 1, and at the temperatures that keep p = 0.9",
    reads=("lengths", "gap", "inverse_temperatures"),
)
def position_temperature(setting: DilutionSetting, lab: Lab) -> Verdict:
    """The weight of the relevant token decays with the length at fixed logits, and a temperature linear in log L keeps it.

    Twins: as many competitors as tokens; a temperature whose slope in log L is 2 % smaller.
    """
    fixed, held, slower = lab.simulate(dilution, setting, kept(setting), kept(setting, 0.98))
    law = np.array(
        [
            [
                norms.weight_of_gap(setting.gap, n, tau)
                for n, tau in zip(setting.lengths, setting.inverse_temperatures, strict=True)
            ]
        ]
    )
    off = np.array(
        [
            [
                norms.weight_of_gap(setting.gap, n + 1, tau)
                for n, tau in zip(setting.lengths, setting.inverse_temperatures, strict=True)
            ]
        ]
    )
    roundings = max(setting.lengths)
    one = identical(fixed["weight"][:1], law, rounding=roundings, scale=law, twin=Twin.of("L competitors", b=off))
    constant = np.full_like(law, KEPT)
    two = identical(
        held["weight"][:1],
        constant,
        rounding=roundings,
        scale=constant,
        twin=Twin.of("slope 2 % smaller", a=slower["weight"][:1]),
    )
    return all_of(one.named("fixed logits"), two.named("kept"))


def _small(setting: RowSetting, power: int) -> bool:
    """Whether what the expansions drop is below 2 % at every spread."""
    return all(theory.expansion_error(setting.n_keys, s, power) < 0.02 for s in setting.spreads)


@paper.claim(
    "entropy_of_gaussian_rows",
    source="entropy-invariant scale; the correction in 1/L is derived here",
    statements=[7],
    kind="extrapolation",
    setting=ROWS,
    parts=4,
    formula="H = log L - s^2 / 2 + (s^2 e^(s^2) - (e^(s^2) - 1) / 2) / L",
    judged="mean over rows and replicas, log L - H against its prediction; the spread of a row's entropy comes from theory",
    reads=("n_keys", "spreads"),
)
def entropy_of_gaussian_rows(setting: RowSetting, lab: Lab) -> Verdict:
    """The entropy that a row of Gaussian scores loses is half the variance of the scores, to first order in 1/L.

    So it is kept by a spread like sqrt(2 (log L - H)). Twin: the law of the bounded gaps, a loss of s^2.
    """
    if not _small(setting, 1):
        return _frozen()
    runs = lab.simulate(rows, setting)
    parts = []
    for k, s in enumerate(setting.spreads):
        loss = math.log(setting.n_keys) - theory.entropy_approx(setting.n_keys, s)
        parts.append(
            agrees(
                math.log(setting.n_keys) - runs["entropy"][:, k],
                loss,
                within=_margin(setting, theory.entropy_std(setting.n_keys, s), loss, s, 1),
                of=_of(setting),
                twin=Twin.of("without 1/L, loss 3 % larger", predicted=1.03 * s**2 / 2),
            ).named(f"s = {s:g}")
        )
    return all_of(*parts)


@paper.claim(
    "spikiness_of_gaussian_rows",
    source="spikiness metric on log-normal rows; the correction in 1/L is derived here",
    statements=[5],
    kind="extrapolation",
    setting=ROWS,
    parts=4,
    formula="1 / (L sum p^2) = e^(-s^2) (1 + (e^(s^2) - 2 e^(2 s^2) + e^(4 s^2)) / L)",
    judged="mean over rows and replicas; the spread of a row's spikiness comes from theory",
    reads=("n_keys", "spreads"),
)
def spikiness_of_gaussian_rows(setting: RowSetting, lab: Lab) -> Verdict:
    """A row of Gaussian scores uses a share e^(-s^2) of its keys, to first order in 1/L. Twin: e^(-s^2), 3 % off."""
    if not _small(setting, 2):
        return _frozen()
    runs = lab.simulate(rows, setting)
    parts = []
    for k, s in enumerate(setting.spreads):
        law = theory.spikiness_approx(setting.n_keys, s)
        parts.append(
            agrees(
                runs["spikiness"][:, k],
                law,
                within=_margin(setting, theory.spikiness_std(setting.n_keys, s), law, s, 2),
                of=_of(setting),
                twin=Twin.of("3 % more keys", predicted=1.03 * law),
            ).named(f"s = {s:g}")
        )
    return all_of(*parts)


@paper.claim(
    "rivals_with_gaussian_logits",
    source="dilution by random competitors; derived here",
    statements=[3],
    kind="extrapolation",
    setting=RIVALS,
    parts=4,
    formula="log odds = tau g - tau^2 s^2 / 2 - log N + (e^(tau^2 s^2) - 1) / (2 N), largest at tau = g / s^2",
    judged="mean over rows and replicas at each temperature; at tau = g / s^2 the mean logit under the row's weights is g",
    reads=("n_rivals", "spread", "gap", "inverse_temperatures"),
    covers={"inverse_temperatures": that(lambda x: len(x) == 3, "three temperatures", "the claim has as many parts")},
)
def rivals_with_gaussian_logits(setting: RivalSetting, lab: Lab) -> Verdict:
    """Among Gaussian rivals the log-odds of a token are a parabola in the inverse temperature, largest at g / s^2 for any length.

    So no temperature retrieves a token below s sqrt(2 log N), and above it any sharp one does: the log L law is that of bounded
    rivals. Twins: the term tau^2 s^2 / 2 larger by 3 %; the best temperature 3 % off.
    """
    sizes = setting.n_rivals, setting.spread
    best = theory.best_inverse_temperature(setting.gap, setting.spread)
    hottest = max(*setting.inverse_temperatures, best)
    if theory.expansion_error(setting.n_rivals, hottest * setting.spread) > 0.02:
        return _frozen()
    at_best = RivalSetting(*sizes, setting.gap, (best,), setting.n_rows, setting.n_replicas)
    runs, tilted = lab.simulate(rivals, setting, at_best)
    of = f"mean over replicas of {setting.n_rows} draws"
    parts = []
    for k, tau in enumerate(setting.inverse_temperatures):
        law = theory.log_odds_approx(setting.gap, *sizes, tau)
        half = (tau * setting.spread) ** 2 / 2
        std = theory.log_odds_std(*sizes, tau) / math.sqrt(setting.n_rows)
        dropped = theory.expansion_error(setting.n_rivals, tau * setting.spread)
        parts.append(
            agrees(
                runs["log_odds"][:, k],
                law,
                within=budget(replicas(std, runs.n, of=of), relative(dropped, 1.0, "terms in 1/N^2")),
                of=of,
                scale=half,
                twin=Twin.of("3 % more variance", predicted=law - 0.03 * half),
            ).named(f"tau = {tau:g}")
        )
    std = theory.tilted_mean_std(*sizes, best) / math.sqrt(setting.n_rows)
    dropped = theory.expansion_error(setting.n_rivals, best * setting.spread)
    law = theory.tilted_mean_approx(*sizes, best)
    parts.append(
        agrees(
            tilted["tilted_mean"][:, 0],
            law,
            within=budget(replicas(std, tilted.n, of=of), relative(dropped, 1.0, "terms in 1/N^2")),
            of=of,
            twin=Twin.of("best temperature 3 % higher", predicted=1.03 * law),
        ).named("the best temperature")
    )
    return all_of(*parts)


@paper.claim(
    "value_selectivity",
    source="value selectivity, denoising task",
    statements=[4],
    setting=DENOISING,
    parts=4,
    formula="(1-r)^2 + r(1-r)/L + (r s^2 + 1 - r)/L; s^2 E[1/k] + P(0); (1 - r + s^2)/(r L); E[s^2 / (k + s^2)]",
    judged="mean squared errors of four estimators on the same draws; the spread of one task comes from theory",
    reads=("n_tokens", "share", "noise_std"),
)
def value_selectivity(setting: DenoisingSetting, lab: Lab) -> Verdict:
    """A gate on values that keeps marked tokens comes near the Bayes risk, where uniform weights stay at (1 - r)^2.

    Twins: no noise tokens in the variance; 1 / (r L) for E[1/k]; no variance of k; no shrinkage.
    """
    runs = lab.simulate(denoise, setting)
    sizes = setting.n_tokens, setting.share, setting.noise_std
    r, L, s2 = setting.share, setting.n_tokens, setting.noise_std**2
    of = f"mean over replicas of {setting.n_tasks} draws"
    laws = {
        "uniform": (risks.risk_of_uniform_weights_exact(*sizes), (1 - r) ** 2),
        "gated": (risks.risk_of_a_value_gate_exact(*sizes), s2 / (r * L)),
        "unnormalised": (risks.risk_of_a_gate_without_renormalisation_exact(*sizes), s2 / (r * L)),
        "bayes": (risks.risk_of_bayes_exact(*sizes), risks.risk_of_a_value_gate_exact(*sizes)),
    }
    parts = []
    for name, (law, rival) in laws.items():
        std = risks.std_of_one_task_exact(name, *sizes, setting.dim) / math.sqrt(setting.n_tasks)
        parts.append(
            agrees(
                runs[name],
                law,
                within=budget(replicas(std, runs.n, of=of)),
                of=of,
                twin=Twin.of("the nearest rival", predicted=rival),
            ).named(name)
        )
    return all_of(*parts)


@dataclass(frozen=True)
class SpikinessSetting:
    """``length`` of the rows; ``budget``: evaluations of each search."""

    length: int = 5
    budget: int = 20_000

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "length", "budget")


FOR_ALL = Scales(SpikinessSetting(budget=5_000), SpikinessSetting(), SpikinessSetting(length=12))


@paper.for_all(
    "spikiness_at_most_1",
    source="spikiness metric",
    statements=[5],
    setting=FOR_ALL,
    formula="|p|_1 / (L |p|_2^2) <= 1",
)
def spikiness_at_most_1(setting: SpikinessSetting):
    """The spikiness of a row of L weights is at most 1, which equal weights reach. Twin: at most 0.98."""
    return {
        "searched": for_all(p=Simplex(setting.length)).bound(
            lambda p: 1 / (setting.length * (p * p).sum()), at_most=1.0, twin=Twin.of("0.98", at_most=0.98)
        )
    }


@paper.for_all(
    "spikiness_at_least_1_over_L",
    source="spikiness metric",
    statements=[5],
    setting=FOR_ALL,
    formula="|p|_1 / (L |p|_2^2) >= 1 / L",
)
def spikiness_at_least_1_over_L(setting: SpikinessSetting):
    """The spikiness of a row of L weights is at least 1 / L, which a single weight reaches. Twin: at least 1.02 / L."""
    least = 1 / setting.length
    return {
        "searched": for_all(p=Simplex(setting.length)).bound(
            lambda p: 1 / (setting.length * (p * p).sum()),
            at_least=least,
            twin=Twin.of("2 % more", at_least=1.02 * least),
        )
    }


def _of(setting: RowSetting) -> str:
    return f"mean over replicas of {setting.n_rows} draws"


def _margin(setting: RowSetting, std: float, size: float, spread: float, power: int) -> Budget:
    """Replicas, each a mean over rows whose spread is known, and the terms in 1/L^2."""
    dropped = theory.expansion_error(setting.n_keys, spread, power)
    return budget(
        replicas(std / math.sqrt(setting.n_rows), setting.n_replicas, of=_of(setting)),
        relative(dropped, size, "terms in 1/L^2"),
    )


def _frozen() -> Verdict:
    return outside(
        "e^(3 s^2) / L^2 is not small against the number of keys: the expansion in 1/L does not hold, rows freeze"
    )
