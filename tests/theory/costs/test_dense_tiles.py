"""Dense tiled attention against direct counts on explicit masks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnlab.theory.costs import dense_tiles


def causal_mask(n, window=None):
    i, j = np.arange(n)[:, None], np.arange(n)[None, :]
    return (j <= i) & (True if window is None else j > i - window)


def touched(mask, query_tile, key_tile, offset=0):
    """Key tiles with at least one visible pair, for each query tile of an explicit mask."""
    n = mask.shape[0]
    return [
        sum(mask[a : a + query_tile, b : b + key_tile].any() for b in range(offset, mask.shape[1], key_tile))
        for a in range(0, n, query_tile)
    ]


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 12))
def test_causal_tiles_and_pairs_are_those_of_the_mask(n, query_tile, key_tile):
    assert dense_tiles.causal_tiles(n, query_tile, key_tile) == sum(touched(causal_mask(n), query_tile, key_tile))
    assert dense_tiles.causal_pairs(n) == causal_mask(n).sum()
    assert dense_tiles.causal_pairs(n, query_tile) == causal_mask(n, query_tile).sum()


def test_tile_efficiencies_are_the_published_ones_and_half_is_wrong():
    for (n, tile), value in {(40, 16): 0.534, (40, 32): 0.267, (1024, 64): 0.942}.items():
        assert abs(dense_tiles.causal_tile_efficiency(n, tile, tile) - value) < 5e-4
    assert dense_tiles.causal_tiles(40, 16, 16) != 3 * 3 / 2  # "causal = half" forgets the diagonal


def test_dense_flops_count_the_products():
    f = dense_tiles.dense_flops(7, 9, 4, 4)
    unit = 2 * 7 * 9 * 4
    assert (f.forward, f.backward_stored, f.backward_recomputing, f.backward_two_kernels) == tuple(
        k * unit for k in (2, 4, 5, 7)
    )
    assert dense_tiles.dense_flops(7, 9, 4, 2).backward_two_kernels == 2 * 7 * 9 * (4 + 2) * 2 + 2 * 7 * 9 * (4 + 4 + 2)


def test_fusing_saves_exactly_the_score_traffic_when_keys_are_read_once():
    n, d = 64, 8
    saved = dense_tiles.unfused_bytes(n, d, d) - dense_tiles.flash_bytes(n, d, d, 1, n)
    assert saved == 4 * 4 * n * n - 4 * n
    assert dense_tiles.roofline_seconds(8.0, 2.0, 3.0, peak_flops=1.0, bandwidth=1.0, exp_rate=1.0) == 8.0


def test_bad_sizes_are_errors():
    with pytest.raises(ValueError, match="n_queries"):
        dense_tiles.dense_flops(0, 1, 1, 1)
