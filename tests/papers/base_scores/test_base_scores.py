"""The claims on the first scores, judged on planted runs: the truth holds, the nearest rival does not."""

import math

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import PlantedLab
from attnlab.theory.base_scores import (
    dot_product,
    dynamic_routing,
    location_relative,
    luong,
    multi_source,
    pointer,
    predicted_window,
)

paper = load("base_scores")


def judged(name, make):
    claim = paper.claims[name]
    return claim.function(claim.setting.desk, PlantedLab(make))


def scattered(mean, relative, n, seed=0):
    """Numbers of exactly this mean that scatter by this share of it."""
    z = np.random.default_rng(seed).normal(size=n)
    return mean * (1 + relative * (z - z.mean()))


@pytest.mark.parametrize(("rival", "holds"), [(False, True), (True, False)])
def test_rows_follow_the_log_normal_law(rival, holds):
    def make(setting):
        s, n = setting.score_std, setting.n_keys
        second = math.expm1(s * s) if rival else dot_product.participation(s)
        return {
            "participation": scattered(second / n, 0.01, setting.n_replicas),
            "entropy": scattered(dot_product.entropy(s, n), 1e-4, setting.n_replicas),
        }

    assert judged("spread_rows", make).holds is holds


@pytest.mark.parametrize("factor", [1.05, 1 / 1.05])
def test_the_margin_of_a_limit_does_not_grow_with_an_error_of_the_limit(factor, monkeypatch):
    def make(setting):
        s, n = setting.score_std, setting.n_keys
        exact = dot_product.participation_of_products(setting.dim, n, s / setting.dim**0.5)
        return {
            "participation": scattered(exact, 0.001, setting.n_replicas),
            "entropy": scattered(dot_product.entropy_exact(s, n), 1e-5, setting.n_replicas),
        }

    assert judged("spread_rows", make).holds
    limit = dot_product.participation
    monkeypatch.setattr(dot_product, "participation", lambda s: factor * limit(s))
    assert judged("spread_rows", make).outcome == "REFUTED"


@pytest.mark.parametrize(("limit", "holds"), [(False, True), (True, False)])
def test_frozen_rows_follow_the_exact_law_and_not_its_limit(limit, holds):
    def make(setting):
        exact = dot_product.participation_of_products(setting.dim, setting.n_keys, 1.0)
        mean = dot_product.frozen_participation(math.sqrt(setting.dim), setting.n_keys) if limit else exact
        return {"participation": scattered(mean, 0.03, setting.n_replicas)}

    assert judged("frozen_rows", make).holds is holds


@pytest.mark.parametrize(("change", "holds"), [(0.0, True), (1e-9, False)])
def test_local_rows_are_judged_to_rounding(change, holds):
    def make(setting):
        law = [predicted_window.flat_row_sum(D) for D in setting.half_widths]
        return {"row_sum": np.tile(law, (setting.n_replicas, 1)) + change}

    assert judged("local_rows", make).holds is holds


@pytest.mark.parametrize(("factor", "holds"), [(1.0, True), (0.5, False)])
def test_additive_scores_have_the_stated_pairs(factor, holds):
    def make(setting):
        laws = [luong.variances(scale) for scale in setting.weight_scales]
        noise = [scattered(1.0, 0.03, setting.n_replicas, seed) for seed in range(len(laws))]
        return {
            "main": np.stack([main * each for (main, _), each in zip(laws, noise, strict=True)], 1),
            "pair": np.stack([factor * pair * each for (_, pair), each in zip(laws, noise, strict=True)], 1),
        }

    assert judged("additive_is_static", make).holds is holds


@pytest.mark.parametrize(("share", "holds"), [(1 - 1e-7, True), (1 + 1e-7, False)])
def test_no_pointer_may_pass_its_bound(share, holds):
    def make(setting):
        norms = np.linspace(1, 4, setting.n_replicas)
        bound = np.array([pointer.largest_weight_bound(setting.n_keys, x) for x in norms])
        return {"largest": share * bound, "readout_norm": norms}

    assert judged("pointers_are_never_sure", make).holds is holds


@pytest.mark.parametrize(("equal", "holds"), [(False, True), (True, False)])
def test_the_distance_of_sources_needs_their_masses(equal, holds):
    def make(setting):
        rng, n = np.random.default_rng(1), setting.n_replicas
        beta, masses, contexts = rng.uniform(size=n), rng.normal(size=(n, 2)), rng.normal(size=(n, 2, 4))
        law = [multi_source.distance_to_flat(*cell) for cell in zip(beta, masses, contexts, strict=True)]
        apart = np.abs(beta - 0.5) * np.linalg.norm(contexts[:, 0] - contexts[:, 1], axis=1)
        return {
            "distance": apart if equal else np.array(law), "outer_weight": beta, "log_masses": masses,
            "contexts": contexts, "size": np.ones(n),
        }  # fmt: skip

    assert judged("two_sources", make).holds is holds


@pytest.mark.parametrize(("harmonics", "holds"), [(50, True), (1, False)])
def test_bells_need_all_harmonics(harmonics, holds):
    def make(setting):
        law = [1 + location_relative.row_sum_error(width, harmonics) for width in setting.widths]
        return {"row_sum": np.tile(law, (setting.n_replicas, 1))}

    assert judged("bells_sum_to_one_if_wide", make).holds is holds


@pytest.mark.parametrize(("coherent", "holds"), [(False, True), (True, False)])
def test_copies_diffuse(coherent, holds):
    def make(setting):
        s = setting.step_noise
        law = [
            math.erf(1 / (2 * math.sqrt(2) * s * t)) if coherent else location_relative.copy_accuracy(s, t)
            for t in setting.steps
        ]
        noise = [
            scattered(p, math.sqrt((1 - p) / p / setting.n_walks), setting.n_replicas, i) for i, p in enumerate(law)
        ]
        return {"accuracy": np.stack(noise, 1)}

    assert judged("copies_drift", make).holds is holds


@pytest.mark.parametrize(("rival", "holds"), [(False, True), (True, False)])
def test_routing_sharpens_at_the_rate_of_its_votes(rival, holds):
    def make(setting):
        rng = np.random.default_rng(2)
        votes = rng.normal(size=(setting.n_replicas, 5, 3))
        winner = (votes**2).sum(2).argmax(1)
        law = [-dynamic_routing.sharpening_rate(x, i) for x, i in zip(votes, winner, strict=True)]
        raw = [-np.delete((x[i] - x) @ x[i], i).min() for x, i in zip(votes, winner, strict=True)]
        return {"slope": np.array(raw if rival else law), "votes": votes, "winner": winner}

    assert judged("routing_sharpens", make).holds is holds


def test_slopes_that_were_not_reached_ask_for_more_rounds():
    def make(setting):
        n = setting.n_replicas
        return {"slope": np.full(n, np.nan), "votes": np.zeros((n, 2, 2)), "winner": np.zeros(n, int)}

    verdict = judged("routing_sharpens", make)
    assert verdict.outcome.value == "UNDECIDED" and "n_rounds" in verdict.reason
