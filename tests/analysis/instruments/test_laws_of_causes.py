"""Instruments that act on a model, on hand-written models whose circuit is known."""

import numpy as np
import pytest

from attnlab.analysis.instruments.circuits import attribution, window_ablation
from attnlab.simulators.planted.arithmetic import N_LAYERS, every_prompt
from attnlab.simulators.planted.induction import induction
from attnlab.simulators.planted.planted import logit_difference, planted_model


def template(program):
    made, prompts = planted_model(f"arithmetic_{program}"), every_prompt()
    return window_ablation.Template(made.model.run, prompts.tokens, prompts.answers, N_LAYERS, 1 / 7)


def test_late_arithmetic_waits_until_its_first_layer_of_context():
    made = window_ablation.measure(template("late"))["accuracy"]
    assert made.value[:3].tolist() == [1, 1, 1]
    assert (made.value[3:] < 0.3).all() and (made.high[3:] > 1 / 7).all()


def test_late_arithmetic_needs_its_two_layers_and_any_layers_besides():
    found = window_ablation.windows(template("late"))
    assert len(found) == len(set(found)) == 5 + 4 + 3
    assert all({2, 3} <= set(window) and wait <= 2 for wait, window in found)
    assert (2, (2, 3)) in found


def test_early_arithmetic_has_no_window():
    assert window_ablation.measure(template("early"))["accuracy"].value[1:].max() < 0.3
    assert window_ablation.windows(template("early")) == []


def test_states_without_context_are_means_over_the_same_token_at_the_same_place():
    rng = np.random.default_rng(0)
    tokens, states = rng.integers(3, size=(30, 4)), rng.standard_normal((30, 4, 5))
    made = window_ablation.by_token(states, tokens)
    for row, place in ((0, 0), (7, 2), (29, 3)):
        same = tokens[:, place] == tokens[row, place]
        assert np.allclose(made[row, place], states[same, place].mean(0), rtol=0, atol=1e-14)


def test_two_programs_give_the_same_answers():
    prompts = every_prompt()
    for program in ("late", "early"):
        logits = planted_model(f"arithmetic_{program}").model.run(prompts.tokens, sites=("logits",))["logits"]
        assert (logits[:, -1].argmax(-1) == prompts.answers).all()


@pytest.fixture(scope="module")
def induction_segments():
    made = induction(n_symbols=6, n_tokens=13)
    rng = np.random.default_rng(1)
    prompts = made.draw(rng, 6)
    metric = logit_difference(prompts.answers)
    return attribution.segments(
        made.model.run, prompts.tokens, made.corrupt(rng, prompts), metric, [(0, 0), (0, 1), (1, 0), (1, 1)]
    )


def test_the_path_is_complete_and_the_linear_effect_misses_a_head_behind_a_saturated_softmax(induction_segments):
    made = attribution.measure(attribution.Segments(induction_segments.value, induction_segments.slope, 4, steps=40))
    assert made["path"].value == pytest.approx(made["exact"].value, rel=1e-2, abs=1e-6)
    assert made["exact"].value[0] < -5 and abs(made["linear"].value[0]) < 0.02 * abs(made["exact"].value[0])
    assert attribution.saturated(made).tolist() == [True, False, False, False]
    assert abs(made["exact"].value[[1, 3]]).max() < 1e-9, "inert heads do nothing"
    assert made["linear"].value[2] == pytest.approx(made["exact"].value[2], rel=1e-6), "the last head acts linearly"


def test_a_path_of_too_few_steps_is_refused(induction_segments):
    with pytest.raises(ValueError, match="sender 0 misses its effect"):
        attribution.measure(attribution.Segments(induction_segments.value, induction_segments.slope, 4, steps=1))
