"""The paper module: claims judged on planted runs whose truth is known, and the helpers they share."""

from dataclasses import replace

import numpy as np
import pytest

from attnlab.analysis import Outcome
from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab
from attnlab.papers.reddy2024_abrupt_icl import data_dependence
from attnlab.papers.reddy2024_abrupt_icl import paper as common
from attnlab.theory.induction_heads import dynamics
from attnlab.theory.induction_heads import reduced_loss as theory

paper = load("reddy2024_abrupt_icl")

SETTING = common.DESK
N, L = common.sizes(SETTING)
STEPS = np.linspace(0, 5_000, 101)


def network(seed=0, n=24, width=0.04, learns=True, labels_first=True, head_at=1.0, choose_right=0.0):
    """Measures of networks that jump at about step 2 000 with a logistic of the given width."""
    rng = np.random.default_rng(seed)
    half = 2_000 * np.exp(0.1 * rng.normal(size=(n, 1)))
    u, noise = STEPS / half, lambda: 0.01 * rng.normal(size=(n, len(STEPS)))

    def jump(at, steep):
        return 1 / (1 + np.exp(-np.clip((u - at) / steep, -60, 60))) * learns

    uniform = theory.uniform_measures(N, L)
    listed = N / L + (1 - N / L) * (1 - np.exp(-1.8 * u)) if labels_first else N / L + (1 - N / L) * jump(1.0, width)
    guess = 1 / N + choose_right * (1 - 1 / N)
    labels = uniform.label_attention + (1 - uniform.label_attention) / (1 + np.exp(-(u - 0.7) / 0.06))
    head = jump(head_at, width)
    accuracy = listed * (guess + (1 - guess) * jump(1.0, width))
    return {
        "steps": np.tile(STEPS, (n, 1)),
        "accuracy_context": np.clip(accuracy + noise(), 0, 1),
        "accuracy_shifted": accuracy,
        "accuracy_weights": 1 / L + np.abs(noise()),
        "context_share": listed + noise(),
        "item_attention": uniform.item_attention + (0.85 - uniform.item_attention) * head + noise(),
        "label_attention": labels + noise(),
        "match_attention": labels * (1 / N + (0.9 - 1 / N) * head) + 0.1 * noise(),
        "context_mass": listed,
    }


def verdict(name, **changes):
    return paper.claims[name].function(SETTING, PlantedLab(lambda setting: network(**changes)))


@pytest.mark.parametrize("name", ["abrupt", "random_choice", "attention_waits", "head_at_the_jump", "order_of_events"])
def test_networks_with_an_abrupt_head_satisfy_the_claim(name):
    found = verdict(name)
    assert found.holds, found


def test_attention_to_the_match_that_grows_with_that_to_labels_refutes_its_waiting():
    assert verdict("match_attention_waits").outcome is Outcome.REFUTED


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("abrupt", {"width": 0.25}),
        ("abrupt", {"learns": False}),
        ("random_choice", {"choose_right": 0.6}),
        ("random_choice", {"labels_first": False}),
        ("attention_waits", {"head_at": 0.5}),
        ("head_at_the_jump", {"head_at": 0.5}),
        ("order_of_events", {"head_at": 0.2}),
    ],
)
def test_networks_without_it_do_not(name, changes):
    assert not verdict(name, **changes).holds


def test_claims_on_the_context_say_nothing_where_the_weights_could_do():
    for changes in ({"p_novel": 0.5}, {"burstiness": 2}, {"n_labels": N}):
        for name in ("abrupt", "random_choice", "head_at_the_jump", "laid_over_the_network"):
            found = paper.claims[name].function(replace(SETTING, **changes), PlantedLab(lambda setting: network()))
            assert found.outcome is Outcome.VACUOUS


def test_networks_that_fail_with_as_many_labels_satisfy_that_claim_and_others_do_not():
    claim = paper.claims["as_many_labels_fail"].function
    assert claim(SETTING, PlantedLab(lambda setting: network(learns=setting.n_labels > N))).holds
    assert not claim(SETTING, PlantedLab(lambda setting: network())).holds


def ends(**final):
    """Runs that end at given accuracies."""
    rng = np.random.default_rng([int(1e4 * value) for value in final.values()])
    steps = np.linspace(0, 6_000, 25)
    return {
        "steps": np.tile(steps, (16, 1)),
        **{
            f"accuracy_{name}": np.clip(value * (steps / steps[-1]) + 0.02 * rng.normal(size=(16, 25)), 0, 1)
            for name, value in ({"shifted": 0.1} | final).items()
        },
    }


def test_claims_on_the_data_follow_the_planted_direction():
    base = data_dependence.MIXES.desk

    def by_count(sign):
        def choose(setting):
            share = 0.5 + sign * 0.4 * np.sign(setting.n_classes - base.n_classes)
            return ends(context=share, weights=1 - share)

        return choose

    claim = paper.claims["more_classes"].function
    assert claim(base, PlantedLab(by_count(1))).holds
    assert claim(base, PlantedLab(by_count(-1))).outcome is Outcome.REFUTED


def test_the_race_is_won_by_the_faster():
    base = data_dependence.MIXES.desk

    def choose(faster_wins):
        def runs(setting):
            if setting.p_novel == 1:
                return ends(context=1.2, weights=0.1)  # half-way at step 2 500
            few = setting.n_classes < base.n_classes
            if setting.p_bursty == 0:
                return ends(context=0.1, weights=5.0 if few else 0.4)  # at 600, or never
            if setting.n_classes == base.n_classes:
                return ends(context=0.5, weights=0.5)
            to_context = few != faster_wins
            return ends(context=0.9 if to_context else 0.1, weights=0.1 if to_context else 0.9)

        return runs

    claim = paper.claims["race"].function
    assert claim(base, PlantedLab(choose(True))).holds
    assert claim(base, PlantedLab(choose(False))).outcome is Outcome.REFUTED


def test_pace_that_depends_on_the_other_is_seen():
    base = data_dependence.MIXES.desk

    def choose(factor):
        return lambda setting: ends(context=1.0 if setting.n_classes == 4 * base.n_classes else factor, weights=0.1)

    claim = paper.claims["independent_pace"].function
    assert claim(base, PlantedLab(choose(1.1))).holds
    assert not claim(base, PlantedLab(choose(2.5))).holds


def test_the_race_says_nothing_where_paces_are_alike():
    claim = paper.claims["race"].function
    found = claim(data_dependence.MIXES.desk, PlantedLab(lambda setting: ends(context=0.9, weights=0.9)))
    assert found.outcome is Outcome.VACUOUS


def test_the_race_is_not_decided_where_the_slower_way_did_not_come_to_its_half():
    base = data_dependence.MIXES.desk

    def runs(setting):
        if setting.p_novel == 1:
            return ends(context=0.9, weights=0.1)
        return ends(context=0.1, weights=5.0 if setting.n_classes < base.n_classes else 0.3)

    found = paper.claims["race"].function(base, PlantedLab(runs))
    assert found.outcome is Outcome.UNDECIDED and "the run ends first" in found.reason


def test_labels_known_by_heart_are_seen_when_they_move():
    claim = paper.claims["shifted_labels"]

    def runs(shifted):
        found = network(n=16)
        return found | {"accuracy_shifted": shifted * network(n=16, seed=1)["accuracy_context"]}

    assert claim.function(claim.setting.desk, PlantedLab(lambda setting: runs(1.0))).holds
    assert not claim.function(claim.setting.desk, PlantedLab(lambda setting: runs(0.7))).holds


def test_links_of_burstiness_are_judged_one_by_one():
    base = data_dependence.MIXES.desk

    def choose(middle):
        def runs(setting):
            if setting.p_bursty == 0:
                return ends(context=0.1, shifted=0.0, weights=0.99)
            if setting.burstiness == 2:
                return ends(context=0.9, shifted=0.85, weights=0.2)
            return ends(context=0.5, shifted=middle, weights=1 - middle)

        return runs

    claim = paper.claims["burstiness"].function
    assert claim(base, PlantedLab(choose(0.5))).holds
    assert claim(base, PlantedLab(choose(0.86))).outcome is Outcome.REFUTED


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "name", ["saddle", pytest.param("plateau", marks=pytest.mark.slow), "nested_growth", "first_steps"]
)
def test_the_population_follows_the_exact_flow_and_a_changed_rate_is_seen(name, monkeypatch):
    claim = paper.claims[name]
    setting = replace(claim.setting.smoke, n_replicas=2)
    lab = LiveLab()
    assert claim.function(setting, lab).holds
    if name == "saddle":
        true = theory.circuit_saddle_rate_exact
        monkeypatch.setattr(theory, "circuit_saddle_rate_exact", lambda *sizes: 1.03 * true(*sizes))
    else:
        rate = dynamics.readout_rate
        monkeypatch.setattr(dynamics, "readout_rate", lambda n_labels: 1.1 * rate(n_labels))
    assert claim.function(setting, lab).outcome is Outcome.REFUTED


@pytest.mark.slow
def test_a_trained_beta2_is_read_by_the_flow():
    claim = paper.claims["nested_growth"]
    assert claim.function(replace(claim.setting.smoke, n_replicas=2, label_bias=True), LiveLab()).holds


def test_flows_of_other_circuits_are_not_judged():
    claim = paper.claims["exact_flow"]
    for changes in (
        {"readout": "relu"},
        {"within_class_noise": 0.1},
        {"n_context": 8},
        {"dim": 31},
        {"layer_1": False},
    ):
        found = claim.judge(replace(claim.setting.smoke, **changes), PlantedLab({}))
        assert found.outcome is Outcome.VACUOUS and found.reason


def test_first_time_interpolates_and_knows_what_never_happens():
    steps = np.array([0.0, 10.0, 20.0])
    found = common.first_time(steps, np.array([[0.0, 0.4, 0.8], [0.0, 0.1, 0.2], [0.6, 0.6, 0.6]]), 0.5)
    assert found[0] == 12.5 and np.isnan(found[1]) and found[2] == 0
    assert common.half_way(steps, np.array([[1.0, 2.0, 5.0]]))[0] == pytest.approx(10 + 10 / 3)


def test_rescaled_curves_meet_at_the_half_time():
    steps = np.linspace(0, 100, 101)
    curves = np.stack([np.clip(steps / 50, 0, 1), np.clip(steps / 20, 0, 1)])
    half = common.first_time(steps, curves, 0.5)
    found = common.rescaled(steps, curves, half, np.array([0.5, 1.0, 2.0, 9.0]))
    assert np.allclose(found[:, :3], [[0.25, 0.5, 1.0]] * 2) and np.isnan(found[0, 3]) and found[1, 3] == 1
