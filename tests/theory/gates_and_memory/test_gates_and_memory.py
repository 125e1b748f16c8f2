"""Laws of gates and memories, each against its operator or a sample, with the nearest rival that must fail."""

import math

import numpy as np
import pytest
import torch

from attnlab.kernels.operators.gates_and_memory.compressive_memory import CompressiveMemory
from attnlab.kernels.operators.gates_and_memory.delta_memory import DeltaMemory
from attnlab.kernels.operators.gates_and_memory.extractor import Extractor
from attnlab.kernels.operators.gates_and_memory.forgetting import Forgetting
from attnlab.kernels.operators.gates_and_memory.local_filtering import LocalFiltering
from attnlab.kernels.operators.gates_and_memory.mega import Mega
from attnlab.kernels.operators.gates_and_memory.previous_token_mean import PreviousTokenMean
from attnlab.kernels.operators.operator import QKV, Sizes, Tokens
from attnlab.theory.gates_and_memory import (
    compressive_memory,
    delta_memory,
    extractor,
    forgetting,
    local_filtering,
    mega,
    previous_token_mean,
)
from attnlab.theory.gates_and_memory.extractor import extracted_variance


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, std=1.0):
    return std * torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def start(operator, sizes, seed=0):
    return operator.initialise(sizes, [generator(seed)], torch.float64)


def test_a_forget_gate_is_a_recurrence_before_the_normaliser():
    operator, sizes = Forgetting(), Sizes(n=9, d=4, d_v=4, n_heads=1)
    parameters, x = start(operator, sizes), normal(1, 1, 9, 4, seed=1)
    W = operator.matrix(Tokens(x), parameters)[0, 0, 0].numpy()
    q, k = (x[0, 0] @ parameters[name][0, 0] for name in ("query", "key"))
    gates = operator.log_gates(x, parameters)[0, 0, 0].exp().numpy()
    scores = (q @ k.T / 2).numpy()
    recurrent = forgetting.recurrent_weights(scores, gates)
    assert np.abs(W - recurrent).max() < 1e-14
    plain = forgetting.recurrent_weights(scores, np.ones(9))
    faded = plain * np.exp(np.tril(np.cumsum(np.log(gates))[:, None] - np.cumsum(np.log(gates))[None]))
    assert np.abs(W - np.tril(faded)).max() > 0.05  # twin: the gate after the softmax


def test_gate_gradients_need_column_sums_only():
    s, c = normal(7, 7, seed=1), normal(7, seed=2).sigmoid().log().requires_grad_()
    D = c.cumsum(0)
    logits = s + D[:, None] - D[None]
    logits.retain_grad()
    W = logits.masked_fill(torch.ones(7, 7).triu(1).bool(), float("-inf")).softmax(-1)
    (W @ normal(7, 3, seed=3)).mul(normal(7, 3, seed=4)).sum().backward()
    found = forgetting.log_gate_gradient(logits.grad.numpy())
    assert np.abs(found - c.grad.numpy()).max() < 1e-14
    assert (
        np.abs(-np.cumsum(logits.grad.numpy().sum(0)) - c.grad.numpy()).max() > 1e-3
    )  # twin: running sum from the start


def test_a_constant_gate_is_a_linear_bias():
    scores, gate = normal(8, 8, seed=1).numpy(), 0.8
    away = np.arange(8)[:, None] - np.arange(8)[None]
    biased = np.where(away >= 0, np.exp(scores - forgetting.slope(gate) * away), 0)
    biased /= biased.sum(1, keepdims=True)
    assert np.abs(forgetting.recurrent_weights(scores, np.full(8, gate)) - biased).max() < 1e-14
    assert forgetting.slope(1.0) == 0 and forgetting.state_numbers(Sizes(n=5, d=3, d_v=3, n_heads=2)) == 70


def needle(n, d, std, seed):
    """Weight of the first stored pair in the memory of n pairs, read with its own key, over 20 draws."""
    operator, found = CompressiveMemory(segment=n), []
    for s in range(20):
        k = normal(1, 1, 1, n + 1, d, seed=100 * seed + s, std=std)
        k[..., n, :] = k[..., 0, :]
        M = operator.matrix(QKV(k, k, k), {"gate": torch.full((1, 1), 60.0, dtype=torch.float64)})
        found.append(M[0, 0, 0, -1, 0].item())
    return np.array(found)


@pytest.mark.parametrize("std", [1.0, 4.0])
def test_a_needle_in_the_memory_weighs_g_over_n_and_cannot_be_sharpened(std):
    """d = 512 channels: the sums over channels err by at most 3 / sqrt(d) per draw; twin: softmax at a margin of 5."""
    n, d = 64, 512
    found = n * needle(n, d, std, seed=int(std))
    predicted = n * compressive_memory.needle_weight(n, std)
    assert abs(found.mean() - predicted) < 4 * found.std() / math.sqrt(20) + 2 * predicted * (1 / n + 2 / d)
    assert found.max() < 1.2 * compressive_memory.gain_bound() < n * compressive_memory.softmax_needle_weight(n, 5.0)


def test_the_gain_rises_to_pi_and_no_further():
    gains = [compressive_memory.gain(s) for s in (0.01, 0.5, 1.0, 5.0, 20.0, 1000.0)]
    assert gains == sorted(gains) and gains[0] == pytest.approx(1, abs=2e-4)
    assert (
        gains[2] == pytest.approx(1.460, abs=1e-3)
        and gains[-1] < math.pi
        and gains[-1] == pytest.approx(math.pi, rel=6e-3)
    )
    assert compressive_memory.gain(1.0) == pytest.approx(compressive_memory.gain(1.0, 40_001), rel=1e-6)


def test_the_delta_rule_reads_half_of_a_repeated_value():
    """One pair per segment of one token, read by its own key in the next segment. Twin: the plain memory reads all of it."""
    k, v = normal(1, 1, 1, 1, 6, seed=1).expand(1, 1, 1, 6, 6), normal(1, 1, 1, 1, 3, seed=2).expand(1, 1, 1, 6, 3)
    alone = {"gate": torch.full((1, 1), 60.0, dtype=torch.float64)}
    for operator, delta in ((DeltaMemory(segment=1), True), (CompressiveMemory(segment=1), False)):
        y = operator.apply(QKV(k, k, v), alone)[0, 0, 0]
        reads = [(y[r] / v[0, 0, 0, 0]).mean().item() for r in range(1, 6)]
        assert reads == pytest.approx([compressive_memory.repeated_read(r, delta) for r in range(1, 6)], abs=1e-12)
    assert [compressive_memory.repeated_read(r, True) for r in (1, 2, 3, 9)] == [1, 0.5, 0.5, 0.5]


def test_the_memory_is_linear_attention_on_earlier_segments_whatever_the_length():
    sizes = Sizes(n=4096, d=8, d_v=8)
    assert compressive_memory.state_numbers(sizes, segment=64) == 8 * 9 + 64 * 16 + 1
    assert delta_memory.state_numbers(sizes, segment=64) == compressive_memory.state_numbers(sizes, segment=64)
    double = Sizes(n=8192, d=8, d_v=8)
    ratio = compressive_memory.multiply_adds(double, segment=64) / compressive_memory.multiply_adds(sizes, segment=64)
    assert 2 < ratio < 2.05  # linear in the length


def test_the_average_is_a_convolution_and_forgets_at_the_damped_rate():
    operator, sizes = Mega(), Sizes(n=24, d=2, d_v=2, n_heads=2)
    parameters = start(operator, sizes)
    gates = [parameters[name][0].sigmoid().numpy() for name in ("input_gate", "damping")]
    for c in range(4):
        taps = mega.kernel(gates[0][c], gates[1][c], parameters["expand"][0, c], parameters["contract"][0, c], 24)
        found = operator.kernel(parameters, 24)[0, c].numpy()
        found[0] -= parameters["skip"][0, c].item()
        assert np.abs(found - taps).max() < 1e-14
        x, states, y = normal(24, seed=c).numpy(), np.zeros(2), []
        for value in x:  # the recurrence itself
            states = gates[0][c] * parameters["expand"][0, c].numpy() * value + (1 - gates[0][c] * gates[1][c]) * states
            y.append((parameters["contract"][0, c].numpy() * states).sum() / math.sqrt(2))
        assert np.abs(np.convolve(x, taps)[:24] - y).max() < 1e-13
    q = mega.decay(0.5, 0.5)
    assert mega.half_life(q) == pytest.approx(2.409, abs=1e-3) and mega.lag_at(q, 1e-4) == pytest.approx(32.0, abs=0.02)
    assert q ** mega.half_life(q) == pytest.approx(0.5)
    assert abs(mega.half_life(q) - mega.half_life(1 - 0.5)) > 1  # twin: undamped
    long = Sizes(n=4096, d=2, d_v=2, n_heads=2)
    assert mega.published_multiply_adds(long) < mega.multiply_adds(long) / 5


def test_filters_reach_two_tokens_back_with_the_stated_ranks():
    D, operator = 12, LocalFiltering()
    parameters = start(operator, Sizes(n=6, d=6, d_v=6, n_heads=2))
    filters = {name: x for name, x in parameters.items() if name.startswith(("first", "second"))}
    assert sum(x.numel() for x in filters.values()) == local_filtering.n_filter_parameters(D)

    def linear_part(x):
        """The filter before its norm, without the token itself."""
        now, then = filters["first_now"][0], filters["first_before"][0]
        shift = torch.nn.functional.pad
        y = x @ now + shift(x, (0, 0, 1, 0))[:-1] @ then + filters["first_bias"][0]
        return y @ filters["second_now"][0] + shift(y, (0, 0, 1, 0))[:-1] @ filters["second_before"][0]

    x = normal(8, D, seed=2)
    J = torch.autograd.functional.jacobian(linear_part, x)[6]  # (D, 8, D)
    assert [torch.linalg.matrix_rank(J[:, 6 - lag]).item() for lag in range(5)] == [6, 12, 6, 0, 0]
    assert [local_filtering.tap_rank(lag, D) for lag in range(5)] == [6, 12, 6, 0, 0]
    f = operator.filtered(x[None, None], parameters)[0, 0]
    y = x + linear_part(x) + filters["second_bias"][0]
    assert (f - y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt()).abs().max() < 1e-12


def test_one_filtered_layer_copies_the_successor_of_an_equal_token():
    """One-hot tokens, filters that show the predecessor, query the token itself. Twin: without the filter it copies the token."""
    letters = [3, 0, 5, 1, 4, 2, 7, 6, 1]  # 1 came before 4
    D = 24
    x = torch.zeros(1, 1, 9, D, dtype=torch.float64)
    for t, letter in enumerate(letters):
        x[0, 0, t, letter] = 1.0
    operator = LocalFiltering()
    parameters = {name: 0 * p for name, p in start(operator, Sizes(n=9, d=D, d_v=D, n_heads=1)).items()}
    parameters["gain"] += 1
    eye = torch.eye(8, dtype=torch.float64)
    parameters["first_before"][0, :8, :8] = eye  # D/2 channels carry the predecessor
    parameters["second_now"][0, :8, 8:16] = eye
    for name, rows in (("query", slice(0, 8)), ("key", slice(8, 16)), ("value", slice(0, 8))):
        parameters[name][0, 0, rows, :8] = eye * (20 if name != "value" else 1)
    parameters["out"][0, 0, :8, :8] = eye
    assert operator.apply(Tokens(x), parameters, causal=True)[0, 0, -1].argmax() == 4
    parameters["key"] *= 0
    parameters["key"][0, 0, :8, :8] = 20 * eye
    assert operator.apply(Tokens(x), parameters, causal=True)[0, 0, -1].argmax() == 1
    assert local_filtering.state_numbers(Sizes(n=9, d=D, d_v=D)) == 2 * 9 * D + 2 * D


def test_far_tokens_enter_through_the_mean_alone():
    operator, sizes, n = PreviousTokenMean(), Sizes(n=12, d=3, d_v=3, n_heads=1), 12
    parameters, x = start(operator, sizes), normal(12, 3, seed=1)
    J = torch.autograd.functional.jacobian(lambda x: operator.apply(Tokens(x[None, None]), parameters)[0, 0, -1], x)
    far = J[:, : n - 2]  # (3, token, 3)
    assert (far - far[:, :1]).abs().max() < 1e-15 < far.abs().max()
    moved = operator.apply(Tokens(x[None, None]), parameters)[0, 0, -1]
    order = torch.tensor([3, 1, 0, 2, 4, 5, 6, 7, 8, 9, 10, 11])
    assert (operator.apply(Tokens(x[order][None, None]), parameters)[0, 0, -1] - moved).abs().max() < 1e-14
    no_mean = {"into_hidden": parameters["into_hidden"].clone(), "out_of_hidden": parameters["out_of_hidden"]}
    no_mean["into_hidden"][:, 6:] = 0

    def layers(x):
        for _ in range(3):
            x = operator.apply(Tokens(x[None, None]), no_mean)[0, 0]
        return x[-1]

    J = torch.autograd.functional.jacobian(layers, x)
    assert int((J.abs().amax((0, 2)) > 0).sum()) == previous_token_mean.receptive_field(3) == 4
    assert previous_token_mean.far_sensitivity(12) == pytest.approx(1 / 12)
    c = parameters["into_hidden"][0, 6:]  # d y / d c through the hidden layer, by moving the whole mean
    assert (
        far.abs().max()
        < previous_token_mean.far_sensitivity(12) * c.norm(2) * parameters["out_of_hidden"].norm(2) * 1.2
    )


@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_what_is_extracted_grows_with_correlation(correlation):
    """4000 draws of t = 64: a mean square errs by 4 sqrt(2 / 4000). Twin: 1 at every correlation."""
    t, operator = 64, Extractor()
    rng = np.random.default_rng(0)
    x = math.sqrt(correlation) * rng.normal(size=(4000, 1)) + math.sqrt(1 - correlation) * rng.normal(size=(4000, t))
    parameters = {"lag": torch.ones(1, 1, t).double(), "gate": torch.zeros(1, 1, 1).double()}
    M = operator.matrix(Tokens(torch.zeros(1, 1, t, 1).double()), parameters)[0, 0, 0, -1].numpy()
    found = ((x @ M) ** 2).mean()
    predicted = extractor.extracted_variance(t, correlation)
    assert abs(found / predicted - 1) < 4 * math.sqrt(2 / 4000)
    assert correlation == 0 or found > 20


def test_the_past_is_extracted_linearly_and_a_longer_text_is_refused():
    operator, sizes = Extractor(), Sizes(n=6, d=3, d_v=3, n_heads=1)
    parameters, a, b = start(operator, sizes), normal(1, 1, 6, 3, seed=1), normal(1, 1, 6, 3, seed=2)
    b[..., -1, :], zero = a[..., -1, :], a.clone()
    zero[..., :-1, :] = 0
    both = a + b - zero
    f = [operator.apply(Tokens(each), parameters)[0, 0, -1] for each in (both, a, b, zero)]
    assert (f[0] - f[1] - f[2] + f[3]).abs().max() < 1e-14
    assert parameters["lag"].numel() == extractor.n_parameters(6, 3) == extractor.n_parameters(6, 3, full=True) / 3
    with pytest.raises(ValueError, match="initialise with n=7"):
        operator.apply(Tokens(normal(1, 1, 7, 3)), parameters)


@pytest.mark.parametrize(
    "call",
    [
        lambda: CompressiveMemory().apply(QKV(normal(1, 1, 1, 2, 4), normal(1, 1, 1, 3, 4), normal(1, 1, 1, 3, 4)), {}),
        lambda: forgetting.slope(0.0),
        lambda: compressive_memory.gain(0.0),
        lambda: compressive_memory.repeated_read(0, True),
        lambda: mega.decay(1.5, 1.0),
        lambda: mega.half_life(1.0),
        lambda: local_filtering.tap_rank(-1, 4),
        lambda: previous_token_mean.receptive_field(0),
        lambda: extractor.extracted_variance(3, 2.0),
    ],
)
def test_arguments_out_of_range_are_named(call):
    with pytest.raises(ValueError, match=r"must be|need"):
        call()


def stored(n, d, d_v, std, rng):
    """Whether the read-out of the first of n pairs is nearest to its value, and its weight over the mean of the others."""
    k, v = std * rng.normal(size=(n, d)), rng.normal(size=(n, d_v))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    phi = np.where(k > 0, k + 1, np.exp(np.minimum(k, 0)))
    A = phi @ phi[0]
    return (v @ (A @ v)).argmax() == 0, A[0] / A[1:].mean()


def test_recall_and_own_weights_follow_their_laws_on_sums_in_numpy():
    """600 draws: 4 standard errors, and the stated skewness. Twin: leads over rivals that are independent."""
    n, d, d_v, rng = 24, 64, 256, np.random.default_rng(0)
    right, weights = np.array([stored(n, d, d_v, 1.0, rng) for _ in range(600)], float).T
    p, (mean, variance) = compressive_memory.recall_limit(n, 1.0, d, d_v), compressive_memory.own_weight(1.0, d)
    error = 4 * math.sqrt(p * (1 - p) / 600) + compressive_memory.feature_skewness(1.0) / (
        6 * math.sqrt(2 * math.pi * d)
    )
    assert abs(right.mean() - p) < error
    lead = (compressive_memory.gain(1.0) - 1) / math.sqrt(2 * n / d_v)
    assert abs((0.5 * math.erfc(-lead / math.sqrt(2))) ** (n - 1) - p) > 2 * error
    assert weights.mean() == pytest.approx(mean, abs=4 * math.sqrt(variance / 600) + 5 * variance / n)
    assert weights.var() == pytest.approx(variance, rel=4 * math.sqrt(3 / 600) + 0.1)


def test_recall_of_many_pairs_falls_where_the_load_says():
    """At even keys p is near P(u > a - lead), a the place of the largest of N normals; half the load is the sheet's place."""
    g, n = compressive_memory.gain(5.0), 10**5
    root = math.sqrt(2 * math.log(n))
    place = root - (math.log(math.log(n)) + math.log(4 * math.pi)) / (2 * root)
    for share in (0.5, 1.0, 2.0):
        d_v = int(2 * share * n * math.log(n) / (g - 1) ** 2)
        p = compressive_memory.recall_limit(n, 5.0, 10**9, d_v)
        near = 0.5 * math.erfc((place - root * math.sqrt(share)) / math.sqrt(2))
        assert abs(p - near) < 1 / root**2 + 0.02  # the largest scatters by 1/root around its place
    assert compressive_memory.recall_limit(4, 1.0, 10**6, 10**7) == pytest.approx(1)
    assert compressive_memory.diluted(3.0, 1) == 1 and compressive_memory.diluted(1.0, 7) == pytest.approx(1 / 7)


@pytest.mark.parametrize("correlation", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("n_seen", [1, 2, 32])
def test_the_variance_of_an_extract_is_the_sum_of_its_covariances(n_seen, correlation):
    covariance = np.full((n_seen, n_seen), correlation)
    np.fill_diagonal(covariance, 1.0)
    weights = np.full(n_seen, n_seen**-0.5)
    found = extracted_variance(n_seen, correlation)
    np.testing.assert_allclose(found, weights @ covariance @ weights, rtol=1e-12)
