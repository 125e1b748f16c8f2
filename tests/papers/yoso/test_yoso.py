"""YOSO: claims judged on planted runs of the truth and of errors of a few per cent, and as they run."""

from dataclasses import replace

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab
from attnlab.papers.yoso.claims_of_outputs import covariance, weights
from attnlab.simulators.hashing.draws import given
from attnlab.theory.hashing import bernoulli
from attnlab.theory.hashing.yoso import collision

paper = load("yoso")


def judged(name, make, **changes):
    claim = paper.claims[name]
    return claim.judge(replace(claim.setting.desk, **changes), PlantedLab(make)).outcome.value


def around(values, std, n=32):
    return np.asarray(values) + std * np.random.default_rng(1).standard_normal((n, *np.shape(values)))


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.05, "REFUTED"), (0.95, "REFUTED")])
def test_entries(factor, outcome):
    def make(setting):
        W = collision(np.array(setting.angles), setting.n_bits)
        return {"mean": around(factor * W, 1e-7), "variance": around(factor * W * (1 - W) / setting.n_hashes, 1e-8)}

    for name in ("collision_probability", "variance_of_an_entry"):
        assert judged(name, make, n_draws=10**6) == outcome
        assert judged(name, make, angles=(0.5,)) == "VACUOUS"


def moments(factor):
    def make(setting):
        q, k, v, dY = given(setting)
        mean = np.tile(factor * weights(setting)[0] @ v, (2, 1))
        spread = np.tile(factor * np.diag(covariance(setting)), (2, 1))
        angle = bernoulli.angles(q, k)
        between = float(bernoulli.angles(q[:1], q[1:])[0, 0])
        shared = [bernoulli.shared_hash_covariance_exact(*pair, between, setting.n_bits) for pair in angle.T]
        gradient = factor * bernoulli.surrogate_gradients(q, k, v, dY, setting.n_bits)
        lost = factor * bernoulli.angle_loss_approx(q[0], k, v, setting.n_bits, setting.n_hashes)
        return {
            "mean": around(mean, 1e-7),
            "variance": around(spread, 1e-7),
            "shared": around(factor * np.array(shared), 1e-9),
            "gradient": around(gradient, 1e-7),
            "cosine": 1 - around([lost], 1e-9)[:, 0],
        }

    return make


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.1, "REFUTED"), (0.9, "REFUTED")])
def test_outputs(factor, outcome):
    names = ("unbiased_output", "variance_of_an_output", "queries_share_hashes", "surrogate_gradient_is_sampled")
    for name in names:
        assert judged(name, moments(factor), n_draws=10**7) == outcome
    assert judged("norm_biases_the_output", moments(factor), n_draws=10**6, n_hashes=1000) == outcome
    assert judged("unbiased_output", moments(1.0), n_hashes=2) == "VACUOUS"
    assert judged("norm_biases_the_output", moments(1.0), n_hashes=8) == "VACUOUS"


@pytest.mark.parametrize(("power", "outcome"), [(1.0, "HOLDS"), (0.9, "REFUTED")])
def test_the_error_falls(power, outcome):
    def make(setting):
        runs = moments(1.0)(replace(setting, n_hashes=1))
        spread = np.tile(np.diag(covariance(replace(setting, n_hashes=1))), (2, 1)) / setting.n_hashes**power
        noise = np.random.default_rng(setting.n_hashes).standard_normal((32, 1, 1))
        return runs | {"variance": spread * (1 + 1e-4 * noise)}

    assert judged("error_falls_with_hashes", make) == outcome


LIVE = (
    "weights_against_exponentials",
    "slope_of_the_weight",
    "slope_diverges",
    "largest_surrogate",
    "buckets_are_collisions",
    "linear_cost",
)


@pytest.mark.parametrize("name", LIVE)
def test_exact_claims_hold_as_they_run_and_fail_on_other_runs(name):
    claim = paper.claims[name]
    assert claim.judge(claim.setting.smoke, LiveLab()).outcome.value == "HOLDS"

    def spoil(runs):
        if name == "slope_diverges":
            return runs | {"slope": runs["slope"] ** 1.05}
        key = {
            "weights_against_exponentials": "weight",
            "buckets_are_collisions": "buckets",
            "linear_cost": "additions",
        }
        changed = key.get(name, "slope")
        return runs | {changed: (1.02 * runs[changed]).astype(runs[changed].dtype)}

    assert claim.judge(claim.setting.smoke, LiveLab(spoil)).outcome.value in ("REFUTED", "INVALID")


def test_the_surrogate_is_below_by_search():
    claim = paper.claims["surrogate_is_below"]
    assert claim.judge(claim.setting.smoke, PlantedLab({})).outcome.value == "HOLDS"
