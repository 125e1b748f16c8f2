"""Laws of score mixing and graphs against the operators themselves; each with its twin."""

import math

import numpy as np
import pytest
import torch

from attnlab.kernels.operators.operator import QKV, Graph, Sizes
from attnlab.kernels.operators.score_mixing.edge_scores import EdgeScores
from attnlab.kernels.operators.score_mixing.graph_isomorphic import GraphIsomorphic
from attnlab.kernels.operators.score_mixing.multi_token import MultiToken
from attnlab.theory.score_mixing import edge_scores, graph_isomorphic, multi_token

EPS = np.finfo(float).eps


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_mixed_scores_have_the_rank_of_their_kernel():
    n, d = 30, 4
    S = (normal(1, 1, 1, n, d) @ normal(1, 1, 1, n, d, seed=1).mT) / 2
    operator = MultiToken(4, 7)
    for rank in (1, 3):
        kernel = normal(4, rank, seed=2) @ normal(rank, 7, seed=3)
        mixed = operator.mixed(S, kernel[None, None])[0, 0]
        assert torch.linalg.matrix_rank(mixed, rtol=1e-10) == multi_token.mixed_rank(n, d, kernel.numpy())
    assert multi_token.mixed_rank(n, d, kernel.numpy()) > d  # twin: mixing keeps the rank of the scores


def test_mixing_is_the_stated_sum_and_grows_by_the_norm_of_the_kernel():
    n, kernel = 200, normal(2, 3, seed=4)
    S = normal(1, 1, 1, n, n, seed=5)
    mixed = MultiToken(2, 3).mixed(S, kernel[None, None])[0, 0, 0]
    i, j = 7, 9
    wanted = sum(kernel[a, b] * S[0, 0, 0, i - a, j + b - 1] for a in range(2) for b in range(3))
    assert (mixed[i, j] - wanted).abs() < 100 * EPS
    gain = mixed[1:, 1:-1].var().item()
    assert abs(gain / multi_token.variance_gain(kernel.numpy()) - 1) < 4 * math.sqrt(2 * 6) / n
    assert abs(gain / kernel.sum().item() ** 2 - 1) > 0.1  # twin: the kernel's sum


def blocks_with_one_right(rng, n_blocks, block, letters):
    """Blocks of distinct letters, a query of two letters that exactly one block holds; the right block is the first."""
    query = rng.choice(letters, 2, replace=False)
    found = [np.concatenate([query, rng.choice(np.setdiff1d(np.arange(letters), query), block - 2, replace=False)])]
    while len(found) < n_blocks:
        other = rng.choice(letters, block, replace=False)
        if not np.isin(query, other).all():
            found.append(other)
    return query, np.array([rng.permutation(each) for each in found])


def test_a_kernel_solves_a_conjunction_that_sums_of_matches_cannot():
    rng, n_blocks, block, letters = np.random.default_rng(6), 20, 5, 26
    tied, eye = (
        [],
        torch.eye(letters + 1, letters, dtype=torch.float64),
    )  # the last row: a separator, which matches nothing
    kernel = torch.zeros(1, 1, 2, 2 * block + 1, dtype=torch.float64)
    kernel[..., :block] = 1  # both queries, the ``block`` keys before
    for _ in range(60):
        query, blocks = blocks_with_one_right(rng, n_blocks, block, letters)
        tokens = np.concatenate([blocks, np.full((n_blocks, 1), letters)], 1).ravel()
        S = eye[torch.tensor(query)] @ eye[torch.tensor(tokens)].T  # two queries, one per letter
        mixed = MultiToken(2, 2 * block + 1).mixed(S[None, None, None], kernel)[0, 0, 0, 1]
        at_separators = mixed.reshape(n_blocks, block + 1)[:, -1]
        assert at_separators[0] == 2 and at_separators[1:].max() <= 1  # solved: exactly one block holds both
        per_key = S.sum(0)
        tied.append((per_key[: block + 1].sum() / per_key.sum()).item())
    law = multi_token.tied_accuracy_exact(n_blocks, block, letters, 100_000, 0)
    assert abs(np.mean(tied) - law.mean()) < 4 * (np.std(tied) / 60**0.5 + law.std() / 100_000**0.5)
    assert law.mean() < 0.5  # twin: a sum of two matches finds the block, too
    assert multi_token.tied_accuracy_exact(50, 5, 26, 400_000, 1).mean() == pytest.approx(0.113, abs=1e-3)


def auc(score, same):
    order = np.argsort(np.argsort(score)) + 1
    n = same.sum()
    return (order[same].sum() - n * (n + 1) / 2) / (n * (~same).sum())


@pytest.mark.parametrize(("m", "d"), [(1.0, 8), (2.0, 32)])
def test_additive_edge_scores_are_blind_to_classes(m, d):
    """1200 nodes, pairs among them; 4 standard errors of an AUC over nodes, about sqrt(1/(3 n)), and .02 for the Gaussian law."""
    rng, n = np.random.default_rng(7), 1200
    y = np.repeat([1, -1], n // 2)
    x = y[:, None] * m * np.eye(d)[0] + rng.normal(size=(n, d))
    h = torch.tensor(x)[None, None, None]
    same = (y[:, None] == y[None])[~np.eye(n, dtype=bool)]
    parameters = {name: normal(1, 1, d, seed=i) for i, name in enumerate(("left", "right"))}
    width = 4 / (3 * n) ** 0.5
    found = {
        form: auc(EdgeScores(form).scores(h, parameters)[0, 0, 0].numpy()[~np.eye(n, dtype=bool)], same)
        for form in ("additive", "product", "mixed")
    }
    predicted = edge_scores.product_auc_approx(m, d)
    assert abs(found["additive"] - edge_scores.additive_auc()) < width
    assert abs(found["product"] - predicted) < width + 0.02
    assert abs(found["mixed"] - predicted) > width + 0.02  # twin: the mixed score is as informative as the product


def test_additive_scores_rank_keys_alike_and_isolated_nodes_get_nothing():
    sizes, n = Sizes(n=6, d=4, d_v=4, n_heads=2), 6
    edges = torch.ones(1, n, n, dtype=torch.bool)
    edges[0, 2] = False
    for form, alike in (("additive", True), ("product", False)):
        operator = EdgeScores(form)
        parameters = operator.initialise(sizes, [torch.Generator().manual_seed(1)], torch.float64)
        inputs = Graph(normal(1, 1, n, 8), edges)
        M = operator.matrix(inputs, parameters)
        rest = M[..., [0, 1, 3, 4, 5], :]
        assert bool((rest.argsort(-1) == rest.argsort(-1)[..., :1, :]).all()) == alike
        assert not operator.apply(inputs, parameters)[0, 0, 2].any()


@pytest.mark.parametrize("adjacency", ["softmax", "sigmoid"])
def test_copies_of_all_keys_are_counted_by_sums_only(adjacency):
    q, k, v = (normal(1, 1, 1, 4, 4, seed=s) for s in range(3))
    operator = GraphIsomorphic(adjacency)
    copied = QKV(q.repeat(1, 1, 1, 3, 1), k.repeat(1, 1, 1, 3, 1), v.repeat(1, 1, 1, 3, 1))
    one = operator.matrix(QKV(q, k, v), {}) @ v
    three = (operator.matrix(copied, {}) @ copied.v)[..., :4, :]
    factor = graph_isomorphic.growth_under_copies(adjacency, 3)
    assert (three - factor * one).abs().max() < 100 * EPS
    sizes = Sizes(n=4, d=4, d_v=4)
    parameters = operator.initialise(sizes, [torch.Generator().manual_seed(0)], torch.float64)
    for own, counts in ((0.0, False), (0.5, adjacency == "sigmoid")):
        parameters["self_weight"] = torch.full((1, 1), own, dtype=torch.float64)
        a, b = operator.apply(QKV(q, k, v), parameters), operator.apply(copied, parameters)[..., :4, :]
        assert bool((a - b).abs().max() > 1e-3) == counts  # twin: a network after a mean can count


@pytest.mark.parametrize(("m", "d"), [(1.0, 8), (2.0, 8)])
def test_the_exact_law_of_products_is_that_of_pairs_drawn_alone(m, d):
    """40 000 pairs of each kind: 4 standard errors of a share. Twin: the Gaussian law, off by .01 at m = 2."""
    rng, n = np.random.default_rng(8), 40_000
    mu = m * np.eye(d)[0]
    x = rng.normal(size=(4, n, d))
    same, other = ((x[0] + mu) * (x[1] + mu)).sum(1), ((x[2] + mu) * (x[3] - mu)).sum(1)
    found, p = (same > other).mean(), edge_scores.product_auc_exact(m, d)
    assert abs(found - p) < 4 * math.sqrt(p * (1 - p) / n)
    assert m == 1 or abs(found - edge_scores.product_auc_approx(m, d)) > 0.005
    assert edge_scores.product_auc_exact(0.0, d) == pytest.approx(0.5)
