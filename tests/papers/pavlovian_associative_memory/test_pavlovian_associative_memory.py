"""The paper on associative memory: claims on small real runs, and on runs spoilt on purpose."""

from dataclasses import replace

import pytest

from attnlab.analysis import Outcome
from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab
from attnlab.theory.associative_memory import error_correcting, signs, softmax, sums

paper = load("pavlovian_associative_memory")
KEPT = {}


class KeptLab(LiveLab):
    """Runs every simulation once and spoils copies of what it gave."""

    def _arrays(self, simulation, number, setting):
        key = simulation.name, number, setting
        if key not in KEPT:
            spoil, self.spoil = self.spoil, dict
            KEPT[key] = super()._arrays(simulation, number, setting)
            self.spoil = spoil
        return self.spoil(KEPT[key])


def judged(name, spoil=dict, **changes):
    claim = paper.claims[name]
    return claim.judge(replace(claim.setting.smoke, **changes), KeptLab(spoil))


def scaled(name, factor):
    """Runs with one array multiplied."""
    return lambda runs: runs | ({name: runs[name] * factor} if name in runs else {})


SMALL = {
    "hebbian": {"n_draws": 400},
    "decay": {"n_draws": 800},
    "delta_rule": {"n_draws": 300},
    "softmax_error": {"n_draws": 200},
    "nearest_key": {"n_draws": 40},
    "class_labels": {},
    "redundancy": {"n_layers": 4},
    "chain": {"n_draws": 60},
    "propagation": {"n_draws": 2_000},
    "sign_capacity": {"n_replicas": 2, "dim": 3, "n_pairs": 6},
}


COSTLY = [name for name in paper.claims if name not in SMALL or name in ("delta_rule", "chain", "redundancy")]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", [name for name in SMALL if name not in COSTLY])
def test_true_claims_hold_on_small_runs(name):
    found = judged(name, **SMALL[name])
    assert found.holds, found


@pytest.mark.slow
@pytest.mark.parametrize("name", COSTLY)
def test_the_other_claims_hold_at_smoke(name):
    found = judged(name)
    assert found.holds or (found.outcome is Outcome.UNDECIDED and paper.claims[name].undecided_at_smoke), found


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("name", "array", "factor"),
    [
        ("hebbian", "error", 1 + 1 / 7),  # one more pair
        ("hebbian", "factor", 0.96),
        ("decay", "error", 1.15),
        ("delta_rule", "error", 1.2),
        ("softmax_error", "target_weight", 0.98),
        ("nearest_key", "target_weight", 0.93),
        ("class_labels", "right_label", 0.95),
        ("redundancy", "mean_error", 3.0),
        ("redundancy", "majority_error", 1.6),
        ("chain", "error", 1.5),
        ("propagation", "variance", 1.12),
        ("sign_capacity", "dichotomies", 2),
    ],
)
def test_spoilt_runs_refute_the_claim(name, array, factor):
    assert judged(name, scaled(array, factor), **SMALL[name]).outcome is Outcome.REFUTED


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("name", "module", "function", "factor"),
    [
        ("hebbian", sums, "hebbian_factor", 1.05),
        ("decay", sums, "decaying_hebbian_error", 1.2),
        ("nearest_key", softmax, "nearest_key_error", 1.2),
        ("class_labels", signs, "label_accuracy", 1.05),
        ("chain", signs, "chained_error", 1.5),
        ("sign_capacity", error_correcting, "dichotomies", 2),
        ("exponent_limit", softmax, "capacity_exponent_limit", 1.02),
    ],
)
def test_broken_theory_is_seen(name, module, function, factor, monkeypatch):
    true = getattr(module, function)
    monkeypatch.setattr(module, function, lambda *a, **k: factor * true(*a, **k))
    assert judged(name, **SMALL.get(name, {})).outcome is Outcome.REFUTED


def test_identities_and_anchors_hold():
    for name in ("exponent_limit", "storage_theorem"):
        assert judged(name).holds


@pytest.mark.slow
def test_the_delta_rule_at_another_rate_is_judged_against_its_own_law():
    assert judged("delta_rule", rate=0.7).holds
    assert judged("delta_rule", scaled("error", 1.3), rate=0.7).outcome is Outcome.REFUTED


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("hebbian", {"keys": "gaussian"}),
        ("decay", {"rule": "hebb"}),
        ("least_squares", {"n_pairs": 8}),
        ("sign_capacity", {"n_pairs": 4}),
        ("delta_rule", {"rate": 2.0}),
        ("delta_rule", {"dim": 64, "n_pairs": 8, "rate": 0.1}),
        ("guaranteed_capacity", {"n_pairs": 50}),
        ("class_labels", {"n_pairs": 12}),
        ("redundancy", {"n_heads": (1, 5)}),
        ("chain", {"n_layers": 3}),
    ],
)
def test_outside_its_conditions_a_claim_says_nothing(name, changes):
    claim = paper.claims[name]
    found = claim.judge(replace(claim.setting.smoke, **changes), PlantedLab({}))
    assert found.outcome is Outcome.VACUOUS and found.reason
