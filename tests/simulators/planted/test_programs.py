"""Compiled programs and the trained model do what they say: weights in closed form, answers, and heads that nothing reads."""

import math

import numpy as np
import pytest

from attnlab.analysis.instruments.inspection import Subject, inspect, zeroed
from attnlab.analysis.instruments.readings import Readings
from attnlab.simulators.planted.planted import logit_difference, planted_model
from attnlab.simulators.planted.programs import program
from attnlab.simulators.planted.trained import with_inert_heads

NAMES = ("previous_token", "copying", "trained_with_inert_heads")


def subject(made, seed=0, n=8):
    prompts = made.draw(np.random.default_rng(seed), n)
    readings = Readings(made.model.run(prompts.tokens, made.model.sites()), tokens=prompts.tokens)
    return Subject(made.name, readings, {}, made.model.run, prompts.tokens, made.model.unembed), prompts


def test_weights_of_the_named_key_are_the_closed_form():
    model, _ = program((("previous", "out"), ("first", "junk"), ("nowhere", "junk")), strength=3.0)
    tokens = np.random.default_rng(0).integers(12, size=(2, 24))
    pattern = model.run(tokens, ("L0.pattern",))["L0.pattern"]
    for i in (1, 5, 23):
        named, even = math.exp(3.0) / (math.exp(3.0) + i), 1 / (i + 1)
        assert np.allclose(pattern[:, 0, i, i - 1], named, rtol=1e-13)
        assert np.allclose(pattern[:, 1, i, 0], named, rtol=1e-13)
        assert np.allclose(pattern[:, 2, i, : i + 1], even, rtol=1e-13)
        assert abs(math.exp(2.9) / (math.exp(2.9) + i) - named) > 1e-3  # the twin: a tenth of a nat less


def test_the_copying_head_reads_all_equal_tokens_alike():
    model, _ = program((("same token", "out"),), strength=4.0)
    pattern = model.run(np.array([[3, 1, 3, 2, 3]]), ("L0.pattern",))["L0.pattern"][0, 0, -1]
    z = 3 * math.exp(4.0) + 2
    assert np.allclose(pattern, [math.exp(4.0) / z, 1 / z, math.exp(4.0) / z, 1 / z, math.exp(4.0) / z], rtol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_the_answer_is_given_and_needs_exactly_the_acting_heads(name):
    made = planted_model(name)
    here, prompts = subject(made)
    logits = made.model.run(prompts.tokens, ("logits",))["logits"]
    assert (logits[:, -1].argmax(-1) == prompts.answers).all()
    effect = zeroed(here).value
    assert {tuple(map(int, at)) for at in np.argwhere(effect > 1e-12)} == set(made.acting)
    idle = set(np.ndindex(effect.shape)) - set(made.acting)
    assert idle and all(effect[at] == 0 for at in idle)
    carrier = np.unravel_index(effect.argmax(), effect.shape)
    without = made.model.run(prompts.tokens, ("logits",), {f"L0.H{carrier[1]}.z": np.zeros_like})["logits"]
    metric = logit_difference(prompts.answers)
    assert metric(without).mean() < 0.5 * metric(logits).mean()


@pytest.mark.parametrize("name", NAMES)
def test_inspect_finds_exactly_the_planted_patterns_and_who_reads_them(name):
    made = planted_model(name)
    record, _ = inspect(subject(made, 1)[0])
    named = {(kind, head) for kind, heads in record["found"].items() for head in heads}
    assert named == {(kind, f"L{at[0]}H{at[1]}") for kind, heads in made.heads.items() for at in heads}
    acts = {row["head"] for row in record["heads"] if row["acts"]}
    assert acts == {f"L0H{head}" for _, head in made.acting}


def test_training_moves_the_answer_into_the_head_that_has_it():
    """The fitted read-out of head 0 is near the identity over its weight; a model trained without it cannot answer."""
    made = with_inert_heads()
    w_o = made.model.layers[0].w_o
    read = w_o[0, :12, -12:]
    assert np.abs(read - np.diag(np.diag(read))).max() < 0.1 < 0.9 < np.diag(read).min()
    assert not w_o[2:].any() and w_o[1].any()


def test_rules_and_heads_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match="use previous, same token"):
        program((("next", "out"),))
    with pytest.raises(ValueError, match="use out or junk"):
        program((("first", "in"),))
    with pytest.raises(ValueError, match="head 0 carries"):
        with_inert_heads(inert=(0,))
