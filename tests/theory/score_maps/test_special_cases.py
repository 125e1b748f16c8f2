"""Laws of score maps where another formula gives the same number."""

import math

import numpy as np
import pytest

from attnlab.theory.score_maps import reversed, sinkhorn


@pytest.mark.parametrize("gap", [0.4, 2.0])
def test_two_by_two_plans_contract_by_the_bound(gap):
    """The plan of e^{S/eps}, S = gap on the diagonal, has equal margins; its second singular value is tanh(gap/(2 eps))."""
    eps = 0.5
    S = gap * np.eye(2)
    plan = np.exp(S / eps) / np.exp(S / eps).sum()
    assert sinkhorn.contraction_bound(S, eps) == pytest.approx(sinkhorn.contraction(plan))
    assert sinkhorn.contraction(plan) == pytest.approx(math.tanh(gap / (2 * eps)) ** 2)


def test_received_mass_adds_up_and_varies_by_its_weights():
    n = 6
    children = [3, 2, 1, 0, 0, 0]
    assert sum(reversed.received_mass(c, n, 1.3) for c in children) == pytest.approx(n)
    # n rows give a column weights of mean 1/n and variance (e^{s^2} - 1)/n^2
    assert reversed.received_variance(1.0, n) == pytest.approx(n * (math.e - 1) / n**2)
    assert reversed.parent_recovery(2, 1.2, 0.5) == pytest.approx(0.5 * math.erfc(-1.2 / 0.5 / 2))
