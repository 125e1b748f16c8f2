"""The paper on pooling with rank-one scores: claims judged on planted runs whose truth is known."""

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import PlantedLab

paper = load("lama_low_rank")


def judged(name, make):
    claim = paper.claims[name]
    return claim.function(claim.setting.desk, PlantedLab(make))


@pytest.mark.parametrize(("accuracy", "holds"), [(0.8544, True), (0.8640, False)])
def test_no_head_may_beat_the_selection_bound(accuracy, holds):
    def make(setting):
        return {"accuracy": np.full(16, accuracy)}

    assert judged("one_head_cannot_select", make).holds is holds


@pytest.mark.parametrize(("accuracy", "holds"), [(0.999, True), (0.856, False)])
def test_two_heads_must_leave_the_bound_behind(accuracy, holds):
    def make(setting):
        return {"accuracy": accuracy + 1e-4 * np.random.default_rng(2).normal(size=16)}

    assert judged("two_heads_select", make).holds is holds
