"""The simulators of score mixing where the outcome is known by hand."""

import numpy as np
import pytest
import torch

from attnlab.simulators.score_mixing import mixing


def seeds(n):
    return [np.random.SeedSequence(7, spawn_key=(k,)) for k in range(n)]


def test_a_kernel_of_rank_one_keeps_the_rank_of_scores():
    found = mixing.kernels(mixing.KernelSetting(40, 2, (1,), 60), seeds(2), "cpu")
    assert found["rank"].tolist() == [[2], [2]] and found["mixed"] == pytest.approx(found["prepared"])
    with pytest.raises(ValueError, match="ranks"):
        mixing.KernelSetting(ranks=(7,))


def test_two_blocks_share_their_matches():
    found = mixing.blocks(mixing.BlockSetting(2, 2, 20), seeds(1), "cpu")
    assert found["kernel"][0] == 1 and 2 / 3 <= found["tied"][0] <= 1


def test_ranks_give_the_area_with_ties():
    a, b = torch.tensor([3.0, 1.0, 1.0]), torch.tensor([1.0, 0.0])
    assert mixing._auc(a, b) == pytest.approx((2 + 1.5 + 1.5) / 6)


def test_far_classes_are_told_apart_by_products_alone():
    found = mixing.classes(mixing.ClassSetting(20.0, 3, 40), seeds(2), "cpu")
    assert found["product"] == pytest.approx([1, 1]) and found["additive"] == pytest.approx([0.5, 0.5], abs=0.1)


def test_one_copy_changes_nothing():
    found = mixing.copies(mixing.CopySetting((1, 2)), seeds(1), "cpu")
    assert found["softmax"][0] == pytest.approx([1, 1]) and found["sigmoid"][0] == pytest.approx([1, 2])
    assert found["seen"][0, 0] < 1e-12 < found["seen"][0, 1]
