"""SOFT: claims as they run at smoke, on spoilt runs, and the published start that fails."""

from dataclasses import replace

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab
from attnlab.theory.sketching import gaussian_kernel

paper = load("soft_nystrom")

SPOILT = {
    "gaussian_kernel": {"least": lambda x: x - 0.01},
    "softmax_with_a_bias": {"rows": lambda x: 1.01 * x},
    "landmarks_leave_a_positive_rest": {"least_pooled": lambda x: x - 0.01},
    "residual_squares": {"residual": lambda x: 1.01 * x},
    "smaller_start_converges": {"residual": np.sqrt},
    "gradient_without_unrolling": {"gradient": lambda x: 1.01 * x},
    "normalised_norm": {"normalised": lambda x: 1.001 * x},
}


@pytest.mark.parametrize("name", SPOILT)
def test_claims_hold_as_they_run_and_fail_on_spoilt_runs(name):
    claim = paper.claims[name]
    setting = claim.setting.smoke
    if setting.n_replicas > 8:
        setting = replace(setting, n_replicas=8)
    assert claim.judge(setting, LiveLab()).outcome.value == "HOLDS"
    ((key, change),) = SPOILT[name].items()
    spoilt = LiveLab(lambda runs: runs | {key: change(runs[key])})
    outcome = claim.judge(setting, spoilt).outcome.value
    assert outcome in ("REFUTED", "INVALID")


def test_the_published_start_fails_on_a_ring_and_is_corrected():
    claim = paper.claims["largest_start_converges"]
    assert claim.expected == "REFUTED" and claim.kind == "published"
    assert claim.judge(claim.setting.smoke, LiveLab()).outcome.value == "REFUTED"
    assert claim.judge(replace(claim.setting.smoke, factor=1.5), LiveLab()).outcome.value == "VACUOUS"


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.05, "REFUTED"), (0.95, "REFUTED")])
def test_the_growth_of_the_norm(factor, outcome):
    noise = 1 + 1e-5 * np.random.default_rng(0).standard_normal(64)
    runs = {"norm": factor * gaussian_kernel.norm_share_limit(8, 0.5) * noise}
    claim = paper.claims["norm_grows"]
    assert claim.judge(claim.setting.desk, PlantedLab(runs)).outcome.value == outcome
