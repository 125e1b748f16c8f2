"""Arrays under other libraries' names become the same sites."""

import numpy as np
import pytest
import torch

from attnlab.analysis.instruments.names_outside import as_array, sites


def test_a_cache_of_transformer_lens_is_the_same_model():
    rng = np.random.default_rng(0)
    z, pattern = rng.standard_normal((2, 6, 3, 4)), rng.random((2, 3, 6, 6))
    q, rotated = rng.standard_normal((2, 2, 6, 3, 4))
    cache = {
        "hook_embed": torch.tensor(rng.standard_normal((2, 6, 5))),
        "blocks.0.hook_resid_pre": torch.zeros(2, 6, 5),
        "blocks.0.attn.hook_pattern": torch.tensor(pattern),
        "blocks.0.attn.hook_z": torch.tensor(z),
        "blocks.0.attn.hook_q": torch.tensor(q),
        "blocks.0.attn.hook_rot_q": torch.tensor(rotated),
        "blocks.0.ln1.hook_scale": torch.ones(2, 6, 1),
        "ln_final.hook_normalized": torch.zeros(2, 6, 5),
    }
    for order in (cache, dict(reversed(cache.items()))):
        found = sites(order)
        assert set(found) == {"embed", "L0.pre", "L0.pattern", "L0.z", "L0.q", "final"}
        assert found["L0.z"].shape == (2, 3, 6, 4) and (found["L0.z"][:, 1, 2] == z[:, 2, 1]).all()
        assert (found["L0.q"] == np.swapaxes(rotated, 1, 2)).all(), "the rotated query enters the score"


def test_stacked_arrays_are_taken_apart_and_nothing_known_is_an_error():
    a = np.random.default_rng(1).random((2, 3, 4, 5, 5))
    found = sites({"pattern": a, "logits": np.zeros((2, 5, 7))})
    assert set(found) == {"L0.pattern", "L1.pattern", "L2.pattern", "logits"} and (found["L2.pattern"] == a[:, 2]).all()
    with pytest.raises(ValueError, match=r"no site among attn, mask; call them L0\.pattern"):
        sites({"attn": a, "mask": a})


def test_half_precision_becomes_float32():
    assert as_array(torch.ones(2, dtype=torch.bfloat16)).dtype == np.float32
    assert as_array(np.ones(2, np.float16)).dtype == np.float32 and as_array(np.ones(2)).dtype == np.float64
