r"""What hard attention cannot do at fixed width or sharpness: prefix means, words that stay unread, softmax in its place.

References: Barceló, Kozachinskiy, Lin and Podolskii 2024; Hao, Angluin and Frank 2022 for restrictions of unique hard attention.
The three laws here are derived in the docstrings.
"""

from __future__ import annotations

import math

from scipy.optimize import brentq

from attnlab.theory.checks import check_count

#: The real root of x^3 = x + 1.
PLASTIC_NUMBER = ((9 + math.sqrt(69)) / 18) ** (1 / 3) + ((9 - math.sqrt(69)) / 18) ** (1 / 3)


def width_for_prefix_means(n: int) -> int:
    r"""Least width of keys with which one averaging layer gives every position i of n the mean over positions 0..i: n - 1.

    Why: the maximisers of a linear score are the points of a face of the convex hull of the keys. Faces that hold exactly
    keys 0..i for every i are strictly nested, so their dimensions 0, 1, ... grow by one at least, and the last is n - 1. The
    corners of a simplex have all these faces. So no encoder of fixed width does this for words of every length without a
    mask.
    """
    check_count(n=n)
    return n - 1


def letters_that_freeze_one_layer() -> int:
    r"""How many letters, fixed well, make the output of any one-layer unique-hard-attention encoder constant: 2.

    Why: fix letter 0; the query of position 0 is then fixed, and each pair of a position and a letter has a score. Fix the
    position of the largest to its letter (the leftmost among equals): it is selected whatever the others are, and the
    output at position 0 depends on these two vectors only. Parity is constant only once all n letters are fixed.
    """
    return 2


def least_inverse_temperature_exact(n: int) -> float:
    r"""The least beta from which softmax(beta scores) accepts the words of length n that hard attention does, for ``a U b``.

    With the compiled scores :math:`s_j = 2 p_0 p_j - p_j^2`, :math:`p_j = 2^{n-1-j}`, at position 0, over letters a, b and c. The
    output is the weight on b. The hardest words are :math:`a^k b\, c^{n-k-1}`: b at k competes with the later c, which stop,
    too, and with the earlier a, at a penalty of :math:`4^n`:

    .. math:: \beta^\star = \max_k \Big\{\beta : \sum_{j > k} e^{-\beta (s_k - s_j)}
              + \sum_{j < k} e^{-\beta (s_k - s_j + 4^n)} = 1\Big\}.

    Two letters need none (0): one rival has less weight at every beta > 0. Cost: O(n^2).
    """
    check_count(at_least=2, n=n)
    return max(_weight_of_half(n, k) for k in range(n))


def least_inverse_temperature_limit(n: int) -> float:
    r"""The same for long words.

    .. math:: \beta^\star \to 2 \log(\rho)\; 2^{n-3} / 4^{n-1}, \qquad \rho^3 = \rho + 1 \text{ (the plastic number)}.

    Why: near the end the score falls from k to k + 1 by x and to k + 2 by 3 x / 2, with :math:`x = 2^{-k}` in units of
    :math:`4^{n-1}` (terms in :math:`x^2` dropped). The b at k = n - 3 has these two rivals, and :math:`z^2 + z^3 = 1` for
    :math:`z = e^{-\beta x / 2}` has the solution :math:`1/\rho`. At k = n - 2 there is one rival only, earlier gaps are twice as
    large. So the sharpness that is needed, in units of the largest score, doubles with every letter.
    """
    check_count(at_least=3, n=n)
    return 2 * math.log(PLASTIC_NUMBER) * 2.0 ** (n - 3) / 4.0 ** (n - 1)


def _weight_of_half(n: int, k: int) -> float:
    """beta at which the position k has half of the weight; 0 if it has that at every positive one."""
    p = [2 ** (n - 1 - j) for j in range(n)]
    score = [2 * p[0] * each - each * each for each in p]
    gaps = [score[k] - score[j] + (4**n if j < k else 0) for j in range(n) if j != k]
    if len(gaps) < 2:
        return 0.0

    def excess(log_beta: float) -> float:
        return math.fsum(math.exp(-math.exp(log_beta) * gap) for gap in gaps) - 1

    low, high = -math.log(max(gaps)) - 40, math.log(60 / min(gaps))
    return math.exp(brentq(excess, low, high, xtol=1e-13, rtol=1e-14))
