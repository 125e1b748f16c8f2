"""Measured errors: against maps written out here, and of operators that are exact."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from attnlab.kernels.operators.positive_features.performer import Performer
from attnlab.kernels.operators.sparse_selection.loki import Loki
from attnlab.kernels.operators.sparse_selection.random_keys import RandomKeys
from attnlab.simulators.score_ensembles.ensembles import EnsembleSetting, queries_and_keys
from attnlab.simulators.score_ensembles.map_errors import approximations, ladders, map_errors, map_of, sizes_of

SMALL = EnsembleSetting(n_tokens=64, n_draws=2)
SEEDS = [np.random.SeedSequence(1, spawn_key=(k,)) for k in range(2)]


def test_every_ladder_runs_and_costs_no_rung():
    for operator, ladder in ladders(sizes_of(SMALL)):
        runs = map_errors(replace(SMALL, operator=operator, ladder=ladder, n_draws=1), SEEDS[:1])
        rungs = ladders(sizes_of(SMALL))[operator, ladder]
        assert runs["error2"].shape == (1, len(rungs)) and (runs["error2"] > 0).all()
    assert {name for name, _ in ladders(sizes_of(SMALL))} == set(approximations())


def test_the_best_keys_are_those_of_the_largest_scores():
    setting = replace(SMALL, operator="sparse_selection/loki", ladder="all directions")
    runs = map_errors(setting, SEEDS[:1])
    q, k = queries_and_keys(setting, np.random.default_rng(np.random.SeedSequence(1, spawn_key=(0, 0))))
    s = q @ k.T / 4
    P = np.exp(s)
    P /= P.sum(1, keepdims=True)
    for rung, operator in enumerate(ladders(sizes_of(setting))[setting.operator, setting.ladder]):
        W = np.where(s >= np.sort(s, 1)[:, [-operator.keep]], P, 0)
        W /= W.sum(1, keepdims=True)
        assert runs["error2"][0, rung] == pytest.approx(((W - P) ** 2).sum() / (P**2).sum(), rel=1e-9)
    assert runs["mean2"][0] == pytest.approx(((P - 1 / 64) ** 2).sum() / (P**2).sum(), rel=1e-9)
    assert runs["participation"][0] == pytest.approx((P**2).sum(), rel=1e-9)
    assert runs["spread"][0] == pytest.approx((s**2).mean() ** 0.5, rel=1e-9)


def test_maps_of_exact_operators_and_of_seeds():
    q, k = (torch.from_numpy(x)[None, None, None] for x in queries_and_keys(SMALL, np.random.default_rng(0)))
    P = (q @ k.mT / 4).softmax(-1)[0, 0, 0]
    assert torch.allclose(map_of(RandomKeys(1), q, k, 0), P, atol=1e-14)
    assert torch.allclose(map_of(Loki(64, 2), q, k, 0), P, atol=1e-14)
    one, again, other = (map_of(Performer(8), q, k, seed) for seed in (0, 0, 1))
    assert torch.equal(one, again) and not torch.allclose(one, other, atol=1e-3)


def test_what_is_no_approximation_is_named_with_what_is():
    with pytest.raises(ValueError, match=r"ladder='wide'.*sparse_selection/moba"):
        map_errors(replace(SMALL, ladder="wide"), SEEDS)
    with pytest.raises(ValueError, match=r"rung=4: .* has rungs 0 to 3"):
        map_errors(replace(SMALL, rung=4), SEEDS)


def test_one_rung_is_that_of_the_whole_ladder():
    setting = replace(SMALL, operator="sparse_selection/loki", ladder="all directions")
    whole, one = (map_errors(replace(setting, rung=rung), SEEDS[:1])["error2"] for rung in (-1, 2))
    assert one.shape == (1, 1)
    assert one[0, 0] == pytest.approx(whole[0, 2], rel=1e-9)  # exact ranks: nothing is drawn
    assert not one[0, 0] == pytest.approx(whole[0, 1], rel=0.1)
