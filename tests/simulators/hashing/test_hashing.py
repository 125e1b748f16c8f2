"""Hashes, tables, slopes and counts where their outcome is known."""

import math

import numpy as np
import pytest
import torch

from attnlab.kernels.operators.hashing.yoso import Yoso
from attnlab.simulators.hashing.draws import HashSetting, PairSetting, codes, given, outputs, pairs
from attnlab.simulators.hashing.slopes import SlopeSetting, slopes
from attnlab.simulators.hashing.tables import TableSetting, against_pairs, by_buckets, counts

SEEDS = np.random.SeedSequence(4).spawn(2)


def test_codes_are_the_bits_of_the_operator():
    rng = np.random.default_rng(0)
    x, planes = rng.standard_normal((5, 3)), rng.standard_normal((7, 4, 3))
    bits = Yoso(n_hashes=7, n_bits=4)._bits(torch.tensor(x), {"planes": torch.tensor(planes)[None]})[0].numpy()
    assert (codes(x, planes).T == (bits * 2 ** np.arange(4)).sum(-1)).all()


def test_equal_vectors_always_meet_and_opposite_ones_never():
    runs = pairs(PairSetting(angles=(1e-12, math.pi - 1e-12), n_draws=50), SEEDS, "cpu")
    assert (runs["mean"] == [1, 0]).all() and (runs["variance"] == 0).all()


def test_moments_of_one_replica_fit_together():
    setting = HashSetting(n_bits=2, n_hashes=3, n_draws=200, n_keys=5, n_queries=2, dim=3, n_values=2)
    runs = outputs(setting, SEEDS, "cpu")
    q, k, v, dY = given(setting)
    assert np.linalg.norm(np.concatenate([q, k]), axis=1) == pytest.approx(np.ones(7))
    assert runs["mean"] == pytest.approx(runs["weight"] @ v)
    assert runs["gradient"] == pytest.approx((runs["weight"] * (dY @ v.T)) @ k)
    assert (runs["cosine"] <= 1).all() and (runs["variance"] > 0).all()
    assert runs["shared"].shape == (2, 5)
    alone = outputs(HashSetting(n_draws=50, n_queries=1, n_keys=3, dim=3), SEEDS, "cpu")
    weight = alone["weight"][:, 0]
    assert alone["shared"] == pytest.approx(weight * (1 - weight) * 50 / 49)  # a query with itself


def test_tables_hold_sums_of_values():
    q = k = torch.eye(3, dtype=torch.float64)
    v = torch.tensor([[1.0], [10.0], [100.0]], dtype=torch.float64)
    planes = torch.tensor([[[1.0, 1.0, -1.0]]], dtype=torch.float64)  # keys 0 and 1 on one side
    out, added = by_buckets(q, k, v, planes)
    assert out[:, 0].tolist() == [11, 11, 100] and added == 6
    runs = against_pairs(TableSetting(), SEEDS, "cpu")
    assert runs["buckets"] == pytest.approx(runs["pairs"], abs=1e-12)
    assert np.abs(runs["coarser"] - runs["pairs"]).max() > 0.1
    found = counts(TableSetting(cells=((4, 3, 2, 5, 6),)), SEEDS[:1], "cpu")
    assert [int(found[name][0, 0]) for name in ("multiply_adds", "additions", "softmax")] == [720, 96, 80]


def test_slopes_at_a_right_angle():
    runs = slopes(SlopeSetting(inners=(0.0,), bits=(1, 3)), SEEDS[:1], "cpu")
    assert runs["slope"][0, :, 0] == pytest.approx([1 / math.pi, 3 / 4 / math.pi])
    with pytest.raises(ValueError, match="inners"):
        SlopeSetting(inners=(1.0,))
