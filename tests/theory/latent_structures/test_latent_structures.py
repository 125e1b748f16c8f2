"""Marginals, slopes, freezing and iterations against limits, finite differences, brute force and false twins."""

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, special, stats

from attnlab.theory.latent_structures import iterations, parents, permutations, trees, two_keys

RNG = np.random.default_rng(20)
S = RNG.standard_normal((4, 4))


def log_partition(scores, structures):
    """Log of the sum over structures of e^(sum of the scores of edges)."""
    return special.logsumexp([sum(scores[i, j] for i, j in edges) for edges in structures])


ONE_TO_ONE = [list(enumerate(p)) for p in itertools.permutations(range(4))]


def acyclic(parents_of):
    for i in range(4):
        seen = set()
        while parents_of[i] != i:
            if i in seen:
                return False
            seen.add(i)
            i = parents_of[i]
    return True


TREES = [list(enumerate(p)) for p in itertools.product(range(4), repeat=4) if acyclic(p)]
PAIRS = [[(0, j) for j in each] for each in itertools.combinations(range(4), 2)]


@pytest.mark.parametrize(
    ("structures", "marginals"),
    [
        (ONE_TO_ONE, permutations.permutation_marginals),
        (TREES, trees.tree_marginals),
        (PAIRS, lambda s: np.vstack([parents.subset_marginals(s[0], 2), np.zeros((3, 4))])),
    ],
)
def test_marginals_are_the_slopes_of_the_log_partition_function(structures, marginals):
    h = 1e-5
    for i, j in itertools.product(range(4), repeat=2):
        step = np.zeros((4, 4))
        step[i, j] = h
        slope = (log_partition(S + step, structures) - log_partition(S - step, structures)) / (2 * h)
        assert marginals(S)[i, j] == pytest.approx(slope, abs=1e-9)  # h^2 and eps / h
        if slope:
            assert abs(marginals(1.02 * S)[i, j] - slope) > 1e-6  # the twin


def test_limits_of_the_priors():
    assert parents.null_parent_marginals(S, -800.0) == pytest.approx(parents.one_parent_marginals(S))
    assert parents.subset_marginals(S, 1) == pytest.approx(parents.one_parent_marginals(S))
    assert parents.subset_marginals(S, 4) == pytest.approx(np.ones((4, 4)))
    assert parents.subset_marginals(S, 3).sum(1) == pytest.approx(3)
    top = parents.subset_marginals(200 * S, 2) > 0.5
    assert np.array_equal(top, S >= np.sort(S, axis=1)[:, -2:-1])
    odds = parents.independent_edge_marginals(S, 3.0)
    assert odds / (1 - odds) == pytest.approx(3 * np.exp(S))
    masked = parents.one_parent_marginals(S, np.where(np.eye(4), -np.inf, 0.0))
    assert np.all(np.diag(masked) == 0) and masked.sum(1) == pytest.approx(1)
    assert parents.subset_pair_marginals(S, 3).sum(-1) == pytest.approx(3 * parents.subset_marginals(S, 3))
    assert parents.subset_pair_marginals(S, 1) == pytest.approx(np.eye(4) * parents.one_parent_marginals(S)[..., None])


def test_a_threshold_becomes_a_fixed_number_as_rows_grow_and_the_correction_takes_an_order_off():
    gaps = []
    for n in (64, 256):
        scores = 1.5 * np.random.default_rng(n).exponential(size=n)
        exact = parents.subset_marginals(scores, n // 4)
        plain, better = parents.threshold_marginals(scores, n // 4), parents.subset_marginals_approx(scores, n // 4)
        assert better.sum() == pytest.approx(n // 4) == plain.sum()
        gaps.append((np.abs(exact - plain).max(), np.abs(exact - better).max()))
    assert 2.5 < gaps[0][0] / gaps[1][0] < 6 and 8 < gaps[0][1] / gaps[1][1] < 32  # 4 and 16, up to the other scores


def test_a_draw_scatters_by_the_variance_of_values_under_its_weights():
    P, v = parents.one_parent_marginals(S), RNG.standard_normal((4, 3))
    by_hand = [sum(p * np.sum((v[j] - P[i] @ v) ** 2) for j, p in enumerate(P[i])) for i in range(4)]
    assert parents.variance_of_a_draw(P, v) == pytest.approx(by_hand)


def test_permanents_and_one_to_one_marginals():
    assert permutations.log_permanent(np.zeros((5, 5))) == pytest.approx(math.log(120))
    P = permutations.permutation_marginals(3 * RNG.standard_normal((6, 6)))
    assert P.sum(0) == pytest.approx(1) and P.sum(1) == pytest.approx(1)
    assert permutations.permanent(np.full((4, 4), 0.25)) == pytest.approx(math.exp(permutations.log_evidence_floor(4)))
    assert permutations.permanent(np.eye(3)) == pytest.approx(1)
    assert permutations.permanent(P) > math.exp(permutations.log_evidence_floor(6))
    pairs = np.where(np.kron(np.eye(2), np.ones((2, 2))) > 0, 0.0, -np.inf)  # Bethe's value is 0 there
    assert permutations.log_permanent(pairs) == pytest.approx(permutations.bethe_evidence_ceiling(4))


def test_a_pair_is_the_smallest_ring_and_the_slopes_are_ordered():
    gap = 0.8
    two = np.array([[0.0, -gap], [-gap, 0.0]])
    assert permutations.permutation_marginals(two)[0, 0] == pytest.approx(permutations.ring_marginal_exact(2, gap))
    assert permutations.ring_marginal_exact(2, gap) == pytest.approx(permutations.ring_marginal_of_sinkhorn(2 * gap))
    for n in (3, 5, 9):
        exact, flat, steep = (
            f(n) for f in (permutations.slope_exact, permutations.slope_of_sinkhorn, permutations.slope_of_bethe)
        )
        assert flat / exact == pytest.approx(1 - 1 / n) and steep / exact == pytest.approx(1 + 1 / (n * (n - 2)))
    centred = S - S.mean(0) - S.mean(1, keepdims=True) + S.mean()
    P = (permutations.permutation_marginals(1e-4 * S) - permutations.permutation_marginals(-1e-4 * S)) / 2e-4
    assert pytest.approx(permutations.slope_exact(4) * centred, abs=1e-6) == P
    assert pytest.approx(permutations.slope_of_sinkhorn(4) * centred, abs=1e-2) != P


def test_the_freezing_radius_at_known_matrices():
    assert permutations.freezing_radius(np.zeros((5, 5))) == pytest.approx(4)
    ring = np.full((3, 3), -np.inf)
    ring[np.arange(3), np.arange(3)], ring[np.arange(3), (np.arange(3) + 1) % 3] = 0.0, -0.7
    assert permutations.freezing_radius(ring) == pytest.approx(math.exp(-0.7))
    shifted = S + RNG.standard_normal((4, 1)) + RNG.standard_normal(4)  # rows and columns do not matter
    assert permutations.freezing_radius(shifted) == pytest.approx(permutations.freezing_radius(S))


@pytest.mark.parametrize(("sharpness", "shift"), [(1.0, 0.0), (0.5, 0.0), (2.0, 0.7)])
def test_calibration_by_quadrature(sharpness, shift):
    D, low, high = 1.3, 0.55, 0.8

    def inside(sign):
        def density(x):
            stated = special.expit(sharpness * x + shift)
            return stats.norm.pdf(x, sign * D * D / 2, D) * (low <= stated <= high) / 2

        ends = [(special.logit(p) - shift) / sharpness for p in (low, high)]
        return integrate.quad(density, *ends)[0]

    first, second = inside(1), inside(-1)
    share, right = two_keys.share_in_bin_exact(D, low, high, sharpness, shift)
    assert share == pytest.approx(first + second) and right == pytest.approx(first / (first + second))
    if sharpness == 1 and shift == 0:
        assert low < right < high
    narrow = two_keys.share_in_bin_exact(D, 0.7, 0.7 + 1e-6, sharpness, shift)[1]
    assert narrow == pytest.approx(special.expit((special.logit(0.7) - shift) / sharpness), abs=1e-6)


def test_losses_are_least_at_the_true_temperature_and_the_posterior_mean_is_unbiased_there():
    for law in (two_keys.log_loss_exact, two_keys.denoising_error_exact):
        assert law(1.5, 0.9) > law(1.5, 1.0) < law(1.5, 1.1)
    D = 1.5
    mean = integrate.quad(lambda z: stats.norm.pdf(z) * np.tanh((D * D / 2 + D * z) / 2), -12, 12)[0]
    assert two_keys.denoising_error_exact(D) == pytest.approx(1 - mean, abs=1e-9)
    assert two_keys.log_loss_exact(1e-6) == pytest.approx(math.log(2)) and two_keys.log_loss_exact(9.0) < 1e-4
    assert two_keys.denoising_error_std(1e-3, 1.0) == pytest.approx(0, abs=5e-3)


def test_retrieval_and_slots():
    for gain in (0.3, 1.0, 1.2, 3.0):
        m = iterations.antipodal_fixed_point(gain)
        assert m == pytest.approx(math.tanh(gain * m)) and (m > 0) == (gain > 1)
        h = 1e-6
        slope = (math.tanh(gain * (m + h)) - math.tanh(gain * (m - h))) / (2 * h)
        assert iterations.antipodal_rate(gain) == pytest.approx(slope, abs=1e-8)
    m = 0.5
    for _ in range(3000):
        m = math.tanh(m)
    assert iterations.critical_overlap_approx(3000, 0.5) == pytest.approx(m, rel=2e-4)
    assert (4 + 0.7 * 3000) ** -0.5 != pytest.approx(m, rel=2e-2)
    low, high, noise = 1.0, 3.0, 0.8
    for norms in (True, False):
        r = special.softmax(
            [[(x * s - norms * s * s / 2) / noise**2 for s in (low, high)] for x in (low, high)], axis=1
        )
        by_hand = np.array([low, high]) @ r / r.sum(0)
        assert iterations.two_cluster_slots(low, high, noise, norms) == pytest.approx(tuple(by_hand))
    at = stats.norm.pdf([1.0, 3.0], 1.2, noise) / 2 + stats.norm.pdf([1.0, 3.0], 2.5, noise) / 2
    assert iterations.two_slot_log_likelihood((1.2, 2.5), low, high, noise) == pytest.approx(np.log(at).mean())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: parents.subset_marginals(S, 5), "n_parents=5 must be at most"),
        (lambda: parents.threshold_marginals(S[0], 4), "n_parents=4 must lie between"),
        (lambda: permutations.permutation_marginals(S[:3]), "must be a square matrix"),
        (lambda: permutations.permanent(S), "numbers of at least 0"),
        (lambda: permutations.slope_of_bethe(2), "n=2 must be a whole number of at least 3"),
        (lambda: trees.tree_marginals(S[0]), "must be a square matrix"),
        (lambda: two_keys.share_in_bin_exact(1.0, 0.5, 0.5), "must be below high"),
        (lambda: iterations.antipodal_fixed_point(-1.0), "gain=-1.0 must be positive"),
    ],
)
def test_errors_name_the_argument(call, words):
    with pytest.raises(ValueError, match=words):
        call()
