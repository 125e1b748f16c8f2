"""Neighbourhood attention against explicit masks, and the published tables."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnlab.theory.costs import dense_tiles, neighbourhood


@given(st.data())
def test_neighbourhood_counts_are_those_of_the_mask(data):
    length = data.draw(st.integers(2, 30))
    window = data.draw(st.integers(1, length))
    stride = data.draw(st.integers(1, window))
    t_q, t_k = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 8))
    seen = neighbourhood.neighbourhood_axis(length, window, stride)
    mask = (np.arange(length) >= seen[:, :1]) & (np.arange(length) <= seen[:, 1:])
    assert (mask.sum(1) == window).all()
    static = neighbourhood.neighbourhood_tiles(length, window, stride, t_q, t_k, dynamic=False)
    dynamic = neighbourhood.neighbourhood_tiles(length, window, stride, t_q, t_k)
    for a, tiles, fewest in zip(range(0, length, t_q), static, dynamic, strict=True):
        union = np.flatnonzero(mask[a : a + t_q].any(0))
        span = range(union[0], union[-1] + 1)  # kernels visit a run of tiles, gaps included
        assert tiles == len({j // t_k for j in span}) and fewest == -(-len(span) // t_k)
    whole = all(
        mask[a : a + t_q, b : b + t_k].all() or not mask[a : a + t_q, b : b + t_k].any()
        for a in range(0, length, t_q)
        for b in range(0, length, t_k)
    )
    if neighbourhood.is_fully_block_sparse(length, window, stride, t_q, t_k, dynamic=False):
        assert whole


def test_causal_neighbourhood_ends_at_the_token():
    assert neighbourhood.neighbourhood_axis(7, 3, 1, causal=True).tolist() == [[max(i - 2, 0), i] for i in range(7)]
    assert neighbourhood.neighbourhood_axis(6, 4, 2, causal=True)[:, 0].tolist() == [0, 0, 0, 0, 2, 2]


@pytest.mark.parametrize(
    ("stride", "worst", "gain"),
    [
        ((1, 1, 1), 3.27, 1.73),
        ((2, 1, 1), 3.60, 1.78),
        ((1, 1, 8), 5.45, 1.99),
        ((2, 1, 8), 6.00, 2.02),
        ((1, 8, 8), 9.09, 2.17),
        ((2, 8, 8), 10.0, 2.20),
        ((16, 8, 8), 11.11, 2.23),
        ((18, 24, 24), 6.67, 2.06),
    ],
)
def test_video_table_of_generalized_neighbourhood_attention(stride, worst, gain):
    found = neighbourhood.neighbourhood_speedup((30, 48, 80), (18, 24, 24), stride, (4, 8, 8), (2, 8, 8), dynamic=False)
    assert abs(found.worst_tile - worst) < 6e-3 and abs(found.flops - 11.11) < 2e-3
    assert abs(dense_tiles.amdahl(0.607, found.worst_tile) - gain) < 1e-2  # one unit of the table's last digit
    assert found.worst_tile <= found.mean_tile * (1 + 1e-12) and found.mean_tile <= found.flops * (1 + 1e-12)


@pytest.mark.parametrize(("stride", "worst"), [((1, 1), 6.10), ((16, 1), 8.53), ((16, 16), 10.24)])
def test_image_table_of_generalized_neighbourhood_attention(stride, worst):
    found = neighbourhood.neighbourhood_speedup((256, 256), (80, 80), stride, (16, 16), (16, 8), dynamic=False)
    assert abs(found.worst_tile - worst) < 6e-3


def test_smallest_block_sparse_stride_of_a_long_line():
    ok = [s for s in range(1, 2049) if neighbourhood.is_fully_block_sparse(32768, 2048, s, 256, 128, dynamic=True)]
    assert ok[0] == 256
    for query_tile, value in ((128, 15.06), (256, 14.22)):
        found = neighbourhood.neighbourhood_speedup((32768,), (2048,), (1,), (query_tile,), (128,))
        assert abs(found.worst_tile - value) < 6e-3


def test_aligned_tiles_need_dynamic_tiling_in_two_dimensions():
    static, dynamic = (
        neighbourhood.neighbourhood_speedup((64, 64), (16, 16), (8, 8), (8, 8), (8, 8), dynamic=x)
        for x in (False, True)
    )
    assert abs(static.worst_tile - 7.11) < 6e-3 and abs(dynamic.worst_tile - 16) < 1e-12
    assert (
        abs(
            neighbourhood.neighbourhood_speedup((64, 64), (16, 16), (1, 1), (8, 8), (8, 8), dynamic=False).mean_tile
            - 8.46
        )
        < 6e-3
    )


def test_halo_efficiency_counts_the_pairs_of_an_interior_tile():
    tile, window = 6, 5
    seen = neighbourhood.neighbourhood_axis(60, window)[24:30]
    assert (
        abs(neighbourhood.halo_efficiency((tile,), (window,)) - window / (seen[:, 1].max() - seen[:, 0].min() + 1))
        < 1e-15
    )
    for w, value in ((7, 0.10), (64, 0.504), (255, 0.80)):
        assert abs(neighbourhood.halo_efficiency((64,), (w,)) - value) < 5e-3


def test_bad_sizes_are_errors():
    with pytest.raises(ValueError, match="window"):
        neighbourhood.neighbourhood_axis(5, 6)
