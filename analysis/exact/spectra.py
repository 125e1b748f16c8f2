r"""Balls that contain the eigenvalues of a symmetric matrix, or the singular values of any, also where several are equal.

Flint isolates simple eigenvalues. Where it cannot, and for singular values near zero (the root of an eigenvalue of
:math:`M M^\top` has half of its digits only), nearly orthogonal matrices U and V are computed at the current precision, and
their errors enclosed: with :math:`U^\top M V = D + R`, :math:`\|U^\top U - I\|_F \le e_U` and
:math:`\|V^\top V - I\|_F \le e_V`,

.. math:: \sigma_k(M) \in \frac{d_k \pm \|R\|_F}{\sqrt{(1 \pm e_U)(1 \pm e_V)}},

by Weyl's inequality for the numerator and Ostrowski's theorem for the denominator; eigenvalues alike, with V = U. References:
R. Horn, C. Johnson, Matrix Analysis, 2nd ed., 4.5.9 and 7.3.5; J. Eisenstat, I. Ipsen, SIAM J. Numer. Anal. 32 (1995).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flint
from flint import arb, ctx

Rows = list[list[arb]]


def spectrum(op: str, args: Sequence[Any], entries: Sequence[arb]) -> arb | None:
    """An eigenvalue of a symmetric matrix (``args`` n, position) or a singular value (rows, columns, position).

    The matrix of midpoints is enclosed; by Weyl's inequality each value moves by at most the Frobenius norm of the radii.
    None where an entry is not finite.
    """
    if not all(x.is_finite() for x in entries):
        return None
    around = _norm([arb(x.rad()) for x in entries]) * arb(0, 1)
    columns, position = args[:2] if op == "eigenvalue" else args[1:3]
    m = [[arb(x.mid()) for x in entries[k : k + columns]] for k in range(0, len(entries), columns)]
    if op == "eigenvalue":
        return (_eigenvalues(m) or _near_eigenvalues(m))[position] + around
    wide = m if len(m) <= len(m[0]) else _transposed(m)
    squares = _eigenvalues(_product(wide, _transposed(wide)))
    if squares:
        square = squares[len(squares) - 1 - position]
        if square > 0:
            return square.sqrt() + around
    return _near_singular_values(wide)[position] + around


def _eigenvalues(m: Rows) -> list[arb]:
    """Ascending eigenvalues, enclosed; an empty list where flint cannot tell them apart."""
    if all(m[i][j] == 0 for i in range(len(m)) for j in range(len(m)) if i != j):
        found = [m[i][i] for i in range(len(m))]
    else:
        try:
            found = [z.real for z in flint.acb_mat(m).eig(multiple=True)]
        except ValueError:
            return []
    if not all(x.is_finite() for x in found):
        return []
    found.sort(key=lambda x: float(x.mid()))
    ordered = []
    for k, x in enumerate(found):  # equal or overlapping ones: each lies in the union of those it may be
        for y in [*found[:k], *found[k + 1 :]]:
            if y is not x and y.overlaps(x):
                x = x.union(y)
        ordered.append(x)
    return ordered


def _near_eigenvalues(m: Rows) -> list[arb]:
    from mpmath import mp

    with mp.workprec(ctx.prec):
        _, vectors = mp.eigsy(mp.matrix([[_rounded(x) for x in row] for row in m]))
        u = _exact(vectors)
    diagonal, rest = _apart(_product(_product(_transposed(u), m), u))
    scale = 1 + _from_orthogonal(u) * arb(0, 1)
    return [(d + rest) / scale for d in sorted(diagonal, key=lambda x: float(x.mid()))]


def _near_singular_values(m: Rows) -> list[arb]:
    from mpmath import mp

    with mp.workprec(ctx.prec):
        left, _, right = mp.svd_r(mp.matrix([[_rounded(x) for x in row] for row in m]), full_matrices=True)
        u, v = _exact(left), _transposed(_exact(right))
    diagonal, rest = _apart(_product(_product(_transposed(u), m), v))
    scale = ((1 + _from_orthogonal(u) * arb(0, 1)) * (1 + _from_orthogonal(v) * arb(0, 1))).sqrt()
    sizes = sorted((abs(d) for d in diagonal), key=lambda x: -float(x.mid()))
    return [((d + rest) / scale).nonnegative_part() for d in sizes]


def _apart(b: Rows) -> tuple[list[arb], arb]:
    """The diagonal as exact numbers, and a ball around 0 with the Frobenius norm of all the rest."""
    diagonal = [arb(b[k][k].mid()) for k in range(min(len(b), len(b[0])))]
    rest = [x - diagonal[i] if i == j else x for i, row in enumerate(b) for j, x in enumerate(row)]
    return diagonal, _norm(rest) * arb(0, 1)


def _from_orthogonal(u: Rows) -> arb:
    gram = _product(_transposed(u), u)
    return _norm([x - 1 if i == j else x for i, row in enumerate(gram) for j, x in enumerate(row)])


def _norm(entries: Sequence[arb]) -> arb:
    squares = [arb(x.abs_upper()) ** 2 for x in entries]
    return arb(sum(squares, arb(0)).nonnegative_part().sqrt().abs_upper())


def _product(a: Rows, b: Rows) -> Rows:
    found = flint.arb_mat(a) * flint.arb_mat(b)
    return [[found[i, j] for j in range(found.ncols())] for i in range(found.nrows())]


def _transposed(m: Rows) -> Rows:
    return [list(row) for row in zip(*m, strict=True)]


def _rounded(x: arb) -> Any:
    """The midpoint as a number of mpmath, at its precision."""
    from mpmath import mp

    mantissa, exponent = x.mid().man_exp()
    return mp.ldexp(int(mantissa), int(exponent))


def _exact(matrix: Any) -> Rows:
    return [[_read(matrix[i, j]) for j in range(matrix.cols)] for i in range(matrix.rows)]


def _read(x: Any) -> arb:
    mantissa, exponent = x.man_exp
    return arb(int(mantissa)) * arb(2) ** int(exponent) * (-1 if x < 0 <= mantissa else 1)
