"""The paper on instruments for sinks: claims on real runs, and on runs spoilt on purpose."""

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab, scattered
from attnlab.theory.instruments import column_tests, sink_weights

paper = load("instruments_sinks")
HOME = Path(__file__).resolve().parents[3] / "papers" / "instruments_sinks"


def judged(name, lab, **changes):
    claim = paper.claims[name]
    return claim.judge(replace(claim.setting.smoke, **changes), lab).outcome.value


def changed(name, change):
    return LiveLab(lambda runs: runs | ({name: change(runs[name])} if name in runs else {}))


EXACT = {
    "bonus_law": ("alpha", lambda x: x * (1 + 1e-9)),
    "weights_of_secondary_sinks": ("weights", lambda x: x * (1 + 1e-9)),
    "lifetimes": ("lifetime", lambda x: x + 1),
    "redistribution": ("distance", lambda x: x * (1 + 1e-9)),
    "removal": ("move", lambda x: x * (1 + 1e-6)),
}


@pytest.mark.parametrize("name", EXACT)
def test_exact_claims_hold_and_a_small_error_is_seen(name):
    small = {"n_replicas": 1} if name != "bonus_law" else {}
    assert judged(name, LiveLab(), **small) == "HOLDS"
    assert judged(name, changed(*EXACT[name]), **small) == "REFUTED"


def test_simulations_of_instruments_know_no_prediction():
    for name in ("measured.py", "measured_states.py"):
        tree = ast.parse((HOME / name).read_text(encoding="utf-8"))
        assert not [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and "theory" in (n.module or "")]


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.05, "REFUTED")])
def test_noisy_bonuses(factor, outcome):
    def make(s):
        world = s.sd, s.sd if s.first_noise else 0.0
        law = sink_weights.mean_weight_noisy_exact(s.bonus, s.n_tokens, *world)
        sd = sink_weights.sd_of_mean_weight_exact(s.n_tokens, world[0], s.bonus, world[1])
        return {"alpha": scattered(law * factor, sd / s.n_prompts**0.5, s.n_replicas)}

    claim = paper.claims["noisy_bonus"]
    assert claim.judge(claim.setting.smoke, PlantedLab(make)).outcome.value == outcome


@pytest.mark.parametrize(("shift", "outcome"), [(0.0, "HOLDS"), (-0.06, "REFUTED")])
def test_the_power_of_ranks(shift, outcome):
    def make(s):
        m = s.n_tokens - s.n_tokens // 4 + 1
        power = column_tests.rank_test_power_exact(s.bonus / s.column_sd, s.n_prompts, m) + shift
        return {"found": (np.arange(25_600) < power * 25_600).reshape(16, -1)}

    claim = paper.claims["power_of_ranks"]
    assert claim.judge(claim.setting.smoke, PlantedLab(make)).outcome.value == outcome


def test_outside_its_conditions_nothing_is_refuted():
    assert judged("noisy_bonus", LiveLab(), world="column effects") == "VACUOUS"
    assert judged("power_of_ranks", LiveLab(), sd=1.0) == "VACUOUS"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(paper.claims) - set(EXACT)))
def test_other_claims_hold_on_real_runs(name):
    assert judged(name, LiveLab()) == "HOLDS"
