"""The claims on sparse selection, judged on planted runs: the truth holds, the nearest rival does not."""

import math

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import PlantedLab
from attnlab.theory.sparse_selection import (
    groups,
    hip,
    long_heads,
    moba,
    native_sparse,
    rescaled_sparse,
    retained_mass,
    routing,
    routing_hits,
    selective,
    sparsifiner,
    threshold_relative,
)

paper = load("sparse_selection")
RIVALS = pytest.mark.parametrize(("rival", "holds"), [(False, True), (True, False)])


def judged(name, make):
    claim = paper.claims[name]
    return claim.function(claim.setting.desk, PlantedLab(make))


def scattered(mean, spread, n, seed=0):
    z = np.random.default_rng(seed).normal(size=n)
    return mean + spread * (z - z.mean()) / z.std()


def a_share(p, draws, n, seed=0):
    return scattered(p, math.sqrt(p * (1 - p) / draws), n, seed)


@RIVALS
def test_kept_mass_follows_the_correlation(rival, holds):
    def make(setting):
        s, rho = setting.score_std, setting.correlation
        g = retained_mass.proxy_mass_limit(s, setting.share, rho**2 if rival else rho)
        needed = retained_mass.needed_share_limit(0.95 * s if rival else s, setting.mass)
        n = setting.n_replicas
        return {"kept": scattered(g, 1e-3, n), "needed": scattered(needed, 1e-3, n)}

    assert judged("kept_mass", make).holds is holds


@RIVALS
def test_dilution_counts_the_spread(rival, holds):
    def make(setting):
        half = math.log(setting.n_keys) + (0 if rival else setting.score_std**2 / 2)
        return {"weight": scattered(1 / (1 + math.exp(half - setting.score)), 1e-3, setting.n_replicas)}

    assert judged("dilution", make).holds is holds


@RIVALS
def test_hits_are_those_of_the_planted_score(rival, holds):
    def make(setting):
        at = (1.0, setting.block, setting.n_blocks, setting.keep)
        A = setting.score * (1.25 if rival else 1)
        sharp = native_sparse.sharpest_hit_exact(setting.score, 1.0, setting.block // 2, 2, *at[2:])
        shares = {"mean": moba.hit_exact(A, *at), "largest": routing_hits.max_hit_exact(A, *at), "sharp": sharp}
        return {name: a_share(p, setting.n_draws, setting.n_replicas) for name, p in shares.items()}

    assert judged("routing_hits", make).holds is holds


@RIVALS
def test_the_scale_of_the_query_must_not_matter(rival, holds):
    def make(setting):
        mean, sharp = np.full(setting.n_replicas, 0.4), np.full(setting.n_replicas, 0.9)
        return {"mean": mean, "scaled": sharp if rival else mean, "sharp": sharp}

    assert judged("routing_ignores_the_query_scale", make).holds is holds


@RIVALS
def test_clusters_needles_and_predictors_follow_their_laws(rival, holds):
    def cluster(setting):
        law = routing.power_law if rival else routing.same_cluster_exact
        return {"together": a_share(law(setting.clusters, setting.cosine), setting.n_draws, setting.n_replicas)}

    def needle(setting):
        p = 4 * setting.keep / setting.n_keys if rival else hip.needle_recall(setting.n_keys, setting.keep)
        return {"recall": a_share(p, setting.n_keys, setting.n_replicas)}

    def predictor(setting):
        rho = sparsifiner.correlation(1 / np.arange(1, setting.dim + 1), setting.rank)
        g = retained_mass.proxy_mass_limit(setting.score_std, setting.share, rho**2 if rival else rho)
        return {"kept": scattered(g, 1e-3, setting.n_replicas)}

    for name, make in (
        ("neighbours_share_a_cluster", cluster), ("pruning_overlooks_needles", needle),
        ("predictors_keep_by_correlation", predictor),
    ):  # fmt: skip
        assert judged(name, make).holds is holds, name


@RIVALS
def test_tilts_unions_and_starts_follow_their_laws(rival, holds):
    less = 0.95 if rival else 1

    def tilt(setting):
        r, d, n = setting.radius, setting.dim, setting.n_keys
        rms = groups.log_ratio_rms(less * r, d**0.5, d)
        return {
            "rms": scattered(rms, rms / math.sqrt(2 * n), setting.n_replicas),
            "deficit": scattered(groups.mass_deficit(r, d**0.5, d), 1e-3, setting.n_replicas),
        }

    def union(setting):
        rho = setting.correlation - (0.05 if rival else 0)
        u = long_heads.union_of_heads_limit(setting.n_chunks, setting.keep, setting.n_heads, rho)
        return {"union": scattered(u, 3.0, setting.n_replicas)}

    def start(setting):
        n = setting.n_replicas
        return {
            "factor": scattered(selective.decay_exact(setting.score_std), 1e-3, n),
            "growth": scattered(less * selective.masking_per_step(setting.score_std), 1e-3, n),
            "pairs": np.full(n, (setting.n_tokens - 2) * (setting.n_tokens - 3) // 2),
        }

    for name, make in (
        ("centres_tilt_weights", tilt),
        ("heads_cover_together", union),
        ("selection_starts_short", start),
    ):
        assert judged(name, make).holds is holds, name


@RIVALS
def test_thresholds_have_their_margin(rival, holds):
    def make(setting):
        m = setting.margin * (0.95 if rival else 1)
        p = threshold_relative.no_false_survivor_exact(m, setting.n_keys)
        y = np.random.default_rng(0).normal(size=(setting.n_replicas, 3))
        return {"clean": a_share(p, setting.n_draws, setting.n_replicas), "longer": y, "short": y, "softmax": y / 2}

    assert judged("thresholds_have_a_horizon", make).holds is holds


@pytest.mark.parametrize(("change", "holds"), [(0.0, True), (1e-9, False)])
def test_identities_are_judged_to_rounding(change, holds):
    rng = np.random.default_rng(3)

    def drop(setting):
        p = rng.dirichlet(np.ones(6), size=2)
        v, K = rng.normal(size=(2, 6, 3)), np.tile(np.arange(6) < 3, (2, 1))
        law = [retained_mass.dropped_mass_error_exact(*cell) for cell in zip(p, v, K, strict=True)]
        return {"error": np.array(law) + change, "weights": p, "values": v, "kept": K}

    def remember(setting):
        R, S, D = rng.uniform(0.2, 0.8, (2, 2, 5)), rng.normal(size=(2, 2, 5, 3)), rng.normal(size=(2, 2, 5, 3))
        law = [rescaled_sparse.error_exact(r[0], r[1], s[1], d[1], d[0]) for r, s, d in zip(R, S, D, strict=True)]
        return {"error": np.array(law) + change, "ratio": R, "inside": S, "outside": D}

    def gate(setting):
        mass, inside, without = rng.uniform(size=2), rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
        full = rng.dirichlet(np.ones(6), size=(2, 4))
        moved = mass[:, None] * (inside - without)
        return {
            "change": moved, "mass": mass, "inside": inside, "without": without, "weights": full + change, "full": full,
        }  # fmt: skip

    def group(setting):
        y = rng.normal(size=(2, 4, 3))
        return {"output": y + change, "full": y, "moved": y + 1e-9}

    for name, make in (
        ("dropped_mass", drop), ("remembered_ratios", remember), ("landmarks_gate", gate), ("groups_of_equal_keys", group),
    ):  # fmt: skip
        assert judged(name, make).holds is holds, name
