"""The theorem against brute force, the claim on planted runs, and the paper as it stands."""

import numpy as np
import pytest
from gaussian_logits.paper import DESK, paper
from gaussian_logits.theory import inverse_participation_approx, inverse_participation_limit

from attnlab.papers.lab.run.planted import PlantedLab


def test_the_formula_reaches_its_limit_and_its_correction_is_measured():
    assert inverse_participation_approx(0.8, 10**9) == pytest.approx(inverse_participation_limit(0.8), rel=1e-7)
    rng = np.random.default_rng(0)
    weights = np.exp(0.5 * rng.normal(size=(40_000, 64)))
    values = 64 * (weights**2).sum(1) / weights.sum(1) ** 2
    error = 4 * values.std() / 200  # four standard errors of 40 000 rows; the next order in 1/n is 20 times smaller
    assert values.mean() == pytest.approx(inverse_participation_approx(0.5, 64), abs=error)
    assert abs(values.mean() - inverse_participation_limit(0.5)) > error  # the twin is refuted by the same rows


@pytest.mark.parametrize(
    "theory, outcome", [(inverse_participation_approx, "HOLDS"), (inverse_participation_limit, "REFUTED")]
)
def test_the_claim_knows_the_truth_from_its_twin(theory, outcome):
    arguments = (DESK.logit_std, DESK.n_keys)[: theory.__code__.co_argcount]
    planted = theory(*arguments) + 1e-4 * np.random.default_rng(1).normal(size=16)
    verdict = paper.claims["participation"].function(DESK, PlantedLab(lambda _: {"inverse_participation": planted}))
    assert verdict.outcome == outcome


def test_every_statement_is_covered():
    assert paper.uncovered() == []
