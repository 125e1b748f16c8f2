"""Hilbert's metric and Sinkhorn's algorithm: contraction against random vectors, its sharpness, the geometric rate."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp

from attnlab.theory.softmax_attention import sinkhorn as theory

EPS = 2.0**-52
SEEDS = st.integers(0, 2**32 - 1)


def brute_diameter(S):
    """The definition, by four loops."""
    q, k = S.shape
    return max(
        S[i, a] + S[j, b] - S[i, b] - S[j, a]
        for i, j, a, b in itertools.product(range(q), range(q), range(k), range(k))
    )


@given(SEEDS)
def test_projective_diameter_agrees_with_its_definition(seed):
    S = np.random.default_rng(seed).normal(size=(4, 3))
    assert theory.projective_diameter(S) == pytest.approx(brute_diameter(S), abs=16 * EPS)
    assert theory.projective_diameter(S) <= 2 * np.ptp(S) * (1 + 4 * EPS)


@given(SEEDS)
def test_a_positive_matrix_contracts_hilberts_metric(seed):
    generator = np.random.default_rng(seed)
    S, a, b = generator.normal(size=(4, 5)), generator.normal(size=5), generator.normal(size=5)
    before, after = np.ptp(a - b), np.ptp(logsumexp(S + a, axis=1) - logsumexp(S + b, axis=1))
    assert after <= theory.birkhoff_contraction(theory.projective_diameter(S)) * before + 64 * EPS


def test_the_contraction_factor_is_sharp_and_a_smaller_one_false():
    S, h = np.array([[1.0, 0.0], [0.0, 1.0]]), 1e-4
    images = [logsumexp(S + np.array([z, 0.0]), axis=1) for z in (h / 2, -h / 2)]
    ratio = np.ptp(images[0] - images[1]) / h
    factor = theory.birkhoff_contraction(theory.projective_diameter(S))
    assert ratio == pytest.approx(factor, rel=1e-8) and ratio > np.tanh(2.0 / 4.4)
    assert theory.birkhoff_contraction(0.0) == 0


@given(SEEDS)
def test_sinkhorn_from_softmax_attention_stays_below_its_error_bound(seed):
    S = np.random.default_rng(seed).normal(size=(4, 4))
    diameter, errors = theory.projective_diameter(S), []
    log_p = S - logsumexp(S, axis=1, keepdims=True)
    for step in (1, 2, 3):
        log_p = log_p - logsumexp(log_p, axis=0, keepdims=True)
        log_p = log_p - logsumexp(log_p, axis=1, keepdims=True)
        errors.append(np.ptp(logsumexp(log_p, axis=0)))
        assert errors[-1] <= theory.sinkhorn_error_bound(diameter, step) + 256 * EPS
    factor = theory.birkhoff_contraction(diameter) ** 2
    assert all(b <= factor * a + 256 * EPS for a, b in itertools.pairwise(errors))


def test_a_faster_sinkhorn_rate_is_false():
    """For this matrix the error falls by nearly the factor of a step; one more half-step of contraction is refuted."""
    S = 0.5 * np.array([[1.0, 0.3], [-0.2, 1.0]])
    log_p, errors = S - logsumexp(S, axis=1, keepdims=True), []
    for _ in range(2):
        log_p = log_p - logsumexp(log_p, axis=0, keepdims=True)
        log_p = log_p - logsumexp(log_p, axis=1, keepdims=True)
        errors.append(np.ptp(logsumexp(log_p, axis=0)))
    factor = theory.birkhoff_contraction(theory.projective_diameter(S))
    assert factor**3 * errors[0] < errors[1] <= factor**2 * errors[0] * (1 + 1e-9)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="scores"):
        theory.projective_diameter([1.0, 2.0])
    with pytest.raises(ValueError, match="n_iterations"):
        theory.sinkhorn_error_bound(1.0, 0)
