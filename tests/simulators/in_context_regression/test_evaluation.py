"""The evaluation of regressors: rivals by hand, known risks, pairing, limits."""

import numpy as np
import pytest
import torch

from attnlab.simulators.in_context_regression.evaluation import RIVALS, Evaluation, evaluate, rivals
from attnlab.simulators.in_context_regression.reduced_risk import ReducedSetting, reduced_risk
from attnlab.simulators.tasks.regression import RegressionTask

EPS64 = np.finfo(np.float64).eps
DIM, CONTEXT = 5, 40


def heads(omega, mu, n_replicas, dim=DIM):
    """Matrices of ideal heads: KQ is omega times the identity on the covariates, OV is mu at the label."""
    KQ = torch.zeros(n_replicas, len(omega), dim + 1, dim + 1, dtype=torch.float64)
    OV = torch.zeros(n_replicas, len(omega), 1, dim + 1, dtype=torch.float64)
    for head, (w, m) in enumerate(zip(omega, mu, strict=True)):
        KQ[:, head, :dim, :dim] = w * torch.eye(dim)
        OV[:, head, 0, dim] = m
    return KQ, OV


def test_rivals_are_the_stated_estimators_on_one_sequence():
    task = RegressionTask(3, 6, 2, 0.5)
    batch = task.sequences(
        torch.randn(1, task.numbers_per_step, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    )
    KQ, OV = heads((0.3, -0.1), (2.0, -1.0), 1, dim=3)
    KQ[0, 0, 0, 1] = 0.7
    found = rivals(KQ, OV, batch, 0.5)
    M = 2.0 * KQ[0, 0, :3, :3].numpy() - 1.0 * KQ[0, 1, :3, :3].numpy()
    eta = np.trace(M) / 3
    for b in range(2):
        X, y, q = batch.tokens[0, b, :, :3].numpy(), batch.tokens[0, b, :, 3].numpy(), batch.query[0, b].numpy()
        centred = X - X.mean(0)
        expected = [
            eta / 6 * y @ centred @ q,
            eta / 6 * y @ X @ q,
            y @ centred @ M @ q / 6,
            np.linalg.solve(X.T @ X + 0.25 * 3 * np.eye(3), X.T @ y) @ q,
        ]
        for name, prediction, value in zip(RIVALS, found, expected, strict=True):
            assert prediction[0, b].item() == pytest.approx(value, rel=200 * EPS64, abs=200 * EPS64), name


@pytest.mark.parametrize(("omega", "mu"), [((0.13, -0.13), (3.45, -3.45)), ((0.45,), (1.6,))])
def test_risk_of_ideal_heads_equals_the_reduced_models_risk(seeds, omega, mu):
    n = 16
    task = RegressionTask(DIM, CONTEXT, 1, 0.1**0.5)
    found = evaluate(*heads(omega, mu, n), seeds(n), Evaluation(task, 1_000, (20, CONTEXT)))
    averaged = reduced_risk(
        ReducedSetting(omega=(omega,), mu=(mu,), lengths=(20, CONTEXT), n_sequences=2_000), seeds(n)
    )
    for column in range(2):
        sampled, exact = found["risk_by_length"][:, column], averaged["risk"][:, 0, column]
        error = np.hypot(sampled.std(ddof=1), exact.std(ddof=1)) / n**0.5
        assert abs(sampled.mean() - exact.mean()) < 5 * error
        assert error < 0.01  # so that the twin "risk without query noise" is refuted
    assert np.array_equal(found["risk"], found["risk_by_length"][:, 1])
    assert 0.5 < (found["risk"].std(ddof=1) / found["risk_se"].mean()) < 2  # stated errors are the actual spread


def test_heads_of_small_scale_are_debiased_gradient_descent_and_not_plain(seeds):
    omega, eta = 1e-4, 0.88
    pair = heads((omega, -omega), (eta / 2 / omega, -eta / 2 / omega), 4)
    found = evaluate(*pair, seeds(4), Evaluation(RegressionTask(DIM, CONTEXT, 1, 0.3), 1_000, (CONTEXT,)))
    # the odd part of softmax has relative error (omega s)^2, with scores s below about 30
    assert (found["distance_to_debiased_gd"] < (30 * omega) ** 4).all()
    assert (found["correlation_with_debiased_gd"] > 1 - (30 * omega) ** 2).all()
    assert (found["distance_to_plain_gd"] > 1e-3).all()  # the twin
    assert np.allclose(found["distance_to_preconditioned_gd"], found["distance_to_debiased_gd"], rtol=1e-6)


def test_gaps_are_paired_differences_with_smaller_errors(seeds):
    found = evaluate(
        *heads((0.2, -0.2), (2.2, -2.2), 3),
        seeds(3),
        Evaluation(RegressionTask(DIM, CONTEXT, 1, 0.3), 1_000, (10, 100)),
    )
    for rival in RIVALS:
        difference = found["risk"] - found[f"risk_{rival}"]
        assert np.abs(found[f"gap_to_{rival}"] - difference).max() < 1_000 * EPS64
        curves = found["risk_by_length"] - found[f"risk_{rival}_by_length"]
        assert np.abs(found[f"gap_to_{rival}_by_length"] - curves).max() < 1_000 * EPS64
    assert (found["gap_to_debiased_gd_se"] < found["risk_se"] / 3).all()
    assert found["test_lengths"].tolist() == [[10, 100]] * 3


def test_gradient_descent_has_its_exact_finite_size_risk(seeds):
    n, eta, noise2 = 16, 0.8, 0.25
    found = evaluate(
        *heads((0.1, -0.1), (eta / 0.2, -eta / 0.2), n),
        seeds(n),
        Evaluation(RegressionTask(DIM, CONTEXT, 1, noise2**0.5), 1_000, (CONTEXT,)),
    )
    L, m = CONTEXT, CONTEXT - 1
    plain = 1 + noise2 - 2 * eta + eta**2 * ((L + 1 + DIM) / L + noise2 * DIM / L)
    debiased = 1 + noise2 - 2 * eta * m / L + eta**2 * (m * (m + 1 + DIM) / L**2 + noise2 * DIM * m / L**2)
    difference = found["risk_plain_gd"] - found["risk_debiased_gd"]
    for sample, expected in [
        (found["risk_plain_gd"], plain),
        (found["risk_debiased_gd"], debiased),
        (difference, plain - debiased),
    ]:
        assert abs(sample.mean() - expected) < 5 * sample.std(ddof=1) / n**0.5
    assert abs(difference.mean()) > 5 * difference.std(ddof=1) / n**0.5  # the twin: no difference


def test_without_noise_ridge_is_exact_from_dim_examples_on_and_of_least_norm_below(seeds):
    found = evaluate(
        *heads((0.1, -0.1), (4, -4), 2), seeds(2), Evaluation(RegressionTask(DIM, CONTEXT, 1, 0.0), 500, (2, CONTEXT))
    )
    assert (found["risk_ridge"] < 1e-20).all()  # squared rounding: (EPS64 * conditioning 1e4)^2
    # with 2 of 5 directions seen, the share 3/5 of the unit variance is left
    errors = found["risk_ridge_by_length_se"][:, 0]
    assert (np.abs(found["risk_ridge_by_length"][:, 0] - 0.6) < 5 * errors).all()


def test_evaluation_of_a_replica_depends_on_its_seed_only_and_a_lost_one_is_nan(seeds):
    task = RegressionTask(DIM, CONTEXT, 1, 0.3)
    KQ, OV = heads((0.2, -0.2), (2.2, -2.2), 3)
    KQ[1] = torch.nan
    together = evaluate(KQ, OV, seeds(3), Evaluation(task, 300, (CONTEXT,)))
    alone = evaluate(KQ[2:], OV[2:], seeds(3)[2:], Evaluation(task, 300, (CONTEXT,)))
    assert all(np.array_equal(together[name][2], alone[name][0]) for name in alone)
    assert np.isnan(together["risk"][1]) and np.isfinite(together["risk"][[0, 2]]).all()
