"""The claim on planted runs whose truth is known."""

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import PlantedLab
from attnlab.theory.score_statistics.first_prediction import first_prediction_exact

paper = load("lln_lognormal")


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.5, "REFUTED")])
def test_the_claim_knows_the_truth_from_its_twin(factor, outcome):
    claim = paper.claims["first"]
    setting = claim.setting.desk
    planted = factor * first_prediction_exact(setting.n_samples) + 0.01 * np.random.default_rng(0).normal(size=16)
    assert claim.function(setting, PlantedLab(lambda _: {"mean": planted})).outcome == outcome
