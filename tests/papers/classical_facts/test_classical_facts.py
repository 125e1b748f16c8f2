"""The classical facts: every form has a twin that the search refutes, and wrong constants in the theory are found out."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from attnlab.analysis.theorems.check import check
from attnlab.analysis.theorems.engines.confirmation import confirm
from attnlab.analysis.theorems.engines.evaluate import Evaluator, one_thread, tensors
from attnlab.analysis.theorems.engines.search import search
from attnlab.analysis.verdicts.verdict import Outcome, Verdict
from attnlab.papers.classical_facts import attention_output, depth, log_sum_exp, softmax_map
from attnlab.papers.classical_facts import entropy as entropy_facts
from attnlab.papers.classical_facts import paper as module
from attnlab.papers.classical_facts.paper import paper
from attnlab.papers.classical_facts.small_forms import SMALL_FORMS
from attnlab.papers.lab.run.planted import PlantedLab
from attnlab.papers.lab.run.quantified import forms_of

SMOKE = paper.default.smoke
QUANTIFIED = [claim for claim in paper.claims.values() if claim.forms is not None]
FORMS = [(claim.name, level) for claim in QUANTIFIED for level in forms_of(claim, SMOKE)]


def form(name, level):
    """A form at a small size."""
    return forms_of(paper.claims[name], replace(SMOKE, dim=3))[level].instances()[0]


def refuted(claim):
    """Whether draws, or else a round of search, find a violation that survives higher precision."""
    with one_thread():
        return _refuted(claim, Evaluator(claim), np.random.default_rng(0))


def _refuted(claim, evaluator, generator):
    drawn = {name: domain.draw(1_000, generator) for name, domain in claim.variables.items()}
    gap = torch.where(evaluator.meets(tensors(drawn)), evaluator.gap(tensors(drawn)).amax(dim=1), -torch.inf)
    k = int(gap.argmax())
    if gap[k] > 0 and confirm(claim, {name: values[k] for name, values in drawn.items()}).violated:
        return True
    return search(claim, 100_000, 0, evaluator).confirmed is not None


def test_there_are_more_than_twenty_facts_and_every_statement_is_covered():
    assert len(QUANTIFIED) >= 20 and paper.uncovered() == [] and not paper.untestable
    assert all(claim.formula and claim.source and claim.statement for claim in paper.claims.values())


def test_most_facts_have_a_proof_and_all_are_searched_in_the_dimension_of_the_setting():
    levels = {claim.name: list(forms_of(claim, SMOKE)) for claim in QUANTIFIED}
    assert all(each[0] == "searched" for each in levels.values())
    assert {name for name, each in levels.items() if len(each) == 1} == {
        "truncated_mass",
        "entropy_slope",
        "sinkhorn_rate",
    }


def test_every_proved_form_is_told_in_words_and_no_other():
    proved = {claim.name for claim in QUANTIFIED if len(forms_of(claim, SMOKE)) > 1}
    assert set(SMALL_FORMS) == proved
    assert all(
        claim.note.startswith("The proved form" if claim.name in proved else "No proved form") for claim in QUANTIFIED
    )


@pytest.mark.sampled(8)
@pytest.mark.parametrize(("name", "level"), FORMS)
def test_the_twin_of_every_form_is_refuted(name, level):
    claim = form(name, level)
    assert claim.twins
    for twin in claim.twins:
        assert refuted(claim.with_twin(twin))


@pytest.mark.parametrize(("name", "level"), [pair for pair in FORMS if pair[1] == "searched"])
def test_no_fact_is_violated_at_random_inputs(name, level):
    claim = form(name, level)
    evaluator, generator = Evaluator(claim), np.random.default_rng(0)
    points = {key: domain.draw(2_000, generator) for key, domain in claim.variables.items()}
    lower, upper = evaluator(tensors(points))
    relative = (evaluator.gap_of(lower, upper) / (lower.abs() + upper.abs() + 1e-9)).amax(dim=1)
    meets = evaluator.meets(tensors(points))
    assert int(meets.sum()) > 500 and float(relative[meets].max()) <= 1e-9  # relative: rounding is below 1e-12


@pytest.mark.sampled(8)
@pytest.mark.parametrize(
    ("facts", "theory", "function", "name"),
    [
        (softmax_map, "theory", "softmax_lipschitz", "lipschitz_linf"),
        (softmax_map, "theory", "softmax_l1_bound", "l1_saturates"),
        (softmax_map, "theory", "jacobian_norm_bound", "jacobian_norm"),
        (softmax_map, "theory", "largest_weight_bound", "largest_weight_at_spread"),
        (softmax_map, "theory", "argmax_distance_bound", "argmax_limit"),
        (log_sum_exp, "theory", "smoothness", "lse_smooth"),
        (log_sum_exp, "theory", "divergence_bound", "divergence_at_spread"),
        (entropy_facts, "theory", "entropy_deficit_bound", "entropy_deficit"),
        (entropy_facts, "theory", "fano_bound", "fano"),
        (attention_output, "theory", "dropped_mass_bound", "dropped_mass"),
        (attention_output, "theory", "query_gradient_bound", "query_gradient"),
        (attention_output, "theory", "loss_gradient_bound", "loss_gradient"),
        (depth, "rank_collapse", "collapsed_diameter_bound", "rank_collapse_layer"),
        (depth, "sinkhorn", "birkhoff_contraction", "birkhoff"),
    ],
)
def test_a_bound_of_the_theory_that_is_five_percent_too_small_is_refuted(monkeypatch, facts, theory, function, name):
    home = getattr(facts, theory)
    right = getattr(home, function)
    monkeypatch.setattr(home, function, lambda *arguments: 0.95 * right(*arguments))
    assert refuted(form(name, "searched"))


@pytest.mark.sampled(8)
@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("argmax_limit", "certified"),
        ("lipschitz_l2", "symbolic"),
        ("growth", "certified"),
        ("entropy_deficit", "certified"),
    ],
)
def test_a_proof_is_found_at_its_level(name, level):
    verdict = check(form(name, level), level)
    assert verdict.holds and verdict.level == level and verdict.twin_outcome is Outcome.REFUTED
    assert "dimension" in verdict.of


@pytest.mark.slow
@pytest.mark.parametrize("name", [claim.name for claim in QUANTIFIED])
def test_every_fact_holds_at_smoke(name):
    verdict = paper.claims[name].function(SMOKE, PlantedLab())
    assert verdict.holds, verdict.line()
    assert [part.name for part in verdict.parts] == list(forms_of(paper.claims[name], SMOKE))
    assert all(part.holds and part.level == part.name for part in verdict.parts)


def moments(variance=0.0, fourth=None):
    """Random scores whose moments are the true ones, shifted; at every dimension."""
    generator = np.random.default_rng(0)

    def of(setting):
        excess = 6 / setting.dim if fourth is None else fourth
        return {
            "variance": 1 + variance + 1e-3 * generator.normal(size=32),
            "fourth": 3 + excess + 1e-3 * generator.normal(size=32),
        }

    return PlantedLab(of)


def test_random_scores_are_judged_on_their_variance_and_kurtosis():
    variance, kurtosis = paper.claims["score_variance"].function, paper.claims["score_kurtosis"].function
    assert variance(SMOKE, moments()).holds and kurtosis(SMOKE, moments()).holds
    assert variance(SMOKE, moments(variance=-1 / 17)).outcome is Outcome.REFUTED  # one more entry, at dim 16
    assert kurtosis(SMOKE, moments(fourth=0.0)).outcome is Outcome.REFUTED  # Gaussian scores
    assert variance(SMOKE, moments(variance=0.02)).outcome is Outcome.REFUTED
    assert kurtosis(replace(SMOKE, score_dims=(4,)), moments()).holds


def test_the_figure_shows_the_gap_of_every_fact_with_a_ratio(monkeypatch):
    def verdict(claim, k):
        if k % 2:
            part = Verdict(Outcome.HOLDS, "for_all", name="certified")
            return Verdict(Outcome.HOLDS, "for_all", tightness=1 - 0.1 / (k + 1), parts=(part.named("searched"), part))
        return Verdict(Outcome.HOLDS, "identity", parts=(Verdict(Outcome.HOLDS, "identity", name="searched"),))

    for k, claim in enumerate(QUANTIFIED):
        shown = verdict(claim, k)
        monkeypatch.setitem(paper.claims, claim.name, replace(claim, function=lambda s, lab, shown=shown: shown))
    plate = module.sharpness(SMOKE, None)
    (mark,) = plate.marks
    assert mark.series == "certified form" and len(mark.x) == len(QUANTIFIED) // 2
    assert np.allclose(mark.x, 0.1 / np.arange(2, len(QUANTIFIED) + 1, 2))
