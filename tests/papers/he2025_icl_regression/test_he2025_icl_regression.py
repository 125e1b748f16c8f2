"""The paper module: coverage, and claims judged on planted runs whose truth is known."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from attnlab.papers.he2025_icl_regression import paper as common
from attnlab.papers.he2025_icl_regression import several_tasks
from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import PlantedLab
from attnlab.theory.in_context_regression import gradient_descent_risks as risks

paper = load("he2025_icl_regression")

SETTING = replace(common.DESK, n_replicas=16)
D, L, SIGMA = common.sizes(SETTING)
STEPS = np.unique(np.geomspace(1, 20_000, 60).astype(int))


def planted(
    seed=0, n=16, coefficient=0.0, omega=0.15, step=None, diagonal=0.98, zero=0.0, last=0.998, swap=False, excess=0.001
):
    """Runs of a trained model: at ``coefficient`` 0 debiased, at 1 plain gradient descent."""
    rng = np.random.default_rng(seed)
    eta = risks.debiased_gd_best_step_exact(D, L, SIGMA) if step is None else step
    way = (1 - np.exp(-STEPS / 300.0))[None, :]
    eta_t = eta * way + 0.002 * rng.normal(size=(n, len(STEPS)))
    drift = omega * np.minimum((STEPS / STEPS[-1]) ** -0.15, 2.0)
    heads = np.where(np.arange(n)[:, None] % 2, [1, 1, 1, -1], [1, 1, -1, -1])[:, None]  # (replica, 1, head)
    size = rng.dirichlet([3, 3, 3, 3], size=n)[:, None]
    size = size / np.where(
        heads > 0, (size * (heads > 0)).sum(-1, keepdims=True), (size * (heads < 0)).sum(-1, keepdims=True)
    )
    mu = heads * size * (eta_t / 2 / drift)[..., None]
    scales = heads * drift[:, None] * (1 + 0.01 * rng.normal(size=(n, 1, 4)))
    mu = mu + zero * np.abs(mu).sum(-1, keepdims=True) / 4
    mu[:, 0], scales[:, 0] = rng.normal(size=(2, n, 4)) * 0.1  # the random start
    if swap:
        mu = -mu
    group = np.stack([drift * np.ones((n, 1)), -drift * np.ones((n, 1))], axis=-1)
    apart = eta_t[:, -1] ** 2 * (D + 2 + SIGMA**2 * D) / L**2
    noise, left = 0.002 + 0.0002 * rng.normal(size=n) ** 2, coefficient + 0.02 * rng.normal(size=n)
    risk = risks.debiased_gd_best_risk_exact(D, L, SIGMA) + excess + 0.0003 * rng.normal(size=n)
    lengths = np.array(SETTING.test_lengths)
    own = np.stack([risks.debiased_gd_risk_exact(eta_t[:, -1], D, int(x), SIGMA) for x in lengths], axis=-1)
    energy = np.where(np.arange(len(STEPS)) == 0, 0.2, 1.0)[:, None]
    return {
        "steps": np.tile(STEPS, (n, 1)),
        "loss": np.full((n, len(STEPS)), 0.245) + 1e-3 * rng.normal(size=(n, len(STEPS))),
        "omega": scales,
        "mu": mu,
        "diagonal_energy": energy * (diagonal + 0.01 * rng.normal(size=(n, len(STEPS), 4))),
        "group_mu": np.stack([np.maximum(mu, 0).sum(-1), np.minimum(mu, 0).sum(-1)], axis=-1),
        "group_omega": group,
        "group_last_entry_energy": energy * (last + 0.001 * rng.normal(size=(n, len(STEPS), 2))),
        "step_size": eta_t,
        "distance_to_debiased_gd": noise + left**2 * apart,
        "distance_to_plain_gd": noise + (1 - left) ** 2 * apart,
        "distance_debiased_to_plain": apart * (1 + 0.003 * rng.normal(size=n)),
        "risk": risk,
        "gap_to_debiased_gd": risk - risks.debiased_gd_risk_exact(eta_t[:, -1], D, L, SIGMA),
        "risk_by_length": own + excess / 2 + 0.001 * rng.normal(size=(n, len(lengths))),
        "gap_to_debiased_gd_by_length": excess / 2 + 0.0003 * rng.normal(size=(n, len(lengths))),
    }


def verdict(name, **changes):
    lab = PlantedLab(train=lambda setting: planted(**{"n": 48, "seed": setting.n_heads} | changes))
    return paper.claims[name].function(SETTING, lab)


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "name",
    [
        "diagonal_kq",
        "zero_sum_ov",
        "sign_matching",
        "more_heads_are_two",
        "overshoot",
        "debiased_gd",
        "drift",
        "longer_prompts",
    ],
)
def test_a_model_that_is_debiased_gradient_descent_satisfies_the_claim(name):
    found = verdict(name)
    assert found.holds, found


@pytest.mark.parametrize(
    "name, changes",
    [
        ("diagonal_kq", {"diagonal": 3 / (D + 2)}),
        ("zero_sum_ov", {"zero": 0.9}),
        ("zero_sum_ov", {"last": 1 / (D + 1)}),
        ("sign_matching", {"swap": True}),
        ("debiased_gd", {"coefficient": 1.0}),
        ("debiased_gd", {"excess": 0.012}),
        ("debiased_gd", {"step": 0.775}),
        ("longer_prompts", {"excess": 0.05}),
        ("diagonal_kq", {"diagonal": 0.85}),
    ],
)
def test_a_rival_model_is_refuted(name, changes):
    assert verdict(name, **changes).outcome == "REFUTED"


def test_a_single_head_makes_the_statements_about_several_vacuous():
    setting = replace(SETTING, n_heads=1)
    for name in (
        "diagonal_kq",
        "zero_sum_ov",
        "sign_matching",
        "more_heads_are_two",
        "overshoot",
        "debiased_gd",
        "drift",
        "longer_prompts",
        "preconditioned",
    ):
        assert paper.claims[name].function(setting, PlantedLab()).outcome == "VACUOUS"


def test_without_longer_prompts_there_is_nothing_to_say_about_them():
    setting = replace(SETTING, n_context=100)
    assert paper.claims["longer_prompts"].function(setting, PlantedLab()).outcome == "VACUOUS"


def test_replicas_on_the_one_head_plateau_are_left_out_and_too_few_decide_nothing():
    runs = planted()
    runs["loss"][:15, -1] = 0.40
    assert common.past_plateau(SETTING, runs).sum() == 1
    found = paper.claims["debiased_gd"].function(SETTING, PlantedLab(train=runs))
    assert found.outcome == "UNDECIDED" and "1 of 16 replicas" in found.reason


def test_heads_that_do_equal_parts_and_heads_that_never_overshoot_are_refuted():
    runs = planted(n=48)
    equal = dict(runs)
    equal["mu"] = np.array([1.0, 1.0, 1.0, -1.0]) * np.ones_like(runs["mu"])
    equal["group_mu"] = runs["group_mu"] * np.array([1.5, 0.5])
    judge = paper.claims["more_heads_are_two"].function
    parts = {part.name: part for part in judge(SETTING, PlantedLab(train=equal)).parts}
    assert parts["larger group"].outcome == "REFUTED"
    steady = runs | {"omega": np.sign(runs["omega"]) * 0.15}
    assert paper.claims["overshoot"].function(SETTING, PlantedLab(train=steady)).outcome == "REFUTED"


def test_two_heads_have_nothing_to_be_compared_with():
    found = paper.claims["more_heads_are_two"].function(replace(SETTING, n_heads=2), PlantedLab())
    assert found.outcome == "VACUOUS" and "H > 2" in found.reason


def multi_task_runs(n_heads, n=16, shared=2, moved=0.1, factor=1.0, seed=0):
    """Four heads on two tasks: separate in all replicas but ``shared``, where every head serves both."""
    rng, steps = np.random.default_rng(seed), np.array([1, 1_000, 6_000, 12_000])
    mu = np.tile(np.array([[2.5, 0.0], [-2.5, 0.0], [0.0, 2.5], [0.0, -2.5]]), (n, len(steps), 1, 1))
    cross = 0.1 + moved * np.array([2.0, 1.5, 1.0, 0.0])[:, None, None] + 0.01 * rng.random((n, 1, 1, 1))
    mu = mu + np.where(mu == 0, 2.5 * cross, 0.0) * np.array([1, 1, 1, 1])[:, None]
    mu[:shared] = np.array([[2.0, 2.0], [-2.0, -2.0], [2.0, -2.0], [-2.0, 2.0]])
    best = np.mean([several_tasks.multi_task.multi_task_best_risk_exact(*a) for a in several_tasks.task_sizes(LONG)])
    eta = np.mean([several_tasks.multi_task.multi_task_best_step_exact(*a) for a in several_tasks.task_sizes(LONG)])
    return {
        "steps": np.tile(steps, (n, 1)),
        "loss": np.full((n, 4), best) + np.array([1.0, 0.02, 0.0, 0.0]),
        "mu": mu,
        "omega": np.full(mu.shape, 0.18),
        "projector_distance": np.full((n, 4, 2), 0.06) + np.array([0.9, 0.5, 0.0, 0.0])[:, None],
        "gap_to_debiased_gd": 0.003 + 0.002 * rng.normal(size=(n, 2)),
        "step_size": factor * eta * np.array([0.01, 0.5, 1.0, 1.0])[:, None] * (1 + 0.005 * rng.normal(size=(n, 4, 2))),
    }


LONG = several_tasks.LONG


@pytest.mark.parametrize("shared, outcome", [(4, "HOLDS"), (28, "REFUTED")])
def test_most_heads_split_or_most_do_not(shared, outcome):
    lab = PlantedLab(train_multitask=multi_task_runs(4, n=32, shared=shared))
    assert paper.claims["heads_split"].function(LONG, lab).outcome == outcome


def test_one_replica_that_shares_refutes_that_all_split():
    judge = paper.claims["heads_split_always"].function
    assert judge(LONG, PlantedLab(train_multitask=multi_task_runs(4, shared=1))).outcome == "REFUTED"
    assert judge(LONG, PlantedLab(train_multitask=multi_task_runs(4, shared=0, moved=0.0))).outcome == "HOLDS"


@pytest.mark.parametrize("factor, outcome", [(1.0, "HOLDS"), (1.08, "REFUTED"), (0.92, "REFUTED")])
def test_the_step_size_of_two_tasks_is_seen_to_eight_per_cent(factor, outcome):
    lab = PlantedLab(train_multitask=multi_task_runs(4, factor=factor))
    setting = several_tasks.TWO_SCALES.desk
    parts = {part.name: part for part in paper.claims["heads_share_or_split"].function(setting, lab).parts}
    assert parts["step size"].outcome == outcome and parts["risk"].holds


def test_sharing_is_zero_for_separate_heads_and_half_for_one_shared_head_of_three():
    separate = {"mu": np.array([[[[1, 0], [-1, 0], [0, 1], [0, -1]]]], float), "omega": np.ones((1, 1, 4, 2))}
    shared = {"mu": np.array([[[[1, 0], [0, 1], [-1, -1]]]], float), "omega": np.ones((1, 1, 3, 2))}
    assert several_tasks.sharing(separate)[0, 0] == 0 and several_tasks.sharing(shared)[0, 0] == 0.5


@pytest.mark.slow
def test_a_figure_has_the_same_bytes_when_it_is_drawn_again(tmp_path):
    written = []
    for name in ("first", "second"):
        plate = paper.figures["fig5"].function(SETTING, PlantedLab())
        written.append({path.name: path.read_bytes() for path in plate.save(tmp_path / name, "fig5")})
    assert written[0] == written[1] and {name.rpartition(".")[2] for name in written[0]} == {"png", "pdf", "svg", "csv"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        ("dim=3", "n_context=24", "noise_std=0.6"),
        ("dim=8", "n_context=40", "n_heads=6"),
        ("n_context=100", "noise_std=0.1", "n_heads=3"),
    ],
)
def test_no_verdict_is_wrong_at_other_sizes_and_seeds(tmp_path, changes):
    targets = [
        f"he2025.{name}"
        for name in ("zero_sum_ov", "sign_matching", "debiased_gd", "one_head", "longer_prompts", "drift")
    ]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "attnlab.papers.lab.commands.cli",
            "reproduce",
            *targets,
            *changes,
            "n_steps=20_000",
            "--seed",
            "11",
            "--replicas",
            "16",
            "--json",
            "--out",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode in (0, 3), done.stderr  # 3: undecided is no wrong verdict
    # INVALID says that at these sizes the margin reaches the twin: too weak a check, and no wrong statement
    assert {claim["verdict"] for claim in json.loads(done.stdout)["claims"]} <= {
        "HOLDS",
        "UNDECIDED",
        "VACUOUS",
        "INVALID",
    }
