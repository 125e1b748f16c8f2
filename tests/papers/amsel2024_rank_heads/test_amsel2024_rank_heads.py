"""The paper on the rank of heads: claims judged on planted runs whose truth is known."""

import math
from dataclasses import replace

import numpy as np
import pytest

from attnlab.analysis import Outcome
from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import PlantedLab
from attnlab.theory.head_rank import full_rank_head as target
from attnlab.theory.head_rank import lower_bounds as theory
from attnlab.theory.head_rank import majority_vote as vote
from attnlab.theory.head_rank import random_heads as kernels

paper = load("amsel2024_rank_heads")

BOUND = {"scalar": "scalar", "matrix": "matrix", "gated": "generalised"}


def judged(name, make):
    claim = paper.claims[name]
    return claim.function(claim.setting.desk, PlantedLab(make)).outcome


def noise(size, *shape, seed=0):
    return 1 + size * np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize(
    ("factor", "outcome"), [(1.1, Outcome.HOLDS), (0.9, Outcome.REFUTED), (4.0, Outcome.UNDECIDED)]
)
@pytest.mark.parametrize("name", ["scalar_bound", "matrix_bound", "generalised_bound"])
def test_a_model_below_its_bound_refutes_and_an_untrained_one_decides_nothing(name, factor, outcome):
    def make(setting):
        if not hasattr(setting, "kind"):  # random heads, for the second part
            rng = np.random.default_rng(1)
            Q, K = rng.normal(size=(2, 4, setting.n_heads, setting.dim))
            return {
                "Q": Q / np.linalg.norm(Q, axis=-1, keepdims=True),
                "K": K / np.linalg.norm(K, axis=-1, keepdims=True),
            }
        bound = theory.error_lower_bound(setting.dim, setting.rank, setting.n_heads, BOUND[setting.kind])
        return {"error": factor * bound * noise(0.001, 8), "error_se": np.full(8, 1e-4)}

    assert judged(name, make) is outcome


def test_one_model_below_its_bound_is_enough():
    def make(setting):
        error = 1.1 * theory.error_lower_bound(setting.dim, setting.rank, setting.n_heads) * noise(0.001, 8)
        if setting.rank == 4:
            error[3] *= 0.85
        return {"error": error, "error_se": np.full(8, 1e-4)}

    assert judged("matrix_bound", make) is Outcome.REFUTED


@pytest.mark.parametrize(("stretch", "outcome"), [(1.0, Outcome.HOLDS), (1.1, Outcome.REFUTED)])
def test_full_rank_head_tells_the_temperature_of_the_scores(stretch, outcome):
    def make(setting):
        exact = [target.full_rank_error_exact(setting.dim, stretch * beta) for beta in setting.inverse_temperatures]
        return {"error": np.array(exact) * noise(0.005, 32, len(exact))}

    assert judged("full_rank_head", make) is outcome


@pytest.mark.parametrize(
    ("factor", "outcome"), [(1.0, Outcome.HOLDS), (1.07, Outcome.REFUTED), (0.93, Outcome.REFUTED)]
)
def test_the_constant_of_near_ties_is_seen_to_seven_percent(factor, outcome):
    def make(setting):
        n_rivals = setting.n_points - (setting.target == "farthest")
        return {"error": factor * target.near_tie_constant(setting.dim, n_rivals) / 200 * noise(0.02, 48, 1)}

    assert judged("full_rank_head_many_points", make) is outcome


@pytest.mark.parametrize(("orthogonal", "outcome"), [(False, Outcome.HOLDS), (True, Outcome.REFUTED)])
def test_near_ties_are_nearer_than_orthogonal_points(orthogonal, outcome):
    def make(setting):
        n_rivals = setting.n_points - (setting.target == "farthest")
        return {
            "error": target.near_tie_constant(setting.dim, n_rivals, orthogonal=orthogonal) / 200 * noise(0.02, 48, 1)
        }

    assert judged("full_rank_head_many_points", make) is outcome


@pytest.mark.parametrize(("linear", "outcome"), [(False, Outcome.HOLDS), (True, Outcome.REFUTED)])
def test_kernels_of_hard_heads_are_not_those_of_linear_ones(linear, outcome):
    def make(setting):
        rng = np.random.default_rng(2)
        Q, K = rng.normal(size=(2, 16, setting.n_heads, setting.dim))
        Q, K = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (Q, K))
        C = np.stack(
            [
                0.5 + 2 / math.pi**2 * (q @ q.T) * (k @ k.T) if linear else kernels.head_agreement(q, k)
                for q, k in zip(Q, K, strict=True)
            ]
        )
        b = kernels.target_agreement((Q * K).sum(-1), setting.dim)
        return {
            "Q": Q,
            "K": K,
            "agreement": C + 1e-5 * rng.normal(size=C.shape),
            "target": b + 1e-5 * rng.normal(size=b.shape),
        }

    assert judged("rank_one_kernels", make) is outcome


def without_half_ties(dim, n_heads):
    """The law with ties counted as wrong answers are, twice as much as a tie costs; odd numbers of heads never tie."""
    return vote.vote_error_exact(dim, n_heads) + (0.05 if n_heads % 2 == 0 else 0.0)


@pytest.mark.parametrize(
    ("law", "outcome"),
    [
        (vote.vote_error_exact, Outcome.HOLDS),
        (vote.vote_error_approx, Outcome.REFUTED),
        (without_half_ties, Outcome.REFUTED),
    ],
)
def test_majority_vote_is_a_binomial_mixture(law, outcome):
    def make(setting):
        return {
            "error": np.array([law(setting.dim, H) for H in setting.n_heads]) * noise(0.01, 48, len(setting.n_heads))
        }

    assert judged("majority_vote", make) is outcome


@pytest.mark.parametrize(("error", "outcome"), [(0.086, Outcome.HOLDS), (0.15, Outcome.REFUTED)])
def test_two_layers_must_be_below_the_bound_of_one(error, outcome):
    def make(setting):
        return {"error": error * noise(0.1, 16, 1), "averaged_error": 0.188 * noise(0.01, 16, 1, seed=1)}

    assert judged("depth_two_beats_depth_one", make) is outcome


@pytest.mark.parametrize(("error", "outcome"), [(0.1612, Outcome.HOLDS), (0.1735, Outcome.REFUTED)])
def test_plateau_is_not_that_of_aligned_heads(error, outcome):
    assert judged("linear_plateau", lambda setting: {"error": error * noise(0.003, 48)}) is outcome


def trained(setting, full=0.12, low=0.62, many=0.56, deep=0.6, angle=0.0, gain=1.0):
    """Runs as the paper says they end; the arguments spoil one thing at a time."""
    error = full if setting.rank == setting.dim else low if setting.copies == 1 else many
    error = error if setting.n_layers == 1 else deep
    flat = math.degrees(math.acos(-math.sqrt(setting.rank / setting.dim))) + angle
    beta = gain * target.near_tie_constant(setting.dim, setting.n_points - 1) / full
    heads = setting.copies * setting.dim // setting.rank
    n, seed = setting.n_replicas, 1_000 * setting.rank + 100 * setting.copies + 50 * setting.n_layers + setting.n_points
    return {
        "error": error * noise(0.004, n, seed=seed),
        "error_se": np.full(n, 1e-3),
        "angle": flat + noise(0.3, n, heads) - 1,
        "size": beta * noise(0.02, n, heads),
        "loss": noise(0.01, n, 3, seed=seed + 1),
    }


@pytest.mark.parametrize(
    ("name", "spoilt"),
    [
        ("rank_beats_heads", {"many": 0.2}),
        ("heads_help_slowly", {"many": 0.65}),
        ("context_length", {"low": 0.2}),
        ("heads_are_projections", {"angle": -12.0}),
        ("temperature_law", {"gain": 1.5}),
        ("depth_keeps_the_gap", {"deep": 0.2}),
        ("depth_keeps_the_gap", {"deep": 0.65}),
    ],
)
def test_claims_on_trained_transformers_hold_and_can_fail(name, spoilt):
    assert judged(name, trained) is Outcome.HOLDS
    assert judged(name, lambda setting: trained(setting, **spoilt)) is Outcome.REFUTED
    assert judged(name, lambda setting: trained(setting, full=0.5)) is Outcome.UNDECIDED


def test_heads_that_help_by_half_are_no_slow_help():
    assert judged("heads_help_slowly", lambda setting: trained(setting, many=0.25)) is Outcome.INVALID  # so is the twin


@pytest.mark.parametrize("name", ["rank_beats_heads", "temperature_law"])
def test_a_setting_that_is_not_of_full_rank_says_nothing(name):
    claim = paper.claims[name]
    setting = replace(claim.setting.desk, rank=2)
    assert claim.function(setting, PlantedLab(trained)).outcome is Outcome.VACUOUS


@pytest.mark.parametrize("name", ["heads_needed", "exponential_regime"])
def test_identities_hold_without_simulations(name):
    assert paper.claims[name].kind == "identity" and judged(name, None) is Outcome.HOLDS
