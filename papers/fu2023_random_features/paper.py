"""The paper, its settings, and what its claims share: spectra, best ridges, numbers of samples at half of the
variance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.random_feature_heads.learning_curves import Setting
from attnlab.theory.random_feature_heads.learning_curves import learning_curve
from attnlab.theory.random_feature_heads.spectrum import attention_spectrum, perceptron_spectrum

TITLE = "What can a Single Attention Layer Learn? A Study Through the Random Features Lens"
paper = Paper(
    key="fu2023_random_features",
    title=TITLE,
    sources=[
        Source(
            authors="Hengyu Fu, Tianyu Guo, Yu Bai, Song Mei",
            year=2023,
            arxiv="2307.11353",
            title=TITLE,
            venue="Advances in Neural Information Processing Systems 36",
        )
    ],
    statements={
        1: "A layer of many ReLU heads with random frozen query-key weights and trained values is a linear model that does not "
        "see the order of the keys.",
        2: "It expresses averages over keys of polynomials F(x_0, x_i), at a complexity of C_k = 4^k k^4.5 per squared tensor "
        "norm of the terms of order k.",
        3: "With n samples and M heads the excess risk is at most the complexity times sqrt(log(dM)/n) + sqrt((d^2 + log M)/M).",
        4: "The complexity of functions of the keys alone is free of the dimension and of the number of keys, that of "
        "<x_0, x_i>^p grows like d^p; a random-feature perceptron on the concatenated tokens pays for every key.",
        5: "Query-key weights with a mean proportional to the identity learn functions of <x_0, x_i> at a cost free of the "
        "dimension.",
        6: "Test errors of attention, biased attention and perceptron against the number of samples show 4 and 5.",
        7: "Without a constant in the tokens the model misses most polynomials, whatever the numbers of samples and heads.",
        8: "Ridge regression with these kernels follows the learning curve of their spectrum.",
    },
)
DESK = Setting()
SMOKE = Setting(sizes=(12, 25, 50, 100, 200), n_test=500, n_replicas=8)
SCALES = paper.scales(
    smoke=SMOKE, desk=DESK, paper=Setting(dim=30, n_keys=20, sizes=(50, 100, 200, 400, 800, 1600, 3200), n_test=2_000)
)
FEWER = Scales(
    smoke=replace(SMOKE, sizes=(50, 100, 200), n_test=300),
    desk=replace(DESK, sizes=(50, 100, 200, 400), n_test=500),
    paper=replace(SCALES.paper, sizes=(50, 100, 200, 400, 800)),
)


def with_changes(scales, **changes):
    """The same change of the settings at every scale."""
    return Scales(*(replace(scales.at(scale), **changes) for scale in ("smoke", "desk", "paper")))


def spectrum_of(kind, dim, n_keys):
    """The spectrum of zero-mean attention or of the perceptron."""
    return {"attention": attention_spectrum, "perceptron": perceptron_spectrum}[kind](dim, n_keys)


def predicted_curve(setting, target, *, ridge=0, inflated=True):
    """Predicted relative errors ``(size,)`` at the setting's sizes and its ridge number ``ridge``."""
    spectrum = spectrum_of(setting.kind, setting.dim, setting.n_keys)
    return learning_curve(
        spectrum, target, setting.dim, setting.n_keys, setting.sizes, ridge=setting.ridges[ridge], inflated=inflated
    )


def measured_curve(runs, setting, target, *, ridge=0):
    """Measured relative errors ``(replica, size)``."""
    return runs["error"][:, ridge, :, setting.targets.index(target)]


def best_ridge(runs, setting, target):
    """Errors ``(replica, size)`` at the ridge whose mean error is least, chosen for every size."""
    error = runs["error"][..., setting.targets.index(target)]  # (replica, ridge, size)
    return np.take_along_axis(error, error.mean(0).argmin(0)[None, None], axis=1)[:, 0]


def half_crossing(sizes, curves):
    """Log of the number of samples at which curves ``(..., size)`` last cross one half, by interpolation in logarithms.

    Beyond the grid it is the line through the two points at its end.
    """
    logs, values = np.log(sizes), np.log(2 * np.maximum(np.atleast_2d(curves), 1e-12))
    found = []
    for row in values:
        above = np.flatnonzero(row > 0)
        k = min(above[-1] if above.size else 0, len(row) - 2)
        slope = (row[k + 1] - row[k]) / (logs[k + 1] - logs[k])
        found.append(logs[k] - row[k] / slope if slope < 0 else logs[-1])
    return np.array(found)
