"""The paper on selective self-attention: claims judged on planted runs of the truth and of errors of a few per cent."""

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import PlantedLab
from attnlab.theory.score_statistics import denoising, gaussian_rows, selectivity

paper = load("ssa_temperature")


def judged(name, make, **changes):
    claim = paper.claims[name]
    from dataclasses import replace

    return claim.judge(replace(claim.setting.desk, **changes), PlantedLab(make))


def around(values, std, n=32):
    return np.asarray(values) + std * np.random.default_rng(1).standard_normal((n, *np.shape(values)))


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.05, "REFUTED"), (0.95, "REFUTED")])
def test_rows_of_gaussian_scores(factor, outcome):
    def make(setting):
        n, s = setting.n_keys, np.array(setting.spreads)
        lost = np.log(n) - np.array([gaussian_rows.entropy_approx(n, x) for x in s])
        spiky = np.array([gaussian_rows.spikiness_approx(n, x) for x in s])
        return {"entropy": np.log(n) - around(factor * lost, 1e-6), "spikiness": around(factor * spiky, 1e-6)}

    for name in ("entropy_of_gaussian_rows", "spikiness_of_gaussian_rows"):
        assert judged(name, make).outcome.value == outcome


def test_rows_that_freeze_are_outside():
    for name in ("entropy_of_gaussian_rows", "spikiness_of_gaussian_rows"):
        assert judged(name, None, spreads=(4.0,) * 4).outcome.value == "VACUOUS"
    assert judged("rivals_with_gaussian_logits", None, spread=4.0, gap=16.0).outcome.value == "VACUOUS"


@pytest.mark.parametrize(("more", "outcome"), [(0.0, "HOLDS"), (0.05, "REFUTED")])
def test_rivals(more, outcome):
    def make(setting):
        sizes = setting.n_rivals, setting.spread
        taus = np.array(setting.inverse_temperatures)
        odds = [gaussian_rows.log_odds_approx(setting.gap, *sizes, t) for t in taus] - more * taus**2 / 2
        tilted = [gaussian_rows.tilted_mean_approx(*sizes, t) * (1 + more) for t in taus]
        return {"log_odds": around(odds, 1e-6), "tilted_mean": around(tilted, 1e-6)}

    assert judged("rivals_with_gaussian_logits", make).outcome.value == outcome


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.04, "REFUTED")])
def test_value_selectivity(factor, outcome):
    def make(setting):
        sizes = setting.n_tokens, setting.share, setting.noise_std
        laws = {
            "uniform": denoising.risk_of_uniform_weights_exact,
            "gated": denoising.risk_of_a_value_gate_exact,
            "unnormalised": denoising.risk_of_a_gate_without_renormalisation_exact,
            "bayes": denoising.risk_of_bayes_exact,
        }
        return {name: around(factor * law(*sizes), 1e-7) for name, law in laws.items()}

    assert judged("value_selectivity", make).outcome.value == outcome


@pytest.mark.parametrize(("slope", "outcome"), [(1.0, "HOLDS"), (1.05, "REFUTED")])
def test_norms(slope, outcome):
    def make(setting):
        contrast = np.full(8, 1.5)
        pairs = [[selectivity.least_norm(*g, 1.5, slope * t) for g in setting.gaps] for t in setting.angles]
        alone = [[selectivity.least_norm_with_temperature(g[0], 1.5) for g in setting.gaps] for t in setting.angles]
        return {"norm": np.tile(pairs, (8, 1, 1)), "with_temperature": np.tile(alone, (8, 1, 1)), "contrast": contrast}

    assert judged("norm_of_selectivity", make).outcome.value == outcome


@pytest.mark.parametrize(("weight", "outcome"), [(0.9, "HOLDS"), (0.899, "REFUTED")])
def test_dilution(weight, outcome):
    from attnlab.simulators.score_statistics.selectivity import dilution

    def make(setting):
        runs = dilution(setting, [None], "cpu")
        if len(set(setting.inverse_temperatures)) > 1:
            runs["weight"] *= weight / 0.9
        return runs

    assert judged("dilution", make).outcome.value == outcome
