"""Memories trained online: closed forms against finite differences, minimisation, enumeration, sampling and special cases."""

import numpy as np
import pytest
from scipy.optimize import minimize

from attnlab.theory.associative_memory import objectives, online_errors, retention

RNG = np.random.default_rng(7)
W, K, V = RNG.normal(size=(3, 4)), RNG.normal(size=4), RNG.normal(size=3)


def slope(loss, at, h=1e-6):
    out = np.zeros_like(at)
    for i in np.ndindex(at.shape):
        step = np.zeros_like(at)
        step[i] = h
        out[i] = (loss(at + step) - loss(at - step)) / (2 * h)
    return out


def huber(x, c):
    return np.where(np.abs(x) <= c, x**2 / 2, c * np.abs(x) - c**2 / 2)


@pytest.mark.parametrize(
    ("gradient", "loss"),
    [
        (objectives.dot_product_gradient(W, K, V), lambda x: -(x @ K) @ V),
        (objectives.power_gradient(W, K, V, 1.5), lambda x: (np.abs(x @ K - V) ** 1.5).sum()),
        (objectives.power_gradient(W, K, V, 3.0), lambda x: (np.abs(x @ K - V) ** 3).sum()),
        (objectives.huber_gradient(W, K, V, 0.7), lambda x: huber(x @ K - V, 0.7).sum()),
        (objectives.huber_vector_gradient(W, K, V, 0.7), lambda x: float(huber(np.linalg.norm(x @ K - V), 0.7))),
    ],
)
def test_gradients_are_finite_differences(gradient, loss):
    assert gradient == pytest.approx(slope(loss, W), abs=1e-7)
    assert abs(gradient - 1.05 * slope(loss, W)).max() > 1e-3


def test_an_exact_pair_has_no_gradient_and_a_power_below_one_is_refused():
    assert (
        not objectives.power_gradient(W, K, W @ K, 1.0).any()
        and not objectives.huber_vector_gradient(W, K, W @ K, 1.0).any()
    )
    with pytest.raises(ValueError, match="at least 1"):
        objectives.power_gradient(W, K, V, 0.5)


def test_paths_at_gates_of_one_and_at_rate_one_are_known():
    keys, values = RNG.normal(size=(6, 4)), RNG.normal(size=(6, 3))
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    assert objectives.gated_hebbian_path(keys, values, 1.0, 1.0)[-1] == pytest.approx(values.T @ keys)
    delta = objectives.gated_delta_path(keys, values, 1.0, 1.0)
    assert np.einsum("tvk,tk->tv", delta, keys) == pytest.approx(values)  # the last pair is exact
    assert delta == pytest.approx(objectives.late_gate_path(keys, values, 1.0, 1.0))
    gated = objectives.gated_delta_path(keys, values, 0.9, 0.5)
    late = objectives.late_gate_path(keys, values, 0.9, 0.5)
    before = np.concatenate([np.zeros((1, 3, 4)), gated[:-1]])
    step = 0.9 * before - 0.5 * np.einsum("tvk,tk,tl->tvl", before, keys, keys)
    write = 0.5 * values[:, :, None] * keys[:, None]
    extra = 0.1 * 0.5 * np.einsum("tvk,tk,tl->tvl", before, keys, keys)
    assert gated == pytest.approx(step + write + extra)  # as the docstring of late_gate_path says
    assert abs(gated - late).max() > 1e-3


def test_momentum_weights_are_those_of_the_recursion():
    for gate, momentum in ((0.9, 0.6), (0.8, 0.8)):
        memory = change = 0.0
        found = []
        for step in range(6):
            change = momentum * change + 0.3 * (step == 0)
            memory = gate * memory + change
            found.append(memory)
        assert objectives.momentum_weights_exact(6, gate, momentum, 0.3) == pytest.approx(found)


def test_weight_decay_is_the_gated_delta_rule_for_scaled_values():
    h, lam, k = 0.4, 1.7, K / np.linalg.norm(K)
    a = 1 / (1 + h / lam)
    step = retention.weight_decay_step(W, np.outer(W @ k - V, k), h, lam)
    assert step == pytest.approx(a * W @ (np.eye(4) - h * np.outer(k, k)) + h * np.outer(a * V, k))


def test_closed_forms_are_minimisers():
    h, lam, g = 0.5, 0.8, RNG.normal(size=(3, 4))

    def least(loss, start):
        return minimize(loss, start.ravel(), method="BFGS", options={"gtol": 1e-9}).x.reshape(start.shape)

    found = least(lambda x: x @ g.ravel() + ((x - W.ravel()) ** 2).sum() / (2 * h) + x @ x / (2 * lam), W)
    assert retention.weight_decay_step(W, g, h, lam) == pytest.approx(found, abs=1e-6)
    found = least(lambda x: ((x.reshape(3, 4) @ K - V) ** 2).sum() / 2 + ((x - W.ravel()) ** 2).sum() / (2 * h), W)
    assert retention.implicit_delta_step(W, K, V, h) == pytest.approx(found, abs=1e-6)
    start = np.exp(RNG.normal(size=(3, 4)))
    total = start.sum()

    def entropic(y):
        x = np.exp(y - y.max())
        x = total * x / x.sum()
        return x @ g.ravel() + (x * np.log(x / start.ravel())).sum() / h + lam * (x * np.log(x)).sum()

    y = least(entropic, np.zeros((3, 4)))
    x = np.exp(y - y.max())
    assert retention.entropic_step(start, g, h, lam) == pytest.approx(total * x / x.sum(), abs=1e-5)


@pytest.mark.parametrize("order", [1.5, 2.0, 2.5, 3.0, 4.0])
def test_mirror_map_inverts_the_gradient_of_half_a_squared_norm(order):
    p = order / (order - 1)
    A = slope(lambda x: (np.abs(x) ** p).sum() ** (2 / p) / 2, W, 1e-5)
    assert retention.mirror_map(A, order) == pytest.approx(W, rel=1e-4, abs=1e-4)
    assert retention.mirror_map(3 * A, order) == pytest.approx(3 * retention.mirror_map(A, order))
    same = np.allclose(retention.mirror_map(A, order), retention.printed_map(A, order))
    assert same == (order == 2)
    norm = (np.abs(A) ** order).sum() ** (1 / order)
    image = (np.abs(retention.printed_map(A, order)) ** order).sum() ** (1 / order)
    assert image == pytest.approx(float(retention.printed_map_norm(norm, order)))


def test_printed_map_factor_is_a_difference_quotient_and_the_rest_is_one():
    for order in (2.0, 2.5, 3.5, 4.0):
        a = 0.8 ** (1 / (3 - order))

        def step(x, q=order):
            return x - 0.1 * (x ** (3 - q) - 0.8)

        quotient = (step(a * (1 + 1e-6)) - step(a * (1 - 1e-6))) / (2e-6 * a)
        assert retention.printed_map_factor(order, 0.8, 0.1) == pytest.approx(quotient, abs=1e-6)
    size = retention.quartic_size_exact(0.8, 0.98, 0.3)
    assert 0.98 / size - 0.3 * (size - 0.8) == pytest.approx(1 / size) and size < 0.4
    with pytest.raises(ValueError, match="holds no memory"):
        retention.quartic_size_exact(0.8, 0.5, 0.3)
    with pytest.raises(ValueError, match="infinite"):
        retention.printed_map(np.zeros((2, 2)), 4.0)
    with pytest.raises(ValueError, match="order=3"):
        retention.printed_map_factor(3.0, 0.8, 0.1)


def test_projection_is_nearest_and_regret_holds_where_it_is_allowed():
    target = RNG.normal(size=(3, 4))
    near = retention.nearest_on_simplex(target, 2.0)
    assert near.sum() == pytest.approx(2) and (near >= 0).all()
    others = 2 * RNG.dirichlet(np.ones(12), size=300).reshape(-1, 3, 4)
    assert (((near - target) * (others - near)).sum((1, 2)) >= -1e-12).all()  # the variational inequality
    inside = np.full((2, 2), 0.5)
    assert retention.nearest_on_simplex(inside, 2.0) == pytest.approx(inside)
    memory, rate = np.full((3, 4), 2.0 / 12), 0.5
    for _ in range(50):
        memory = memory * np.exp(-rate * (memory - target))
        memory *= 2.0 / memory.sum()
    excess = ((memory - target) ** 2).sum() / 2 - ((near - target) ** 2).sum() / 2
    assert 0 <= excess <= retention.entropic_regret_bound(12, rate, 50, 2.0)
    with pytest.raises(ValueError, match="above 1"):
        retention.entropic_regret_bound(12, 0.6, 50, 2.0)


def test_entropic_memory_is_the_recursion():
    g = RNG.normal(size=(5, 3, 4))
    memory = np.full((3, 4), 0.25)
    for each in g:
        memory = np.exp(0.9 * np.log(memory) - 0.3 * each)
        memory *= 3 / memory.sum()
    assert retention.entropic_memory_exact(g, 0.9, 0.3, 3.0) == pytest.approx(memory)


def test_equicorrelated_errors_by_hand():
    n, rho = 5, 0.4
    gram = (1 - rho) * np.eye(n) + rho
    keys, memory = np.linalg.cholesky(gram), np.zeros((n, n))
    for k, v in zip(keys, np.eye(n), strict=True):
        memory += np.outer(v - memory @ k, k)
    assert ((memory @ keys.T - np.eye(n)) ** 2).sum(0) == pytest.approx(
        online_errors.delta_equicorrelated_errors(n, rho)
    )
    assert ((gram - np.eye(n)) ** 2).sum(0) == pytest.approx(
        np.full(n, online_errors.hebbian_equicorrelated_error(n, rho))
    )
    assert not online_errors.delta_equicorrelated_errors(n, 0.0).any()


def test_chunks_of_one_key_are_the_delta_rule_and_limits_are_where_nothing_is_left_or_gained():
    for h in (0.3, 1.2):
        assert online_errors.chunk_factor_exact(1, 9, h) == pytest.approx(
            online_errors.sequential_factor_exact(1, 9, h)
        )
        assert online_errors.chunk_difference_exact(1, 9, h) == pytest.approx(0, abs=1e-15)
    for b in (2, 30):
        assert online_errors.chunk_factor_exact(b, 9, online_errors.chunk_rate_limit(b, 9)) == pytest.approx(1)
    K = RNG.normal(size=(20_000, 6, 9))
    K /= np.linalg.norm(K, axis=2, keepdims=True)
    S = np.einsum("nbi,nbj->nij", K, K)
    left = ((np.eye(9) - 0.7 * S) ** 2).sum((1, 2)) / 9
    error = 5 * left.std() / len(left) ** 0.5
    assert abs(left.mean() - online_errors.chunk_factor_exact(6, 9, 0.7)) < error
    assert abs(left.mean() - online_errors.chunk_factor_exact(7, 9, 0.7)) > error


def test_tracking_has_its_best_rate_and_no_drift_is_the_delta_rule_with_noise():
    best = online_errors.best_tracking_rate(12, 0.7, 0.2)
    at = [online_errors.tracking_error_exact(12, h, 0.7, 0.2) for h in (0.99 * best, best, 1.01 * best)]
    assert at[1] == min(at)
    assert online_errors.tracking_error_exact(12, 1.0, 0.7, 0.0) == pytest.approx(12 * 0.49)
    with pytest.raises(ValueError, match="below 2"):
        online_errors.tracking_error_exact(12, 2.0, 0.7, 0.0)


def test_gain_is_one_without_a_gate_and_the_fixed_point_of_the_mean_with_it():
    assert online_errors.forgetting_gain_exact(8, 0.5, 1.0) == pytest.approx(1)
    mean = online_errors.forgetting_gain_exact(8, 0.5, 0.9)
    assert 0.9 * mean * (1 - 0.5 / 8) + 0.5 / 8 == pytest.approx(mean)
    late = online_errors.forgetting_gain_exact(8, 0.5, 0.9, late=True)
    assert 0.9 * late - 0.5 / 8 * (late - 1) == pytest.approx(late) and late < mean


def test_power_limit_turns_an_error_around():
    for power in (1.5, 3.0, 4.0):
        e = online_errors.power_step_limit(power, 0.1)
        assert e - 0.1 * power * e ** (power - 1) == pytest.approx(-e)
    with pytest.raises(ValueError, match="not 2"):
        online_errors.power_step_limit(2.0, 0.1)


def test_stationary_law_is_that_of_the_chain_itself():
    law = online_errors.OutlierLaw(16, 0.1, "l1")
    x = np.full(4_000, law.leading())
    total = []
    for step in range(400):
        t = RNG.normal(size=(len(x), 16))
        z = np.sqrt(x) * t[:, 0] / np.linalg.norm(t, axis=1)
        x = x - 0.2 * np.abs(z) + 0.01
        if step >= 100:
            total.append(x.mean())
    assert np.mean(total) == pytest.approx(law.mean(), rel=0.006)  # 4000 chains, 20 correlation times: 0.1 %
    assert abs(np.mean(total) / law.leading() - 1) > 0.012
    assert online_errors.OutlierLaw(16, 0.5).mean() == 0
    quiet = online_errors.OutlierLaw(16, 0.5, "huber", 1e3, 0.1, 1.0)  # never clips: the squared loss
    assert quiet.mean() == pytest.approx(online_errors.tracking_error_exact(16, 0.5, 0.1**0.5, 0.0), rel=2e-3)
    with pytest.raises(ValueError, match="unknown"):
        online_errors.OutlierLaw(16, 0.5, "l3")
