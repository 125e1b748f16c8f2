"""The claims on the atlas, judged on planted runs: the truth holds, the nearest rival does not."""

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import PlantedLab
from attnlab.papers.operator_atlas.figures import state_of
from attnlab.theory.operator_atlas import recall

paper = load("operator_atlas")


def judged(name, make):
    claim = paper.claims[name]
    return claim.function(claim.setting.desk, PlantedLab(make))


@pytest.mark.parametrize(("change", "holds"), [(0.0, True), (1e-9, False)])
def test_limits_are_judged_to_rounding(change, holds):
    def make(setting):
        other = np.random.default_rng(0).uniform(-1, 1, (setting.n_replicas, 5, 8))
        return {"this": other + change, "other": other, "moved": other * (1 + 1e-9)}

    assert judged("limits_are_exact", make).holds is holds


@pytest.mark.parametrize(("best", "holds"), [(False, True), (True, False)])
def test_a_memory_follows_its_own_law_and_not_that_of_the_best_map(best, holds):
    def make(setting):
        r, c, V = setting.key_width, setting.per_code, setting.n_codes
        p = recall.best_map_recall(c * V, r, V, V) if best else recall.memory_recall_exact(r, c, V)
        z = np.random.default_rng(1).normal(size=setting.n_replicas)
        return {"right": p + np.sqrt(p * (1 - p) / setting.n_draws) * (z - z.mean()) / z.std()}

    assert judged("recall_of_a_linear_memory", make).holds is holds


def test_states_of_the_figure_are_those_of_theory():
    assert state_of("base_scores/dot_product", 10, 4) == 80 == state_of("base_scores/dot_product", 5, 8)
    assert state_of("linear_variants/cosine_linear", 10, 4) == state_of("linear_variants/cosine_linear", 40, 4)
