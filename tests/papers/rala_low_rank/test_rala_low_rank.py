"""The two papers on low rank: claims judged on planted runs whose truth is known."""

import numpy as np
import pytest

from attnlab.papers.lab.run.planted import PlantedLab
from attnlab.papers.lama_low_rank import paper as lama_low_rank
from attnlab.papers.rala_low_rank import paper as rala_low_rank
from attnlab.simulators.low_rank.augmentation import VARIANTS


def judged(module, name, make):
    claim = module.paper.claims[name]
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
    assert judged(rala_low_rank, "recall_bound", recalled(GOOD)).holds
    assert judged(rala_low_rank, "rank_is_not_recall", recalled(GOOD)).holds
    assert not judged(rala_low_rank, "recall_bound", recalled(GOOD | {"gated": 0.3})).holds
    assert not judged(rala_low_rank, "rank_is_not_recall", recalled(GOOD | {"both": 0.1})).holds
    assert not judged(rala_low_rank, "rank_is_not_recall", recalled(GOOD | {"gated": 0.5})).holds


@pytest.mark.parametrize(("own", "holds"), [(1.0, True), (1.2, False)])
def test_gate_rank_wants_the_rank_of_the_averaged_output(own, holds):
    def make(setting):
        rng, n, s = np.random.default_rng(1), setting.n_replicas, len(setting.spreads)
        even = np.full((n, s), 10.0) + 0.1 * rng.normal(size=(n, s))
        effective = np.ones((n, s, 5))
        effective[..., VARIANTS.index("gated")] = own * even * (1 + 0.005 * rng.normal(size=(n, s)))
        effective[..., VARIANTS.index("linear")] += 0.001 * rng.uniform(size=(n, s))
        return {"uniform_gated": even, "gate": 1.25 * even, "effective": effective}

    assert judged(rala_low_rank, "gate_rank", make).holds is holds


@pytest.mark.parametrize(("accuracy", "holds"), [(0.8544, True), (0.8640, False)])
def test_no_head_may_beat_the_selection_bound(accuracy, holds):
    def make(setting):
        return {"accuracy": np.full(16, accuracy)}

    assert judged(lama_low_rank, "one_head_cannot_select", make).holds is holds


@pytest.mark.parametrize(("accuracy", "holds"), [(0.999, True), (0.856, False)])
def test_two_heads_must_leave_the_bound_behind(accuracy, holds):
    def make(setting):
        return {"accuracy": accuracy + 1e-4 * np.random.default_rng(2).normal(size=16)}

    assert judged(lama_low_rank, "two_heads_select", make).holds is holds


def test_a_rank_that_is_off_by_one_is_refuted():
    from attnlab.simulators.low_rank.exact_ranks import exact_ranks

    def make(setting):
        seeds = [np.random.SeedSequence(3, spawn_key=(k,)) for k in range(2)]
        return exact_ranks(setting, seeds, "cpu")

    def spoilt(setting):
        found = make(setting)
        return found | {"buffer": found["buffer"] + 1}

    assert judged(rala_low_rank, "attention_rank", make).holds and judged(rala_low_rank, "buffer_rank", make).holds
    assert not judged(rala_low_rank, "buffer_rank", spoilt).holds
