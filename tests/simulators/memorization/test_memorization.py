"""The memorisation simulators: exact features, constructed weights, certificates, and the trained layer by loops."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.memorization import assumptions, construction, dimension, frozen
from attnlab.simulators.memorization import exact_ranks as exact
from attnlab.simulators.memorization import training as trained


def seeds(n, entropy=5):
    return [np.random.SeedSequence(entropy, spawn_key=(k,)) for k in range(n)]


def test_integer_features_are_softmax_features_up_to_factors_of_rows():
    rng = np.random.default_rng(0)
    E, queries = exact.integers(rng, 3, 4, 5), exact.integers(rng, 2, 7, 5)
    heads = [exact.integers(rng, 1, 5, 5) for _ in range(3)]
    Z = exact._softmax_features(queries, E, heads).astype(float)
    rows = []
    for e in queries.astype(float):
        blocks = []
        for M in heads:
            weights = np.exp2(E.astype(float) @ M.astype(float) @ e)
            blocks.append(weights / weights.sum() @ E.astype(float))
        rows.append(np.concatenate(blocks))
    ratio = Z / np.array(rows)
    assert np.allclose(ratio, ratio[:, :1], rtol=1e-10, equal_nan=True)


def test_exact_rank_sees_what_rounding_hides():
    M = np.array([[10**20, 1], [10**20 + 1, 1]], dtype=object)
    assert exact.rank(M) == 2 and np.linalg.matrix_rank(M.astype(float)) == 1
    assert exact.rank(np.outer([1, 2, 3], [4, 5])) == 1


def test_exact_cells_of_one_token_and_of_too_few_examples():
    setting = exact.ExactSetting(
        sizes=((1, 3, 2, 1, 5), (3, 4, 2, 1, 4)),
        distinct=((1, 3, 2, 2, 7),),
        deficient=((3, 4, 2, 2, 1, 6),),
        subspace=((2, 4, 2, 2, 5),),
    )
    runs = exact.exact_ranks(setting, seeds(2), "cpu")
    assert runs["shared"].tolist() == [[1, 4]] * 2 and runs["distinct"].tolist() == [[3]] * 2
    assert runs["deficient"].tolist() == [[3]] * 2 and runs["subspace"].tolist() == [[3]] * 2
    assert runs["solvable"].all() and runs["solvable_beyond"].tolist() == [[0, -1]] * 2


def test_constructed_heads_are_one_hot_but_on_their_own_examples():
    setting = construction.ConstructionSetting(cells=((3, 4, 3, 3, 1), (3, 5, 2, 2, 0)))
    runs = construction.construct(setting, seeds(3), "cpu")
    assert runs["rank"].tolist() == [[7, 3]] * 3 and runs["width"].tolist() == [[3, 2]] * 3
    assert (runs["unsaturated"] <= 1).all() and (runs["owned"] == 1).all()
    dull = construction.construct(replace(setting, sharpness=0.1), seeds(3), "cpu")  # twin: no saturation
    assert (dull["unsaturated"] > 1).any()


def test_directions_do_what_they_are_for():
    rng = np.random.default_rng(1)
    queries = construction._independent_queries(rng, 7, 4, 3)
    contexts = np.broadcast_to(construction._full_rank(rng, 3, 4), (7, 3, 4))
    own = np.array([1, 2])
    u, v, w = construction._directions(rng, queries, contexts, own)
    assert (queries[own] @ u == 0).all() and (np.delete(queries, own, 0) @ u != 0).all()
    M = construction._matrix(queries, contexts, own, u, v, w, 40.0)
    logits = np.einsum("tnd,de,te->tn", contexts.astype(float), M, queries.astype(float))
    free = np.log(2) * np.einsum("tnd,td->tn", contexts[own].astype(float), w.astype(float))
    assert np.allclose(logits[own], free, atol=1e-9)
    top = np.sort(np.delete(logits, own, 0), axis=1)
    assert (top[:, -1] - top[:, -2] > 40 - 1e-6).all()


def test_frozen_features_do_not_depend_on_the_order_of_tokens_and_are_means_of_them():
    Z = frozen.features(np.random.default_rng(2), 9, 1, 4, 3, 2, 3.0)
    assert np.allclose(Z, Z[:1]) and np.allclose(Z[:, :4], Z[:, 4:8])  # one token: its value
    published = frozen.features(np.random.default_rng(2), 9, 5, 4, 3, 2, 3.0, "published")
    assert (published > 0).all() and (published < 1).all()


def test_separability_is_what_linear_programming_says():
    rng = np.random.default_rng(3)
    for T, R in ((6, 3), (8, 4)):
        rows = rng.normal(size=(T, R))
        for signs in itertools.islice(itertools.product((-1, 1), repeat=T), 0, None, 3):
            signed = rows * np.array(signs)[:, None]
            program = linprog(np.zeros(R), A_ub=-signed, b_ub=-np.ones(T), bounds=[(None, None)] * R)
            assert frozen.separable(rows, np.array(signs)) is (program.status == 0)
    assert frozen.separable(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([1, -1])) is False
    assert frozen.separable(np.array([[1.0, 0.0], [1.0, 1e-7]]), np.array([1, -1])) is True  # thin, but separable


def test_residuals_are_those_of_least_squares():
    setting = frozen.FrozenSetting(examples=(12,), n_labels=1, n_context=3, dim=5, n_heads=2, head_dim=3)
    found = frozen.residuals(setting, seeds(1), "cpu")["mse"][0, 0]
    rng = np.random.default_rng(seeds(1)[0])
    Z, y = frozen.features(rng, 12, 3, 5, 2, 3, 3.0), rng.uniform(size=12)
    assert found == pytest.approx(((Z @ np.linalg.lstsq(Z, y, rcond=1e-10)[0] - y) ** 2).mean(), rel=1e-9)


def test_kruskal_ranks_of_known_sets():
    identity = np.eye(3, dtype=int).astype(object)
    assert assumptions.kruskal_rank(identity) == 3
    assert assumptions.kruskal_rank(np.concatenate([identity, [[1, 1, 0]]])) == 2
    assert assumptions.kruskal_rank(np.concatenate([identity, [[0, 2, 0]]])) == 1
    assert assumptions.kruskal_rank(np.concatenate([identity, [[0, 0, 0]]])) == 0
    runs = assumptions.kruskal(assumptions.AssumptionSetting(), seeds(1), "cpu")
    assert runs["kruskal_rank"].tolist() == [[4, 3, 1, 2, 1]]


def test_narrow_heads_keep_the_weights_at_width_n_minus_one_only():
    runs = assumptions.narrow_heads(assumptions.AssumptionSetting(), seeds(2), "cpu")
    assert runs["exact"].max() < 1e-10 and runs["too_narrow"].min() > 1e-4


@pytest.mark.parametrize("shared", [True, False])
def test_the_layer_is_the_sum_over_heads_and_tokens(shared):
    model = trained.Layer(dim=6, n_context=3, n_heads=2, head_dim=4, n_out=5)
    setting = trained.Setting(dim=6, n_context=3, n_examples=4, n_classes=5, shared=shared)
    task = trained.Memory.draw(setting, seeds(2), "cpu").double()
    p = model.initialise(generators(seeds(2), "parameters"), torch.float64)
    out = model(p, task.queries, task.contexts)
    r, t = 1, 2
    there = trained.positions(range(4), 6)
    e = task.queries[r, t] @ p["embed"][r] + p["embed_bias"][r] + there[0]
    E = (task.contexts[r] if shared else task.contexts[r, t]) @ p["embed"][r] + p["embed_bias"][r] + there[1:]
    expected = p["out_bias"][r].clone()
    for h in range(2):
        logits = (E @ p["W_K"][r, h]) @ (e @ p["W_Q"][r, h]) / 6**0.5
        head = torch.softmax(logits, 0) @ (E @ p["W_V"][r, h])
        expected += head * p["W_O"][r, h] @ p["out"][r]
    assert torch.allclose(out[r, t], expected, atol=1e-12)
    without = torch.softmax(logits * 6**0.5 / 4**0.5, 0) @ (E @ p["W_V"][r, 1])  # twin: root of d_h
    assert not torch.allclose(head, without, atol=1e-6)


def test_positions_are_sines_and_cosines():
    there = trained.positions([0, 3], 5)
    assert there.shape == (2, 5) and there[0].tolist() == [0, 1, 0, 1, 0]
    assert there[1, 2].item() == pytest.approx(np.sin(3 * 10_000 ** (-2 / 5))) and there[1, 1].item() == pytest.approx(
        np.cos(3)
    )


def test_what_is_reported_of_a_trained_layer():
    setting = trained.Setting(n_examples=24, n_steps=60, n_heads=2, n_context=3)
    runs = trained.memorise(setting, seeds(2), "cpu")
    assert (
        runs["largest_weight"].shape == (2, 24, 2)
        and (runs["memorised"] >= 1).all()
        and (runs["memorised"] <= 24).all()
    )
    assert (runs["spectrum"][:, 5:] < 1e-13).all() and (runs["spectrum"][:, 4] > 1e-13).all()  # H (n - 1) + 1 = 5
    assert runs["n_parameters"].tolist() == [8 * 9 + 4 * 8 * 9 + 72] * 2
    assert (runs["loss"][:, -1] < runs["loss"][:, 0]).all()


def test_jacobian_ranks_of_layers_that_can_be_counted_by_hand():
    setting = dimension.DimensionSetting(layers=((3, 1, 2, 2), (3, 2, 1, 2)), n_examples=25)
    runs = dimension.jacobian_ranks(setting, seeds(4), "cpu")
    # constants; one logit with slope (3) and bias (1), two values
    assert runs["rank"].max(0).tolist() == [1, 6] and (runs["rank"] <= [1, 6]).all()
    assert runs["n_parameters"].tolist() == [[3 * 4 + 2 * 2 * 3 * 3 + 4, 3 * 4 + 2 * 3 * 3 + 4]] * 4


def test_one_token_gives_one_answer_to_all():
    runs = trained.memorise(trained.Setting(n_context=1, n_examples=20, n_classes=3, n_steps=40), seeds(2), "cpu")
    assert (runs["memorised"] <= runs["most_frequent"]).all() and (runs["largest_weight"] == 1).all()


def test_batches_are_drawn_from_the_examples_and_real_labels_have_a_squared_error():
    setting = trained.Setting(n_examples=30, batch=8, n_classes=0, n_steps=64, shared=False)
    runs = trained.memorise(setting, seeds(2), "cpu")
    assert runs["memorised"].tolist() == [0, 0] and (runs["mse"] < 3 * runs["label_variance"]).all()
    task = trained.Memory.draw(setting, seeds(1), "cpu")
    assert task.numbers_per_step == 8 and replace(task, batch=30).numbers_per_step == 0
    model = trained.Layer(8, 4, 4, 8, 1)
    p = model.initialise(generators(seeds(1), "parameters"), torch.float32)
    third = torch.full((1, 8), 3.5 / 30)
    error = (model(p, task.queries, task.contexts)[0, 3, 0] - task.labels[0, 3]) ** 2
    assert task.loss(model, p, third).item() == pytest.approx(error.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: trained.Setting(n_classes=1), "n_classes=1 leaves nothing"),
        (lambda: exact.ExactSetting(deficient=((3, 4, 2, 1, 1, 6),)), "use 1 \\+ ones <= rho < n"),
        (lambda: exact.ExactSetting(distinct=((3, 1, 2, 1, 6),)), "T=6 different queries"),
        (lambda: construction.ConstructionSetting(cells=((3, 4, 2, 4, 1),)), "use 2 <= d_h <= n <= d"),
        (lambda: assumptions.AssumptionSetting(subspace=4), "subspace=4"),
        (lambda: frozen.FrozenSetting(gain=0), "gain=0"),
    ],
)
def test_bad_settings_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
