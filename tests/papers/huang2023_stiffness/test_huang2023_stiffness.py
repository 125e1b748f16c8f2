"""The paper module: coverage, and claims judged on planted runs whose truth is known."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from attnlab.papers.huang2023_stiffness import indices, networks, solvers
from attnlab.papers.huang2023_stiffness.paper import EASY, peak
from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import PlantedLab
from attnlab.theory.stiffness import euler_steps as steps
from attnlab.theory.stiffness import index as theory
from attnlab.theory.stiffness import orbits

paper = load("huang2023_stiffness")

N = 48


def trained(before=0.0, after=0.3, gated=0.3, tilt=0.15, follow=1.0, accuracy=1.0):
    """Gated networks: logs of the peaks before and after training, what gates add to it, how far they tilt the profile, and
    the sign of the relation of gate and raw index."""
    rng, blocks = np.random.default_rng(0), np.arange(10)

    def profile(height):
        index = 0.5 * np.exp(0.02 * rng.normal(size=(N, 10)))
        index[:, 9] = np.median(index, axis=-1) * np.exp(height + 0.1 * np.abs(rng.normal(size=N)))
        return index

    plain = profile(after)
    other = [profile(after + gated) * np.exp(tilt * (blocks - 4.5)) for _ in range(2)]
    raw = np.exp(rng.normal(size=(N, 3, 10)))
    spread = np.exp(np.array([0.5, 0.5 + gated, 0.5 + gated])[:, None] + 0.05 * rng.normal(size=(N, 3, 10)))
    return {
        "index_low": 1 / spread,
        "index_high": spread,
        "index_before": np.stack([profile(before) for _ in range(3)], axis=1),
        "index": np.stack([plain, *other], axis=1),
        "raw_index": raw,
        "gate": 0.5 + 0.05 * follow * np.log(raw) + 0.02 * rng.normal(size=raw.shape),
        "accuracy": np.full((N, 3), accuracy),
    }


def untrained():
    """Networks after one step: flat profiles that gates halve, gates that follow nothing, no more spread with gates."""
    rng, runs = np.random.default_rng(1), trained(after=0.0, gated=0.0, tilt=0.0, follow=0.0)
    return runs | {"gate": 0.5 + 0.02 * rng.normal(size=(N, 3, 10)), "index": runs["index_before"]}


def network_claim(name, **changes):
    def runs(setting):
        return untrained() if setting.n_steps == 1 else trained(**changes)

    return paper.claims[name].function(EASY, PlantedLab(train_gated=runs))


@pytest.mark.parametrize(
    "name", ["depth_bursts", "gates_raise_peak", "gates_spread_inputs", "gates_tilt_profile", "gate_sign"]
)
def test_networks_that_do_as_claimed_satisfy_the_claim(name):
    found = network_claim(name, **({"tilt": 0.0} if name == "gates_raise_peak" else {}))
    assert found.holds, found


@pytest.mark.parametrize(
    "name, changes",
    [
        ("depth_bursts", {"after": -0.2, "before": 0.4}),
        ("gates_tilt_profile", {"tilt": -0.15}),
        ("gates_raise_peak", {"gated": -0.3, "after": 0.6, "tilt": 0.0}),
        ("gates_spread_inputs", {"gated": -0.3}),
        ("gate_sign", {"follow": -1.0}),
    ],
)
def test_networks_that_do_the_reverse_refute_it(name, changes):
    assert network_claim(name, **changes).outcome == "REFUTED"


def test_gates_that_raise_every_block_satisfy_the_published_statement_and_those_that_tilt_refute_it():
    assert network_claim("gates_raise_every_block").outcome == "REFUTED"
    runs = trained()
    runs["index"][:, 1] = 1.5 * runs["index"][:, 0]
    runs["index"][:, 1, 0] *= np.where(np.arange(N) % 8, 0.5, 1.0)  # not in 95 % of the blocks
    assert paper.claims["gates_raise_every_block"].function(EASY, PlantedLab(train_gated=runs)).holds


def test_networks_that_have_not_solved_the_task_say_nothing_about_bursts():
    found = network_claim("depth_bursts", accuracy=0.6)
    assert found.outcome == "UNDECIDED" and "0 of 48 replicas" in found.reason


def test_the_peak_of_a_flat_profile_is_zero():
    assert peak(np.ones(10)) == 0 and peak(np.array([1.0, 1.0, np.e])) == pytest.approx(1)


CHAIN = networks.CHAIN


def chain(end=1.0, blind=False):
    """Chains on one of the two flows; ``end``: factor of the slope."""
    time, n = np.concatenate([[0.0], np.geomspace(1e-3, 1.0, 20)]), CHAIN.n_replicas
    flows, best, slopes = networks.gate_flows(CHAIN, time)
    rng = np.random.default_rng(0)
    return {
        "time": np.tile(time, (n, 1)),
        "error": flows[blind] + 0.003 * best * rng.normal(size=(n, 21)),
        "slope": end * slopes[blind] + 0.001 * rng.normal(size=(n, 21)),
    }


@pytest.mark.parametrize(
    "changes, outcome",
    [({}, "HOLDS"), ({"blind": True}, "REFUTED"), ({"end": 0.95}, "REFUTED"), ({"end": 0.5}, "REFUTED")],
)
def test_gates_become_steps_only_along_the_reduced_flow(changes, outcome):
    found = paper.claims["gates_become_steps"].function(CHAIN, PlantedLab(train_gates=chain(**changes)))
    assert found.outcome == outcome, found


KEPLER = solvers.KEPLER.desk


def orbit_runs(slope=-1.0, relative=True, falls=True):
    rng, es = np.random.default_rng(0), KEPLER.eccentricities
    shares = np.array([orbits.kepler_burst_share(e, 20_000, relative=relative) for e in es])
    rank = -0.9 - 0.02 * np.arange(4) * (1 if falls else -1)
    return {
        "slope": slope + 0.01 * rng.normal(size=(16, 4)),
        "rank_correlation": rank + 0.002 * rng.normal(size=(16, 4)),
        "burst_share": shares * (1 + 0.005 * rng.normal(size=(16, 4))),
    }


@pytest.mark.parametrize(
    "name, changes, outcome",
    [
        ("kepler_steps", {}, "HOLDS"),
        ("kepler_steps", {"slope": -4 / 3}, "REFUTED"),
        ("kepler_steps", {"falls": False}, "REFUTED"),
        ("solution_bursts", {}, "HOLDS"),
        ("solution_bursts", {"relative": False}, "REFUTED"),
    ],
)
def test_steps_and_bursts_of_orbits_are_told_from_their_rivals(name, changes, outcome):
    assert paper.claims[name].function(KEPLER, PlantedLab(kepler_steps=orbit_runs(**changes))).outcome == outcome


@pytest.mark.parametrize("changes, outcome", [({}, "HOLDS"), ({"limit": 3.5}, "REFUTED"), ({"sign": -1}, "REFUTED")])
def test_stability_and_not_the_index_limits_the_steps_of_a_stiff_oscillator(changes, outcome):
    setting, rng = solvers.VAN_DER_POL.desk, np.random.default_rng(0)
    limit, sign = changes.get("limit", 3.3), changes.get("sign", 1)
    correlation = sign * np.array([-0.2, -0.3, 0.3, 0.8])
    runs = {
        name: centre + 0.01 * rng.normal(size=(16, 4))
        for name, centre in (
            ("index_correlation", correlation),
            ("eigenvalue_correlation", -0.8),
            ("slow_product", limit - 0.05),
        )
    }
    assert (
        paper.claims["index_is_not_stiffness"].function(setting, PlantedLab(van_der_pol_steps=runs)).outcome == outcome
    )


def euler_runs(power_of_one=1.0, two_is_worse=False, second_order=1.0):
    """Errors to second order; ``power_of_one``: the exponent of the steps that are called 1 / index."""
    setting = solvers.EULER.desk
    speed = solvers.speed_of(setting, 0.5)
    powers = [power_of_one if p == 1 else p for p in setting.powers]
    errors = np.array(
        [
            [
                steps.euler_error_approx(speed, n, p) * (1 + second_order * steps.second_order_share(speed, n, p))
                for n in setting.n_steps
            ]
            for p in powers
        ]
    )
    if two_is_worse:
        errors[setting.powers.index(2.0)] *= 1.002
    return setting, PlantedLab(euler_rules={"log_norm": np.tile(errors, (8, 1, 1)), "centre": np.full(8, 0.5)})


def test_best_steps_hold_to_second_order_and_other_exponents_are_refuted():
    assert all(paper.claims[name].function(*euler_runs()).holds for name in ("adaptive_steps", "best_power"))
    for claim, changes in (
        ("adaptive_steps", {"power_of_one": 0.5}),
        ("adaptive_steps", {"second_order": 0.0}),
        ("best_power", {"power_of_one": 0.25}),
        ("best_power", {"two_is_worse": True}),
    ):
        assert paper.claims[claim].function(*euler_runs(**changes)).outcome == "REFUTED"


def test_chains_of_few_steps_are_out_of_reach_of_an_expansion():
    setting, lab = euler_runs()
    found = paper.claims["best_power"].function(replace(setting, n_steps=(25, 50)), lab)
    assert found.outcome == "VACUOUS" and "second order" in found.reason


@pytest.mark.parametrize(
    "law, outcome", [(theory.orthogonal_increments_index, "HOLDS"), (theory.aligned_increments_index, "REFUTED")]
)
def test_orthogonal_increments_are_told_from_aligned_ones(law, outcome):
    setting = indices.STACK.desk
    index = law(setting.n_blocks) * np.exp(0.03 * np.random.default_rng(0).normal(size=(256, setting.n_blocks)))
    assert paper.claims["random_depth"].function(setting, PlantedLab(random_stack={"index": index})).outcome == outcome


@pytest.mark.parametrize("mean, outcome", [(False, "HOLDS"), (True, "REFUTED")])
def test_the_mean_square_over_directions_is_told_from_the_mean_singular_value(mean, outcome):
    setting, rng = indices.LINEAR.desk, np.random.default_rng(0)
    matrices = rng.normal(size=(16, 6, 6))
    rms = np.linalg.svd(matrices, compute_uv=False).mean(-1) if mean else np.linalg.norm(matrices, axis=(1, 2)) / 6**0.5
    pairs = rng.uniform(0.5, 1.0, size=(16, 2))
    finite = [[theory.eigenvector_index(complex(*pair), h) for h in setting.steps] for pair in pairs]
    runs = {
        "matrix": matrices,
        "rms": rms * (1 + 0.002 * rng.normal(size=16)),
        "eigenvalue": pairs,
        "finite": np.array(finite),
    }
    assert paper.claims["linear_index"].function(setting, PlantedLab(linear_index=runs)).outcome == outcome


@pytest.mark.parametrize(
    "name, changes",
    [
        ("index_is_not_stiffness", {"mu": (1.0, 5.0)}),
        ("best_power", {"powers": (0.0, 1.0)}),
        ("kepler_steps", {"eccentricities": (0.1, 0.3)}),
        ("solution_bursts", {"eccentricities": (0.1,)}),
        ("adaptive_steps", {"powers": (1.0,)}),
    ],
)
def test_settings_without_what_a_statement_is_about_say_so(name, changes):
    setting = replace(paper.claims[name].setting.desk, **changes)
    found = paper.claims[name].function(setting, PlantedLab())
    assert found.outcome == "VACUOUS" and "lacks" in found.reason


@pytest.mark.slow
def test_the_published_sizes_start(seeds):
    from attnlab.simulators.stiffness.gated_networks import train_gated

    setting = replace(paper.claims["depth_bursts"].setting.paper, n_steps=2, n_test=50, n_replicas=2)
    assert train_gated(setting, seeds(2))["index"].shape == (2, 3, 18)


@pytest.fixture
def seeds():
    return lambda n: [np.random.SeedSequence(1, spawn_key=(r,)) for r in range(n)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [("--scale", "smoke"), ("--scale", "smoke", "--seed", "7", "turns=2.0", "n_steps=400")]
)
def test_smoke_says_nothing_wrong(tmp_path, arguments):
    done = subprocess.run(
        [sys.executable, "-m", "attnlab.papers.huang2023_stiffness", *arguments, "--json", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode in (0, 3), done.stderr  # 3: undecided is no wrong verdict
    if not any("=" in argument for argument in arguments):
        assert done.returncode == 0 and len(list((tmp_path / "figures").rglob("fig*.png"))) == 6, done.stderr
    silent = {"best_power"} if "n_steps=400" in arguments else set()  # chains too short for the best power to be seen
    for claim in json.loads(done.stdout)["claims"]:
        allowed = {claim["expected"], "UNDECIDED"} | ({"VACUOUS"} if claim["id"].split(".")[1] in silent else set())
        assert claim["verdict"] in allowed, claim
