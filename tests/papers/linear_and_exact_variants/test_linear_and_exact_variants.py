"""The claims on five cheaper attentions: they hold on small live or planted runs, and see errors of a few per cent."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab, scattered, spoiled
from attnlab.papers.linear_and_exact_variants.claims_of_corrections import lags
from attnlab.theory.heads_and_sharing import key_cache
from attnlab.theory.linear_variants import cosine_linear, efficient
from attnlab.theory.score_maps import random_rows as laws
from attnlab.theory.sparse_selection import delta, loki, retained_mass

paper = load("linear_and_exact_variants")


@cache
def live(name, measured="", change=0.0):
    claim = paper.claims[name]
    spoil = spoiled(measured, change) if measured else dict
    return claim.judge(claim.setting.smoke, LiveLab(spoil)).outcome.value


@pytest.mark.parametrize(
    ("name", "measured", "change"),
    [
        ("scaled_products_in_any_order", "scaled", 1e-9),
        ("rows_of_the_implied_map", "map", 1e-9),
        ("rows_of_the_implied_map", "rank", 1),
        ("cosine_attention_is_a_recurrence", "steps", 1e-8),
        ("cosine_weights", "cosines", 2.0),
        ("loki_in_a_full_basis", "rotated", 1e-9),
        ("anchors_are_exact", "corrected", 1e-3),
    ],
)
def test_exact_claims_hold_and_see_an_error(name, measured, change):
    assert live(name) == "HOLDS"
    assert live(name, measured, change) == "REFUTED"


@pytest.mark.parametrize("name", ["linear_memory_of_efficient_attention", "what_a_step_moves", "cache_factors"])
def test_counts_need_no_simulation(name):
    claim = paper.claims[name]
    assert claim.judge(claim.setting.smoke, PlantedLab({})).outcome.value == "HOLDS"


def judged(name, make):
    claim = paper.claims[name]
    return claim.judge(claim.setting.desk, PlantedLab(make)).outcome.value


FIVE = [(1.0, "HOLDS"), (1.05, "REFUTED"), (0.95, "REFUTED")]


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.1, "REFUTED"), (0.9, "REFUTED")])
def test_flat_rows(factor, outcome):
    rng = np.random.default_rng(0)

    def make(setting):
        q = rng.normal(size=(setting.n_replicas, setting.n_queries, setting.dim))
        rho = np.exp(q) / np.exp(q).sum(-1, keepdims=True)
        law = laws.participation_law("softmax", laws.gaussian_scores(setting.key_std), setting.n_keys)
        one = law.limit + law.dropped - 1
        noise = 1 + 1e-4 * rng.normal(size=rho.shape[:2])
        return {"features": rho, "excess": factor * one * (rho**2).sum(-1) * noise}

    assert judged("efficient_rows_are_flat", make) == outcome


@pytest.mark.parametrize(("factor", "outcome"), FIVE)
def test_growth_of_cosine_outputs(factor, outcome):
    def make(setting):
        sizes = {"whole": cosine_linear.output_size, "causal": cosine_linear.causal_output_size}
        return {
            name: np.stack(
                [
                    scattered(factor * f(n, setting.dim, setting.power) ** 2, 1e-9, setting.n_replicas)
                    for n in setting.lengths
                ],
                1,
            )
            for name, f in sizes.items()
        }

    assert judged("growth_of_cosine_outputs", make) == outcome


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (0.97, "REFUTED")])
def test_leading_directions(factor, outcome):
    rng = np.random.default_rng(1)

    def make(setting):
        n, r = setting.n_replicas, setting.directions
        q = rng.normal(size=(n, 2, setting.dim))
        lam = np.arange(1, setting.dim + 1.0) ** -setting.exponent
        rho = np.array([[[loki.score_correlation_exact(x, lam, k) for k in r] for x in each] for each in q])
        overlap = np.vectorize(lambda x: loki.jaccard_limit(x, setting.share))(rho[:2])
        overlap = np.resize(overlap, rho.shape)
        q = np.resize(q[:2], q.shape)
        rho = np.resize(rho[:2], rho.shape)
        kept = [
            [retained_mass.proxy_mass_limit(setting.score_std, setting.share, x) for x in each] for each in rho[..., 0]
        ]
        noise = 1e-9 * rng.normal(size=rho.shape)
        return {
            "query": q,
            "correlation": factor * rho + noise,
            "jaccard": factor * overlap + noise,
            "kept": factor * np.array(kept)[..., None] + noise[..., :1],
        }

    assert judged("leading_directions_rank", make) == outcome
    assert judged("a_quarter_loses_little", make) == outcome


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.1, "REFUTED"), (0.9, "REFUTED")])
def test_rounded_keys(factor, outcome):
    rng = np.random.default_rng(2)

    def make(setting):
        D = setting.n_heads * setting.head_dim
        W, V = rng.normal(size=(2, setting.n_replicas, D, D)) / math.sqrt(D)
        law = [key_cache.reconstruction_error_approx(a, b, 8) for a, b in zip(W, V, strict=True)]
        sizes = np.linalg.norm(V, axis=1)
        u = np.sqrt((key_cache.rounding_share(sizes, 8) * sizes**2).sum(1)) / np.linalg.norm(V, axis=(1, 2))
        noise = 1 + 1e-6 * rng.normal(size=(2, setting.n_replicas))
        return {
            "key_matrix": W,
            "value_matrix": V,
            "error": factor * np.array(law) * noise[0],
            "direct": factor * u * noise[1],
        }

    assert judged("rounded_keys_cost_a_condition_number", make) == outcome


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.15, "REFUTED"), (0.85, "REFUTED")])
def test_when_the_correction_helps(factor, outcome):
    def make(setting):
        R = delta.subset_autocorrelation_limit(lags(setting), setting.dim, setting.score_std)
        return {
            "corrected": scattered(factor * delta.error_ratio(R), 1e-6, setting.n_replicas),
            "recomputed": scattered(factor * (1 - 1 / setting.gap), 2e-6, setting.n_replicas),
        }

    assert judged("when_the_correction_helps", make) == outcome
    assert judged("anchors_alone_help_less", make) == outcome


@pytest.mark.parametrize(("share", "outcome"), [(1 / 64, "HOLDS"), (1 / 32, "REFUTED")])
def test_sparsity_that_is_kept(share, outcome):
    claim = paper.claims["sparsity_that_is_kept"]
    lab = PlantedLab([{"pairs": np.array([share])}, {"pairs": np.array([1 / 24])}])
    assert claim.judge(claim.setting.smoke, lab).outcome.value == outcome


def test_values_from_cached_keys_in_short():
    claim = paper.claims["values_from_cached_keys"]
    few = replace(claim.setting.smoke, n_tokens=32, n_replicas=2)
    assert claim.judge(few, LiveLab()).outcome.value == "HOLDS"
    assert claim.judge(few, LiveLab(spoiled("keys_only", 1e-3))).outcome.value == "REFUTED"


def test_efficient_law_is_used_with_shares():
    assert efficient.row_excess_exact([0.5, 0.5], 2.0) == 1.0
