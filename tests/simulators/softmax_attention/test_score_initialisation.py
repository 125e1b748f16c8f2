"""Random scores: shapes, reproducibility, moments."""

import numpy as np
import pytest

from attnlab.simulators.softmax_attention.score_initialisation import ScoreSetting, random_scores


def seeds(n):
    return np.random.SeedSequence(0).spawn(n)


def test_a_replica_does_not_depend_on_the_others():
    setting = ScoreSetting(dim=3, n_pairs=50)
    many, one = random_scores(setting, seeds(4), "cpu"), random_scores(setting, seeds(4)[2:3], "cpu")
    assert many["variance"].shape == many["fourth"].shape == (4,)
    assert one["variance"][0] == many["variance"][2] and len(set(many["variance"])) == 4


@pytest.mark.parametrize("dim", [1, 8])
def test_moments_are_those_of_products_of_normals_within_five_standard_errors(dim):
    """Oracle: cumulants; s^2 has mean 1 and s^4 mean 3 + 6 / dim. The spread is estimated over 32 replicas."""
    runs = random_scores(ScoreSetting(dim=dim, n_pairs=20_000), seeds(32), "cpu")
    for name, expected in (("variance", 1.0), ("fourth", 3 + 6 / dim)):
        values = runs[name]
        assert abs(values.mean() - expected) < 5 * values.std(ddof=1) / 32**0.5
    assert abs(runs["fourth"].mean() - 3) > 5 * runs["fourth"].std(ddof=1) / 32**0.5  # not Gaussian


def test_a_bad_setting_is_named():
    with pytest.raises(ValueError, match="n_pairs"):
        ScoreSetting(n_pairs=0)
