"""Errors of the best keys against order statistics."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from attnlab.theory.score_ensembles.law import ScoreLaw
from attnlab.theory.score_ensembles.selection import kept_mass_exact, selection_error


def test_kept_mass_without_tilt_is_the_share_and_with_all_kept_one():
    assert kept_mass_exact(np.array([0.0]), 3, 20)[0] == pytest.approx(3 / 20, rel=1e-10)
    assert kept_mass_exact(np.array([0.7]), 20, 20)[0] == 1


def test_kept_mass_of_drawn_scores_and_of_many_keys():
    z = np.sort(np.random.default_rng(0).standard_normal((40_000, 20)), 1)[:, -3:]
    drawn = np.exp(0.8 * z - 0.32).sum(1) / 20
    mass = kept_mass_exact(np.array([0.8]), 3, 20)[0]
    assert abs(drawn.mean() - mass) < 4 * drawn.std() / 200
    limit = norm.cdf(0.8 - norm.isf(0.15))
    assert abs(limit - mass) > 4 * drawn.std() / 200  # the twin: infinitely many keys
    assert kept_mass_exact(np.array([0.8]), 3_000, 20_000)[0] == pytest.approx(limit, rel=1e-3)


def test_errors_at_the_ends():
    law = ScoreLaw(64, 0.5, 16)
    assert selection_error(law, 64, 64) == 0
    assert selection_error(ScoreLaw(64, 1e-6, 16), 16, 64) == pytest.approx(math.sqrt(3), rel=1e-4)  # as at random
    assert (
        selection_error(law, 16, 64) < selection_error(law, 16, 64, correlation=0.5) < selection_error(law, 16, 64, 0.0)
    )


def test_a_planted_key_alone():
    law = ScoreLaw(64, 1e-6, 16, height=4.0)
    p = math.exp(4) / (math.exp(4) + 63)
    q = (1 - p) ** 2 / 63  # squares of the other 63
    kept = 15 / 63
    inverse = 1 / (p + (1 - p) * kept)
    exact = (p**2 + kept * q) * (inverse - 1) ** 2 + (1 - kept) * q
    # the law has Q = (1 - p)^2/n for 1/(n - 1)
    assert selection_error(law, 16, 64) ** 2 == pytest.approx(exact / (p**2 + q), rel=2 / 63)
    with pytest.raises(ValueError, match=r"height=0\.5"):
        selection_error(ScoreLaw(64, 0.5, 16, height=0.5), 16, 64)
