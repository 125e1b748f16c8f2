"""Laws of sparse selection against the operators and against sampled scores; each with its twin.

Sampled means are held to 4 standard errors plus the stated finite-size term.
"""

import math

import numpy as np
import pytest
import torch

from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import QKV, Cache, Sizes
from attnlab.kernels.operators.sparse_selection.delta import Delta
from attnlab.kernels.operators.sparse_selection.flex_prefill import FlexPrefill
from attnlab.kernels.operators.sparse_selection.groups import Groups
from attnlab.kernels.operators.sparse_selection.hip import HiP
from attnlab.kernels.operators.sparse_selection.landmark import Landmark
from attnlab.kernels.operators.sparse_selection.loki import Loki
from attnlab.kernels.operators.sparse_selection.long_heads import LongHeads
from attnlab.kernels.operators.sparse_selection.moba import MoBA
from attnlab.kernels.operators.sparse_selection.native_sparse import NativeSparse
from attnlab.kernels.operators.sparse_selection.random_keys import RandomKeys
from attnlab.kernels.operators.sparse_selection.rescaled_sparse import RescaledSparse
from attnlab.kernels.operators.sparse_selection.selective import Selective
from attnlab.kernels.operators.sparse_selection.threshold_relative import ThresholdRelative
from attnlab.theory.sparse_selection import (
    delta,
    flex_prefill,
    groups,
    hip,
    landmark,
    loki,
    long_heads,
    moba,
    native_sparse,
    random_keys,
    rescaled_sparse,
    routing_hits,
    selective,
    threshold_relative,
)

EPS = np.finfo(float).eps


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softmax(s):
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def error(sample):
    return 4 * np.std(sample, ddof=1) / len(sample) ** 0.5


@pytest.mark.parametrize(("score", "block", "n_blocks", "keep"), [(16.0, 64, 64, 1), (8.0, 16, 128, 4)])
def test_routing_finds_a_planted_key_with_the_stated_probability(score, block, n_blocks, keep):
    rng, runs = np.random.default_rng(2), 2000
    hits = {"mean": [], "max": [], "sum": []}
    for _ in range(runs // 50):
        s = rng.normal(size=(50, n_blocks, block))
        s[:, 0, 0] = score
        for name, x in (("mean", s.mean(-1)), ("max", s.max(-1)), ("sum", np.log(np.exp(s).sum(-1)))):
            hits[name] += list((x[:, 1:] > x[:, :1]).sum(1) < keep)
    law = (score, 1.0, block, n_blocks, keep)
    mean, largest = routing_hits.mean_hit_exact(*law), routing_hits.max_hit_exact(*law)
    assert abs(np.mean(hits["mean"]) - mean) < error(hits["mean"])
    assert abs(np.mean(hits["max"]) - largest) < error(hits["max"]) + 1e-3
    assert abs(np.mean(hits["sum"]) - routing_hits.log_sum_hit_approx(*law)) < error(hits["sum"]) + 0.05
    assert (
        abs(np.mean(hits["mean"]) - largest) > error(hits["mean"]) + 0.05
    )  # twin: mean routing finds like the maximum
    assert moba.hit_exact(*law) == mean == pytest.approx(routing_hits.mean_hit_exact(4 * score, 4.0, *law[2:]))


def test_the_blocks_that_moba_takes_are_those_with_the_best_means():
    cache = Cache(normal(1, 1, 1, 12, 4), normal(1, 1, 1, 12, 4, seed=1), normal(1, 1, 1, 12, 3))
    seen = MoBA(3, 2).select(cache, {}, causal=True)[0, 0, 0]
    means = cache.k[0, 0, 0].reshape(4, 3, 4).mean(1)
    for i in range(6, 12):
        own = i // 3
        best = int((means[:own] @ cache.q[0, 0, 0, i]).argmax())
        assert seen[i].nonzero().flatten().tolist() == [*range(3 * best, 3 * best + 3), *range(3 * own, i + 1)]
    scaled = Cache(7 * cache.q, cache.k, cache.v)
    assert torch.equal(MoBA(3, 2).select(scaled, {}, causal=True)[0, 0, 0], seen)


def test_random_subsets_have_the_stated_variance_and_bias():
    """Delta method to first order: 15 % of the variance and a third of the bias are left for the next order at m = 64."""
    n, draws = 256, 4000
    rng = np.random.default_rng(3)
    s, v = rng.normal(size=n), rng.normal(size=n)
    p = softmax(s)
    q, k = torch.ones(1, 1, 1, 1, 1, dtype=torch.float64), torch.tensor(s)[None, None, None, :, None]
    inputs = QKV(
        q.expand(draws, -1, -1, -1, -1), k.expand(draws, 1, 1, n, 1), torch.tensor(v)[None, None, None, :, None]
    )
    draw = torch.rand(draws, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = RandomKeys(4, own=False).apply(inputs, {}, draw=draw).numpy().ravel()
    variance = random_keys.output_variance_approx(p, v[:, None], 64)[0]
    assert abs(y.var() / variance - 1) < 4 * (2 / draws) ** 0.5 + 0.15
    assert abs(y.var() / (variance / 4) - 1) > 1  # twin: the variance of an average over the ensemble of 4
    bias = random_keys.output_bias_approx(p, v[:, None], 64)[0]
    assert abs(y.mean() - p @ v - bias) < error(y) + abs(bias) / 3
    assert random_keys.output_bias_approx(p, v[:, None], 256)[0] == 0


def test_group_centres_miss_weights_by_the_stated_factor():
    rng, d, radius, count = np.random.default_rng(5), 16, 0.3, 20_000
    q = rng.normal(size=d)
    norm = np.linalg.norm(q)
    tilt = radius * rng.normal(size=(count, d)) @ q / math.sqrt(d)
    rms = groups.log_ratio_rms(radius, norm, d)
    assert abs(tilt.std() / rms - 1) < 4 / (2 * count) ** 0.5
    assert (
        abs(tilt.std() / math.log(groups.ratio_bound(radius * math.sqrt(d), norm, d)) - 1) > 0.5
    )  # twin: the bound is typical
    assert abs(1 / np.exp(tilt).mean() / groups.mass_deficit(radius, norm, d) - 1) < 4 * np.exp(tilt).std() / count**0.5
    k = normal(1, 1, 1, 3, 4).repeat_interleave(4, -2)  # identical keys inside groups
    inputs = QKV(normal(1, 1, 1, 5, 4, seed=1), k, normal(1, 1, 1, 12, 2, seed=2))
    assert (Groups(3).apply(inputs, {}) - DotProduct().apply(inputs, {})).abs().max() < 100 * EPS


@pytest.mark.parametrize(("n", "keep"), [(64, 4), (128, 32)])
def test_hierarchical_pruning_overlooks_an_isolated_needle(n, keep):
    """All places of the spike once, fresh noise for each: 20 rounds. Rows of a round share nothing."""

    def recall(representative):
        found = []
        for turn in range(20):
            score = normal(1, n, n, seed=turn)
            score[0, torch.arange(n), torch.arange(n)] = 50.0
            seen = HiP(keep, representative).found(score, False)[0]
            found += seen.diagonal().double().tolist()
            assert (seen.sum(-1) == keep).all()
        return found

    found, predicted = recall("centre"), hip.needle_recall(n, keep)
    assert abs(np.mean(found) - predicted) < error(found)
    assert abs(np.mean(found) - keep / n) > error(found)  # twins: random selection; "no token overlooked" is 1
    first = recall("first")  # a first key stays the first of its half: the law is that of centres
    assert np.mean(first) - predicted > error(first) or n == 2 * keep * 2
    assert hip.scores_per_query(1024, 32) == 64 * 5


def test_smooth_scores_are_found_by_the_tree():
    at = torch.arange(256.0, dtype=torch.float64)
    score = -(at[None] - 100.5).abs().expand(4, -1)
    assert HiP(16).found(score, False)[:, 93:109].all()


def test_selection_by_compressed_weights_sharpens_with_the_query():
    """Sums of softmax weights of two means of 32 per block of 64, scores times 1 and 64."""
    rng, runs, score = np.random.default_rng(8), 1000, 16.0
    hits = {}
    s = rng.normal(size=(runs, 64, 64))
    s[:, 0, 0] = score
    parts = s.reshape(runs, 64, 2, 32).mean(-1)
    for scale in (1, 64):
        block = softmax(scale * parts.reshape(runs, -1)).reshape(runs, 64, 2).sum(-1)
        hits[scale] = (block[:, 1:] > block[:, :1]).sum(1) < 4
    predicted = native_sparse.sharpest_hit_exact(score, 1.0, 32, 2, 64, 4)
    assert abs(hits[64].mean() - predicted) < error(hits[64]) + 0.01  # 64 times the scores is not yet the largest mean
    assert hits[64].mean() - hits[1].mean() > error(hits[1].astype(float)) / 2  # twin: the same at every scale
    assert abs(hits[64].mean() - moba.hit_exact(score, 1.0, 64, 64, 4)) > 0.05


def test_overlaps_of_the_published_sizes_are_1_2_2_2_1():
    operator = NativeSparse(4, 2, 8, keep=2, window=2)
    n = 40
    start, first = operator.starts(n), torch.arange(0, n, 8)
    end = torch.minimum(start[:, None] + 4, first[None] + 8)
    overlap = ((end - torch.maximum(start[:, None], first[None])).clamp(min=0) / 2)[:, 2]
    assert overlap[overlap > 0].tolist() == [1, 2, 2, 2, 1]


def test_constant_values_come_out_as_the_sum_of_the_gates():
    operator, sizes = NativeSparse(), Sizes(n=8, d=4, d_v=2, n_heads=2)
    parameters = operator.initialise(sizes, [torch.Generator().manual_seed(0)], torch.float64)
    q, k = normal(1, 1, 2, 8, 4), normal(1, 1, 2, 8, 4, seed=1)
    y = operator.apply(QKV(q, k, torch.ones(1, 1, 2, 8, 2, dtype=torch.float64)), parameters)
    gates = (q @ parameters["gate"][:, None]).sigmoid().sum(-1, keepdim=True)
    assert (y - gates).abs().max() < 100 * EPS and (y - 1).abs().max() > 0.05


def test_prefill_blocks_hold_less_than_was_asked_for():
    """Independent log-normal columns, 64 blocks of 64; the order statistics of 64 blocks leave .02."""
    rng, gamma = np.random.default_rng(9), 0.9
    found = []
    for _ in range(300):
        p = softmax(rng.normal(size=64 * 64))
        ranked = np.sort(p)[::-1]
        blocks = int((ranked.cumsum() - ranked < gamma).sum()) // 64 + 1
        found.append(np.sort(p.reshape(64, 64).sum(1))[-blocks:].sum())
    predicted = flex_prefill.retained_mass_approx(1.0, gamma, 64)
    assert abs(np.mean(found) - predicted) < error(found) + 0.02
    assert abs(np.mean(found) - gamma) > 0.1  # twin: the mass is at least gamma
    cache = Cache(normal(1, 1, 2, 24, 4), normal(1, 1, 2, 24, 4, seed=1), normal(1, 1, 2, 24, 3))
    full = torch.ones(24, 24, dtype=torch.bool).tril()
    for tau in (0.0, 9.0):
        assert (FlexPrefill(4, 1.0, tau).select(cache, {}) == full).all()
        few = FlexPrefill(4, 0.2, tau).select(cache, {})
        assert few.sum() < 2 * full.sum() and few[..., 0].all() and few.diagonal(dim1=-2, dim2=-1).all()


def test_the_correction_helps_iff_the_error_stays():
    rng, n, rho = np.random.default_rng(10), 4096, 0.9
    D = np.zeros((n, 8))
    for i in range(n):
        D[i] = rho * D[i - 1] + math.sqrt(1 - rho**2) * rng.normal(size=8)
    for gap in (4, 64):
        ratio = delta.corrected_error_exact(D, gap) / (D**2).sum()
        predicted = delta.autoregressive_ratio(rho, gap)
        spread = 4 * math.sqrt((1 + rho) / (1 - rho) / (n * 8))  # of a mean of n * 8 correlated squares
        assert abs(ratio / predicted - 1) < 2 * spread and (ratio < 1) == (predicted < 1)
    assert delta.autoregressive_ratio(rho, 64) > 1  # twin: it always helps
    q, k, v = (normal(1, 1, 1, 24, 4, seed=s) for s in range(3))
    dense = DotProduct().apply(QKV(q, k, v), {}, causal=True)
    y, none = (Delta(3, 1, g).apply(QKV(q, k, v), {}, causal=True) for g in (5, 99))
    assert (y - dense)[..., ::5, :].abs().max() < 100 * EPS  # anchors are exact
    sparse = (none - none[..., :1, :] + dense[..., :1, :])[0, 0, 0]
    errors = (dense[0, 0, 0] - sparse).numpy() - (dense - none)[0, 0, 0, 0].numpy()
    assert ((y - dense)[0, 0, 0].square().sum().item()) == pytest.approx(
        delta.corrected_error_exact(errors, 5), rel=1e-10
    )


def test_the_error_of_rescaling_is_an_identity():
    q, k, v = (normal(1, 1, 1, 12, 4, seed=s) for s in range(3))
    moved = QKV(*(x + 0.3 * normal(1, 1, 1, 12, 4, seed=9 + i) for i, x in enumerate((q, k, v))))
    operator = RescaledSparse(2)
    i = torch.arange(12)
    inside = (i[:, None] - i[None]).abs() <= 2
    parts = []
    for each in (QKV(q, k, v), moved):
        p = (each.q @ each.k.mT / 2).softmax(-1)[0, 0, 0]
        R = torch.where(inside, p, 0.0).sum(-1)
        o_S = torch.where(inside, p, 0.0) @ each.v[0, 0, 0] / R[:, None]
        o_D = torch.where(inside, 0.0, p) @ each.v[0, 0, 0] / (1 - R)[:, None]
        parts.append([x.numpy() for x in (R, o_S, o_D)])
    (R0, _, D0), (Rt, S, D) = parts
    y = operator.apply(moved, operator.remembered(QKV(q, k, v)))
    gap = (y - DotProduct().apply(moved, {}))[0, 0, 0].numpy()
    assert np.abs(gap - rescaled_sparse.error_exact(R0, Rt, S, D, D0)).max() < 100 * EPS
    assert np.abs(gap - (1 - Rt)[:, None] * (S - D)).max() > 0.1  # twin: the error of the window alone


def test_leading_directions_rank_by_their_share_of_the_score():
    rng, d, n = np.random.default_rng(11), 16, 60_000
    spectrum = np.arange(1, d + 1.0) ** -2
    q = rng.normal(size=d) * np.linspace(0.3, 2, d)
    k = rng.normal(size=(n, d)) * np.sqrt(spectrum)
    found = np.corrcoef(k @ q, k[:, :4] @ q[:4])[0, 1]
    assert abs(found - loki.score_correlation_exact(q, spectrum, 4)) < 4 / n**0.5
    assert abs(found - math.sqrt(loki.explained_variance(spectrum, 4))) > 0.02  # twin: explained variance
    x, y = rng.normal(size=(2, n))
    y = 0.8 * x + 0.6 * y
    chosen = [set(np.argsort(-z)[: n // 4].tolist()) for z in (x, y)]
    jaccard = len(chosen[0] & chosen[1]) / len(chosen[0] | chosen[1])
    assert abs(jaccard - loki.jaccard_limit(0.8, 0.25)) < 4 * (1 / (n / 4)) ** 0.5
    keys = torch.tensor(k[:400])[None, None, None]
    basis = Loki(directions=4).calibrated(keys, {})["basis"][0, 0]
    assert (basis.T @ basis - torch.eye(d)).abs().max() < 1e-12
    second = (keys[0, 0, 0] @ basis).square().mean(0)
    assert (second.diff() <= 1e-12).all()  # largest first


def test_a_dropped_block_takes_what_its_landmark_holds():
    n, block = 12, 4
    s = normal(n, n)
    at = torch.arange(n)
    operator = Landmark(block)
    v = normal(n, 3, seed=1)
    W = operator.weights(s, at, False)
    i, b = 0, 2
    tokens = slice(b * block, (b + 1) * block - 1)
    dropped = s.clone()
    dropped[i, (b + 1) * block - 1] = -1e9  # its landmark is not seen
    without = operator.weights(dropped, at, False)[i] @ v
    mass = W[i, tokens].sum()
    inside = W[i, tokens] @ v[tokens] / mass
    assert ((W[i] @ v) - without - mass * (inside - without)).abs().max() < 100 * EPS
    assert abs(mass - 1 / 3) > 0.05  # twin: every block holds 1 over their number
    exact = s.clone()
    for b in range(3):
        mark = (b + 1) * block - 1
        exact[:, mark] = s[:, b * block : mark].logsumexp(-1)
    ordinary = at % block != block - 1
    full = s[:, ordinary].softmax(-1)
    assert (operator.weights(exact, at, False)[:, ordinary] - full).abs().max() < 100 * EPS
    assert landmark.slots_read(5000, 50, 2) == 200


def test_heads_cover_chunks_together_by_their_correlation():
    rng, m, k, H = np.random.default_rng(12), 64, 8, 32
    for rho in (0.0, 0.5, 0.9):
        found = []
        for _ in range(300):
            score = math.sqrt(rho) * rng.normal(size=m) + math.sqrt(1 - rho) * rng.normal(size=(H, m))
            found.append(len(np.unique(np.argsort(-score, 1)[:, :k])))
        predicted = long_heads.union_of_heads_limit(m, k, H, rho)
        assert abs(np.mean(found) - predicted) < error(found) + 0.02 * m  # exactly k of 64 chunks against a threshold
    assert abs(np.mean(found) - long_heads.union_of_heads_limit(m, k, H, 0.0)) > 0.3 * m  # twin: independent heads
    cache = Cache(*(normal(1, 1, 2, 24, 4, seed=s) for s in range(3)))
    seen = LongHeads(2, 4, 1, 2).select(cache, {}, causal=True)
    assert seen.sum(-1).max() <= 8 and LongHeads.renumbered(seen).max() < 8 and seen[..., 0].all()


def test_selective_attention_starts_as_a_short_window():
    """F of 4000 rows of independent Gaussian scores; a second token later its weight has fallen by the factor."""
    rng, s = np.random.default_rng(13), 1.0
    steps = np.maximum(s * rng.normal(size=(40_000, 2)), 0)
    factor = np.exp(-steps[:, 0])
    assert abs(factor.mean() - selective.decay_exact(s)) < error(factor)
    assert abs(steps[:, 0].mean() - selective.masking_per_step(s)) < error(steps[:, 0])
    assert selective.context(1.0) == pytest.approx(4.19, abs=5e-3) and selective.context(0.0) == math.inf
    assert abs(np.exp(-steps.sum(1)).mean() - selective.decay_exact(s) ** 2) < error(np.exp(-steps.sum(1)))
    assert abs(factor.mean() - 1) > 0.2  # twin: it starts as plain softmax
    q, k = normal(1, 1, 2, 8, 4), normal(1, 1, 2, 8, 4, seed=1)
    F = Selective().masking(q, k)[0, 0, 0]
    assert (F >= 0).all() and (F.diff(dim=0) >= 0).all() and (F[:, 0] == 0).all()
    assert (F.diagonal() == 0).all() and (F.diagonal(-1) == 0).all() and F.max() > 0


def test_keys_below_the_threshold_change_nothing():
    operator, sizes = ThresholdRelative(), Sizes(n=5, d=4, d_v=3, n_heads=1)
    parameters = operator.initialise(sizes, [torch.Generator().manual_seed(0)], torch.float64)
    q, k, v = normal(1, 1, 1, 5, 4).abs(), normal(1, 1, 1, 5, 4, seed=1), normal(1, 1, 1, 5, 3, seed=2)
    k = k.abs()  # the five keys survive
    y = operator.apply(QKV(q, k, v), parameters, causal=True)[..., -1, :]
    more = 50
    longer = QKV(
        torch.cat([q[..., :2, :], q[..., :1, :].expand(1, 1, 1, more, 4), q[..., 2:, :]], -2),
        torch.cat([k[..., :2, :], -normal(1, 1, 1, more, 4, seed=3).abs(), k[..., 2:, :]], -2),
        torch.cat([v[..., :2, :], normal(1, 1, 1, more, 3, seed=4), v[..., 2:, :]], -2),
    )
    assert (operator.apply(longer, parameters, causal=True)[..., -1, :] - y).abs().max() < 100 * EPS
    dense = DotProduct()
    assert (dense.apply(longer, {}, causal=True) - 0)[..., -1, :].sub(
        dense.apply(QKV(q, k, v), {}, causal=True)[..., -1, :]
    ).abs().max() > 1e-3
    rng = np.random.default_rng(14)
    clean = (rng.normal(size=(4000, 50)) < 2).all(1).astype(float)
    assert abs(clean.mean() - threshold_relative.no_false_survivor_exact(2.0, 50)) < error(clean)
    assert threshold_relative.horizon(3.0) == pytest.approx(740.8, abs=0.1)


def test_autocorrelation_of_a_subset_s_error():
    """Errors of rows at pairs of queries of correlation r, many keys; 400 pairs scatter by less than 2 relative. Twin: r itself."""
    rng, d, std, n, m = np.random.default_rng(5), 16, 0.8, 3000, 1500
    K = rng.standard_normal((n, d))
    q = rng.standard_normal((400, d))

    def rows(x):
        w = np.exp(std * x @ K.T / d**0.5)
        sparse = np.where(np.arange(n) < m, w / w[:, :m].sum(1, keepdims=True), 0.0)
        return w / w.sum(1, keepdims=True) - sparse

    first = rows(q)
    for r in (0.0, 0.6):
        other = rows(r * q + (1 - r**2) ** 0.5 * rng.standard_normal(q.shape))
        found = (first * other).sum() / (first**2).sum()
        law = float(delta.subset_autocorrelation_limit(r, d, std))
        assert abs(found / law - 1) < 4 * 0.35 / 20 < abs(found / max(r, 0.01) - 1)
    assert delta.subset_autocorrelation_limit(1.0, d, std) == pytest.approx(1)
    wide = float(delta.subset_autocorrelation_limit(0.5, 10**6, std))
    assert wide == pytest.approx(math.exp(-(std**2) / 2), rel=1e-4)
    assert delta.recomputed_ratio_exact(4) == 0.75 and loki.movement_speed_up(0.25, 0.25) == pytest.approx(8 / 3)
    assert (
        0
        == delta.subset_ratio_dropped_approx(1.0, 0.7, 100, 200)
        < delta.subset_ratio_dropped_approx(0.0, 0.7, 100, 200)
    )
    with pytest.raises(ValueError, match="below sqrt"):
        delta.subset_autocorrelation_limit(0.5, 4, 2.0)
