"""Block routing against an explicit mask and a simulation of retrieval."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnlab.theory.costs import block_routing, dense_tiles


@given(st.integers(1, 6), st.integers(1, 8), st.integers(1, 5))
def test_routed_pairs_are_those_of_an_explicit_mask(blocks, block, top_k):
    n, total = blocks * block, 0
    for i in range(n):
        own = i // block
        total += i % block + 1 + block * min(top_k - 1, own)
    assert block_routing.moba_pairs(n, block, top_k) == total


def test_routing_numbers_are_the_checked_ones():
    assert block_routing.moba_pairs(4096, 256, 3) == 2_426_880
    assert abs(dense_tiles.causal_pairs(4096) / block_routing.moba_pairs(4096, 256, 3) - 3.46) < 5e-3
    assert (
        abs(block_routing.moba_best_blocks(8192, 3) - 222) < 0.5
        and abs(block_routing.moba_best_blocks(2**20, 3) - 2508) < 0.5
    )
    best = block_routing.moba_best_blocks(8192, 3)
    flops = [2 * 8192 * n * 64 + 4 * 3 * 8192**2 * 64 / n for n in (0.9 * best, best, 1.1 * best)]
    assert flops[1] < min(flops[0], flops[2])


@pytest.mark.parametrize(
    ("dim", "block", "blocks", "top_k", "snr", "value"),
    [(64, 128, 64, 3, 0.75, 0.198), (64, 512, 16, 3, 0.5, 0.310), (128, 64, 128, 8, 1.0, 0.417)],
)
def test_retrieval_probability_is_that_of_a_simulation(dim, block, blocks, top_k, snr, value):
    predicted = block_routing.retrieval_probability(snr, blocks, top_k)
    assert abs(predicted - value) < 1e-3
    rng, n = np.random.default_rng(1), 40_000
    noise = rng.standard_normal((n, blocks - 1))
    signal = math.sqrt(2) * snr + rng.standard_normal(n)  # in units of one centroid's noise
    hits = ((noise > signal[:, None]).sum(1) <= top_k - 2).mean()
    assert abs(hits - predicted) < 4 * math.sqrt(predicted * (1 - predicted) / n)
    twin = block_routing.retrieval_probability(snr, blocks, top_k + 1)  # the current block not counted in k
    assert abs(hits - twin) > 8 * math.sqrt(predicted * (1 - predicted) / n)
    assert abs(block_routing.retrieval_snr(snr / math.sqrt(dim / (2 * block)), dim, block) - snr) < 1e-12


def test_bad_sizes_are_errors():
    with pytest.raises(ValueError, match="block=3 must divide"):
        block_routing.moba_pairs(10, 3, 2)
    with pytest.raises(ValueError, match="top_k"):
        block_routing.retrieval_probability(1.0, 4, 5)
