"""Recurrences, ranks, gates and recall where their outcome is known."""

from dataclasses import replace

import numpy as np
import pytest

from attnlab.simulators.recurrent_forms.forms import (
    MODELS,
    DecaySetting,
    FormSetting,
    RetentionSetting,
    TruncationSetting,
    decays,
    maps,
    retention,
    truncations,
)
from attnlab.simulators.recurrent_forms.ranks import RankSetting, ranks
from attnlab.simulators.recurrent_forms.recall import FORMS, RecallSetting, recall

SEEDS = np.random.SeedSequence(12).spawn(2)


@pytest.mark.parametrize("model", MODELS)
def test_steps_and_pairs_of_positions_give_the_same_causal_map(model):
    runs = maps(FormSetting(model, n_tokens=9), SEEDS, "cpu")
    assert runs["stepped"] == pytest.approx(runs["quadratic"], rel=1e-10, abs=1e-12)
    assert np.all(np.triu(runs["stepped"][0], 1) == 0)
    if model == "linear":
        assert runs["stepped"].sum(2) == pytest.approx(np.ones((2, 9)))


def test_one_query_for_all_makes_the_normaliser_increase():
    eta = maps(FormSetting(same_query=True), SEEDS, "cpu")["normaliser"]
    assert np.all(np.diff(eta, axis=1) > 0)
    assert np.any(np.diff(maps(FormSetting(), SEEDS, "cpu")["normaliser"], axis=1) < 0)


def test_monomials_have_the_truncated_exponential_as_their_product():
    runs = truncations(TruncationSetting(n_tokens=5, key_dim=2, orders=(1, 2, 40)), SEEDS, "cpu")
    s = runs["scores"]
    assert runs["kernel"][:, 0] == pytest.approx(1 + s) and runs["kernel"][:, 1] == pytest.approx(1 + s + s**2 / 2)
    assert runs["kernel"][:, 2] == pytest.approx(np.exp(s), rel=1e-9) and runs["error"][:, 2] == pytest.approx(
        0, abs=1e-9
    )
    assert list(runs["features"][0]) == [3, 6, 861]


def test_falling_normalisers_and_gates():
    setting = DecaySetting(n_features=1, first=2, last=4, n_rows=1000)
    assert np.all(np.abs(decays(setting, SEEDS, "cpu")["above"] - 0.4) < 0.1)
    runs = retention(RetentionSetting(n_steps=3, spread=1e-9, n_rows=10), SEEDS, "cpu")
    assert runs["standard"] == pytest.approx([1 / 8] * 2)
    assert runs["reversed"][0] == pytest.approx([2**-3.0, 2**-1.5, 2**-0.3])


@pytest.mark.parametrize(
    ("model", "rank", "block"), [("gated", 4, 1), ("linear", 12, 2), ("softmax", 20, 5), ("ssd", 7, 2)]
)
def test_ranks_of_small_models(model, rank, block):
    runs = ranks(RankSetting(model, n_past=5 if model == "softmax" else 9, n_future=12, n_state=2), SEEDS, "cpu")
    assert set(runs["block"]) == {block}
    assert set(runs["jacobian"]) == {10 if model == "linear" else rank}
    assert runs["last"].min() > 1e3 * max(runs["next"].max(), 1e-16)  # a gap, not a threshold


@pytest.mark.parametrize("form", FORMS)
def test_recall_starts_at_chance_and_training_helps(form):
    setting = RecallSetting(form, n_state=8, n_pairs=2, n_keys=8, n_steps=40, batch=64, n_test=400, rate=0.02)
    runs = recall(setting, SEEDS, "cpu")
    assert np.all(runs["start"] < 0.35) and np.all(runs["accuracy"] > 0.4)
    assert np.abs(runs["rescaled"] - runs["accuracy"]).max() <= 0.005
    again = recall(replace(setting), SEEDS[:1], "cpu")
    assert again["start"] == pytest.approx(runs["start"][:1])  # a replica does not depend on the others


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FormSetting("lstm"), "model='lstm' is unknown"),
        (lambda: RankSetting("lstm"), "model='lstm' is unknown"),
        (lambda: RecallSetting("cosine"), "form='cosine' is unknown"),
        (lambda: RecallSetting(n_pairs=40), "n_pairs=40 must be at most n_keys=32"),
        (lambda: DecaySetting(first=9, last=9), "last"),
    ],
)
def test_settings_that_cannot_be_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
