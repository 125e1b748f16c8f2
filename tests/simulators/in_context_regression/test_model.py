"""The attention regressor: the cheap evaluation, its initialisation, and what is read off its matrices."""

import math

import numpy as np
import pytest
import torch

from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.in_context_regression.model import AttentionRegressor, attend, observables

EPS64 = np.finfo(np.float64).eps


def full_projections(parameters, tokens, query, n_labels):
    """The formula of the paper as printed, one sequence and head at a time, the query token padded with zeros."""
    Q, K, V, O = (parameters[name] for name in "QKVO")
    R, B, _, n = tokens.shape
    out = torch.zeros(R, B, n_labels, dtype=tokens.dtype)
    for r in range(R):
        for b in range(B):
            Z, z = tokens[r, b].T, torch.cat([query[r, b], torch.zeros(n_labels, dtype=query.dtype)])
            for h in range(Q.shape[1]):
                weights = torch.softmax((K[r, h] @ Z).T @ (Q[r, h] @ z) / math.sqrt(n), dim=0)
                out[r, b] += O[r, h] @ (V[r, h] @ Z) @ weights
    return out


@pytest.mark.parametrize("n_labels", [1, 2])
def test_cheap_evaluation_equals_the_full_projections(seeds, n_labels):
    model = AttentionRegressor(dim=3, n_heads=4, n_labels=n_labels)
    parameters = model.initialise(generators(seeds(2), "parameters"), torch.float64)
    stream = torch.Generator().manual_seed(0)
    tokens = torch.randn(2, 5, 7, 3 + n_labels, dtype=torch.float64, generator=stream)
    query = torch.randn(2, 5, 3, dtype=torch.float64, generator=stream)
    exact = full_projections(parameters, tokens, query, n_labels)
    found = model(parameters, tokens, query)
    assert (found - exact).abs().max() < 500 * EPS64  # sums of about 100 products of size 1, twice over
    flipped = dict(parameters, Q=parameters["K"], K=parameters["Q"])  # the twin: KQ transposed
    assert (model(flipped, tokens, query) - exact).abs().max() > 1e-3


def test_last_columns_of_the_key_query_matrix_are_never_used(seeds):
    model = AttentionRegressor(dim=3, n_heads=2)
    KQ, OV = model.effective(model.initialise(generators(seeds(1), "parameters"), torch.float64))
    tokens, query = torch.ones(1, 1, 4, 4, dtype=torch.float64).cumsum(2), torch.ones(1, 1, 3, dtype=torch.float64)
    changed = KQ.clone()
    changed[..., -1] = torch.nan
    assert torch.equal(attend(KQ, OV, tokens, query), attend(changed, OV, tokens, query))
    changed = KQ.clone()
    changed[..., -1, :] += 1  # the last row is
    assert not torch.equal(attend(KQ, OV, tokens, query), attend(changed, OV, tokens, query))


def test_equal_scores_give_the_mean_of_the_values():
    KQ, OV = torch.zeros(1, 1, 3, 3, dtype=torch.float64), torch.tensor([[[[1.0, -2.0, 3.0]]]], dtype=torch.float64)
    tokens = torch.randn(1, 1, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = attend(KQ, OV, tokens, torch.ones(1, 1, 2, dtype=torch.float64))
    assert abs(found.item() - (tokens[0, 0].mean(0) @ OV[0, 0, 0]).item()) < 50 * EPS64


def test_initial_entries_are_uniform_with_the_bound_of_a_linear_layer(seeds):
    model = AttentionRegressor(dim=5, n_heads=4)
    parameters = model.initialise(generators(seeds(50), "parameters"), torch.float64)
    assert (parameters["O"] * 6**0.5).abs().max() < 0.51  # the twin "fan in 6 for O, too" would fill [-1, 1]
    for name, fan_in in [("Q", 6), ("K", 6), ("V", 6), ("O", 24)]:
        scaled = parameters[name].flatten() * fan_in**0.5  # uniform on [-1, 1]: variance 1/3
        n = scaled.numel()
        assert scaled.abs().max() <= 1
        assert abs(scaled.mean()) < 5 * (1 / 3 / n) ** 0.5
        assert abs((scaled**2).mean() - 1 / 3) < 5 * (4 / 45 / n) ** 0.5  # variance of the square: 1/5 - 1/9


def test_small_initialisation_scales_every_entry_also_per_replica(seeds):
    plain = AttentionRegressor(2, 2).initialise(generators(seeds(2), "parameters"), torch.float64)
    small = AttentionRegressor(2, 2, init="small", init_scale=(0.5, 0.125)).initialise(
        generators(seeds(2), "parameters"), torch.float64
    )
    for name, value in plain.items():
        assert torch.equal(small[name][0], 0.5 * value[0]) and torch.equal(small[name][1], 0.125 * value[1])


@pytest.fixture
def ideal():
    """Two active heads of opposite sign and a dummy head, dim 2."""
    omega = torch.tensor([[0.2, -0.1, 0.3]], dtype=torch.float64)
    mu = torch.tensor([[2.0, -1.5, 0.01]], dtype=torch.float64)
    KQ = torch.diag_embed(torch.cat([omega[..., None].expand(1, 3, 2), torch.full((1, 3, 1), 9.0)], dim=-1)).double()
    OV = torch.zeros(1, 3, 3, dtype=torch.float64)
    OV[..., -1] = mu
    return KQ, OV


def test_observables_of_an_ideal_configuration_are_its_own_numbers(ideal):
    found = observables(*ideal)
    assert torch.allclose(found["omega"][0], torch.tensor([0.2, -0.1, 0.3], dtype=torch.float64), rtol=4 * EPS64)
    assert found["mu"].tolist() == [[2.0, -1.5, 0.01]]
    for name in ("diagonal_energy", "last_entry_energy", "group_diagonal_energy", "group_last_entry_energy"):
        assert (found[name] - 1).abs().max() < 10 * EPS64
    assert found["homogeneity"].item() == pytest.approx(0.5)  # the dummy head does not count
    assert found["zero_sum"].item() == pytest.approx(0.51 / 2)
    assert found["step_size"].item() == pytest.approx(2 * 0.2 + 1.5 * 0.1 + 0.01 * 0.3)
    assert found["group_mu"][0].tolist() == pytest.approx([2.01, -1.5])
    assert found["group_omega"][0].tolist() == pytest.approx([(2 * 0.2 + 0.01 * 0.3) / 2.01, -0.1])


def test_energy_ratios_see_what_is_off_the_diagonal_and_before_the_last_entry(ideal):
    KQ, OV = (matrix.clone() for matrix in ideal)
    KQ[0, 0, 2, 0] = 0.2  # the label's row counts, the unused column not
    OV[0, 1, 0] = 1.5
    found = observables(KQ, OV)
    assert found["diagonal_energy"][0].tolist() == pytest.approx([2 / 3, 1, 1])
    assert found["last_entry_energy"][0].tolist() == pytest.approx([1, 0.5, 1])


def test_a_sign_group_without_heads_is_nan(ideal):
    KQ, OV = ideal
    found = observables(KQ, OV.abs())
    assert torch.isnan(found["group_mu"][0, 1]) and torch.isnan(found["group_diagonal_energy"][0, 1])
    assert torch.isfinite(found["group_mu"][0, 0])
