"""The five ensembles have the moments that their law says."""

from dataclasses import replace

import numpy as np
import pytest

from attnlab.simulators.score_ensembles.ensembles import ENSEMBLES, EnsembleSetting, queries_and_keys

BASE = EnsembleSetting(n_tokens=400, n_clusters=100, tail=30.0)


def scores(setting, seed=0):
    q, k = queries_and_keys(setting, np.random.default_rng(seed))
    assert q.shape == k.shape == (setting.n_tokens, setting.dim)
    return q @ k.T / setting.dim**0.5


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_scores_have_the_spread(ensemble):
    s = scores(replace(BASE, ensemble=ensemble))
    if ensemble == "planted":
        s = s[np.abs(s - BASE.height) > 1e-9]
    # relative standard deviation of the mean square: sqrt(2/(n nu)) for queries and for keys, at least 4 of them in 100 centres
    assert abs((s**2).mean() / 0.25 - 1) < 4 * (2 / (100 * 4)) ** 0.5


def test_every_row_has_one_planted_score():
    s = scores(replace(BASE, ensemble="planted"))
    at = np.abs(s - BASE.height) < 1e-9
    assert (at.sum(1) == 1).all()
    assert at.any(0).sum() == BASE.dim // 2


def test_low_rank_is_of_that_rank_and_clusters_lie_together():
    s = scores(replace(BASE, ensemble="low_rank", rank=3))
    assert np.linalg.matrix_rank(s) == 3
    _, k = queries_and_keys(replace(BASE, ensemble="clustered", n_clusters=5, within=0.01), np.random.default_rng(0))
    near = np.linalg.norm(k[0] - k[5])
    assert near < 0.3 * np.linalg.norm(k[0] - k[1])


def test_tails_are_heavy():
    light, heavy = (
        np.linalg.norm(
            queries_and_keys(replace(BASE, ensemble="heavy_tailed", tail=t), np.random.default_rng(3))[1], axis=1
        )
        for t in (200.0, 2.5)
    )
    assert heavy.max() / np.median(heavy) > 3 * light.max() / np.median(light)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"ensemble": "flat"}, "flat"),
        ({"tail": 2.0}, "tail"),
        ({"rank": 17}, "rank"),
        ({"dim": 15, "ensemble": "planted"}, "dim"),
    ],
)
def test_what_makes_no_sense_is_named(change, named):
    with pytest.raises(ValueError, match=named):
        replace(BASE, **change)
