"""The paper module: coverage, and claims judged on planted runs whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from attnlab.analysis import Outcome, Verdict
from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab
from attnlab.papers.tarzanagh2023_att_svm import paper as common
from attnlab.papers.tarzanagh2023_att_svm import programs, prompt_starts, rates, several_tokens
from attnlab.simulators.max_margin_attention import training as simulator
from attnlab.simulators.max_margin_attention.feasibility import feasible_selections, separable
from attnlab.simulators.max_margin_attention.training import Setting
from attnlab.theory.max_margin_attention import dynamics
from attnlab.theory.max_margin_attention import frobenius as svm

paper = load("tarzanagh2023_att_svm")

STEPS = np.unique(np.geomspace(1, 10_000, 30).astype(int))
SEEDS = [np.random.SeedSequence(5, spawn_key=(i,)) for i in range(48)]
SMALL = replace(common.DESK, n_inputs=3, n_tokens=4, dim=5, n_replicas=48)
RNG = np.random.default_rng(0)


def data(setting):
    """Random problems and a feasible selection of tokens: the best-scoring ones if feasible, or the first that is."""
    runs = simulator.data_sets(setting, SEEDS[: setting.n_replicas])
    selected = []
    for keys, queries, scores in zip(runs["keys"], runs["queries"], runs["scores"], strict=True):
        tries = [scores.argmax(-1), *RNG.integers(scores.shape[1], size=(100, len(scores)))]
        selected.append(next(chosen for chosen in tries if svm.feasible(keys, queries, chosen)))
    return runs, np.array(selected)


def trained(norm="frobenius", power=0.0, growth=1.0, select=None):
    """Weights k^growth times a machine, plus a matrix across it that grows like k^power."""

    def make(setting):
        runs, selected = data(setting)
        if select is not None:
            selected = select(runs)
        machines = np.array(
            [
                common.solved(
                    "nuclear" if norm == "by width" and setting.inner_dim else norm.replace("by width", "frobenius"),
                    *case,
                ).weights
                for case in zip(runs["keys"], runs["queries"], selected, strict=True)
            ]
        )
        machines /= np.linalg.norm(machines, axis=(-2, -1), keepdims=True)
        across = 0.3 * RNG.normal(size=machines.shape)
        across -= (
            (across * machines).sum((-2, -1), keepdims=True) / (machines**2).sum((-2, -1), keepdims=True) * machines
        )
        k = STEPS[None, :, None, None].astype(float)
        W = 0.1 * (k**growth * machines[:, None] + k**power * across[:, None])
        log_attention = np.where(np.arange(setting.n_tokens) == selected[..., None], -1e-9, -60.0)
        W[:, 0] = 0.3 * RNG.normal(size=W[:, 0].shape)
        return runs | {"steps": np.tile(STEPS, (len(W), 1)), "W": W, "log_attention": log_attention}

    return PlantedLab(make)


def verdict(name, lab, setting=SMALL):
    return paper.claims[name].function(setting, lab)


@pytest.mark.parametrize(
    "name, lab",
    [
        ("frobenius_direction", trained()),
        ("nuclear_direction", trained("by width")),
        ("certificates", trained()),
        ("angle_rate", trained()),
        ("local_optimality", None),
    ],
)
def test_weights_that_obey_the_theory_satisfy_the_claim(name, lab):
    if name == "local_optimality":
        lab = trained(select=next_best)
    found = verdict(name, lab)
    assert found.holds, found


def test_weights_that_stand_still_say_nothing_about_a_limit():
    assert verdict("frobenius_direction", trained(growth=0.0)).wants == "training"


def next_best(runs):
    """The best selection that is feasible and locally but not globally optimal, where there is one."""
    selected = []
    for keys, queries, scores in zip(runs["keys"], runs["queries"], runs["scores"], strict=True):
        best = scores.argmax(-1)
        every = [np.array(c) for c in np.ndindex(*[scores.shape[1]] * len(scores)) if np.any(np.array(c) != best)]
        every.sort(key=lambda c: -scores[np.arange(len(c)), c].sum())
        local = (c for c in every if svm.feasible(keys, queries, c) and svm.locally_optimal(keys, queries, scores, c))
        selected.append(next(local, best))
    return np.array(selected)


@pytest.mark.parametrize(
    "name, lab",
    [
        ("frobenius_direction", trained("nuclear")),
        ("frobenius_direction", trained(growth=0.5)),
        ("nuclear_direction", trained()),
        ("angle_rate", trained(power=0.5)),
        ("local_optimality", None),
    ],
)
def test_weights_of_a_rival_theory_are_refuted(name, lab):
    if name == "local_optimality":
        lab = trained(
            select=lambda runs: np.array(
                [
                    next(
                        c
                        for c in map(np.array, np.ndindex(4, 4, 4))
                        if svm.feasible(k, q, c) and not svm.locally_optimal(k, q, s, c)
                    )
                    for k, q, s in zip(runs["keys"], runs["queries"], runs["scores"], strict=True)
                ]
            )
        )
    assert verdict(name, lab).outcome == "REFUTED"


def test_local_direction_tells_the_selected_tokens_from_the_best_ones():
    assert verdict("local_direction", trained(select=next_best)).holds


def test_local_direction_has_nothing_to_say_where_all_runs_find_the_best_tokens():
    def make(setting):
        runs = trained().give(setting)
        return runs | {"scores": (runs["log_attention"] > -1).astype(float)}

    found = verdict("local_direction", PlantedLab(make))
    assert found.outcome == "UNDECIDED" and found.reason.startswith("0 of 48")


def relu(right):
    """Accepted replicas whose third input is switched off, with weights along one of the two machines."""

    def make(setting):
        runs = simulator.data_sets(replace(SMALL, dim=6), SEEDS)
        attention = np.full((48, 3, 4), 1e-9)
        attention[:, :2, 0], attention[:, 2, :2] = 1.0, 0.5
        worth = runs["scores"] * np.array([1.0, 1.0, 0.0])[:, None]
        W = np.array(
            [
                svm.several_token_svm(
                    keys, queries, attention[0] > 0.1, [False, False, True] if right == "relaxed" else None
                )
                for keys, queries in zip(runs["keys"], runs["queries"], strict=True)
            ]
        )
        W = 100 * W[:, None] + 0.1 * RNG.normal(size=(48, len(STEPS), 6, 6))
        W[:, 0] = 0.1 * RNG.normal(size=(48, 6, 6))
        return runs | {"steps": np.tile(STEPS, (48, 1)), "W": W, "log_attention": np.log(attention), "worth": worth}

    return PlantedLab(make)


def test_the_relaxed_and_the_strict_program_are_told_apart():
    setting = several_tokens.RELU
    assert verdict("relaxed_svm", relu("relaxed"), setting).holds
    assert verdict("strict_svm", relu("relaxed"), setting).outcome == "REFUTED"
    assert verdict("relaxed_svm", relu("strict"), setting).outcome == "REFUTED"
    assert verdict("strict_svm", relu("strict"), setting).holds


def test_without_accepted_replicas_nothing_is_decided():
    def make(setting):
        runs = relu("strict").give(setting)
        return runs | {"log_attention": np.full((48, 3, 4), np.log(0.25))}

    for name in ("several_tokens", "relaxed_svm"):
        found = verdict(name, PlantedLab(make), several_tokens.RELU)
        assert found.outcome == "UNDECIDED" and "0 of 48" in found.reason


def path_runs(right=True):
    """Both paths exactly on their machines, or on each other's; the finite part and the loss gap as predicted."""

    def make(setting):
        runs, _ = data(replace(SMALL, n_replicas=24))
        best = runs["scores"].argmax(-1)
        radii = np.array(setting.radii)
        norm = "nuclear" if setting.factored == right else "frobenius"
        settled = 1 - np.exp(-radii / 20)
        W, gap = [], []
        for keys, queries, scores, chosen in zip(runs["keys"], runs["queries"], runs["scores"], best, strict=True):
            if not svm.feasible(keys, queries, chosen):
                W.append(np.ones((len(radii), 5, 5)))
                gap.append(-radii)
                continue
            machine = common.solved(norm, keys, queries, chosen)
            own = common.solved("frobenius", keys, queries, chosen)
            part = dynamics.finite_component(keys, queries, scores, chosen, own, "linear")
            W.append(radii[:, None, None] * machine.weights / machine.norm + settled[:, None, None] * part)
            gap.append(-radii / machine.norm + 20 * np.exp(-radii / 20))
        gap = np.array(gap) * (1 + 1e-7 * RNG.normal(size=(len(gap), 1)))
        return runs | {"radii": np.tile(radii, (24, 1)), "W": np.array(W), "log_gap": gap}

    return PlantedLab(make)


@pytest.mark.parametrize("name", ["regularisation_path", "loss_gap"])
def test_paths_are_judged_by_their_own_norm(name):
    assert verdict(name, path_runs(), rates.PATHS.desk).holds
    assert verdict(name, path_runs(right=False), rates.PATHS.desk).outcome == "REFUTED"


def test_the_finite_part_is_judged_with_its_score_gaps():
    assert verdict("finite_part", path_runs(), rates.PATHS.desk).holds


def test_the_closed_form_of_two_tokens_is_told_from_the_one_without_its_linear_term():
    setting = rates.PAIR
    time = setting.learning_rate * STEPS

    def make(curve):
        def runs(_):
            keys = np.zeros((4, 1, 2, 4))
            keys[:, 0, 0, 0] = 1.0
            W = np.zeros((4, len(STEPS), 4, 1))
            W[..., 0, 0] = curve
            return {
                "steps": np.tile(STEPS, (4, 1)),
                "keys": keys,
                "queries": np.ones((4, 1, 1)),
                "W": W,
                "scores": np.tile([[1.0, 0.0]], (4, 1, 1)),
            }

        return PlantedLab(runs)

    assert verdict("two_tokens", make(dynamics.two_token_logit(time)), setting).holds
    assert verdict("two_tokens", make(np.arcsinh(time / 2)), setting).outcome == "REFUTED"


def test_a_rising_share_is_told_from_a_falling_one():
    def make(sign):
        def runs(setting):
            kept = simulator.data_sets(replace(setting, n_replicas=48, dim=12), SEEDS)
            W = RNG.normal(size=(48, 2, 12, 12))
            last, first = (np.einsum("ritd,rde,rie->rit", kept["keys"], W[:, k], kept["queries"]) for k in (1, 0))
            hit = np.arange(48) < 48 * (0.5 + sign * 0.3 * np.log(setting.dim / 8))
            log_attention = np.where(hit[:, None, None], last, -last)
            return kept | {"scores": log_attention, "log_attention": last, "W": W, "first": first}

        return PlantedLab(runs)

    assert verdict("overparametrisation", make(1), common.DESK).holds
    assert verdict("overparametrisation", make(-1), common.DESK).outcome == "REFUTED"


@pytest.mark.slow
def test_claims_on_programs_hold_on_few_data_sets():
    lab = PlantedLab(lambda setting: feasible_selections(setting, SEEDS[:6], "cpu"))
    assert verdict("feasible", lab, programs.SMALL).holds
    assert verdict("feasible", lab, replace(programs.SMALL, n_inputs=4)).outcome in ("HOLDS", "INVALID")
    assert verdict(
        "rank",
        PlantedLab(lambda setting: simulator.data_sets(setting, SEEDS[:24])),
        Setting(n_inputs=8, n_tokens=4, dim=8),
    ).holds


def test_a_selection_that_is_not_feasible_refutes_the_lemma():
    def make(setting):
        runs = feasible_selections(setting, SEEDS[:3], "cpu")
        return runs | {"feasible": runs["feasible"] & (np.arange(runs["feasible"].shape[1]) != 5)}

    found = verdict("feasible", PlantedLab(make), programs.SMALL)
    assert found.outcome == "REFUTED" and found.witness["failures"] >= 3


def test_linear_programs_agree_with_the_least_distance_program_on_what_is_feasible():
    runs = simulator.data_sets(Setting(n_inputs=3, n_tokens=5, dim=2), SEEDS[:4])
    for keys, queries in zip(runs["keys"], runs["queries"], strict=True):
        for chosen in RNG.integers(5, size=(20, 3)):
            assert separable(keys, queries, chosen) == svm.feasible(keys, queries, chosen)


@pytest.mark.slow
def test_many_selections_are_drawn_and_few_are_counted_out():
    runs = feasible_selections(Setting(n_inputs=3, n_tokens=7, dim=7), SEEDS[:2], "cpu")
    assert runs["selected"].shape == (2, 256, 3) and runs["feasible"].all()
    assert feasible_selections(Setting(n_inputs=2, n_tokens=3, dim=2), SEEDS[:1], "cpu")["selected"].shape == (1, 9, 2)


@pytest.mark.parametrize("outside, outcome", [(0.0, "HOLDS"), (1e-6, "REFUTED")])
def test_rows_outside_the_span_of_the_queries_are_seen(outside, outcome):
    def make(setting):
        runs, selected = data(replace(SMALL, dim=6, n_replicas=8))
        W = np.einsum("rid,rie->rde", RNG.normal(size=(8, 3, 6)), runs["queries"])
        W = np.stack([0 * W, W + outside * RNG.normal(size=W.shape)], axis=1)
        log_attention = np.where(np.arange(4) == selected[..., None], 0.0, -60.0)
        return runs | {"W": W, "log_attention": log_attention}

    setting = replace(programs.SPAN, n_inputs=3, n_tokens=4, dim=6)
    assert verdict("row_space", PlantedLab(make), setting).outcome == outcome


CONE = paper.claims["cone"].setting.desk
OTHER_KEYS = (((-0.4, 1.0), (1.0, 0.0), (0.0, 0.0)),)


def kept_within(keys, boundary):
    """Final attention that keeps the second token below a boundary of the gap of its rivals."""
    X = np.array(keys[0])

    def make(setting):
        gap = np.array(setting.starts) @ (X[0] - X[2])
        attention = np.where((gap < boundary)[:, None], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0])
        return {"attention": attention[None, :, None]}

    return PlantedLab(make)


@pytest.mark.parametrize(
    "keys, boundary, outcome",
    [
        (CONE.keys, np.log(0.9 * 0.1 / (0.1 * 1.11)), "HOLDS"),
        (CONE.keys, 0.0, "REFUTED"),
        (CONE.keys, -0.5, "REFUTED"),
        (OTHER_KEYS, np.log(0.9 * 0.4 / (0.1 * 1.56)), "HOLDS"),
    ],
)
def test_the_cone_ends_where_the_rivals_balance(keys, boundary, outcome):
    found = verdict("cone", kept_within(keys, boundary), replace(CONE, keys=keys))
    assert found.outcome == outcome, found


def test_the_cone_says_nothing_without_starts_on_both_sides():
    found = verdict("cone", PlantedLab({}), replace(CONE, starts=CONE.starts[:3]))
    assert found.outcome == "VACUOUS" and "each side" in found.reason


@pytest.mark.slow
def test_single_inputs_of_other_scores_are_predicted_by_their_flow():
    setting = replace(prompt_starts.STARTS.smoke, scores=(((1.0, 0.8, 0.8),),))
    found = verdict("prompt_starts", LiveLab(), setting)
    assert found.holds, found
    always = LiveLab(lambda runs: runs | {"p": runs["p"][:, ::-1]})
    assert verdict("prompt_starts", always, setting).outcome == "REFUTED"


@pytest.mark.slow
def test_the_finite_parts_of_two_losses_are_read_from_the_scores():
    setting = replace(paper.claims["two_losses"].setting.desk, scores=(((0.0, 3.0), (0.0, 1.0)),), starts=((0.0, 0.0),))
    assert verdict("two_losses", LiveLab(), replace(setting, n_steps=2_000)).outcome in ("HOLDS", "VACUOUS")


def test_a_solution_without_a_good_certificate_is_refused(monkeypatch):
    monkeypatch.setattr(common, "RESIDUAL", 1e-30)
    runs = simulator.data_sets(replace(SMALL, dim=9), SEEDS[:1])
    with pytest.raises(RuntimeError, match="is solved to"):
        common.solved("nuclear", runs["keys"][0], runs["queries"][0], np.array([1, 2, 3]))


def test_short_runs_are_undecided_whatever_they_show():
    for name, setting in (
        ("two_losses", replace(paper.claims["two_losses"].setting.desk, n_steps=100)),
        ("joint_training", replace(paper.claims["joint_training"].setting.desk, n_steps=100)),
        ("cone", replace(paper.claims["cone"].setting.desk, n_steps=100)),
    ):
        found = verdict(name, PlantedLab(lambda setting: {}), setting)
        assert found.outcome == "UNDECIDED" and found.wants == "training" and not found.more_replicas_may_decide


def test_a_distance_that_still_falls_is_not_a_refutation():
    refuted = Verdict(Outcome.REFUTED, "direction")
    steps = np.array([1, 50, 100])
    assert common.unless_moving(refuted, steps, np.array([[0.5, 0.2, 0.1]]), 0.05).outcome == "UNDECIDED"
    assert common.unless_moving(refuted, steps, np.array([[0.5, 0.2, 0.2]]), 0.05).outcome == "REFUTED"


def test_slopes_of_decades_are_exact_for_a_power_law():
    x = np.geomspace(1, 1e4, 30)
    ends, slopes = common.slopes_of_decades(x, np.log(np.stack([x**-2, 5 * x])))
    assert ends[0] >= 10 and np.allclose(slopes, [[-2], [1]])
