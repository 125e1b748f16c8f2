"""Fastmax as an operator where the outcome is known: equal forms, counted products, tokens that are moved."""

import numpy as np

from attnlab.simulators.polynomial_attention import fast

SEEDS = [np.random.SeedSequence(0), np.random.SeedSequence(1)]


def test_forms_and_counts():
    runs = fast.forms(fast.TokenSetting(20, 4, n_replicas=2), SEEDS, "cpu")
    assert runs["linear"].shape == runs["dense"].shape == (2, 2, 2, 20, 4)
    assert np.abs(runs["linear"] - runs["dense"]).max() < 1e-12
    assert np.abs(runs["dense"][:, 0] - runs["dense"][:, 1]).max() > 0.01
    table = fast.counts(fast.CostSetting(cells=((10, 4, 4, 2),)), SEEDS[:1], "cpu")
    assert table["features"].item() == 2 * 10 * 15 * 5 and table["softmax"].item() == 2 * 100 * 4


def test_moved_tokens_are_told_only_without_standardising():
    runs = fast.moved(fast.TokenSetting(20, 4, n_replicas=2), SEEDS, "cpu")
    assert np.abs(runs["moved"] - runs["plain"]).max() < 1e-9 < np.abs(runs["divided"] - runs["plain"]).max()
