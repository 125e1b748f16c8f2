"""Linear log-normal attention: claims judged on planted runs of the truth and of errors of some per cent."""

import math
from dataclasses import replace

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import PlantedLab
from attnlab.simulators.score_statistics.attention_maps import coordinate_variances
from attnlab.theory.score_statistics import attention_rows, log_normal_sums, spectra

paper = load("lln_lognormal")


def judged(name, make, **changes):
    claim = paper.claims[name]
    return claim.judge(replace(claim.setting.desk, **changes), PlantedLab(make)).outcome.value


def around(values, setting):
    x = np.asarray(values, dtype=float)
    return x * (1 + 1e-7 * np.random.default_rng(1).standard_normal((setting.n_replicas, *x.shape)))


def noisy(x):
    return x * (1 + 1e-7 * np.random.default_rng(1).standard_normal(x.shape))


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.08, "REFUTED"), (0.92, "REFUTED")])
def test_scores(factor, outcome):
    def make(setting):
        variances = [coordinate_variances(setting, k) for k in range(3)]
        s2 = [factor * attention_rows.score_variance_exact(*each) for each in variances]
        return {
            "variance": around(s2, setting),
            "mean_log_weight": around(
                [attention_rows.mean_log_weight_limit(setting.n, math.sqrt(x)) for x in s2], setting
            ),
            "kurtosis": around([factor * attention_rows.score_kurtosis_exact(setting.dim)] * 3, setting),
        }

    for name in ("score_variance", "mean_log_weight", "log_weights_are_nearly_normal"):
        assert judged(name, make) == outcome, name
    assert judged("mean_log_weight", make, spread=2.0) == "VACUOUS"


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.2, "REFUTED"), (0.8, "REFUTED")])
def test_rows(factor, outcome):
    def make(setting):
        n, d = setting.n_keys, setting.dim
        lost = [factor * (math.log(n) - attention_rows.entropy_exact(n, d, s)) for s in setting.spreads]
        variance = [factor * attention_rows.relative_variance_exact(n, d, s) for s in setting.spreads]
        return {
            "entropy": around(math.log(n) - np.array(lost), setting),
            "relative_variance": around(variance, setting),
        }

    for name in (
        "entropy_of_the_log_normal_law",
        "variance_of_the_log_normal_law",
        "entropy_through_freezing",
        "variance_through_freezing",
    ):
        assert judged(name, make) == outcome, name


@pytest.mark.sampled(4)
@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.1, "REFUTED"), (0.9, "REFUTED")])
def test_spectra(factor, outcome):
    def make(setting):
        n, d, law = setting.n, setting.dim, setting.weights
        each = {
            "softmax": lambda s: spectra.second_eigenvalue_approx(n, d, s)[0],
            "tied": lambda s: spectra.second_eigenvalue_of_tied_approx(n, d, s)[0],
            "log_normal": lambda s: spectra.second_eigenvalue_of_log_normal_approx(n, d, s * s)[0],
        }[law]
        return {"second": around([factor * each(s) for s in setting.spreads], setting)}

    for name in ("second_eigenvalue", "tied_second_eigenvalue", "second_eigenvalue_of_log_normal_attention"):
        assert judged(name, make) == outcome, name
    assert judged("second_eigenvalue", make, weights="tied") == "VACUOUS"


@pytest.mark.sampled(4)
@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.15, "REFUTED"), (0.85, "REFUTED")])
def test_sums(factor, outcome):
    queries = np.random.default_rng(2).standard_normal((32, 4, 64))

    def make(setting):
        found = {"log_variance": [], "log_third": [], "relative_variance": []}
        for s in setting.scales:
            both = log_normal_sums.log_cumulants_given_query_exact(math.sqrt(s) * queries, math.sqrt(s))
            w = np.exp(math.sqrt(s) * queries)
            share = np.square(w / w.sum(-1, keepdims=True)).sum(-1)
            found["log_variance"].append(factor * both[..., 0])
            found["log_third"].append(factor * both[..., 1])
            found["relative_variance"].append(factor * math.expm1(s) * share)
        return {"queries": queries, **{name: noisy(np.moveaxis(np.array(x), 0, 1)) for name, x in found.items()}}

    for name in ("log_variance_of_sums", "sums_are_skewed", "relative_variance_of_sums"):
        assert judged(name, make) == outcome, name


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.1, "REFUTED"), (0.9, "REFUTED")])
def test_matching(factor, outcome):
    def make(setting):
        laws = [factor * log_normal_sums.mean_log_variance_exact(setting.dim, s) for s in setting.scales]
        return {"log_variance": around(laws, setting)[..., None]}

    assert judged("moment_matching", make) == outcome


@pytest.mark.parametrize(("bound", "outcome"), [(1.0, "HOLDS"), (1e-3, "REFUTED")])
def test_the_bound(bound, outcome):
    def make(setting):
        return {"second": around([0.1, 0.2], setting), "relative_variance": bound * around([0.2, 0.5], setting)}

    assert judged("variance_bounds_the_second_eigenvalue", make) == outcome


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.1, "REFUTED")])
def test_own_keys(factor, outcome):
    queries = np.random.default_rng(2).standard_normal((32, 64, 64))

    def make(setting):
        soft, near = (
            attention_rows.own_weight_of_softmax_approx(queries, n, setting.spread).mean(1)
            for n in (setting.n, setting.block)
        )
        linear = log_normal_sums.own_weight_of_log_normal_approx(queries, setting.n, setting.scale).mean(1)
        laws = {"softmax": soft, "log_normal": linear, "with_blocks": (linear + near) / 2}
        return {"queries": queries, **{name: factor * noisy(x) for name, x in laws.items()}}

    assert judged("own_key", make) == outcome
    assert judged("blocks_undo_dilution", make) == "HOLDS"


@pytest.mark.slow
def test_the_order_of_maps_is_refuted_if_reversed():
    def make(reverse):
        def planted(setting):
            x = np.array(setting.spreads[:: -1 if reverse else 1])
            return {
                "entropy": around([attention_rows.entropy_exact(setting.n, setting.dim, s) for s in x], setting),
                "relative_variance": around(
                    [attention_rows.relative_variance_exact(setting.n, setting.dim, s) for s in x], setting
                ),
                "second": around([spectra.second_eigenvalue_approx(setting.n, setting.dim, s)[0] for s in x], setting),
            }

        return planted

    assert judged("temperature_orders_maps", make(False)) == "HOLDS"
    assert judged("temperature_orders_maps", make(True)) == "REFUTED"
