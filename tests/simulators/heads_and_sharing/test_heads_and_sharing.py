"""The simulators of combined and shared heads where the outcome is known by hand."""

import numpy as np
import pytest

from attnlab.simulators.heads_and_sharing import sharing


def seeds(n):
    return [np.random.SeedSequence(7, spawn_key=(k,)) for k in range(n)]


def test_equal_heads_lose_nothing_and_opposite_ones_everything():
    alike = sharing.pools(sharing.PoolSetting((1.0, 1.0), 1e-9, 4), seeds(1), "cpu")
    assert alike["lost"][0] < 1e-12 and alike["mean"][0] == pytest.approx(1) == alike["best"][0]
    opposed = sharing.pools(sharing.PoolSetting((1.0, -1.0), 1e-9, 4), seeds(1), "cpu")
    assert opposed["lost"][0] == pytest.approx(1) and opposed["best"][0] == pytest.approx(1)
    with pytest.raises(ValueError, match="amplitudes"):
        sharing.PoolSetting((0.0, 0.0))


def test_identical_keys_give_identical_scores():
    assert sharing.pooled_keys(sharing.KeySetting(2, 1.0, 4, 9), seeds(2), "cpu")["correlation"] == pytest.approx(
        [1, 1]
    )


def test_flat_scores_make_borrowing_free():
    found = sharing.borrowed(sharing.BorrowSetting(0.5, 1e-6, (1,), 50, 3), seeds(1), "cpu")
    assert found["error"][0, 0] < 1e-11 and found["cosine"][0, 0] == pytest.approx(1)
    with pytest.raises(ValueError, match="correlation=1"):
        sharing.BorrowSetting(correlation=1.0)


def test_two_tokens_have_a_future_only_without_a_triangle():
    found = sharing.positions(sharing.BasisSetting(2, 2), seeds(2), "cpu")
    assert (found["future"] == 0).all() and found["numbers"].tolist() == [[256, 192, 128, 132]] * 2
    turned = sharing.bases(sharing.BasisSetting(2, 2), seeds(1), "cpu")
    assert (
        turned["turned"] == pytest.approx(turned["multi"], abs=1e-6)
        and np.abs(turned["plain"] - turned["multi"]).max() > 0.01
    )


def test_a_mixture_that_uses_all_its_heads_needs_all_of_the_cache():
    found = sharing.mixtures(sharing.MixtureSetting(4, 4, 2, 0.0, 10, 5), seeds(1), "cpu")
    assert found["needed"][0] == 1 and found["moved"][0] == 8 and found["kept"][0] == pytest.approx(1)
    with pytest.raises(ValueError, match="n_active=5"):
        sharing.MixtureSetting(n_routed=4, n_active=5)
