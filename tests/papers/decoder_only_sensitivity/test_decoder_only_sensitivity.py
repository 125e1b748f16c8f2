"""The paper on decoder-only models: exact claims on live runs, whole and spoilt, statistical ones on planted runs."""

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab
from attnlab.theory.score_statistics.log_sum import mean_participation_exact
from attnlab.theory.source_attention import flow, mass, sensitivity

paper = load("decoder_only_sensitivity")


@pytest.mark.parametrize(
    ("name", "array"),
    [("one_softmax_is_a_gate", "joint"), ("depth_repairs", "source"), ("residuals_need_more_depth", "source")],
)
def test_exact_claims_hold_on_live_runs_and_see_a_per_cent(name, array):
    claim = paper.claims[name]
    assert claim.judge(claim.setting.smoke, LiveLab()).holds
    spoilt = LiveLab(lambda runs: {**runs, array: 0.99 * runs[array]})
    assert claim.judge(claim.setting.smoke, spoilt).outcome.value == "REFUTED"


def around(values, setting):
    x = np.asarray(values, dtype=float)
    return x * (1 + 1e-6 * np.random.default_rng(1).standard_normal((setting.n_replicas, *x.shape)))


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.08, "REFUTED")])
def test_masses_and_sensitivities_on_planted_runs(factor, outcome):
    def shares(setting):
        biases = setting.biases or (0.0,) * len(setting.target_lengths)
        laws = [
            mass.source_mass_approx(setting.n_source, t, setting.margin + b, setting.spread)
            for t, b in zip(setting.target_lengths, biases, strict=True)
        ]
        return {"mass": around(factor * np.array(laws), setting)}

    def felt(setting):
        n, d, s = setting.n_source, setting.dim, setting.spread
        P = [mean_participation_exact(n + t, s) for t in (0, *setting.target_lengths)]
        lengths = (0, *setting.target_lengths)
        values = np.array([sensitivity.value_path_exact(n, t, d, p) for t, p in zip(lengths, P, strict=True)])
        both = np.array([sensitivity.both_paths_approx(n, t, d, s, p) for t, p in zip(lengths, P, strict=True)])
        laws = {"values": values[1:], "both": both[1:], "branch": both[1:] + both[0]}
        return {name: around(factor * law, setting) for name, law in laws.items()}

    for name, runs in (
        ("source_mass", shares),
        ("a_bias_holds_the_source", shares),
        ("sensitivity_falls", felt),
        ("a_branch_keeps_it", felt),
    ):
        claim = paper.claims[name]
        assert claim.judge(claim.setting.desk, PlantedLab(runs)).outcome.value == outcome, name


def lookups(odds=1.0, flat=1.0, branch_mass=0.6, branch_nats=0.01, trained=True):
    """Planted trained layers of 16 replicas with 8 keys: odds as the law says, times ``odds``, and ``flat`` with a bias."""
    n, R, scatter = 8, 16, np.random.default_rng(3)

    def make(setting):
        lengths = np.array(setting.target_lengths, dtype=float)
        biased = setting.layer == "biased"
        own, target = np.full((R, n), 9.0), np.full((R, n), 1.5)
        inverse = np.full((R, 4, n), 0.01)
        if biased:
            inverse = inverse / (n + lengths)[:, None]
        law = (9.0 + (lengths - 1) * 1.5) * inverse[:, :, 0]
        shape = {"joint": (0.9, np.array([0.001, 0.002, 0.005, 0.02])), "biased": (0.99, np.full(4, 0.001))}
        mass, nats = shape.get(setting.layer, (branch_mass, np.array([0.001, 0.002, 0.004, branch_nats])))
        wobble = 1 + 1e-4 * scatter.standard_normal((R, 4))
        start = np.array([3.6, 3.5, 3.5, 3.6 if biased else 3.4])
        return {
            "own": own, "target": target, "square": np.full((R, n), 9.0), "middle": np.full((R, n), 0.8),
            "inverse": inverse, "inverse2": inverse**2, "odds": law * wobble * (flat if biased else odds),
            "mass": mass * wobble, "start_mass": (0.3 + 0.1 * (setting.layer == "branch")) * wobble,
            "nats": (nats if trained else start) * wobble, "start_nats": start * wobble,
        }  # fmt: skip

    return make


@pytest.mark.parametrize(
    ("given", "outcomes"),
    [
        ({}, ("HOLDS", "HOLDS", "HOLDS")),
        ({"odds": 1.2}, ("REFUTED", "HOLDS", "HOLDS")),
        ({"flat": 1.2}, ("REFUTED", "HOLDS", "HOLDS")),
        ({"branch_nats": 0.0005}, ("HOLDS", "REFUTED", "HOLDS")),
        ({"branch_nats": 0.5}, ("HOLDS", "HOLDS", "REFUTED")),
        ({"branch_mass": 0.95}, ("HOLDS", "HOLDS", "REFUTED")),
        ({"trained": False}, ("HOLDS", "REFUTED", "REFUTED")),
    ],
)
def test_trained_layers_on_planted_runs(given, outcomes):
    claims = [paper.claims[name] for name in ("odds_are_affine", "a_bias_is_enough", "low_mass_is_not_lost")]
    found = [each.judge(each.setting.desk, PlantedLab(lookups(**given))).outcome.value for each in claims]
    assert tuple(found) == outcomes


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.15, "REFUTED"), (0.85, "REFUTED")])
def test_flat_stacks_on_planted_runs(factor, outcome):
    def felt(setting):
        laws = [
            [flow.stack_sensitivity_exact(setting.n_source, t, depth, setting.dim) for t in setting.target_lengths]
            for depth in setting.depths
        ]
        return {"square": around(factor * np.array(laws), setting)}

    claim = paper.claims["depth_slows_the_decay"]
    assert claim.judge(claim.setting.desk, PlantedLab(felt)).outcome.value == outcome


@pytest.mark.parametrize(
    ("joint", "branch", "outcome"),
    [((200, 30), (2, 2), "HOLDS"), ((30, 200), (2, 2), "REFUTED"), ((200, 30), (60, 60), "REFUTED")],
)
def test_random_stacks_on_planted_runs(joint, branch, outcome):
    def felt(setting):
        lost = {"joint": np.array(joint, dtype=float), "branch": np.array(branch, dtype=float)}
        steps = np.linspace(0, 1, len(setting.target_lengths))
        return {name: around(x[:, None] ** -steps, setting) for name, x in lost.items()}

    claim = paper.claims["random_stacks_forget_slower"]
    assert claim.judge(claim.setting.desk, PlantedLab(felt)).outcome.value == outcome


@pytest.mark.parametrize(
    ("four", "share", "trained", "outcome"),
    [
        (4.0, 0.2, True, "HOLDS"),
        (0.05, 0.2, True, "REFUTED"),  # depth repairs
        (4.0, 0.7, True, "REFUTED"),
        (4.0, 0.2, False, "REFUTED"),  # nothing is learnt
    ],
)
def test_trained_decoders_on_planted_runs(four, share, trained, outcome):
    def made(setting):
        deep = setting.n_layers == 4
        start = {"nats": np.array([3.6, 3.5, 3.5, 3.5]), "mass": np.full((4, setting.n_layers), 0.01)}
        end = {
            "nats": np.array([0.0005, 0.001, 0.01, four if deep else 0.2]),
            "mass": np.full((4, setting.n_layers), share if deep else 0.7),
        }
        now = end if trained else start
        start = {f"start_{name}": x for name, x in start.items()}
        return {name: around(x, setting) for name, x in (now | start).items()}

    claim = paper.claims["trained_depth_does_not_repair"]
    assert claim.judge(claim.setting.desk, PlantedLab(made)).outcome.value == outcome
