"""Laws of mixed scores where another formula gives the same number."""

from itertools import product
from statistics import NormalDist

import pytest

from attnlab.theory.score_mixing import edge_scores, multi_token


def test_the_normal_form_of_the_auc_is_its_limit_of_wide_features():
    for d in (10**4, 10**6):
        m = 0.9 * d**0.25
        exact = edge_scores.product_auc_exact(m, d)
        assert edge_scores.product_auc_approx(m, d) == pytest.approx(exact, abs=1 / d**0.5)
    # products of a pair of one class: mean m^2, variance 2 m^2 + d; of two classes -m^2: a difference of 2 m^2
    assert edge_scores.product_auc_approx(1.2, 9) == pytest.approx(
        NormalDist(0, (2 * (2 * 1.44 + 9)) ** 0.5).cdf(2 * 1.44)
    )


def test_tied_blocks_are_right_one_in_those_that_share_the_match():
    """Blocks of two of three letters, drawn without repetition: one letter a block holds one of two marked letters or both."""
    letters, B, N = 4, 2, 3
    blocks = [(a, b) for a, b in product(range(letters), repeat=2) if a != b]
    both = sum({0, 1} <= set(x) for x in blocks) / len(blocks)
    one = sum(len({0, 1} & set(x)) == 1 for x in blocks) / len(blocks)
    p = one / (1 - both)
    law = sum(2 / (2 + k) * w for k, w in ((0, (1 - p) ** 2), (1, 2 * p * (1 - p)), (2, p * p)))
    found = multi_token.tied_accuracy_exact(N, B, letters, 200_000, 0)
    assert float(found.mean()) == pytest.approx(law, abs=5 * float(found.std()) / 200_000**0.5)
