"""Linformer: claims judged on planted runs of the truth and of errors of a few per cent, and as they run."""

from dataclasses import replace

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab
from attnlab.simulators.sketching.projections import given, given_row
from attnlab.theory.score_statistics.log_sum import mean_participation_exact
from attnlab.theory.sketching import projected_softmax as theory
from attnlab.theory.sketching.linformer import relative_error

paper = load("linformer")


def judged(name, make, **changes):
    claim = paper.claims[name]
    return claim.judge(replace(claim.setting.desk, **changes), PlantedLab(make)).outcome.value


def around(value, std, n=32):
    return value + std * np.random.default_rng(1).standard_normal(n)


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.06, "REFUTED"), (0.94, "REFUTED")])
def test_sketched_outputs(factor, outcome):
    def make(setting):
        P, V = given(setting)
        return {"square": around(factor * relative_error(P, V, setting.n_projected) ** 2, 1e-7)}

    assert judged("sketched_outputs", make, n_draws=10**5) == outcome
    assert judged("sketched_outputs", make, n_tokens=64) == "VACUOUS"


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.1, "REFUTED"), (0.9, "REFUTED")])
def test_small_steps(factor, outcome):
    def make(setting):
        x, y = given_row(setting)
        sizes = x, y, setting.n_projected, setting.step
        return {
            "mean": around(theory.small_step_mean_exact(*sizes), 1e-6),
            "variance": around(factor * theory.small_step_variance_exact(*sizes), 1e-6),
        }

    assert judged("output_of_small_steps", make, n_draws=10**5) == outcome
    assert judged("output_of_small_steps", make, step=0.5) == "VACUOUS"


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.03, "REFUTED")])
def test_stable_rank(factor, outcome):
    def make(setting):
        laws = [theory.stable_rank_of_participation(512, mean_participation_exact(512, s)) for s in setting.spreads]
        return {"stable_rank": np.stack([around(factor * law, 1e-5, 128) for law in laws], 1)}

    assert judged("stable_rank", make) == outcome


def test_promises_that_fail_are_refuted_and_would_hold_if_kept():
    for value, outcome in ((2.0, "REFUTED"), (0.3, "HOLDS")):
        column = {"column": np.full((16, 4), value)}
        assert judged("relative_error_of_projections", column) == outcome
        assert judged("small_steps_keep_the_output", {"error": np.full(32, value)}) == outcome
    for name in ("relative_error_of_projections", "small_steps_keep_the_output"):
        assert paper.claims[name].expected == "REFUTED" and paper.claims[name].kind == "published"


def test_additive_error():
    right = [{"violated": np.zeros(32)}, {"violated": np.ones(32)}]
    assert judged("additive_error", right) == "HOLDS"
    assert judged("additive_error", [{"violated": np.full(32, 0.9)}, right[1]]) == "REFUTED"


@pytest.mark.parametrize("name", ["linear_cost", "rank_of_the_values"])
def test_exact_claims_hold_as_they_run_and_fail_on_other_runs(name):
    claim = paper.claims[name]
    assert claim.judge(claim.setting.smoke, LiveLab()).outcome.value == "HOLDS"
    key = "projected" if name == "linear_cost" else "rank"
    spoilt = LiveLab(lambda runs: runs | {key: runs[key] + 1})
    assert claim.judge(claim.setting.smoke, spoilt).outcome.value in ("REFUTED", "INVALID")
