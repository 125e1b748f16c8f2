"""Laws of rows at known points."""

import math

import pytest

from attnlab.theory.base_scores import dot_product


def test_freezing_points():
    n = round(math.exp(8.0))
    assert dot_product.freezing_std(n) == pytest.approx(4.0, rel=1e-3)
    assert dot_product.largest_score_std(n) == pytest.approx(2.0, rel=1e-3)
    assert dot_product.frozen_participation(16.0, n) == pytest.approx(0.75, rel=1e-3)
    assert dot_product.participation(math.sqrt(math.log(5))) == pytest.approx(5)
    assert dot_product.entropy(2.0, n) == pytest.approx(6.0, rel=1e-3)
