"""The simulators of the atlas where the outcome is known: limits are there, uniform reading guesses, softmax reads all."""

import numpy as np
import pytest
import torch

from attnlab.kernels.operators.listing import members
from attnlab.kernels.operators.operator import Grid, Heads, Sizes
from attnlab.simulators.operator_atlas import inputs, limits, stored_pairs


def seeds(n):
    return [np.random.SeedSequence(7, spawn_key=(k,)) for k in range(n)]


def test_every_declared_limit_is_carried_out_once_and_told_from_a_billionth():
    found, declared = limits.limits(limits.LimitsSetting(batch=1), seeds(1), "cpu"), limits.declared()
    assert found["this"].shape == (1, len(declared), 8) and len(declared) > 50
    assert len({(name, limit.when, limits.target(limit)) for name, limit in declared}) == len(declared)
    assert found["error"].max() < 1e4
    assert (np.abs(found["moved"] - found["other"]).max(-1) > 1e-11).all()  # 5e4 roundings


def test_inputs_are_of_the_kind_that_the_operator_takes():
    stream, sizes = torch.Generator().manual_seed(0), Sizes(n=6, d=2, d_v=3, n_heads=2, shape=(2, 3))
    every = {each.kind: inputs.generic(each, sizes, stream) for each in members().values()}
    assert isinstance(every["grid"], Grid) and isinstance(every["heads"], Heads)
    assert every["qkv"].v.shape == (1, 2, 2, 6, 3) and every["tokens"].x.shape == (1, 2, 6, 4)
    with pytest.raises(ValueError, match="shape=None"):
        inputs.generic(members()["fixed_patterns/halo"], Sizes(n=6, d=2, d_v=3), stream)


def test_one_key_per_value_is_read_and_many_are_lost():
    easy = stored_pairs.memory(stored_pairs.MemorySetting(key_width=64, per_code=1, n_codes=4), seeds(1), "cpu")
    hard = stored_pairs.memory(stored_pairs.MemorySetting(key_width=4, per_code=64, n_codes=4), seeds(1), "cpu")
    assert easy["right"][0] > 0.99 and 0.2 < hard["right"][0] < 0.45


def test_softmax_reads_what_a_window_has_lost():
    both = [
        stored_pairs.stored_pairs(stored_pairs.PairsSetting(name, width=8, per_code=4, n_draws=40), seeds(2), "cpu")
        for name in ("base_scores/dot_product", "fixed_patterns/multi_scale_windows")
    ]
    assert both[0]["right"].min() > 0.9 and both[1]["right"].max() < 0.6
    assert set(both[0]["scale"]) <= set(stored_pairs.SCALES)


def test_operators_without_a_causal_form_are_refused_by_name():
    with pytest.raises(ValueError, match="score_maps/sinkhorn"):
        stored_pairs.PairsSetting("score_maps/sinkhorn")
    assert "score_maps/sinkhorn" not in stored_pairs.readers() and len(stored_pairs.readers()) > 30
