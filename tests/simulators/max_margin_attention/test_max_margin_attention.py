"""Training of token-selecting attention: gradients, saturation, data, paths, prompts."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from attnlab.simulators.max_margin_attention import training as simulator
from attnlab.simulators.max_margin_attention.model import NormalisedEach, SelectionTask, TokenAttention
from attnlab.simulators.max_margin_attention.prompt_vectors import JointSetting, PromptSetting, joint, prompts
from attnlab.simulators.max_margin_attention.regularisation_path import PathSetting, regularisation_path
from attnlab.simulators.max_margin_attention.training import Setting

SMALL = Setting(n_inputs=3, n_tokens=4, dim=5, n_steps=200, n_records=10, n_replicas=4)


def problem(n_replicas=2, n=3, T=4, d=5, seed=0):
    stream = torch.Generator().manual_seed(seed)
    keys, queries = (
        torch.randn(*shape, generator=stream, dtype=torch.float64)
        for shape in ((n_replicas, n, T, d), (n_replicas, n, d))
    )
    return keys, queries, torch.randn(n_replicas, n, T, generator=stream, dtype=torch.float64)


def naive(keys, queries, scores, W, kind):
    s = torch.softmax(torch.einsum("ritd,rde,rie->rit", keys, W, queries), -1)
    u = (s * scores).sum(-1)
    return {"linear": -u, "logistic": torch.nn.functional.softplus(-u), "exponential": torch.exp(-u)}[kind].mean(-1)


@pytest.mark.parametrize("kind", ["linear", "logistic", "exponential"])
def test_the_gradient_is_that_of_back_propagation_where_attention_is_soft(kind):
    keys, queries, scores = problem()
    W = torch.randn(2, 5, 5, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(naive(keys, queries, scores, W, kind).sum(), W)
    model, task = TokenAttention(keys, queries), SelectionTask(scores, kind, rescaled=False)
    loss = task.loss(model, {"W": W}, None)
    (found,) = torch.autograd.grad(loss.sum(), W)
    assert torch.allclose(found, expected, rtol=1e-11, atol=1e-14)
    assert torch.allclose(loss, naive(keys, queries, scores, W, kind), rtol=1e-13)
    (rescaled,) = torch.autograd.grad(replace(task, rescaled=True).loss(model, {"W": W}, None).sum(), W)
    ratio = rescaled / expected
    assert torch.allclose(ratio, ratio[:, :1, :1].expand_as(ratio), rtol=1e-9) and (ratio > 0).all()


def test_factors_get_the_chain_rule_of_the_product():
    keys, queries, scores = problem()
    K, Q = (torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    expected = torch.autograd.grad(naive(keys, queries, scores, K @ Q.mT, "logistic").sum(), [K, Q])
    task = SelectionTask(scores, rescaled=False)
    found = torch.autograd.grad(task.loss(TokenAttention(keys, queries, 3), {"K": K, "Q": Q}, None).sum(), [K, Q])
    assert all(torch.allclose(a, b, rtol=1e-11, atol=1e-14) for a, b in zip(found, expected, strict=True))


def test_relu_heads_have_the_gradient_of_back_propagation():
    keys, queries, scores = problem()
    units, labels = torch.randn(2, 5, 5, dtype=torch.float64), torch.tensor([[1.0, -1.0, 1.0]] * 2, dtype=torch.float64)
    W = torch.randn(2, 5, 5, dtype=torch.float64, requires_grad=True)
    s = torch.softmax(torch.einsum("ritd,rde,rie->rit", keys, W, queries), -1)
    output = torch.relu(torch.einsum("rit,ritd,rdk->rik", s, keys, units)).sum(-1)
    (expected,) = torch.autograd.grad(torch.nn.functional.softplus(-labels * output).mean(-1).sum(), W)
    task = SelectionTask(scores, rescaled=False, units=units, labels=labels)
    (found,) = torch.autograd.grad(task.loss(TokenAttention(keys, queries), {"W": W}, None).sum(), W)
    assert torch.allclose(found, expected, rtol=1e-10, atol=1e-13)


def test_back_propagation_stalls_at_a_gap_where_this_gradient_goes_on():
    keys = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]], dtype=torch.float64)
    W = torch.tensor([[[60.0], [0.0]]], dtype=torch.float64, requires_grad=True)
    ones, scores = torch.ones(1, 1, 1, dtype=torch.float64), torch.tensor([[[1.0, 0.0]]], dtype=torch.float64)
    (lost,) = torch.autograd.grad(naive(keys, ones, scores, W, "linear").sum(), W)
    (found,) = torch.autograd.grad(
        SelectionTask(scores, "linear").loss(TokenAttention(keys, ones), {"W": W}, None).sum(), W
    )
    assert lost[0, 0, 0] == 0 and lost[0, 1, 0] != 0  # the selected logit cancels: a wrong direction
    assert found[0, 0, 0] == -found[0, 1, 0] != 0


def test_normalised_descent_of_factors_moves_each_by_one_step():
    values, gradient = torch.zeros(2, 8, dtype=torch.float64), torch.randn(2, 8, dtype=torch.float64)
    NormalisedEach(0.1).update(values, gradient, {}, 0)
    assert torch.allclose(values.view(2, 2, 4).norm(dim=-1), torch.full((2, 2), 0.1, dtype=torch.float64))


def test_runs_go_on_far_beyond_saturation_and_grow_by_a_step_at_a_time(seeds):
    runs = simulator.train(replace(SMALL, n_steps=1_500), seeds(4))
    norms = np.linalg.norm(runs["W"], axis=(-2, -1))
    assert (runs["diverged_at"] == -1).all() and (runs["saturation"][:, -1] > 0.99).all()
    assert np.all(norms[:, -1] > 100) and np.all(norms[:, -1] < norms[:, 0] + 0.1 * 1_500 + 1e-9)
    assert runs["W"].shape == (4, runs["steps"].shape[1], 5, 5)


def test_a_replica_depends_on_its_seed_only(seeds):
    together, alone = simulator.train(SMALL, seeds(3)), simulator.train(SMALL, seeds(3)[2:])
    assert np.allclose(together["W"][2], alone["W"][0], rtol=1e-9, atol=1e-12)
    assert np.array_equal(simulator.data_sets(SMALL, seeds(3))["keys"], together["keys"])


def test_data_are_unit_vectors_and_queries_are_what_they_are_named(seeds):
    cross, self_, prompt = (
        simulator.data_sets(replace(SMALL, query=query), seeds(3)) for query in ("cross", "self", "prompt")
    )
    assert np.allclose(np.linalg.norm(cross["keys"], axis=-1), 1) and np.allclose(
        np.linalg.norm(cross["queries"], axis=-1), 1
    )
    assert np.array_equal(self_["queries"], self_["keys"][:, :, 0]) and prompt["queries"].shape == (3, 3, 1)


def test_a_single_pair_of_tokens_follows_gradient_descent_by_hand(seeds):
    setting = Setting(
        n_inputs=1,
        n_tokens=2,
        dim=3,
        loss="linear",
        descent="plain",
        rescale_steps=True,
        init="zero",
        learning_rate=0.1,
        n_steps=50,
        n_records=5,
    )
    runs = simulator.train(setting, seeds(2))
    a = 0.0
    for _ in range(50):
        s = 1 / (1 + np.exp(-a))
        a += 0.1 * s * (1 - s)
    gap = runs["keys"][:, 0, 0] - runs["keys"][:, 0, 1]
    found = np.einsum("rd,rde,re->r", gap, runs["W"][:, -1], runs["queries"][:, 0])
    assert np.allclose(np.abs(found), a, rtol=1e-10)


def test_the_path_satisfies_its_bound_and_no_random_direction_is_better(seeds):
    for factored in (False, True):
        setting = PathSetting(factored=factored, radii=(2.0, 10.0), n_starts=4)
        runs = regularisation_path(setting, seeds(2))
        size = np.linalg.norm(runs["W"], ord="nuc" if factored else None, axis=(-2, -1))
        assert np.all(size <= np.array(setting.radii) * (1 + 1e-9)) and runs["stationarity"].max() < 1e-4
        assert np.all(np.diff(runs["log_gap"], axis=1) < 0)
        rng = np.random.default_rng(0)
        keys, queries, scores = (torch.from_numpy(runs[name][:1]) for name in ("keys", "queries", "scores"))
        lowest = float(-scores.amax(-1).mean())
        for _ in range(200):
            W = rng.normal(size=(5, 5))
            W *= 10 / np.linalg.norm(W, ord="nuc" if factored else None)
            assert (
                np.log(float(naive(keys, queries, scores, torch.from_numpy(W)[None], "linear")) - lowest)
                > runs["log_gap"][0, 1]
            )


def test_prompts_from_one_start_do_not_depend_on_the_others(seeds):
    setting = PromptSetting(n_steps=50)
    all_, one = prompts(setting, seeds(1)), prompts(replace(setting, starts=setting.starts[2:3]), seeds(1))
    assert np.allclose(all_["p"][:, 2:3], one["p"], rtol=1e-10) and all_["attention"].shape == (1, 6, 1, 3)


def test_joint_training_ascends_the_margin_and_a_locked_prompt_stays_finite(seeds):
    runs = joint(JointSetting(n_steps=300, prompt_rates=(0.1, 0.4)), seeds(1))
    assert np.isfinite(runs["p"]).all() and np.allclose(
        runs["v"][0, 0, -1] / np.linalg.norm(runs["v"][0, 0, -1]), [0, 1], atol=0.01
    )


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Setting(n_tokens=1), "n_tokens"),
        (lambda: Setting(query="both"), "query"),
        (lambda: Setting(init="zero", inner_dim=3), "K = Q = 0"),
        (lambda: PathSetting(radii=(2.0, 1.0)), "ascend"),
        (lambda: PromptSetting(starts=((0.0,),)), "do not fit"),
        (lambda: PromptSetting(keys=(((0.0, 1.0), (1.0,)),)), "full array"),
        (lambda: JointSetting(labels=(1.0,)), "labels"),
    ],
)
def test_settings_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
