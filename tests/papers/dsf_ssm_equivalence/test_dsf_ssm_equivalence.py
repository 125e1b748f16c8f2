"""The paper on the dynamical systems framework: exact claims on live runs, whole and spoilt, trained ones on planted runs."""

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab
from attnlab.theory.recurrent_forms import gates

paper = load("dsf_ssm_equivalence")
EXACT = {
    "one_recurrence": "stepped",
    "without_recurrence": "quadratic",
    "coupled_selective_model": "stepped",
    "reads_may_carry_the_normaliser": "stepped",
    "reversed_gate": "decay",
    "state_numbers": "jacobian",
    "blocks_of_rank_n": "block",
    "truncated_features": "kernel",
    "odd_orders_are_negative": "negative",
}


@pytest.mark.parametrize(("name", "array"), EXACT.items())
def test_exact_claims_hold_on_live_runs_and_see_an_error(name, array):
    claim = paper.claims[name]
    assert claim.judge(claim.setting.smoke, LiveLab()).holds

    def spoil(runs):
        wrong = runs[array] + 1 if runs[array].dtype.kind == "i" else 0.98 * runs[array]
        return {**runs, array: wrong}

    assert claim.judge(claim.setting.smoke, LiveLab(spoil)).outcome.value == "REFUTED"


def around(values, setting, seed=1):
    x = np.asarray(values, dtype=float)
    return x + 1e-7 * np.random.default_rng(seed).standard_normal((setting.n_replicas, *x.shape))


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (0.9, "REFUTED")])
def test_shares_and_gates_on_planted_runs(factor, outcome):
    def above(setting):
        law = gates.share_of_decays_above_one_approx(setting.n_features, setting.first, setting.last)
        return {"above": around(factor * law, setting)}

    def kept(setting):
        laws = [gates.retention_exact(setting.n_steps, setting.spread, a) for a in setting.powers]
        return {"standard": around(factor * laws[0], setting), "reversed": around(factor * np.array(laws), setting)}

    for name, runs in (("decays_above_one", above), ("reversing_alone_does_nothing", kept)):
        claim = paper.claims[name]
        assert claim.judge(claim.setting.desk, PlantedLab(runs)).outcome.value == outcome, name


TRUE = {("linear", 2): 0.24, ("linear", 4): 0.45, ("linear", 8): 0.8, ("softmax", 4): 1.0, ("signed", 4): 0.8}


@pytest.mark.parametrize(
    ("positive", "rescaled", "outcomes"),
    [
        (0.4, 0.0, ("HOLDS", "HOLDS", "HOLDS", "HOLDS")),
        (0.8, 0.0, ("HOLDS", "HOLDS", "HOLDS", "REFUTED")),
        (0.4, -0.02, ("HOLDS", "REFUTED", "HOLDS", "HOLDS")),
    ],
)
def test_recall_on_planted_runs(positive, rescaled, outcomes):
    def runs(setting):
        value = {**TRUE, ("positive", 4): positive}[setting.form, setting.n_state]
        accuracy = around(value, setting, seed=len(setting.form))
        return {"accuracy": accuracy, "start": around(0.03, setting), "rescaled": accuracy + rescaled}

    names = ("recall_rises_with_state", "normaliser_does_not_rank", "learnt_normaliser_wins", "signs_win")
    found = []
    for name in names:
        claim = paper.claims[name]
        found.append(claim.judge(claim.setting.desk, PlantedLab(runs)).outcome.value)
    assert tuple(found) == outcomes


LOADS = {("softmax", 4, 8): 1.0, ("softmax", 4, 16): 0.99, ("linear", 4, 4): 0.88, ("linear", 4, 8): 0.63}
LOADS |= {("linear", 4, 16): 0.37, ("gated", 1, 8): 0.32, ("ssd", 2, 8): 0.6, ("ssd", 8, 8): 0.8}


@pytest.mark.parametrize(
    ("changed", "value", "outcomes"),
    [
        (None, 0.0, ("HOLDS", "HOLDS", "HOLDS")),
        (("softmax", 4, 16), 0.9, ("REFUTED", "HOLDS", "HOLDS")),
        (("linear", 4, 8), 0.35, ("HOLDS", "REFUTED", "HOLDS")),
        (("gated", 1, 8), 0.8, ("HOLDS", "HOLDS", "REFUTED")),
    ],
)
def test_recall_by_load_on_planted_runs(changed, value, outcomes):
    def runs(setting):
        key = setting.form, setting.n_state, setting.n_pairs
        return {"accuracy": around(value if key == changed else LOADS[key], setting), "start": around(0.06, setting, 2)}

    names = ("softmax_recalls_any_load", "finite_states_fill_up", "expansion_beats_gates")
    claims = [paper.claims[name] for name in names]
    assert tuple(each.judge(each.setting.desk, PlantedLab(runs)).outcome.value for each in claims) == outcomes
