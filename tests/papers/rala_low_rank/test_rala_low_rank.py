"""The paper on the rank of linear attention: claims judged on planted runs whose truth is known."""

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import PlantedLab
from attnlab.simulators.low_rank.augmentation import VARIANTS

paper = load("rala_low_rank")


def judged(name, make):
    claim = paper.claims[name]
    return claim.function(claim.setting.desk, PlantedLab(make))


def recalled(errors, n=16):
    rng = np.random.default_rng(0)

    def make(setting):
        return {
            "error": errors[setting.variant] + 0.002 * rng.normal(size=n),
            "error_se": np.full(n, 0.001),
            "effective_rank": (7.0 if setting.variant == "softmax" else 4.5) + 0.05 * rng.normal(size=n),
        }

    return make


GOOD = {"linear": 0.74, "weighted": 0.87, "gated": 0.74, "both": 0.87, "softmax": 0.001}


def test_recall_claims_hold_on_errors_above_the_bound_and_fail_below_it():
    assert judged("recall_bound", recalled(GOOD)).holds
    assert judged("rank_is_not_recall", recalled(GOOD)).holds
    assert not judged("recall_bound", recalled(GOOD | {"gated": 0.3})).holds
    assert not judged("rank_is_not_recall", recalled(GOOD | {"both": 0.1})).holds
    assert not judged("rank_is_not_recall", recalled(GOOD | {"gated": 0.5})).holds


@pytest.mark.parametrize(("own", "holds"), [(1.0, True), (1.2, False)])
def test_gate_rank_wants_the_rank_of_the_averaged_output(own, holds):
    def make(setting):
        rng, n, s = np.random.default_rng(1), setting.n_replicas, len(setting.spreads)
        even = np.full((n, s), 10.0) + 0.1 * rng.normal(size=(n, s))
        effective = np.ones((n, s, 5))
        effective[..., VARIANTS.index("gated")] = own * even * (1 + 0.005 * rng.normal(size=(n, s)))
        effective[..., VARIANTS.index("linear")] += 0.001 * rng.uniform(size=(n, s))
        return {"uniform_gated": even, "gate": 1.25 * even, "effective": effective}

    assert judged("gate_rank", make).holds is holds


def test_a_rank_that_is_off_by_one_is_refuted():
    from attnlab.simulators.low_rank.exact_ranks import exact_ranks

    def make(setting):
        seeds = [np.random.SeedSequence(3, spawn_key=(k,)) for k in range(2)]
        return exact_ranks(setting, seeds, "cpu")

    def spoilt(setting):
        found = make(setting)
        return found | {"buffer": found["buffer"] + 1}

    assert judged("attention_rank", make).holds and judged("buffer_rank", make).holds
    assert not judged("buffer_rank", spoilt).holds
