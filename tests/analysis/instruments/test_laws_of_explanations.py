"""Laws of instruments on explanations, each against a closed form, finite differences or a simulation."""

import numpy as np
import pytest

from attnlab.analysis.instruments.explanations import (
    depth_probe,
    learned_mask,
    mask_scores,
    pooled_probe,
    readout,
    relevance,
    reliance,
    score_perturbation,
)


def test_attention_mass_is_a_gauge_and_contributions_are_not():
    rng = np.random.default_rng(0)
    a, v, w = rng.random(6), rng.standard_normal((6, 3)), rng.standard_normal(3)
    a /= a.sum()
    marked = np.arange(6) == 2
    for eps in (0.1, 1e-4):
        new, values = reliance.regauge(a, v, marked, eps)
        assert new[2] == pytest.approx(eps, rel=1e-12) and new.sum() == pytest.approx(1, rel=1e-12)
        assert np.allclose(new @ values, a @ v, rtol=0, atol=1e-14)
        assert np.allclose(reliance.contributions(new, values, w), reliance.contributions(a, v, w), rtol=1e-12)
        assert np.linalg.norm(values[2]) / np.linalg.norm(v[2]) == pytest.approx(a[2] / eps)
    with pytest.raises(ValueError, match="eps and the marked mass"):
        reliance.regauge(a, v, marked, 1.0)


def test_the_index_of_deception_and_what_no_flip_excludes():
    assert reliance.deception(1.0, 0.03, 0.6) == pytest.approx(0.95) and reliance.deception(1.0, 0.7, 0.6) == 0
    rate = reliance.excluded_rate(60)
    assert (1 - rate) ** 60 == pytest.approx(0.05) and rate == pytest.approx(0.0487, abs=1e-4)
    bits = np.zeros((3, 2))
    with pytest.raises(ValueError, match="nothing was swapped"):
        reliance.Swaps(lambda x: x[:, 0], bits, bits[None])


def pooled(rng, n=9, dim=4):
    s, v, w = rng.standard_normal(n), rng.standard_normal((n, dim)), rng.standard_normal(dim)
    return s, v, w


def test_the_gradient_of_the_scores_is_that_of_differences_and_sums_to_zero():
    s, v, w = pooled(np.random.default_rng(1))

    def f(scores):
        e = np.exp(scores)
        return (e / e.sum()) @ v @ w

    g = score_perturbation.pooled_gradient(s, v, w)
    for j in range(len(s)):
        step = 1e-6 * (np.arange(len(s)) == j)
        assert g[j] == pytest.approx((f(s + step) - f(s - step)) / 2e-6, rel=1e-6, abs=1e-9)
    assert abs(g.sum()) < 1e-15


def test_with_two_classes_the_virtual_direction_is_the_adversarial_one_and_iat_gains_what_its_span_allows():
    rng = np.random.default_rng(2)
    s, v, w = pooled(rng)
    g = score_perturbation.pooled_gradient(s, v, w)
    found = score_perturbation.vat_direction(np.stack([g, np.zeros_like(g)]), np.array([0.3, 0.7]))
    assert abs(found @ g) / np.linalg.norm(g) == pytest.approx(1, abs=1e-12)
    others = rng.standard_normal((4, len(s)))
    r = score_perturbation.iat_direction(g, s, others)
    basis = np.linalg.qr((others - s).T)[0]
    assert np.linalg.norm(r) == pytest.approx(1) and np.allclose(basis @ (basis.T @ r), r)
    assert 0 < r @ g <= np.linalg.norm(basis.T @ g) + 1e-12
    three = rng.standard_normal((5, len(s)))
    p = rng.dirichlet(np.ones(5))
    top = score_perturbation.vat_direction(three, p)
    kl = three.T @ (np.diag(p) - np.outer(p, p)) @ three
    assert top @ kl @ top == pytest.approx(np.linalg.eigvalsh(kl)[-1])


def test_saturated_rows_are_refused():
    flat = score_perturbation.Scored(
        lambda s: np.ones(s.shape[:2]), lambda s: np.full(s.shape, 1e-14), np.zeros((3, 1, 4))
    )
    with pytest.raises(ValueError, match="a saturated row"):
        score_perturbation.measure(flat)


def network(rng, bias):
    return relevance._network(rng, bias)


def forward(layers, x):
    for layer in layers[:-1]:
        x = np.maximum(x @ layer.weights + layer.bias, 0)
    return (x @ layers[-1].weights + layers[-1].bias)[:, 0]


def test_rule_0_without_biases_is_gradient_times_input():
    rng = np.random.default_rng(3)
    layers, x = network(rng, 0.0), rng.random((5, 8)) + 0.1
    made = relevance.propagate(layers, x)
    assert np.allclose(made.output, forward(layers, x), rtol=1e-14)
    for j in range(8):
        step = 1e-6 * (np.arange(8) == j)
        gradient = (forward(layers, x + step) - forward(layers, x - step)) / 2e-6
        assert made.relevance[:, j] == pytest.approx(gradient * x[:, j], rel=1e-5, abs=1e-7)
    assert np.allclose(made.relevance.sum(-1), made.output, rtol=1e-12)


@pytest.mark.parametrize("rule", relevance.RULES)
def test_what_is_not_in_the_relevance_is_in_the_named_leaks(rule):
    rng = np.random.default_rng(4)
    layers, x = network(rng, 0.5), rng.random((6, 8)) + 0.1
    made = relevance.propagate(layers, x, rule, eps=0.1)
    read = relevance.measure(made)
    assert (read["gap"].p == 1).all()
    assert (np.abs(read["leaked"].value) > 1e-3).any() == (rule != "z+"), "z+ has no bias in its denominator"
    assert relevance.measure(relevance.Relevance(made.relevance, made.output))["gap"].value == pytest.approx(
        np.abs(read["leaked"].value), abs=1e-12
    )


def test_rules_refuse_what_they_do_not_know():
    layers = network(np.random.default_rng(5), 0.0)
    with pytest.raises(ValueError, match="use one of 0, z"):
        relevance.propagate(layers, np.ones((2, 8)), "z")
    with pytest.raises(ValueError, match="at least 0"):
        relevance.propagate(layers, -np.ones((2, 8)), "z+")
    with pytest.raises(ValueError, match="explains one"):
        relevance.propagate(layers[:-1], np.ones((2, 8)))


@pytest.mark.parametrize(
    ("dim", "n", "distance", "published"), [(20, 100, 1, 0.645), (100, 400, 2, 0.814), (400, 100, 2, 0.673)]
)
def test_the_law_of_the_probe_is_that_of_simulations(dim, n, distance, published):
    rng = np.random.default_rng(6)
    labels = np.arange(n) % 2
    x = rng.standard_normal((30, 2 * n, dim))
    both = np.concatenate([labels, labels])
    x[..., 0] += distance * both
    measured = depth_probe.right(x, both, n)[n:].mean(0)
    law = depth_probe.accuracy_law(distance, dim, n)
    assert abs(measured.mean() - law) < 4 * measured.std(ddof=1) / 30**0.5
    assert law == pytest.approx(published, abs=5e-3), "the sheet's approximation"
    assert depth_probe.distance_of(law, dim, n) == pytest.approx(distance, abs=1e-6)


def test_bits_emerge_where_they_are_written():
    rng = np.random.default_rng(7)
    bits = rng.integers(2, size=(600, 3))
    written = [(bits[:, 0], 0), (bits[:, 0] ^ bits[:, 1], 2), (bits.sum(1) % 2, 3)]
    states = 0.5 * rng.standard_normal((5, 600, 6))
    for k, (bit, start) in enumerate(written):
        states[start:, :, k] += 2 * bit - 1.0
    for bit, start in written:
        made = depth_probe.measure(depth_probe.States(states, bit))
        assert depth_probe.emergence(made["accuracy"]) == start
        assert made["accuracy"].value[-1] == pytest.approx(0.977, abs=0.03)  # Phi(2); 300 judged
        assert (made["control"].p > 1e-3).all()


def test_deletion_of_an_additive_model_lies_between_the_best_and_the_worst_order():
    rng = np.random.default_rng(8)
    c = np.abs(rng.standard_normal((3, 50)))

    def f(kept):
        return (c * kept).sum(-1)

    maps = np.stack([c, -c, rng.standard_normal(c.shape)], 1)
    made = mask_scores.measure(mask_scores.Deletion(f, maps))
    assert made["score"].value[:2] == pytest.approx([1, -1], abs=1e-12) and abs(made["score"].value[2]) < 1
    first = np.sort(c, -1)[:, ::-1]
    place = (np.arange(50) + 0.5) / 50
    assert made["area_under"].values[:, 0] == pytest.approx((first * place).sum(-1) / first.sum(-1))
    orders = np.stack([rng.standard_normal(c.shape) for _ in range(400)], 1)
    found = mask_scores.measure(mask_scores.Deletion(f, orders))["area_under"].values
    assert found.std(1) == pytest.approx(mask_scores.random_sd(c), rel=4 / 800**0.5)
    with pytest.raises(ValueError, match="all inputs count alike"):
        mask_scores.measure(mask_scores.Deletion(lambda kept: kept.sum(-1) * 1.0, maps))


def test_a_mask_of_ones_has_the_best_drop_and_the_whole_area():
    p = np.array([0.5, 0.8])
    assert mask_scores.mask_scores(p, p, np.ones((2, 4))) == (0.0, 0.0, 1.0)
    drop, rise, area = mask_scores.mask_scores(p, np.array([0.25, 0.9]), np.array([[1, 0], [0, 0]]))
    assert (drop, rise, area) == (25.0, 50.0, 0.25)


@pytest.mark.parametrize("area", [0.5, 2.0, 8.0])
def test_a_learnt_mask_keeps_the_planted_pixels_and_no_others(area):
    n, planted = 64, np.arange(64) % 8 == 3

    def slope(a):  # 1.5 cross-entropy of sigmoid(sum of 2 a over the planted - 8)
        return -1.5 * 2 * planted / (1 + np.exp((2 * a * planted).sum(-1, keepdims=True) - 8))

    mask = learned_mask.learn(learned_mask.Masking(slope, 2, n, area))
    assert ((mask > 0.5) == planted).all()


def test_the_slope_of_the_area_and_of_the_smoothness_is_that_of_differences():
    rng = np.random.default_rng(9)
    a = rng.random((1, 12))
    masking = learned_mask.Masking(np.zeros_like, 1, 12, 2.0, smooth=0.3, side=4)

    def value(a):
        grid = a.reshape(3, 4)
        tv = (np.diff(grid, axis=0) ** 2).sum() + (np.diff(grid, axis=1) ** 2).sum()
        return 2.0 * ((a + 5e-4) ** 0.3).mean() + 0.3 * tv

    found = learned_mask._penalty_slope(masking, a)
    for j in range(12):
        step = 1e-6 * (np.arange(12) == j)
        assert found[0, j] == pytest.approx((value(a + step) - value(a - step)) / 2e-6, rel=1e-5)
    with pytest.raises(ValueError, match="must divide"):
        learned_mask.Masking(np.zeros_like, 1, 12, smooth=0.1, side=5)


def test_attention_with_one_learnt_query_and_key_projections_is_this_probe():
    rng = np.random.default_rng(10)
    n_heads, dim, head_dim = 4, 24, 6
    w_k, q = rng.standard_normal((n_heads, dim, head_dim)), rng.standard_normal((n_heads, head_dim))
    x = rng.standard_normal((5, 7, dim))
    s = np.einsum("snd,hdk,hk->shn", x, w_k, q) / head_dim**0.5
    want = np.exp(s) / np.exp(s).sum(-1, keepdims=True)
    found = pooled_probe.weights(x[None], pooled_probe.queries_of(w_k, q)[None])[0]
    assert np.abs(found - want).max() < 1e-13


@pytest.mark.parametrize(("n", "want"), [(4, 0.934), (16, 0.774)])
def test_mean_pooling_divides_the_distance_among_the_tokens(n, want):
    rng = np.random.default_rng(11)
    labels = rng.integers(2, size=4000)
    x = rng.standard_normal((1, 4000, n, 2))
    x[0, np.arange(4000), rng.integers(n, size=4000), 0] += 3 * (2 * labels - 1)
    made = pooled_probe.measure(pooled_probe.Pools(x, labels, np.zeros((1, 1, 2))))
    assert made["accuracy"].value[0] == pytest.approx(want, abs=4 * (0.25 / 2000) ** 0.5)
    assert made["gain"].value[0] == 0, "queries of 0 are the mean"


@pytest.mark.parametrize(("n", "want"), [(16, 0.637), (64, 0.736), (256, 0.842)])
def test_the_hebbian_law_is_the_sheets_for_isotropic_states(n, want):
    assert readout.hebbian_law((1.0,) * 50, 0, n) == pytest.approx(want, abs=4e-3)


def test_whitening_removes_the_order_of_axes_and_averaging_has_it():
    rng = np.random.default_rng(12)
    lam = 1 / np.arange(1, 9.0)
    h = lam**0.5 * rng.standard_normal((1500, 65, 8))
    said = {}
    for axis in (0, 6):
        y = np.sign(h[..., axis])
        for reader in (readout.hebb, readout.ridge):
            said[axis, reader.__name__] = (reader(h[:, :-1], y[:, :-1], h[:, -1]) == y[:, -1]).mean()
        law = readout.hebbian_law(tuple(lam.tolist()), axis, 64)
        assert abs(said[axis, "hebb"] - law) < 4 * (0.25 / 1500) ** 0.5 + 6e-3
    assert said[0, "hebb"] - said[6, "hebb"] > 0.1 and abs(said[0, "ridge"] - said[6, "ridge"]) < 0.06


def test_the_hebbian_law_is_that_of_simulated_readers_at_few_examples():
    lam, n = np.array([1.0, 1.0, 1.0]), 8
    h = np.random.default_rng(13).standard_normal((30_000, n, 3))
    w = (np.sign(h[..., :1]) * h).sum(1)
    angle = np.arccos(w[:, 0] / np.linalg.norm(w, axis=-1)) / np.pi
    law = readout.hebbian_law(tuple(lam.tolist()), 0, n)
    # of the simulation, of the law's 20 000 draws, and w taken as normal: .001 at 8 examples
    assert abs(1 - angle.mean() - law) < 4 * angle.std() * (1 / 30_000 + 1 / 20_000) ** 0.5 + 1e-3
