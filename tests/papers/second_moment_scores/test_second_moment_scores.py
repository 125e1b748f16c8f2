"""The paper on second moments: claims judged on planted runs of the truth and of errors of a few per cent."""

from dataclasses import replace

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import PlantedLab
from attnlab.simulators.score_statistics.bulk import decision_cost
from attnlab.theory.score_statistics import log_sum

paper = load("second_moment_scores")


def judged(name, make, **changes):
    claim = paper.claims[name]
    return claim.judge(replace(claim.setting.desk, **changes), PlantedLab(make)).outcome.value


def around(values, setting, noise=1e-7):
    x = np.asarray(values, dtype=float)
    return x + noise * np.random.default_rng(1).standard_normal((setting.n_replicas, *x.shape))


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.15, "REFUTED"), (0.85, "REFUTED")])
def test_the_mass_from_two_moments(factor, outcome):
    def make(setting):
        std = factor * log_sum.std_of_estimated_log_sum_approx(setting.n_bulk, setting.n_fit, setting.spread)
        bias = -np.expm1(setting.spread**2) / (2 * setting.n_bulk)
        flips = log_sum.flip_rate_approx(std, setting.half_width)
        return {name: around(x, setting) for name, x in {"bias": bias, "std": std, "flips": flips}.items()}

    assert judged("mass_from_two_moments", make) == outcome
    assert judged("mass_from_two_moments", make, spread=2.0) == "VACUOUS"


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.06, "REFUTED")])
def test_rows_through_freezing(factor, outcome):
    def make(setting):
        n, s = setting.n_keys, setting.spreads
        return {
            "mean": around([factor * log_sum.mean_log_mean_exact(n, x) for x in s], setting),
            "participation": around([factor * log_sum.mean_participation_exact(n, x) for x in s], setting, 1e-9),
            "std": around([factor * log_sum.std_log_mean_approx(n, x) for x in s], setting),
        }

    for name in ("free_energy_through_freezing", "participation_through_freezing", "fluctuations"):
        assert judged(name, make) == outcome, name
    assert judged("free_energy_through_freezing", make, spreads=(1.0,)) == "VACUOUS"


@pytest.mark.parametrize(("order", "outcome"), [(0, "HOLDS"), (2, "REFUTED"), (3, "REFUTED"), (4, "REFUTED")])
def test_clusters(order, outcome):
    def make(setting):
        weights = 1 - setting.rare, setting.rare
        laws = [
            log_sum.log_mean_of_pooled_clusters(weights, (0, x), (1, 1), order)
            if order
            else log_sum.log_mean_of_clusters_exact(weights, (0, x), (1, 1))
            for x in setting.separations
        ]
        return {"log_mean": around(laws, setting)}

    assert judged("clusters_add_up", make) == outcome


@pytest.mark.parametrize(("more", "outcome"), [(0, "HOLDS"), (1, "REFUTED")])
def test_the_cost_of_a_decision(more, outcome):
    def make(setting):
        return {"multiply_adds": decision_cost(setting, [None], "cpu")["multiply_adds"] + more}

    assert judged("decision_cost", make) == outcome
