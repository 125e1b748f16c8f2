"""The paper on logic and hard attention: claims judged on planted runs, and at smoke sizes on real ones."""

import numpy as np
import pytest

from attnlab.papers.hard_attention_logic.paper import COUNTING, TEMPORAL, random_formulas
from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import PlantedLab
from attnlab.simulators.hard_attention.recognition import recognise
from attnlab.theory.hard_attention.limits import least_inverse_temperature_exact
from attnlab.theory.hard_attention.semantics import accepts, words
from attnlab.theory.hard_attention.syntax import parse

paper = load("hard_attention_logic")


def judged(name, make, scale="smoke"):
    claim = paper.claims[name]
    return claim.function(claim.setting.at(scale), PlantedLab(make))


def truly(setting):
    return recognise(setting, [None], "cpu")


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "name",
    ["temporal_languages", "temporal_logic", "ties_do_not_matter", "counting", "three_counts", "permutation_closed"],
)
def test_compiled_encoders_hold_and_one_wrong_answer_is_seen(name):
    assert judged(name, truly).holds

    def one_wrong(setting):
        runs = truly(setting)
        runs["said"][0, 0, -2, 0] ^= 1
        return runs

    assert judged(name, one_wrong).outcome.value == "REFUTED"


@pytest.mark.parametrize("languages", [TEMPORAL, COUNTING])
def test_formulas_and_plain_membership_are_the_same_languages(languages):
    for text, member, *_ in languages.values():
        formula = parse(text, "ab")
        assert all(accepts(formula, word) == bool(member(word)) for word in words("ab", 7))


def test_random_formulas_are_the_same_in_every_run_and_use_every_operator():
    formulas = random_formulas(120)
    assert formulas[:24] == random_formulas(24)
    told = " ".join(map(repr, formulas))
    assert all(word in told for word in ("Until(", "Since(", "Next(", "And(", "Or(", "Not(", "i % 3"))


@pytest.mark.parametrize(("fixed", "parity", "outcome"), [(2, 8, "HOLDS"), (3, 8, "REFUTED"), (2, 7, "REFUTED")])
def test_letters_that_freeze(fixed, parity, outcome):
    def make(setting):
        n = setting.n_replicas
        return {"fixed": np.r_[fixed, np.ones(n - 1, int)], "parity": np.full(n, parity)}

    assert judged("two_letters_freeze_a_layer", make).outcome.value == outcome


@pytest.mark.parametrize(("factor", "holds"), [(1.0, True), (1 + 1e-6, False)])
def test_softmax_is_judged_to_nine_digits(factor, holds):
    def make(setting):
        law = [least_inverse_temperature_exact(n) for n in setting.lengths]
        return {"least": np.array([law]) * factor}

    assert judged("softmax_sharpness", make).holds is holds
