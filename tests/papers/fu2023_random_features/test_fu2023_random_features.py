"""Random-feature attention: claims judged on planted runs whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from attnlab.papers.fu2023_random_features import biased, curves, heads
from attnlab.papers.fu2023_random_features.paper import best_ridge, half_crossing, predicted_curve
from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import PlantedLab
from attnlab.theory.random_feature_heads.kernels import explicit_weights_error
from attnlab.theory.random_feature_heads.learning_curves import rank_error_bound

paper = load("fu2023_random_features")


def judged(name, make):
    claim = paper.claims[name]
    return claim.function(claim.setting.desk, PlantedLab(make))


def curve_runs(error_of, noise=0.02):
    """Runs whose errors ``(size, target)`` are ``error_of(setting, target)`` at every ridge, times noise."""
    rng = np.random.default_rng(0)

    def make(setting):
        error = np.stack([np.broadcast_to(error_of(setting, t), len(setting.sizes)) for t in setting.targets], axis=-1)
        error = error[None, None] * np.exp(
            noise * rng.normal(size=(setting.n_replicas, len(setting.ridges), *error.shape))
        )
        return {"error": error, "error_se": 0.02 * error}

    return make


def theory_or(value):
    def error_of(setting, target):
        return predicted_curve(setting, target) if setting.kind in ("attention", "perceptron") else value

    return error_of


@pytest.mark.parametrize("name", ["learning_curve", "norm_bounds_error", "half_samples", "keys", "rank_bound"])
def test_errors_on_the_learning_curve_are_accepted(name):
    assert judged(name, curve_runs(theory_or(0.5))).holds


@pytest.mark.parametrize("name", ["learning_curve", "half_samples", "keys"])
def test_errors_of_the_bias_alone_or_of_other_tokens_are_not(name):
    def wrong(setting, target):
        if name == "learning_curve":
            return predicted_curve(setting, target, inflated=False)
        return predicted_curve(
            replace(setting, n_keys=1) if name == "keys" else replace(setting, dim=setting.dim // 2), target
        )

    assert not judged(name, curve_runs(wrong)).holds


def test_no_zero_mean_head_may_beat_the_rank_bound():
    def below(setting, target):
        bound = [rank_error_bound(target, setting.dim, setting.n_keys, n) for n in setting.sizes]
        return np.maximum(np.array(bound) - 0.1, 1e-3) if setting.kind == "attention" else 0.3

    assert not judged("rank_bound", curve_runs(below)).holds


def test_a_plain_model_that_learns_even_functions_is_refuted():
    def make(value):
        return curve_runs(lambda setting, target: value if setting.kind == "plain" else 0.3)

    assert judged("plain_tokens_miss", make(1.05)).holds and not judged("plain_tokens_miss", make(0.8)).holds


def test_biased_claims_want_the_order_and_a_flat_error():
    def error_of(growth):
        def found(setting, target):
            best = {"biased": 0.5, "attention": 1.05, "perceptron": 1.1}
            if target == "b2":
                best = {"biased": 0.9, "attention": 0.5, "perceptron": 1.0}
            return best[setting.kind] * (setting.dim / 16) ** growth * (400 / np.array(setting.sizes)) ** 0.3

        return found

    assert (
        judged("biased_order", curve_runs(error_of(0))).holds
        and judged("biased_dimension", curve_runs(error_of(0))).holds
    )
    assert not judged("biased_dimension", curve_runs(error_of(0.6))).holds
    assert not judged("biased_order", curve_runs(lambda s, t: 0.5)).holds


@pytest.mark.parametrize(("power", "at_peak", "holds"), [(-1.0, 40.0, True), (-0.5, 4.0, False)])
def test_heads_want_the_rate_and_the_peak(power, at_peak, holds):
    def make(setting):
        rng, n, m = np.random.default_rng(1), setting.n_replicas, len(setting.heads)
        limit = 0.3 * np.exp(0.05 * rng.normal(size=(n, 4)))
        gap = 8 * np.array(setting.heads, float) ** power
        ridge = limit[:, None] + gap[:, None] * np.exp(0.1 * rng.normal(size=(n, m, 4)))
        return {"ridge": ridge, "limit": limit, "ridgeless": np.exp(0.3 * rng.normal(size=(n, m, 4))) * at_peak}

    assert judged("rate_in_heads", make).holds is holds and judged("interpolation_peak", make).holds is holds


@pytest.mark.parametrize(("factor", "holds"), [(1.0, True), (0.85, False)])
def test_explicit_values_want_their_law(factor, holds):
    def make(setting):
        law = np.array([explicit_weights_error(*cell) for cell in setting.cells])
        return {
            "error": factor * law * np.exp(0.02 * np.random.default_rng(2).normal(size=(setting.n_replicas, len(law))))
        }

    assert judged("explicit_values", make).holds is holds


@pytest.mark.slow
def test_exact_claims_hold_without_runs():
    assert all(judged(name, None).holds for name in ("complexity", "norm_growth", "half_samples_growth"))


def test_risks_above_the_published_form_refute_it_and_its_thousandth_is_no_bound():
    def make(factor):
        def runs(setting):
            shape = setting.n_replicas, len(setting.heads), len(setting.targets)
            return {"ridge": np.full(shape, factor), "limit": np.full((shape[0], shape[2]), factor)}

        return runs

    found = judged("excess_risk_bound", make(0.5))
    assert found.holds and found.tightness < 0.01 and found.resolves > 0.9
    assert judged("excess_risk_bound", make(1e4)).outcome == "REFUTED"


def test_crossings_and_best_ridges():
    assert np.exp(half_crossing((10, 100), [[1.0, 0.1]])[0]) == pytest.approx(10 ** (1 + np.log10(2)))
    runs = {"error": np.array([[[[3.0], [1.0]], [[2.0], [4.0]]]])}
    assert best_ridge(runs, paper.claims["learning_curve"].setting.desk.__class__(targets=("b1",)), "b1").tolist() == [
        [2, 1]
    ]
    assert (
        heads.peak(paper.claims["rate_in_heads"].setting.desk) == 2
        and len(biased.KINDS) == 3
        and len(curves.CURVES) == 4
    )
