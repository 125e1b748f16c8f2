"""Tensor attention in the simulators, against loops and known outcomes."""

import math

import numpy as np
import pytest
import torch

from attnlab.simulators.polynomial_attention import match3, tensor


def seeds(n):
    return [np.random.SeedSequence(7, spawn_key=(k,)) for k in range(n)]


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_scores_and_outputs_are_those_of_the_loops():
    Q, K1, K2, V1, V2 = normal(5, 3, 2)
    x, out = tensor.scores(Q, K1, K2), tensor.averaged(tensor.scores(Q, K1, K2).exp(), V1, V2)
    pairs = [(j, k) for j in range(3) for k in range(3)]
    for i in range(3):
        weights = {(j, k): math.exp(sum(Q[i, c] * K1[j, c] * K2[k, c] for c in range(2)) / 2) for j, k in pairs}
        total = sum(weights.values())
        assert x[i, 1, 2].item() == pytest.approx(math.log(weights[1, 2]))
        for c in range(2):
            mean = sum(w * (V1[j, c] * V2[k, c]).item() for (j, k), w in weights.items()) / total
            assert out[i, c].item() == pytest.approx(mean)


def test_features_give_the_polynomial_and_not_the_exponential():
    Q, K1, K2, V1, V2 = 0.8 * normal(5, 4, 3)
    for degree in (0, 1, 4):
        dense = tensor.averaged(tensor.truncated(tensor.scores(Q, K1, K2), degree), V1, V2)
        assert tensor.factorised(Q, K1, K2, V1, V2, degree).numpy() == pytest.approx(dense.numpy(), abs=1e-12)
    exact = tensor.averaged(tensor.scores(Q, K1, K2).exp(), V1, V2)
    assert (dense - exact).abs().max() > 1e-9


def test_errors_fall_with_the_degree_and_ranks_grow():
    found = tensor.tensor_errors(tensor.TensorSetting(n_tokens=12, dim=2, degrees=(1, 2, 3)), seeds(2), "cpu")
    assert (np.diff(found["error"], axis=1) < 0).all() and found["rank"].tolist() == [[3, 6, 10]] * 2
    assert (found["by_features"] < 1e-13).all()


def test_hard_keys_of_one_score_have_no_error():
    same = tensor.HardSetting(n_keys=10, n_high=4, at_high=0.5, at_low=0.5, degree=1)
    assert tensor.hard_keys(same, seeds(1), "cpu")["error"][0] < 1e-14
    apart = tensor.HardSetting(n_keys=10, n_high=4, at_high=0.0, at_low=-0.5, degree=1)
    p, q = 4 / (4 + 6 * math.exp(-0.5)), 4 / (4 + 6 * 0.5)
    assert tensor.hard_keys(apart, seeds(1), "cpu")["error"][0] == pytest.approx(2 * abs(p - q))


def test_gradients_are_those_of_finite_differences():
    found = tensor.gradients(tensor.TensorSetting(n_tokens=3, dim=2), seeds(1), "cpu")
    Q, *others = torch.from_numpy(found["inputs"][0])
    outer = torch.from_numpy(found["outer"][0])

    def loss(Q):
        return (tensor.averaged(tensor.scores(Q, *others[:2]).exp(), *others[2:]) * outer).sum().item()

    step = torch.zeros(3, 2).double()
    step[1, 0] = 1e-6
    slope = (loss(Q + step) - loss(Q - step)) / 2e-6
    assert found["by_query"][0, 1, 0] == pytest.approx(slope, rel=1e-6, abs=1e-9)
    assert found["weights"].sum((2, 3)) == pytest.approx(np.ones((1, 3)))


def test_a_blind_head_says_no_and_is_wrong_wherever_there_is_a_match():
    table = (0.0,) * 12
    blind = match3.MatchSetting(2, 3, table, table, table, 5.0)
    found = match3.match3(blind, seeds(1), "cpu")
    words = [(a, b) for a in range(3) for b in range(3)]
    yes = sum(any((w[i] + a + b) % 3 == 0 for a in w for b in w) for w in words for i in range(2))
    assert found["wrong"][0, 0] == yes and found["of"][0] == 18 and found["matches"][0] == pytest.approx(yes / 18)
    with pytest.raises(ValueError, match="query"):
        match3.MatchSetting(2, 3, (), table, table)


def test_pairwise_heads_cannot_and_functions_of_the_sum_can():
    found = match3.pairwise(match3.PairwiseSetting(moduli=(2, 5)), seeds(1), "cpu")
    assert found["exists"].tolist() == [[False, False]] and found["sums"].tolist() == [[True, True]]
