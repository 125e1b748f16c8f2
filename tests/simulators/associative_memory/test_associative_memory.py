"""Memories by direct simulation, against matrices built by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from attnlab.simulators.associative_memory import recall as memory
from attnlab.simulators.associative_memory.separation import SeparationSetting, dichotomies

SMALL = memory.Setting(dim=4, n_pairs=5, value_dim=3, n_draws=6, n_replicas=2)


def seeds(n):
    return [np.random.SeedSequence(3, spawn_key=(k,)) for k in range(n)]


def pairs(setting=SMALL):
    return memory._pairs(setting, torch.Generator().manual_seed(0))


def test_read_weights_are_those_of_the_sum_over_pairs():
    K, V, Q = pairs()
    for rule, rate, g in (
        ("hebb", 1.0, lambda t: t),
        ("polynomial", 3.0, lambda t: t**3),
        ("exponential", 2.0, lambda t: np.exp(2 * (t - 1))),
    ):
        out = memory.read_weights(replace(SMALL, rule=rule, rate=rate), K, Q) @ V
        by_hand = sum(g(float(K[0, i] @ Q[0, 2])) * V[0, i] for i in range(5))
        assert torch.allclose(out[0, 2], by_hand, atol=1e-12)


def test_decay_forgets_pair_by_pair():
    K, V, Q = pairs()
    M = torch.zeros(4, 3, dtype=torch.float64)
    for i in range(5):
        M = 0.9 * M + torch.outer(K[0, i], V[0, i])
    assert torch.allclose(
        (memory.read_weights(replace(SMALL, rule="decay", rate=0.9), K, Q) @ V)[0], Q[0] @ M, atol=1e-12
    )


def test_delta_rule_and_least_squares_store_what_they_can():
    K, V, Q = pairs()
    delta = replace(SMALL, rule="delta", rate=1.0)
    assert torch.allclose(memory._corrected(delta, K, V, Q)[:, -1], V[:, -1], atol=1e-12)
    few = replace(SMALL, rule="least_squares", n_pairs=4)
    K, V, Q = pairs(few)
    assert torch.allclose(memory._corrected(few, K, V, Q), V, atol=1e-6)
    assert not torch.allclose(memory._corrected(replace(delta, n_pairs=4), K, V, Q), V, atol=1e-2)


@pytest.mark.parametrize("keys", memory.KEYS)
def test_keys_have_the_stated_law(keys):
    setting = replace(SMALL, keys=keys, dim=6, n_pairs=50, n_draws=200)
    K, _, Q = pairs(setting)
    norms = (K**2).sum(-1)
    assert norms.mean().item() == pytest.approx(1, abs=0.02) and bool((norms.std() < 1e-12) == (keys != "gaussian"))
    assert torch.equal(K, Q)
    overlaps = (K[:, 0] * K[:, 1]).sum(-1)
    assert (overlaps**2).mean().item() == pytest.approx(1 / 6, abs=5 * 0.3 / 200**0.5)


def test_ties_of_binary_keys_count_half():
    runs = memory.retrieve(
        memory.Setting(dim=2, n_pairs=2, value_dim=64, keys="binary", values="sign", n_draws=400), seeds(1), "cpu"
    )
    # one other key: overlap -1, 0, 1 with probabilities 1/4, 1/2, 1/4, times a random sign; a tie in one of four draws
    assert runs["wrong_sign"].mean() == pytest.approx(1 / 8, abs=0.02)


def test_weights_of_softmax_and_nearest_key_sum_to_one():
    for rule in ("softmax", "nearest"):
        K, _, Q = pairs(replace(SMALL, cue_noise=0.5))
        weights = memory.read_weights(replace(SMALL, rule=rule, rate=5.0), K, Q)
        assert torch.allclose(weights.sum(-1), torch.ones(6, 5, dtype=torch.float64))
    runs = memory.retrieve(replace(SMALL, rule="softmax", rate=5.0), seeds(2), "cpu")
    assert (runs["weight_error"] > runs["target_error"]).all()


def test_guarantee_is_the_worst_row_of_stored_keys():
    setting = memory.OverlapSetting(dim=5, n_pairs=6, n_draws=50)
    runs = memory.guarantee(setting, seeds(1), "cpu")
    from attnlab.simulators.ensemble import random_streams

    K = memory._spherical(50, 6, 5, random_streams.generators(seeds(1), "data")[0]).numpy()
    for n in (2, 4, 6):
        ok = []
        for keys in K[:, :n]:
            G = np.abs(keys @ keys.T)
            np.fill_diagonal(G, 0)
            ok.append(G.sum(1).max() < 1)
        assert runs["guaranteed"][0, n - 2] == pytest.approx(np.mean(ok))


def test_depth_multiplies_successes_and_heads_outvote_errors():
    runs = memory.depth(memory.DepthSetting(dim=8, n_pairs=8, n_layers=4, n_draws=100, n_heads=(1, 5)), seeds(2), "cpu")
    assert (np.diff(runs["success"], axis=-1) <= 0).all()
    assert (runs["majority_error"][:, 1] < runs["majority_error"][:, 0]).all()


def test_dichotomies_are_all_up_to_the_width_and_sectors_in_the_plane():
    sure = dichotomies(SeparationSetting(dim=4, n_pairs=4), seeds(1), "cpu")
    plane = dichotomies(SeparationSetting(dim=2, n_pairs=6), seeds(2), "cpu")
    assert sure["dichotomies"].tolist() == [16]
    assert plane["dichotomies"].tolist() == [12, 12]  # n lines cut the plane of w into 2 n sectors


def test_the_best_factor_is_fitted_and_leaves_the_least_error():
    plain, best = (
        memory.retrieve(replace(SMALL, rule=rule, n_draws=50), seeds(1), "cpu") for rule in ("hebb", "scaled")
    )
    K, V, Q = memory._pairs(replace(SMALL, n_draws=50), memory.random_streams.generators(seeds(1), "data")[0])
    out = (Q @ K.mT @ V).numpy()
    error = [float(((c * out - V.numpy()) ** 2).mean()) for c in best["factor"][0] * np.array([0.99, 1.0, 1.01])]
    assert best["error"].mean() == pytest.approx(error[1]) and error[1] < min(error[0], error[2])
    assert best["error"].mean() < plain["error"].mean()


def test_labels_of_one_key_each_are_read_rightly_and_ties_are_shared():
    alone = memory.retrieve(replace(SMALL, n_pairs=1, values="class", n_draws=40), seeds(1), "cpu")
    assert (alone["right_label"] == 1).all()
    one = memory.retrieve(replace(SMALL, value_dim=1, values="class"), seeds(1), "cpu")
    assert (one["right_label"] == 1).all()


def test_a_chain_hands_on_its_read_out():
    setting = memory.DeepSetting(dim=3, n_pairs=4, n_heads=2, n_layers=2, n_draws=5)
    runs = memory.deep_chain(setting, seeds(1), "cpu")
    stream = memory.random_streams.generators(seeds(1), "data")[0]
    first = memory._spherical(10, 4, 3, stream).view(5, 2, 4, 3).numpy()
    signs = [memory._signs((5, 4), stream).numpy()]
    second = memory._spherical(10, 4, 3, stream).view(5, 2, 4, 3).numpy()
    signs.append(memory._signs((5, 4), stream).numpy())
    error = np.zeros((2, 5, 4))
    for draw in range(5):
        for j in range(4):
            cue = first[draw, :, j]  # one part per head
            for layer, K in enumerate((first[draw], second[draw])):
                memories = [sum(np.outer(np.eye(4)[i], K[h, i]) for i in range(4)) for h in range(2)]
                c = np.mean([memories[h] @ cue[h] for h in range(2)], axis=0)
                error[layer, draw, j] = (signs[layer][draw] @ c * signs[layer][draw, j] - 1) ** 2
                cue = np.einsum("i,hid->hd", c, second[draw])
    assert runs["error"][0] == pytest.approx(error.mean((1, 2)))
    assert runs["success"][0, 0] == pytest.approx(1 - runs["wrong_sign"][0, 0])


def test_variance_of_a_chain_is_that_of_its_signal():
    runs = memory.propagate(memory.ChainSetting(gain=2.0, noise_std=1.0, n_layers=2, n_draws=20_000), seeds(1), "cpu")
    assert runs["variance"][0] == pytest.approx([4, 20], rel=5 * 2**0.5 / 20_000**0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: memory.Setting(rule="hebbian"), "did you mean 'hebb'"),
        (lambda: memory.DepthSetting(n_heads=(2,)), "odd"),
        (lambda: memory.DepthSetting(dim=12), "multiple of 8"),
        (lambda: memory.Setting(n_pairs=0), "n_pairs=0"),
        (lambda: SeparationSetting(n_pairs=50), "at most 12"),
        (lambda: memory.DeepSetting(n_heads=0), "n_heads=0"),
    ],
)
def test_bad_settings_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
