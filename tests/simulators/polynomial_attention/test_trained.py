"""Match3 by training: heads against loops, the best rules against all rules, and trainings that end where they must."""

import itertools
import math

import numpy as np
import pytest
import torch

from attnlab.simulators.polynomial_attention.trained import (
    BestSetting,
    EverySequence,
    Heads,
    TrainedSetting,
    best_pairwise,
    trained,
)


def seeds(n):
    return [np.random.SeedSequence(3, spawn_key=(k,)) for k in range(n)]


@pytest.mark.parametrize("head", ["tensor", "pairwise"])
def test_heads_are_softmax_means_over_tokens_or_pairs(head):
    M, a, b, c = 4, 1, 3, 2
    model = Heads(head, 2, 3, M)
    tables = model.initialise([torch.Generator().manual_seed(1)], torch.float64)
    total = 0.0
    for h in range(2):
        q, k, v, r = (tables[name][0, h].numpy() for name in ("query", "key", "value", "read"))
        if head == "pairwise":
            terms = [(q[a] @ k[x], r[a] @ v[x]) for x in (b, c)]
        else:
            k2, v2 = tables["key2"][0, h].numpy(), tables["value2"][0, h].numpy()
            terms = [((q[a] * k[x]) @ k2[y], (r[a] * v[x]) @ v2[y]) for x, y in ((b, c), (c, b))]
        total += sum(math.exp(s) * u for s, u in terms) / sum(math.exp(s) for s, _ in terms)
    assert model(tables)[0, a, b, c].item() == pytest.approx(total)


def test_half_of_the_sequences_are_matches_and_the_loss_of_silence_is_one_bit():
    task, model = EverySequence(5, 0.5), Heads("pairwise", 1, 2, 5)
    tables = model.initialise([torch.Generator().manual_seed(1)], torch.float64)
    silent = tables | {"read": torch.zeros_like(tables["read"])}
    assert (task.weights * task.match).sum().item() == pytest.approx(0.5)
    assert task.weights.sum().item() == pytest.approx(1)
    assert task.loss(model, silent, None).item() == pytest.approx(math.log(2))
    assert task.accuracy(model(silent)).item() == pytest.approx(0.5)  # always no


@pytest.mark.parametrize(("M", "p"), [(3, 0.5), (3, 1 / 3), (4, 0.5)])
def test_the_best_rule_is_the_best_of_a_fine_grid(M, p):
    """All phi on a grid of M + 2 levels hold every order of sums that M numbers can have for M <= 4."""
    levels = np.linspace(-1, 1, 2 * M + 1)
    best = []
    for a in range(M):
        match = np.add.outer(np.arange(M), np.arange(M) + a) % M == 0
        weight = np.where(match, p / M, (1 - p) / (M * (M - 1)))
        phi = np.array(list(itertools.product(levels, repeat=M)))
        said = phi[:, :, None] + phi[:, None] > -1e-9
        best.append(((said == match) * weight).sum((1, 2)).max())
    found = best_pairwise(BestSetting((M,), 0.0 if p != 0.5 else p), seeds(1), "cpu")["accuracy"]
    assert found[0, 0] == pytest.approx(np.mean(best), abs=1e-6)


def test_training_moves_and_a_wrong_setting_is_refused():
    found = trained(TrainedSetting(modulus=3, n_steps=60, n_replicas=2), seeds(2), "cpu")
    assert (found["accuracy"] > found["start"]).all() and found["loss"].shape == (2,)
    with pytest.raises(ValueError, match="p_match"):
        TrainedSetting(p_match=1.0)
    with pytest.raises(ValueError, match="head"):
        TrainedSetting(head="triple")
