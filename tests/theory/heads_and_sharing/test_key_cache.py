"""Values from cached keys: rounding of normal numbers counted, errors of drawn rounding, and the condition number as a bound."""

import math

import numpy as np
import pytest

from attnlab.theory.heads_and_sharing import key_cache as theory


def stored(x, bits):
    """x with a significand of b bits, to nearest."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.round(mantissa * 2**bits) / 2**bits, exponent)


@pytest.mark.parametrize("std", [0.3, 1.0, 1.7])
@pytest.mark.parametrize("bits", [5, 8])
def test_rounding_share_of_drawn_numbers(std, bits):
    """200 000 numbers; the relative spread of a mean of squares is below 2/sqrt(n). Twin: one bit less."""
    x = std * np.random.default_rng(0).standard_normal(200_000)
    found = ((stored(x, bits) - x) ** 2).mean() / std**2
    law = float(theory.rounding_share(std, bits))
    assert abs(found / law - 1) < 4 * 2 / math.sqrt(200_000) + 2.0**-bits
    assert found > 2 * theory.rounding_share(std, bits + 1)


def test_error_of_values_from_rounded_keys():
    """3000 white tokens: one dominant direction varies by sqrt(2 / n) in its square. Twin: the factor d of a mean forgotten."""
    rng, d, n = np.random.default_rng(1), 16, 3000
    W, V = rng.standard_normal((2, d, d)) / math.sqrt(d)
    X = rng.standard_normal((n, d))
    error = (stored(X @ W, 8) - X @ W) @ np.linalg.solve(W, V)
    found = np.linalg.norm(error) / np.linalg.norm(X @ V)
    law = theory.reconstruction_error_approx(W, V, 8)
    assert abs(found / law - 1) < 4 * 0.5 * math.sqrt(2 / n) + 0.01
    assert found < theory.published_error_bound(W, 8) / 5


def test_orthogonal_keys_lose_nothing():
    Q = np.linalg.qr(np.random.default_rng(2).standard_normal((8, 8)))[0]
    law = theory.reconstruction_error_approx(Q, np.eye(8), 8)
    assert law == pytest.approx(math.sqrt(theory.rounding_share(1.0, 8)), rel=1e-9)
    assert theory.cache_factor(64, 4, 16) == 2 and theory.cache_factor(1024, 128, 128, stored=1024) == 32
