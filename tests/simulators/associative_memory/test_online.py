"""Online memories where the outcome is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from attnlab.simulators.associative_memory import maps, online, tracking


def seeds(n=2):
    return [np.random.SeedSequence(3, spawn_key=(k,)) for k in range(n)]


def test_minimisers_are_stationary_and_no_point_nearby_is_lower():
    s = online.ProblemSetting(n_replicas=1)
    x = online.problems(s, seeds(1))
    rng = np.random.default_rng(0)
    W, W0, g = x["minimiser"][0], x["memory"][0], x["decay_gradient"][0]

    def decay(w):
        return (w * g).sum() + ((w - W0) ** 2).sum() / (2 * s.rate) + (w**2).sum() / (2 * s.pull)

    S, S0, e = x["simplex"][0], x["simplex_memory"][0], x["entropic_gradient"][0]

    def entropic(w):
        return (w * e).sum() + (w * np.log(w / S0)).sum() / s.rate + s.pull * (w * np.log(w)).sum()

    def implicit(w):
        return ((w @ x["key"][0] - x["value"][0]) ** 2).sum() / 2 + ((w - W0) ** 2).sum() / (2 * s.rate)

    for _ in range(20):
        step = 1e-3 * rng.normal(size=W.shape)
        assert decay(W + step) > decay(W) and implicit(x["implicit"][0] + step) > implicit(x["implicit"][0])
        level = 1e-4 * (step - step.mean())
        assert entropic(S + level) > entropic(S)
    assert S.sum() == pytest.approx(s.total)


def test_maps_undo_each_other_and_the_printed_one_has_the_norm_of_degree_3_minus_q():
    W = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for q in (2.0, 2.5, 4.0):
        assert torch.allclose(maps.mapped("mirror", maps.unmapped(W, q), q), W)
        assert maps._norm(maps.mapped("printed", W, q), q).item() == pytest.approx(maps._norm(W, q).item() ** (3 - q))
    assert maps.mapped("identity", W) is W


def test_sizes_start_where_they_are_asked_to_and_the_mirror_map_comes_back():
    s = maps.SizeSetting(off=-0.2, rate=0.3, n_steps=200)
    for name in maps.MAPS:
        assert maps.sizes(replace(s, map=name), seeds(1))["sizes"][0, 0] == pytest.approx(0.8 * 0.8)
    x = maps.sizes(replace(s, map="mirror"), seeds(1))
    assert x["sizes"][0, -1] == pytest.approx(0.8, rel=0.02)
    assert maps.sizes(s, seeds(1))["sizes"][0, 20] < 0.6


def test_a_stream_without_disturbance_is_learnt_and_overflow_is_told():
    s = tracking.StreamSetting(dim=4, n_draws=8, n_steps=400, n_burn=350)
    for loss in ("squared", "huber"):
        assert tracking.stream(replace(s, loss=loss), seeds())["error"].max() < 1e-10
    x = tracking.stream(replace(s, loss="cubic", outlier_rate=0.1), seeds())
    assert x["overflow"].max() > 0.9
    assert tracking.stream(replace(s, gate=0.5), seeds())["gain"].max() < 0.5


def test_replicas_do_not_see_each_other():
    s = tracking.StreamSetting(dim=4, n_draws=4, n_steps=60, n_burn=10, outlier_rate=0.1)
    both, alone = tracking.stream(s, seeds(2)), tracking.stream(s, seeds(2)[1:])
    assert both["error"][1] == pytest.approx(alone["error"][0], rel=1e-12)


def test_chunks_of_one_key_are_the_same_both_ways():
    x = tracking.chunks(tracking.ChunkSetting(n_keys=1, n_draws=5), seeds())
    assert x["one_by_one"] == pytest.approx(x["chunk"]) and abs(x["difference"]).max() < 1e-12


def test_simplex_memories_sum_to_their_total_and_settings_name_what_is_wrong():
    x = maps.simplex(maps.SimplexSetting(n_steps=20), seeds())
    assert x["sums"] == pytest.approx(4.0) and (x["least"] > 0).all()
    with pytest.raises(ValueError, match="n_burn"):
        tracking.StreamSetting(n_burn=900)
    with pytest.raises(ValueError, match="below dim"):
        tracking.CorrelatedSetting(n_pairs=16)
    with pytest.raises(ValueError, match="order"):
        maps.SizeSetting(order=3.0)
    with pytest.raises(ValueError, match="orders"):
        online.ProblemSetting(orders=(1.0,))


def test_a_pair_read_again_and_again_overflows_or_shrinks():
    x = online.repeats(online.RepeatSetting(), seeds(1))["sizes"][0]
    assert x[0, -1] < x[0, 0] and np.isinf(x[1, -1])
