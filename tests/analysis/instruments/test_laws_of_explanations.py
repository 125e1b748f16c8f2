"""Laws of instruments on explanations, each against a closed form, finite differences or a simulation."""

import numpy as np
import pytest

from attnlab.analysis.instruments.explanations import depth_probe, relevance, reliance, score_perturbation


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
