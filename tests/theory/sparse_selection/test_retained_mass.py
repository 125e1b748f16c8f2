"""What a selection keeps of the softmax mass, against sampled scores; each law with its twin.

Sampled means are held to 4 standard errors plus the stated finite-size term.
"""

import math

import numpy as np
import pytest
import torch

from attnlab.theory.sparse_selection import retained_mass, routing, routing_hits, seer, sparsifiner

EPS = np.finfo(float).eps


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softmax(s):
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def error(sample):
    return 4 * np.std(sample, ddof=1) / len(sample) ** 0.5


def test_the_dropped_mass_identity_holds_for_any_set():
    rng = np.random.default_rng(0)
    p, v, kept = softmax(2 * rng.normal(size=50)), rng.normal(size=(50, 3)), rng.random(50) < 0.3
    gap = p[kept] @ v[kept] / p[kept].sum() - p @ v
    assert np.abs(gap - retained_mass.dropped_mass_error_exact(p, v, kept)).max() < 50 * EPS
    same = np.where(kept[:, None], 1.0, -1.0)
    worst = abs(p[kept].sum() - p[~kept].sum() - 1)
    assert worst == pytest.approx(retained_mass.error_bound(p[kept].sum(), 1.0))  # reached: kept +1, dropped -1
    assert np.abs(p @ same - 1).max() > retained_mass.error_bound(p[kept].sum(), 1.0) / 1.5  # twin: no factor 2


@pytest.mark.parametrize(("score_std", "share"), [(1.0, 1 / 16), (2.0, 1 / 4)])
def test_best_proxy_and_stale_choices_retain_the_stated_mass(score_std, share):
    rng, n = np.random.default_rng(1), 4096
    for correlation in (1.0, 0.7, 0.3):
        found = []
        for _ in range(60):
            x, y = rng.normal(size=(2, n))
            p = softmax(score_std * (correlation * y + math.sqrt(1 - correlation**2) * x))
            found.append(p[np.argsort(-y)[: int(share * n)]].sum())
        predicted = retained_mass.proxy_mass_limit(score_std, share, correlation)
        bias = math.expm1(score_std**2) / n  # second order of a ratio: the relative variance of the normaliser
        assert abs(np.mean(found) - predicted) < error(found) + bias
        twin = retained_mass.proxy_mass_limit(score_std, share, correlation**2)
        assert correlation == 1 or abs(np.mean(found) - twin) > error(found) + bias  # twin: rho^2
    assert retained_mass.oracle_mass_limit(score_std, share) == retained_mass.proxy_mass_limit(score_std, share, 1.0)
    g = retained_mass.oracle_mass_limit(score_std, share)
    assert retained_mass.needed_share_limit(score_std, g) == pytest.approx(share)
    assert retained_mass.stale_mass_limit(score_std, share, 0.9, 0) == pytest.approx(g)


def test_mean_routing_is_blind_where_full_attention_sees():
    low, high = routing_hits.blind_zone(1.0, 64, 64)
    assert low == retained_mass.half_weight_score(1.0, 4096) < high
    assert routing_hits.mean_hit_exact(low, 1.0, 64, 64, 1) < 0.2
    assert routing_hits.max_hit_exact(low, 1.0, 64, 64, 1) > 0.99
    for block, n_blocks in ((64, 64), (16, 256)):
        half = routing_hits.half_hit_score_of_means(1.0, block, n_blocks)
        assert abs(routing_hits.mean_hit_exact(half, 1.0, block, n_blocks, 1) - 0.5) < 0.03


def test_neighbours_share_a_cluster_with_the_stated_probability():
    rng, runs = np.random.default_rng(4), 40_000
    for C, cosine in ((8, 0.6), (32, 0.9)):
        x = rng.normal(size=(runs, C))
        y = cosine * x + math.sqrt(1 - cosine**2) * rng.normal(size=(runs, C))
        same = (x.argmax(1) == y.argmax(1)).astype(float)
        assert abs(same.mean() - routing.same_cluster_exact(C, cosine)) < error(same)
        assert abs(same.mean() - routing.power_law(C, cosine)) > error(same) + 0.05  # twin: prefactor 1
    assert routing.same_cluster_exact(16, 0.0) == pytest.approx(1 / 16, abs=1e-9)
    assert routing.same_cluster_exact(1, 0.5) == pytest.approx(1, abs=1e-9)


def test_a_predictor_of_low_rank_retains_by_its_correlation():
    rng, d, n = np.random.default_rng(6), 32, 4096
    spectrum = 1 / np.arange(1, d + 1)
    found, correlations = [], []
    for _ in range(60):
        k = rng.normal(size=(n, d)) * np.sqrt(spectrum)
        q = rng.choice([-1.0, 1.0], size=d)  # isotropic coordinates
        s = k @ q / math.sqrt(spectrum.sum())
        proxy = k[:, :8] @ q[:8]
        correlations.append(np.corrcoef(s, proxy)[0, 1])
        found.append(softmax(s)[np.argsort(-proxy)[: n // 4]].sum())
    assert np.mean(correlations) == pytest.approx(sparsifiner.correlation(spectrum, 8), abs=4 / n**0.5)
    predicted = sparsifiner.retained_mass_limit(spectrum, 8, 1.0, 0.25)
    assert abs(np.mean(found) - predicted) < error(found) + 0.005
    assert abs(np.mean(found) - retained_mass.proxy_mass_limit(1.0, 0.25, 8 / d)) > error(found) + 0.005  # twin: r/d
    assert sparsifiner.predictor_share(197, 64, 32, 24) == pytest.approx(0.411, abs=5e-4)


def test_blocks_of_independent_scores_retain_little():
    rng = np.random.default_rng(7)
    for shared, own in ((0.0, 1.0), (1.0, 1.0)):
        found = []
        for _ in range(400):
            s = shared * rng.normal(size=(64, 1)) + own * rng.normal(size=(64, 64))
            mass = np.sort(softmax(s.ravel()).reshape(64, 64).sum(1))
            found.append(mass[-16:].sum())
        predicted = seer.oracle_block_mass_approx(own, 0.25, 64, shared)
        assert abs(np.mean(found) - predicted) < error(found) + 0.02  # 64 blocks: order statistics
    assert abs(seer.oracle_block_mass_approx(1.0, 0.25, 64) - retained_mass.oracle_mass_limit(1.0, 0.25)) > 0.3  # twin
