"""The simulators of low-rank attention: what they compute, against direct sums and closed forms."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from attnlab.simulators.low_rank import augmentation as low_rank
from attnlab.simulators.low_rank import counts as low_rank_counts
from attnlab.simulators.low_rank import exact_ranks as low_rank_exact
from attnlab.simulators.low_rank import measures as low_rank_measures
from attnlab.simulators.low_rank import pooling as low_rank_pooling
from attnlab.simulators.low_rank import recall as low_rank_recall


def seeds(n):
    return [np.random.SeedSequence(7, spawn_key=(k,)) for k in range(n)]


def test_measures_of_rank_on_a_known_spectrum():
    values = torch.tensor([[2.0, 2.0, 0.0], [1.0, 0.0, 0.0], [4.0, 1.0, 1e-3]])
    assert low_rank_measures.effective_rank(values)[:2].tolist() == pytest.approx([2, 1])
    assert low_rank_measures.stable_rank(values)[:2].tolist() == pytest.approx([2, 1])
    assert low_rank_measures.numerical_rank(values, 1e-2).tolist() == [2, 1, 2]


def test_attention_of_every_variant_is_the_sum_over_keys():
    generator = torch.Generator().manual_seed(0)
    Q, K, V, gate = (torch.randn(5, 3, generator=generator, dtype=torch.float64) for _ in range(4))
    found = low_rank.outputs(Q, K, V, gate)
    weights = low_rank.key_weights(Q, K)
    assert weights.sum().item() == pytest.approx(5) and bool((weights > 0).all())
    kq, kk = low_rank.features(Q), low_rank.features(K)
    for name, alpha in (("linear", torch.ones(5, dtype=torch.float64)), ("weighted", weights)):
        for i in range(5):
            top = sum(alpha[j] * (kq[i] @ kk[j]) * V[j] for j in range(5))
            assert torch.allclose(found[name][i], top / sum(alpha[j] * (kq[i] @ kk[j]) for j in range(5)), atol=1e-14)
    assert torch.equal(found["gated"], gate * found["linear"]) and torch.equal(found["both"], gate * found["weighted"])
    assert not torch.allclose(found["linear"], found["weighted"], atol=1e-3)  # twin: weights do something


def test_exact_ranks_see_a_planted_deficiency():
    rng = np.random.default_rng(0)
    assert low_rank_exact._matrix(low_rank_exact._of_rank(rng, 9, 8, 3)).rank() == 3
    runs = low_rank_exact.exact_ranks(
        low_rank_exact.ExactSetting(sizes=((8, 2, 4),), products=((9, 8, 2, 2),)), seeds(2), "cpu"
    )
    assert runs["linear_matrix"].tolist() == [[2], [2]] and runs["softmax_matrix"].tolist() == [[8], [8]]
    assert runs["product"].tolist() == [[4], [4]] and runs["square"].tolist() == [[3], [3]]


def test_tokens_share_mean_and_noise_over_spreads():
    setting = low_rank.Setting(n_tokens=20, dim=4, spreads=(1.0, 0.5))
    X, maps = low_rank._tokens(setting, seeds(2), "cpu")
    assert X.shape == (2, 2, 20, 4) and maps.shape == (2, 4, 4, 4)
    centred = X - X.mean(2, keepdim=True)
    assert torch.allclose(centred[:, 0], 2 * centred[:, 1], atol=1e-12)
    runs = low_rank.token_ranks(setting, seeds(3), "cpu")
    assert (
        runs["effective"].shape == (3, 2, 5)
        and (runs["effective"] >= 1 - 1e-12).all()
        and (runs["effective"] <= 4 + 1e-9).all()
    )


@pytest.mark.parametrize("variant", low_rank.VARIANTS)
def test_recall_head_computes_attention_of_its_variant(variant):
    model = low_rank_recall.RecallHead(3, 2, 4, 5, variant)
    parameters = model.initialise([torch.Generator().manual_seed(k) for k in range(2)], torch.float64)
    keys, values = torch.randn(2, 3, 6, 3, dtype=torch.float64), torch.randn(2, 3, 6, 2, dtype=torch.float64)
    out, before = model.forward(parameters, keys, values)
    r, b = 1, 2
    Q, K, V = (x[r, b] @ parameters[n][r].T for x, n in ((keys, "Wq"), (keys, "Wk"), (values, "Wv")))
    follows = [
        torch.roll(x[r, b], -1, 0) for x in (keys, values)
    ]  # a token holds a query, and the key and value that follow
    gate = (
        torch.cat([keys[r, b], *follows], dim=1) @ parameters["gate"][r].T + parameters["gate_bias"][r]
        if model.gated
        else torch.ones(6, 5, dtype=torch.float64)
    )
    assert torch.allclose(before[r, b], low_rank.outputs(Q, K, V, gate)[variant], atol=1e-12)
    assert torch.allclose(out[r, b], before[r, b] @ parameters["Wo"][r].T, atol=1e-12)


def test_softmax_learns_to_recall_and_linear_attention_keeps_to_its_bound():
    setting = low_rank_recall.RecallSetting(
        n_tokens=8,
        key_dim=3,
        key_size=3,
        value_dim=2,
        value_size=2,
        learning_rate=0.02,
        n_steps=400,
        n_test=200,
        n_replicas=2,
    )
    linear = low_rank_recall.recall(setting, seeds(2), "cpu")
    softmax = low_rank_recall.recall(replace(setting, variant="softmax"), seeds(2), "cpu")
    assert (softmax["error"] < 0.5).all() and (linear["error"] > 1 - 6 / 16).all()


def test_selection_loss_is_the_mean_over_sampled_values():
    model = low_rank_pooling.SelectingPool(2, "tanh", 6)
    parameters = model.initialise([torch.Generator().manual_seed(1)], torch.float64)
    loss = low_rank_pooling.Selection().loss(model, parameters, None).item()
    generator = torch.Generator().manual_seed(2)
    values = torch.randn(200_000, 6, generator=generator, dtype=torch.float64)
    values[:, 0] = 1
    logits = values @ (parameters["readout"][0, :, None] * model.weights(parameters)[0]).sum(0)
    sampled = torch.nn.functional.softplus(-logits)
    assert abs(sampled.mean().item() - loss) < 4 * sampled.std().item() / 200_000**0.5
    assert abs(torch.nn.functional.softplus(-logits.mean()).item() - loss) > 1e-3  # twin: loss of the mean logit


def test_normalised_scores_have_unit_norm_and_bounded_weights():
    scores = torch.randn(3, 9, dtype=torch.float64)
    weights = low_rank_pooling.pooling_weights(scores, "l2")
    log_ratios = torch.log(weights / weights[:, :1])
    assert torch.allclose(weights.sum(-1), torch.ones(3, dtype=torch.float64)) and bool((log_ratios.abs() <= 2).all())
    assert float(low_rank_pooling.pooling_weights(100 * scores, "none").max()) > 0.99


def test_random_pooling_gives_one_score_by_two_algorithms():
    runs = low_rank_pooling.random_pooling(
        low_rank_pooling.PoolingSetting(dim=4, n_heads=2, n_tokens=3), seeds(2), "cpu"
    )
    assert np.allclose(runs["hadamard"], runs["bilinear"]) and not np.allclose(runs["hadamard"], runs["additive"])
    assert (runs["ratio"] <= np.exp(2)).all() and np.allclose(runs["direction"], 1)


def test_rank_errors_are_energies_of_what_is_left():
    runs = low_rank_pooling.rank_error(low_rank_pooling.RankErrorSetting(dim=6), seeds(1), "cpu")
    assert (
        runs["error"][0, 0] == pytest.approx(1) and runs["error"][0, -1] == 0 and (np.diff(runs["error"][0]) < 0).all()
    )


def test_counts_are_those_of_the_products():
    assert low_rank_counts.macs(low_rank_counts.softmax_head, 5, 2, 3) == 25 * 2 + 25 * 3
    assert low_rank_counts.size(low_rank_counts.CompactPooling(7, 3, 0)) == 42
    H = torch.randn(2, 5, 8)
    attention = low_rank_counts.SelfAttention(8, 2, 0)
    assert torch.allclose(attention(H), attention.attention(H, H, H, need_weights=False)[0], atol=1e-5)


def test_the_augmented_module_is_attention_of_weighted_keys_with_gate_and_convolution():
    """Written out per token in double precision, as the sheet's formula has it, with loops instead of products."""
    torch.manual_seed(0)
    module, image = low_rank_counts.AugmentedModule(8, 4).double(), torch.randn(1, 8, 2, 3, dtype=torch.float64)
    q, k, v, gate = module.qkvo(image)[0].flatten(1).split(8)  # (channel, token)
    positions = [(row, column) for row in range(2) for column in range(3)]

    def turned(x, token):  # two pairs: the first turns with the row, the second with the column
        angle = torch.tensor(positions[token], dtype=torch.float64)
        pairs = torch.view_as_complex(x.reshape(2, 2).contiguous()) * torch.exp(1j * angle)
        return torch.view_as_real(pairs).flatten()

    mixed = torch.zeros(8, 6, dtype=torch.float64)
    for head in (slice(0, 4), slice(4, 8)):
        Q, K, V = low_rank.features(q[head]), low_rank.features(k[head]), v[head]
        weights = torch.softmax(Q.mean(1) @ K / 2, dim=0)
        K = 6 * weights * K
        for i in range(6):
            shares = torch.stack([turned(Q[:, i], i) @ turned(K[:, j], j) for j in range(6)]) / 6
            mixed[head, i] = V @ shares / (Q[:, i] @ K.mean(1) + 1e-6)
    local = module.local(v.view(1, 8, 2, 3))[0].flatten(1)
    expected = module.projection(((mixed + local) * gate).view(1, 8, 2, 3))
    assert torch.allclose(module(image), expected, atol=1e-10)
    plain = module.projection((mixed + local).view(1, 8, 2, 3))
    assert not torch.allclose(module(image), plain, atol=1e-3)  # twin: no gate


def test_counted_answers_approach_the_exact_accuracy():
    setting = low_rank_pooling.SelectionSetting(n_tokens=6, n_heads=1, n_steps=50, n_replicas=2)
    runs = low_rank_pooling.selection(setting, seeds(2), "cpu")
    spread = np.sqrt(runs["accuracy"] * (1 - runs["accuracy"]) / setting.n_test)
    assert (np.abs(runs["counted"] - runs["accuracy"]) < 4 * spread).all()
    assert (np.abs(runs["counted_at_start"] - runs["accuracy"]) > 4 * spread).any()  # twin: the untrained model


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: low_rank_counts.CountSetting(head_dim=48), "head_dim=48"),
        (lambda: low_rank_recall.RecallSetting(variant="gate"), "did you mean 'gated'"),
        (lambda: low_rank_pooling.SelectionSetting(n_tokens=1), "n_tokens=1"),
        (lambda: low_rank_pooling.SelectionSetting(bound="l2"), "use 2 heads"),
        (lambda: low_rank.Setting(spreads=(0.0,)), "spreads="),
    ],
)
def test_bad_settings_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
