"""Moments of random scores against exact Gaussian moments and a simulation in numpy."""

import numpy as np
import pytest
import sympy

from attnlab.theory.softmax_attention import score_initialisation as theory


@pytest.mark.parametrize("dim", [1, 3, 64])
def test_moments_agree_with_those_of_products_of_normals(dim):
    """Oracle: cumulants add up over entries; a product of two normals has second moment 1 and fourth moment 9."""
    entry_fourth = sympy.Integer(3) ** 2
    fourth = dim * entry_fourth + 3 * dim * (dim - 1)  # pairs of different entries, 3 ways
    assert theory.score_variance_exact(dim, 1.0) == dim
    assert theory.score_kurtosis_exact(dim) == pytest.approx(float(sympy.Rational(fourth, dim**2)), rel=1e-15)


def test_scaled_scores_have_unit_variance_and_any_other_power_does_not():
    assert theory.score_variance_exact(64, 64**-0.5) == 1
    assert theory.score_variance_exact(64, 1 / 64) == pytest.approx(1 / 64)


def test_a_simulation_agrees_within_five_standard_errors_and_excludes_gaussian_tails():
    generator = np.random.default_rng(0)
    d, n = 4, 400_000
    s = (generator.standard_normal((n, d)) * generator.standard_normal((n, d))).sum(1)
    for power, expected in ((2, theory.score_variance_exact(d, 1.0)), (4, theory.score_kurtosis_exact(d) * d**2)):
        error = 5 * np.std(s**power) / n**0.5
        assert abs(np.mean(s**power) - expected) < error
    assert abs(np.mean(s**4) - 3 * d**2) > error  # the twin: Gaussian scores


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="dim"):
        theory.score_kurtosis_exact(0)
    with pytest.raises(ValueError, match="scale"):
        theory.score_variance_exact(4, -1.0)
