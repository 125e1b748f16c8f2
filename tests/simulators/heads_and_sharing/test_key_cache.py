"""A cache of keys where the outcome is known: exact in full precision, worse in bfloat16 than values stored themselves."""

import numpy as np

from attnlab.simulators.heads_and_sharing import key_cache


def test_outputs_are_equal_and_rounded_keys_are_worse():
    seeds = [np.random.SeedSequence(k) for k in range(2)]
    runs = key_cache.key_cache(key_cache.KeyCacheSetting(n_tokens=24, n_heads=2, head_dim=4), seeds, "cpu")
    assert runs["both"].shape == (2, 2, 24, 4)
    assert (
        np.abs(runs["both"] - runs["keys_only"]).max() < 1e-10 < 0.1 < np.abs(runs["both"] - runs["without_bias"]).max()
    )
    assert (runs["error"] > runs["direct"]).all() and (runs["direct"] > 1e-4).all() and (runs["condition"] > 1).all()
