"""The paper on instruments for maps: claims on real runs, and on runs spoilt on purpose."""

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab, scattered
from attnlab.theory.instruments import maps as theory

paper = load("instruments_maps")
HOME = Path(__file__).resolve().parents[3] / "papers" / "instruments_maps"


def judged(name, lab, **changes):
    claim = paper.claims[name]
    return claim.judge(replace(claim.setting.smoke, **changes), lab).outcome.value


EXACT = {
    "known_entropies": "mixed",
    "distances": "kernels",
    "templates": "template",
    "trees": "bars",
    "alignment": "aligned",
}


@pytest.mark.parametrize("name", EXACT)
def test_exact_claims_hold_and_an_error_of_a_millionth_is_seen(name):
    assert judged(name, LiveLab()) == "HOLDS"
    assert judged(name, LiveLab(lambda runs: runs | {EXACT[name]: runs[EXACT[name]] * (1 + 1e-6)})) == "REFUTED"


def test_simulations_of_instruments_know_no_prediction():
    tree = ast.parse((HOME / "measured.py").read_text(encoding="utf-8"))
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and "theory" in (n.module or "")]


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.05, "REFUTED")])
def test_entropies(factor, outcome):
    def make(s):
        law = theory.mean_entropy_exact(s.n_tokens, s.sd)
        return {"entropy": scattered(law * factor, 0.002 * s.sd**2 / s.n_prompts**0.5, s.n_replicas)}

    claim = paper.claims["random_entropies"]
    assert claim.judge(claim.setting.smoke, PlantedLab(make)).outcome.value == outcome


@pytest.mark.parametrize(("heads", "outcome"), [(0, "HOLDS"), (4, "REFUTED")])
def test_votes(heads, outcome):
    def make(s):
        n = s.n_prompts * s.n_replicas
        right = np.arange(n) < theory.majority_exact(s.chance, s.n_heads + heads) * n
        shape = s.n_replicas, s.n_prompts
        return {
            "right": right.reshape(shape),
            "most": np.ones(shape, bool),
            "mean": (np.arange(n) < n / 2).reshape(shape),
        }

    claim = paper.claims["votes"]
    assert claim.judge(claim.setting.smoke, PlantedLab(make)).outcome.value == outcome


def test_outside_its_conditions_nothing_is_refuted():
    assert judged("random_entropies", LiveLab(), n_tokens=64) == "VACUOUS"
    assert judged("votes", LiveLab(), n_pieces=2) == "VACUOUS"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(paper.claims) - set(EXACT)))
def test_other_claims_hold_on_real_runs(name):
    assert judged(name, LiveLab()) == "HOLDS"
