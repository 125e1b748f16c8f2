"""The paper on instruments for explanations: claims on real runs, and on runs spoilt on purpose."""

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab, scattered
from attnlab.theory.instruments import explanations as theory

paper = load("instruments_explanations")
HOME = Path(__file__).resolve().parents[3] / "papers" / "instruments_explanations"


def judged(name, lab, **changes):
    claim = paper.claims[name]
    return claim.judge(replace(claim.setting.smoke, **changes), lab).outcome.value


EXACT = {"gauge": ("norms", 1e-6), "relevance": ("whole", 1e-6), "deletion": ("best", 1e-6)}


@pytest.mark.parametrize("name", EXACT)
def test_claims_hold_and_an_error_of_a_millionth_is_seen(name):
    field, size = EXACT[name]
    small = {"n_orders": 200} if name == "deletion" else {"n_directions": 10} if name == "gauge" else {}
    assert judged(name, LiveLab(), **small) == "HOLDS"
    assert judged(name, LiveLab(lambda runs: runs | {field: runs[field] * (1 + size)}), **small) == "REFUTED"


def test_simulations_of_instruments_know_no_prediction():
    tree = ast.parse((HOME / "measured.py").read_text(encoding="utf-8"))
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and "theory" in (n.module or "")]


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.05, "REFUTED")])
def test_readers(factor, outcome):
    def make(s):
        variances = np.arange(1, s.dim + 1) ** -s.decay
        law = theory.hebbian_accuracy(variances, s.axis, s.n_examples)
        sd = (law * (1 - law) / s.n_prompts) ** 0.5
        return {
            "hebb": scattered(law * factor, sd, s.n_replicas),
            "ridge": scattered(0.9 - 0.02 * s.axis, sd, s.n_replicas)[:: 1 - 2 * (s.axis > 0)],
        }

    claim = paper.claims["readers"]
    assert claim.judge(claim.setting.desk, PlantedLab(make)).outcome.value == outcome


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.05, "REFUTED")])
def test_probes(factor, outcome):
    def make(s):
        law = theory.probe_accuracy_exact(s.distance, s.dim, s.n_train)
        sd = 0.3 / (s.n_train * s.n_draws) ** 0.5
        return {"accuracy": scattered(law * factor, sd, s.n_replicas), "control": scattered(0.5, sd, s.n_replicas)}

    claim = paper.claims["probes"]
    assert claim.judge(claim.setting.desk, PlantedLab(make)).outcome.value == outcome


def test_outside_its_conditions_nothing_is_refuted():
    assert judged("gauge", LiveLab(), eps=0.5) == "VACUOUS"
    assert judged("readers", LiveLab(), n_examples=4) == "VACUOUS"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(paper.claims) - set(EXACT)))
def test_other_claims_hold_on_real_runs(name):
    assert judged(name, LiveLab()) == "HOLDS"
