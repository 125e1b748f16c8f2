"""Enclosures of eigenvalues and singular values, against closed forms, also where several are equal or zero."""

import flint
import numpy as np
import pytest
from flint import arb, ctx

from attnlab.analysis.exact import spectra
from attnlab.analysis.exact.spectra import spectrum

RNG = np.random.default_rng(3)


def balls(matrix, radius=0.0):
    return [arb(float(x)) + arb(0, radius) for x in np.ravel(matrix)]


def values(op, matrix, radius=0.0):
    sizes = (len(matrix),) if op == "eigenvalue" else np.shape(matrix)
    return [spectrum(op, (*sizes, k), balls(matrix, radius)) for k in range(min(np.shape(matrix)))]


@pytest.mark.parametrize("bits", [53, 256, 1024])
@pytest.mark.parametrize("n", [3, 6])
def test_repeated_and_zero_values_are_enclosed_to_nearly_all_bits(bits, n):
    with ctx.workprec(bits):
        ones = np.full((n, n), 0.001)
        sizes = values("singular", ones)
        assert sizes[0].contains(n * arb(0.001)) and all(x.contains(0) for x in sizes[1:])
        shifted = values("eigenvalue", np.eye(n) + np.ones((n, n)))
        assert shifted[-1].contains(n + 1) and all(x.contains(1) for x in shifted[:-1])
        assert all(float(x.rad()) < 2.0 ** (8 - min(bits, 1000)) for x in sizes + shifted)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4)])
def test_a_lost_rank_gives_zero_without_losing_half_of_the_digits(shape):
    m = RNG.integers(-8, 9, shape).astype(float)
    m[-1] = m[0] + m[1]
    m[:, -1] = m[:, 0] if shape[1] < shape[0] else m[:, -1]
    with ctx.workprec(512):
        found = values("singular", m)
        assert found[-1].contains(0) and float(found[-1].rad()) < 2.0**-440
        assert [float(x.mid()) for x in found] == pytest.approx(list(np.linalg.svd(m)[1]), abs=1e-12)
        product = flint.arb_mat(m.tolist()) * flint.arb_mat(m.T.tolist())
        total = sum((x * x for x in found), arb(0))
        assert total.overlaps(sum((product[i, i] for i in range(shape[0])), arb(0)))


@pytest.mark.parametrize("op", ["eigenvalue", "singular"])
def test_every_matrix_inside_the_radii_has_its_values_inside(op):
    near = np.ones((4, 4)) + 1e-9 * np.diag([0.0, 1, 2, 3])  # eigenvalues near each other
    found = values(op, near, radius=1e-3)
    for _ in range(50):
        m = near + 1e-3 * RNG.uniform(-1, 1, near.shape)
        m = np.tril(m) + np.tril(m, -1).T
        exact = np.linalg.eigvalsh(m) if op == "eigenvalue" else np.linalg.svd(m)[1]
        for ball, x in zip(found, exact, strict=True):
            assert float(ball.lower()) - 1e-12 <= x <= float(ball.upper()) + 1e-12


def test_an_entry_that_is_not_finite_has_no_spectrum():
    assert spectrum("singular", (2, 2, 0), [arb("nan"), arb(0), arb(0), arb(1)]) is None


def test_the_way_by_nearly_orthogonal_matrices_gives_the_closed_forms_too():
    with ctx.workprec(256):
        m = [[arb(2) if i == j else arb(1) for j in range(5)] for i in range(5)]  # eigenvalues 1 (four times) and 6
        for found, law in (
            (spectra._near_eigenvalues(m), [1, 1, 1, 1, 6]),
            (spectra._near_singular_values(m)[::-1], [1] * 4 + [6]),
        ):
            assert all(x.contains(exact) and float(x.rad()) < 2.0**-240 for x, exact in zip(found, law, strict=True))
