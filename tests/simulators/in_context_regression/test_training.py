"""Training on in-context regression: what comes back, and, slowly, what the paper reports."""

import numpy as np
import pytest

from attnlab.simulators.in_context_regression.training import Setting, train

TINY = Setting(
    dim=2,
    n_context=6,
    n_heads=2,
    batch=8,
    n_steps=200,
    n_records=7,
    snapshot_steps=(0, 50, 900),
    n_test=64,
    test_lengths=(3, 6),
    learning_rate=5e-3,
)


def test_training_returns_what_it_promises(seeds):
    found = train(TINY, seeds(3))
    n = found["steps"].shape[1]
    shapes = {
        "loss": (3, n),
        "omega": (3, n, 2),
        "mu": (3, n, 2),
        "diagonal_energy": (3, n, 2),
        "homogeneity": (3, n),
        "zero_sum": (3, n),
        "step_size": (3, n),
        "group_mu": (3, n, 2),
        "group_diagonal_energy": (3, n, 2),
        "group_last_entry_energy": (3, n, 2),
        "KQ": (3, 3, 2, 3, 3),
        "OV": (3, 3, 2, 3),
        "diverged_at": (3,),
        "effective_matrix": (3, 2, 2),
        "risk": (3,),
        "risk_by_length": (3, 2),
        "test_lengths": (3, 2),
        "gap_to_debiased_gd": (3,),
        "gap_to_debiased_gd_se": (3,),
        "correlation_with_plain_gd": (3,),
    }
    assert {name: found[name].shape for name in shapes} == shapes
    assert found["steps"][0, 0] == 0 and found["steps"][0, -1] == 200
    assert found["snapshot_steps"].tolist() == [[0, 50, 200]] * 3
    assert np.allclose(found["omega"][:, -1], found["KQ"][:, -1][..., [0, 1], [0, 1]].mean(-1), rtol=1e-12)
    assert np.array_equal(found["mu"][:, -1], found["OV"][:, -1, :, -1])
    assert np.allclose(found["effective_matrix"].trace(axis1=1, axis2=2) / 2, found["step_size"][:, -1], rtol=1e-10)


def test_a_replica_does_not_depend_on_the_others_beyond_rounding(seeds):
    together, alone = train(TINY, seeds(3)), train(TINY, seeds(3)[1:2])
    # float32: relative rounding 6e-8 in each of 200 Adam steps of size 5e-3, amplified at most tenfold
    assert np.abs(together["KQ"][1] - alone["KQ"][0]).max() < 200 * 5e-3 * 6e-8 * 100 * 10
    assert np.abs(together["KQ"][0] - alone["KQ"][0]).max() > 0.01


def test_a_diverged_replica_is_counted_and_its_risk_is_not_a_number(seeds):
    found = train(Setting(**{**TINY.__dict__, "learning_rate": 1e6}), seeds(2))
    assert (found["diverged_at"] >= 1).all() and np.isnan(found["risk"]).all() and np.isnan(found["omega"][:, -1]).all()


def test_correlated_covariates_and_small_initialisation_enter(seeds):
    base, other = train(TINY, seeds(1)), train(Setting(**{**TINY.__dict__, "covariance_decay": 0.5}), seeds(1))
    assert np.array_equal(base["KQ"][:, 0], other["KQ"][:, 0])  # same start, other data
    assert not np.array_equal(base["KQ"][:, -1], other["KQ"][:, -1])
    small = train(Setting(**{**TINY.__dict__, "init": "small", "init_scale": 0.5}), seeds(1))
    assert np.allclose(small["KQ"][:, 0], base["KQ"][:, 0] / 4, rtol=1e-5)  # KQ is a product of two matrices


@pytest.mark.slow
def test_two_heads_learn_debiased_gradient_descent(seeds):
    found = train(Setting(n_heads=2, n_steps=12_000), seeds(8))
    split = (found["group_mu"][:, -1] ** 2 > 0).all(-1)  # both signs: past the plateau
    assert split.sum() >= 4
    eta = 1 / (1 + 1.1 * 5 / 40)
    assert abs(np.mean(found["step_size"][split, -1]) - eta) < 0.03  # noise of single models is 0.01
    assert (found["diagonal_energy"][split, -1] > 0.9).all() and (found["homogeneity"][split, -1] > 0.9).all()
    assert (found["zero_sum"][split, -1] < 0.1).all()
    assert (np.abs(found["gap_to_debiased_gd"][split]) < 0.015).all()
    assert (found["distance_to_plain_gd"][split] > 1.3 * found["distance_to_debiased_gd"][split]).all()
    assert (found["loss"][~split, -1] > 0.38).all()  # equal signs: the one-head value


@pytest.mark.slow
def test_one_head_comes_to_its_exact_minimiser_and_not_to_the_limit(seeds):
    found = train(Setting(n_heads=1, n_steps=8_000), seeds(8))
    sizes = np.abs(found["omega"][:, -1, 0])
    arrived = found["loss"][:, -1] < 0.45
    assert arrived.sum() >= 6
    assert abs(sizes[arrived].mean() - 0.52) < 0.02 and abs(sizes[arrived].mean() - 5**-0.5) > 0.02
