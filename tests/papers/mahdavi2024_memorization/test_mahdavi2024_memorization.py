"""The paper module: coverage, and claims judged on planted runs whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import PlantedLab
from attnlab.papers.mahdavi2024_memorization.trained import GRIDS, bound
from attnlab.simulators.memorization.construction import construct
from attnlab.simulators.memorization.exact_ranks import exact_ranks
from attnlab.theory.memorization import ranks as theory

paper = load("mahdavi2024_memorization")


def judged(name, make):
    claim = paper.claims[name]
    return claim.function(claim.setting.desk, PlantedLab(make))


SEEDS = [np.random.SeedSequence(3, spawn_key=(k,)) for k in range(2)]


@pytest.fixture(scope="module")
def exact():
    claim = paper.claims["shared_rank"]
    return exact_ranks(claim.setting.desk, SEEDS, "cpu")


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("shared_rank", "shared"),
        ("shared_rank", "deficient"),
        ("width_does_not_limit_rank", "shared"),
        ("distinct_rank", "distinct"),
        ("no_general_position", "subspace"),
        ("no_general_position", "collinear"),
        ("softmax_contrast", "linear"),
        ("softmax_contrast", "normalised"),
        ("repeated_queries", "repeated"),
        ("memorises_its_rank", "solvable_beyond"),
    ],
)
def test_a_rank_that_is_off_by_one_is_refuted(exact, name, array):
    assert judged(name, lambda setting: exact).holds
    assert judged(name, lambda setting: exact | {array: exact[array] + 1}).outcome == "REFUTED"


@pytest.mark.parametrize(
    ("array", "change"),
    [
        ("rank", lambda x: x - 1),
        ("unsaturated", lambda x: x + 1),
        ("residual", lambda x: x + 0.1),
        ("width", lambda x: x - 1),
    ],
)
def test_a_construction_that_does_not_deliver_is_refuted(array, change):
    claim = paper.claims["saturating_weights"]
    runs = construct(claim.setting.smoke, SEEDS, "cpu")
    assert judged("saturating_weights", lambda setting: runs).holds
    assert judged("saturating_weights", lambda setting: runs | {array: change(runs[array])}).outcome == "REFUTED"


def frozen(shift):
    def make(setting):
        rng, R = np.random.default_rng(0), theory.shared_context_rank(10**6, setting.n_heads, setting.n_context) + shift
        law = np.array([theory.frozen_residual(T, R) for T in setting.examples])
        return {"mse": law * (1 + 0.001 * rng.normal(size=(16, law.size)))}

    return make


def test_residuals_are_told_from_a_rank_of_one_less():
    assert judged("residual_law", frozen(0)).holds
    assert judged("residual_law", frozen(-1)).outcome == "REFUTED"


@pytest.mark.parametrize("name", ["residual_law", "all_labels_fit"])
def test_examples_that_lie_below_the_rank_leave_nothing_to_say(name):
    claim = paper.claims[name]
    setting = replace(claim.setting.desk, n_heads=20)  # R = 141, T up to 140
    assert claim.judge(setting, PlantedLab(frozen(0))).outcome == "VACUOUS"


def test_the_formula_of_parameters_is_told_from_wide_values_by_the_published_numbers():
    found = paper.claims["published_parameters"].function(paper.default.desk, PlantedLab())
    assert found.holds


@pytest.mark.parametrize("shift, outcome", [(0, "HOLDS"), (3, "REFUTED")])
def test_an_effective_rank_at_full_width_is_the_rank(shift, outcome):
    def make(setting):
        R = theory.shared_context_rank(10**6, setting.n_heads, setting.n_context)
        sizes = [R - 8 if width == 1 else R - shift for width in setting.head_dims]
        index = np.arange(setting.n_heads * setting.dim)
        values = np.stack([np.where(index < size, 0.1, 1e-5) for size in sizes])
        return {"gaussian": np.tile(values, (16, 1, 1)), "published": np.tile(values - 0.0999, (16, 1, 1))}

    assert judged("width_is_conditioning", make).outcome == outcome


def labelled(shift):
    def make(setting):
        rng = np.random.default_rng(1)
        counts = [
            theory.separable_dichotomies(T, theory.shared_context_rank(T, H, n) + shift) for n, H, T in setting.counted
        ]
        R = theory.shared_context_rank(10**6, setting.small_heads, setting.small_context) + shift
        shares = np.array([float(theory.separable_probability(T, R)) for T in setting.sampled])
        return {
            "count": np.tile(counts, (32, 1)),
            "unclear": np.zeros(32, int),
            "separable": rng.random((32, len(shares), setting.n_sampled)) < shares[:, None],
        }

    return make


@pytest.mark.parametrize("name", ["separable_count", "separable_share"])
def test_labellings_are_counted_at_the_right_rank(name):
    assert judged(name, labelled(0)).holds
    assert judged(name, labelled(1)).outcome == "REFUTED"


def trained(memorised, worth=lambda R, P: (R + P) / 3, saturated=0.75):
    """Trained layers that memorise ``memorised(setting)`` examples, and with real labels ``worth`` examples' variance."""

    def make(setting):
        rng, n = np.random.default_rng([setting.n_heads, setting.n_context, setting.head_dim]), setting.n_replicas
        R = bound(setting)
        P = theory.layer_parameters(setting.dim, setting.n_heads, setting.head_dim, max(setting.n_classes, 1))
        share = worth(R, P) / setting.n_examples
        after = saturated if setting.n_steps > 1 else 0.0
        weights = np.where(rng.random((n, setting.n_examples, setting.n_heads)) < after, 1.0, 0.5)
        spectrum = np.where(np.arange(setting.n_heads * setting.dim) < R, 1e-3, 1e-17) * np.ones((n, 1))
        return {
            "memorised": np.minimum(memorised(setting), setting.n_examples) * (1 + 0.03 * rng.normal(size=n)),
            "most_frequent": np.full(n, 40.0),
            "mse": (1 - share) / 12 * (1 + 0.002 * rng.normal(size=n)),
            "label_variance": np.full(n, 1 / 12),
            "n_parameters": np.full(n, P),
            "largest_weight": weights,
            "spectrum": spectrum,
        }

    return make


def growing(power=1.0, context=1.0, width=1.0, own=1.4):
    def memorised(setting):
        if setting.n_context == 1:
            return 35.0
        beyond = 90.0 * (setting.n_heads / 6) ** power * (np.log2(setting.n_context) / 2) ** context
        beyond *= min(setting.head_dim, setting.n_context - 1) ** 0.2 if width else setting.head_dim**1.0 / 8
        return 40 + beyond * (1 if setting.shared else own)

    return memorised


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("linear_in_heads", trained(growing(power=0.3))),
        ("linear_in_heads", trained(growing(power=1.8))),
        ("grows_with_context", trained(growing(context=-1.0))),
        ("width_growth_ends", trained(growing(width=0))),
        ("own_contexts_memorise_more", trained(growing(own=0.6))),
        ("trained_beats_frozen", trained(growing(), worth=lambda R, P: R / 2)),
        ("heads_specialise", trained(growing(), saturated=0.3)),
    ],
)
def test_capacity_claims_hold_on_planted_growth_and_fail_on_its_rival(name, wrong):
    right = judged(name, trained(growing()))
    assert right.holds, right
    assert judged(name, wrong).outcome == "REFUTED"


def test_a_layer_above_the_rank_bound_is_refuted():
    assert judged("trained_rank_bound", trained(growing())).holds

    def above(setting):
        runs = trained(growing())(setting)
        return runs | {"spectrum": np.tile(0.8 ** np.arange(runs["spectrum"].shape[1]), (len(runs["spectrum"]), 1))}

    assert judged("trained_rank_bound", above).outcome == "REFUTED"


@pytest.mark.parametrize(("change", "outcome"), [(0, "HOLDS"), (1, "REFUTED"), (-1, "REFUTED")])
def test_the_dimension_of_the_functions_is_told_from_its_neighbours(change, outcome):
    def make(setting):
        law = np.array([theory.function_dimension(d, H, n, d_h) for d, n, H, d_h in setting.layers])
        return {"rank": np.tile(law + change, (16, 1)), "n_parameters": np.tile(law + 30, (16, 1))}

    assert judged("fewer_dimensions_than_parameters", make).outcome == outcome


def test_layers_that_were_hardly_trained_decide_nothing():
    for name, claim in paper.claims.items():
        if claim.undecided_at_smoke:
            verdict = claim.function(claim.setting.smoke, PlantedLab(trained(growing())))
            assert verdict.outcome == "UNDECIDED" and not verdict.more_replicas_may_decide, name


def test_grids_hold_the_widths_that_claims_look_up():
    for grid, setting in zip(
        GRIDS.values(), (paper.default.smoke, paper.default.desk, paper.default.paper), strict=True
    ):
        n = grid["wide_context"]
        assert n <= setting.dim and theory.sufficient_head_dim(n, setting.dim) in grid["widths"]
        assert set(grid["fewer"]) <= set(grid["heads"]) and set(grid["fewer"]) <= set(grid["contexts"])
