"""The paper on the rank of linear attention: claims judged on planted runs whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import PlantedLab
from attnlab.simulators.low_rank.augmentation import VARIANTS

paper = load("rala_low_rank")


def judged(name, make):
    claim = paper.claims[name]
    return claim.function(claim.setting.desk, PlantedLab(make))


def recalled(errors, n=32, start=1.2):
    rng = np.random.default_rng(0)

    def make(setting):
        return {
            "error": errors[setting.variant] + 0.002 * rng.normal(size=n),
            "error_se": np.full(n, 0.001),
            "loss": start + np.zeros((n, 3)) + 0.02 * rng.normal(size=(n, 3)),
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
    assert judged("rank_is_not_recall", recalled(GOOD | {"softmax": 0.7})).outcome == "REFUTED"


def test_a_gate_that_reads_its_token_reads_its_own_value_and_never_the_one_asked_for():
    from attnlab.simulators.low_rank.recall import RecallHead

    head = RecallHead(3, 2, 4, 2, "gated")
    streams = [torch.Generator().manual_seed(0)]
    parameters = head.initialise(streams, torch.float64)
    keys, values = torch.randn(1, 1, 5, 3, dtype=torch.float64), torch.randn(1, 1, 5, 2, dtype=torch.float64)
    assert parameters["gate"].shape == (1, 2, 3 + 3 + 2)
    values.requires_grad_()
    weights = {name: each.detach() for name, each in parameters.items()}
    plain = weights | {"gate": torch.zeros_like(weights["gate"])}
    out = head.forward(weights, keys, values)[1] / head.forward(plain, keys, values)[1]  # the gate alone
    slope = torch.autograd.grad(out[0, 0, 1].sum(), values)[0][0, 0].abs().sum(-1)
    assert slope[2] > 0.1 and slope[[0, 1, 3, 4]].max() < 1e-9  # row 1 asks for value 1 and holds value 2


def ranked(own=1.0, lift=10.0, n=32, unevenness=0.001):
    """Tokens whose gated outputs have ``own`` times the effective rank of the averaged output, and ``lift`` times the plain one's."""

    def make(setting):
        rng, s = np.random.default_rng(1), len(setting.spreads)
        even = np.full((n, s), lift) + 0.1 * rng.normal(size=(n, s))
        effective = np.ones((n, s, 5))
        effective[..., VARIANTS.index("gated")] = own * even * (1 + 0.002 * rng.normal(size=(n, s)))
        effective[..., VARIANTS.index("linear")] += unevenness * rng.uniform(0.5, 1, size=(n, s))
        effective[:, 0, VARIANTS.index("linear")] += 1.5  # the largest spread
        return {"uniform_gated": even, "gate": 1.25 * even, "effective": effective}

    return make


@pytest.mark.parametrize(("own", "outcome"), [(1.0, "HOLDS"), (1.05, "REFUTED"), (0.8, "REFUTED")])
def test_gate_rank_wants_the_rank_of_the_averaged_output(own, outcome):
    assert judged("gate_rank", ranked(own)).outcome == outcome


@pytest.mark.parametrize(("lift", "outcome"), [(10.0, "HOLDS"), (1.5, "REFUTED")])
def test_a_gate_has_to_double_the_effective_rank(lift, outcome):
    assert judged("gate_raises_rank", ranked(lift=lift)).outcome == outcome


def test_counts_are_refuted_by_a_module_without_its_convolution_and_by_a_free_gate():
    from attnlab.simulators.low_rank.counts import CountSetting, count

    setting = CountSetting()
    found = count(setting, [np.random.SeedSequence(0)], "cpu")
    assert judged("linear_cost", lambda _: found).holds
    free = found | {"gate_macs": found["gate_macs"] - np.array([[n * v * v for n, _, v in setting.attention]])}
    bare = found | {"module_macs": found["module_macs"] - 25 * setting.side**2 * np.array(setting.channels)}
    assert judged("linear_cost", lambda _: free).outcome == judged("linear_cost", lambda _: bare).outcome == "REFUTED"


@pytest.mark.parametrize(
    "name, changes, words",
    [
        ("recall_bound", {"learning_rate": 1e30}, "learning_rate"),
        ("rank_is_not_recall", {"learning_rate": 1e30}, "learning_rate"),
        ("gate_rank", {"spreads": (3.0, 1.0)}, "spread of 0.1"),
        ("weights_concentrate", {"spreads": (0.1,)}, "spread of 1"),
        ("effective_rank_gap", {"key_dims": (2, 4)}, "width of 8"),
    ],
)
def test_outside_their_conditions_claims_say_so_before_anything_runs(name, changes, words):
    claim = paper.claims[name]
    found = claim.judge(replace(claim.setting.desk, **changes), PlantedLab([]))
    assert found.outcome == "VACUOUS" and words in found.reason


@pytest.mark.slow
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
