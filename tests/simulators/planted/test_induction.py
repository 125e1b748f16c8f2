"""The planted induction model: closed forms of its weights, its answers, and what path patching makes of it."""

import itertools

import numpy as np
import pytest

from attnlab.analysis.instruments.circuits import component_sums, path_patching
from attnlab.analysis.instruments.instrument import finding
from attnlab.analysis.instruments.maps import induction_score
from attnlab.analysis.instruments.readings import Readings
from attnlab.simulators.planted.induction import induction
from attnlab.simulators.planted.planted import logit_difference


def right(made, prompts):
    """Share of prompts whose most likely next token is the answer."""
    logits = made.model.run(prompts.tokens, ("logits",))["logits"]
    return np.mean(logits[:, -1].argmax(-1) == prompts.answers)


@pytest.mark.parametrize("strength", [4.0, 8.0, 12.0])
def test_weights_are_the_closed_forms(strength):
    made = induction(previous=strength, match=strength)
    prompts = made.draw(np.random.default_rng(0), 6)
    a = made.model.run(prompts.tokens, ("L0.pattern", "L1.pattern"))
    n, i = prompts.tokens.shape[1], np.arange(1, prompts.tokens.shape[1])
    w = np.exp(strength) / (np.exp(strength) + i)
    assert np.abs(np.diagonal(a["L0.pattern"][:, 0], -1, -2, -1) - w).max() < 1e-12
    for row, period in enumerate(prompts.periods):
        at = np.arange(period + 1, min(2 * period + 1, n))  # one earlier copy
        target = at - period + 1
        # the score of the match is match times the weight with which the key's own previous token was written
        wrote = w[target - 1]
        least = np.exp(strength * wrote)
        scores = made.model.run(prompts.tokens[row : row + 1], ("L1.scores",))["L1.scores"][0, 0]
        assert np.abs(scores[at, target] - np.log(least)).max() < 1e-9


def test_with_bos_every_answer_is_right_and_without_it_the_first_token_has_a_false_match():
    made, bare = induction(), induction(bos=False, n_tokens=24)
    rng = np.random.default_rng(1)
    assert right(made, made.draw(rng, 200)) == 1.0
    whole = bare.draw(rng, 50)
    logits = bare.model.run(whole.tokens, ("logits",))["logits"]
    for row, period in enumerate(whole.periods):
        # position 0 looks at itself and writes its own token as the previous one: half of the weight goes there
        best = logits[row, period : 2 * period].max(-1)  # of 10
        assert abs(best[0] - 5) < 0.1 and (best[1:] > 9.9).all()


def pairs(made, rng, n, **given):
    prompts = made.draw(rng, n)
    senders = [*itertools.product(range(2), range(len(made.model.layers[0].w_q)))]
    corrupt = made.corrupt(rng, prompts)
    return path_patching.Pairs(
        made.model.run, prompts.tokens, corrupt, logit_difference(prompts.answers), senders, **given
    ), senders


def test_path_patching_finds_the_planted_table():
    made = induction()
    receivers = ("logits", "total", "L1.H0.k", "L1.H0.q", "L1.H0.v")
    asked, senders = pairs(made, np.random.default_rng(2), 20, receivers=receivers)
    value = path_patching.measure(asked)["effect"].value
    table = np.zeros_like(value)
    for row, head in ((0, (1, 0)), (1, (0, 0)), (1, (1, 0)), (2, (0, 0))):
        table[row, senders.index(head)] = 1.0
    assert np.abs(value - table).max() < 2e-3  # 12 nats leave up to 24 e^-12 of a row elsewhere, in two layers
    # a sender of the receiver's own layer cannot reach its input: exactly nothing
    assert (value[2:, [senders.index(s) for s in senders if s[0] == 1]] == 0).all()


def test_the_last_position_alone_misses_the_head_that_acts_earlier():
    asked, senders = pairs(induction(), np.random.default_rng(3), 20, receivers=("total",), positions="last")
    assert abs(path_patching.measure(asked)["effect"].value[0, senders.index((0, 0))]) < 1e-3


def test_patching_nothing_changes_nothing_and_a_corruption_that_keeps_the_answer_is_refused():
    made = induction()
    prompts = made.draw(np.random.default_rng(4), 8)
    same = path_patching.Pairs(
        made.model.run, prompts.tokens, prompts.tokens, logit_difference(prompts.answers), [(1, 0)], ("total",)
    )
    with pytest.raises(ValueError, match="the corruption must change the metric"):
        path_patching.measure(same)


def test_the_inert_twin_has_the_pattern_and_not_the_effect():
    made = induction(match=6.0)
    prompts = made.draw(np.random.default_rng(5), 12)
    sites = [s for s in made.model.sites() if s.endswith(("pattern", "scores"))]
    readings = Readings(made.model.run(prompts.tokens, sites), periods=prompts.periods)
    found = finding(induction_score.measure(readings)["induction"])
    assert found.found[1, 0] and found.found[1, 1] and not found.found[0].any()
    asked, senders = pairs(made, np.random.default_rng(5), 12)
    assert path_patching.measure(asked)["effect"].value[0, senders.index((1, 1))] == 0


def test_recorded_sites_add_up_exactly():
    made = induction()
    prompts = made.draw(np.random.default_rng(6), 4)
    whole = made.model.run(prompts.tokens, made.model.sites())
    kept = {s: x for s, x in whole.items() if s.rpartition(".")[2] not in ("mid",)}
    readings = Readings(kept)
    assert all((each.p == 1).all() for each in component_sums.measure(readings).values())
    assert component_sums.logits_gap(readings, made.model.unembed) < 1e-14
