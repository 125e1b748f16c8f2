"""The paper on instruments for circuits: claims on real runs, and on runs spoilt on purpose."""

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab, scattered
from attnlab.theory.instruments import circuits as theory

paper = load("instruments_circuits")
HOME = Path(__file__).resolve().parents[3] / "papers" / "instruments_circuits"


def judged(name, lab, **changes):
    claim = paper.claims[name]
    return claim.judge(replace(claim.setting.smoke, **changes), lab).outcome.value


def changed(name, change):
    return LiveLab(lambda runs: runs | ({name: change(runs[name])} if name in runs else {}))


EXACT = {
    "planted_weights": ("match", lambda x: x * (1 + 1e-9)),
    "component_sums": ("whole", lambda x: x + 1e-9),
    "paths": ("effect", lambda x: x * 0.98),
    "lens": ("probability", lambda x: x * (1 + 1e-4)),
    "leaks": ("leak", lambda x: x + 1e-9),
}


@pytest.mark.parametrize("name", EXACT)
def test_exact_claims_hold_and_a_small_error_is_seen(name):
    assert judged(name, LiveLab(), n_replicas=1) == "HOLDS"
    assert judged(name, changed(*EXACT[name]), n_replicas=1) == "REFUTED"


def test_simulations_of_instruments_know_no_prediction():
    tree = ast.parse((HOME / "measured.py").read_text(encoding="utf-8"))
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and "theory" in (n.module or "")]


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.05, "REFUTED")])
def test_overlaps(factor, outcome):
    def make(s):
        n = s.n_layers * s.n_heads
        mean, var = (f(n, s.n_first, s.n_second) for f in (theory.overlap_mean, theory.overlap_variance))
        return {"mean": scattered(factor * mean, 0.01, 16), "variance": scattered(var, 0.02, 16)}

    claim = paper.claims["overlap"]
    assert claim.judge(claim.setting.desk, PlantedLab(make)).outcome.value == outcome


@pytest.mark.parametrize(("negatives", "outcome"), [(10, "HOLDS"), (9, "REFUTED")])
def test_the_null_of_codes(negatives, outcome):
    def make(s):
        law = theory.codes_null(s.shares, negatives)
        return {
            "score": scattered(law, theory.codes_null_sd(s.shares, s.n_positive, s.n_negative) / s.n_heads**0.5, 16),
            "null": np.zeros(16),
        }

    claim = paper.claims["null_of_codes"]
    assert claim.judge(claim.setting.desk, PlantedLab(make)).outcome.value == outcome


def test_outside_its_conditions_nothing_is_refuted():
    assert judged("paths", LiveLab(), match=6.0) == "VACUOUS"
    assert judged("leaks", LiveLab(), leak=1e-3) == "VACUOUS"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(paper.claims) - set(EXACT)))
def test_other_claims_hold_on_real_runs(name):
    assert judged(name, LiveLab()) == "HOLDS"
