"""Training and measures: what a known model scores, baselines, small runs, settings that cannot be."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from attnlab.simulators.ensemble.plan import equally_spaced_steps
from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.induction_heads.measures import draw_tests, progress
from attnlab.simulators.induction_heads.training import Setting, train
from attnlab.simulators.tasks.labelled_items import make_task, tables

TINY = Setting(
    dim=7,
    n_context=2,
    n_labels=4,
    n_classes=8,
    n_positions=7,
    n_novel=8,
    batch=8,
    n_steps=20,
    n_records=4,
    n_test=50,
    n_replicas=2,
)


@pytest.fixture
def tests_of(seeds):
    def make(setting, n_test, replicas=2):
        made = tables(
            generators(seeds(replicas), "tables"), setting.n_classes, setting.n_labels, setting.dim, torch.float64
        )
        return draw_tests(make_task(setting, **made), n_test, seeds(replicas), torch.float64), made

    return make


def test_a_head_by_hand_scores_one_and_a_guesser_scores_chance(tests_of):
    """2 000 sequences: a share has a standard error of at most 0.011."""
    tests, _ = tests_of(TINY, 2_000)
    test, N, L = tests["context"], TINY.n_context, TINY.n_labels
    T = 2 * N + 1
    first = torch.eye(T, dtype=torch.float64).roll(-1, 1).expand(2, 2_000, T, T)  # every token to the one before
    second = torch.zeros(2, 2_000, T, dtype=torch.float64)
    second[..., 1::2] = test.match.double()
    logits = 50.0 * torch.nn.functional.one_hot(test.label, L).double()
    found = progress(logits, first, second, test)
    for name in ("item_attention", "match_attention", "label_attention", "context_mass", "context_share"):
        assert (found[name] - 1).abs().max() < 1e-12, name
    assert found["test_loss"].abs().max() < 1e-12
    guess = 50.0 * torch.nn.functional.one_hot(test.context_labels[..., 0], L).double()  # always the first label
    found = progress(guess, first, second, test)
    assert (found["context_share"] - 1).abs().max() < 1e-12
    assert ((guess.argmax(-1) == test.label).double().mean(-1) - 1 / N).abs().max() < 5 * 0.012
    flat = progress(torch.zeros(2, 2_000, L, dtype=torch.float64), first, second, test)
    assert (flat["context_mass"] - N / L).abs().max() < 1e-12 and (flat["test_loss"] - np.log(L)).abs().max() < 1e-12


def test_repeated_labels_count_once(tests_of):
    setting = replace(TINY, burstiness=2)
    test = tests_of(setting, 20)[0]["context"]
    found = progress(
        torch.zeros(2, 20, 4, dtype=torch.float64), torch.zeros(2, 20, 5, 5), torch.ones(2, 20, 5) / 5, test
    )
    assert (found["context_mass"] - 1 / 4).abs().max() < 1e-12


def test_the_three_tests_are_of_their_kinds(tests_of):
    tests, made = tests_of(replace(TINY, within_class_noise=0.0), 500)
    for name, old in (("context", False), ("shifted", True), ("weights", True)):
        nearest = torch.cdist(tests[name].contents[0, :, -1], made["classes"][0])
        assert bool((nearest.amin(-1) < 1e-6).all()) is old
        classes, moved = nearest.argmin(-1), int(name == "shifted")
        assert not old or torch.equal((classes + moved) % 4, tests[name].label[0])
    assert tests["weights"].match.any(-1).double().mean() < 0.5  # 1 - (7/8)^2 = 0.23


def test_training_starts_at_the_baselines_and_records_what_it_says(seeds):
    found = train(replace(TINY, n_test=400), seeds(2), "cpu")
    assert found["steps"].tolist() == [[0, 5, 10, 15, 20]] * 2
    for name in ("accuracy_context", "accuracy_shifted", "accuracy_weights", "item_attention", "test_loss", "loss"):
        assert found[name].shape == (2, 5) and np.isfinite(found[name]).all(), name
    assert found["layer_1"].shape == (2, 2, 5, 5) and found["layer_2"].shape == (2, 2, 2, 5)
    assert np.abs(found["layer_1"].sum(-1) - 1).max() < 1e-5 and np.abs(found["layer_2"].sum(-1) - 1).max() < 1e-5
    assert (found["test_loss"][:, 0] > np.log(4) - 0.05).all()  # nothing is known: its entropy at least
    alone = train(replace(TINY, n_test=400), seeds(2)[1:], "cpu")
    assert np.allclose(alone["test_loss"][0], found["test_loss"][1], atol=1e-4)  # replicas do not see each other


def test_other_seeds_and_no_label_shift_give_other_numbers(seeds):
    one, other = train(TINY, seeds(2), "cpu"), train(TINY, seeds(4)[2:], "cpu")
    assert not np.allclose(one["test_loss"], other["test_loss"])


def test_steps_are_equally_spaced():
    assert equally_spaced_steps(10, 4) == (0, 2, 5, 8, 10) and equally_spaced_steps(3, 10) == (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_classes": 10}, "n_classes=10 is not a multiple"),
        ({"p_novel": 2.0}, "p_novel=2.0"),
        ({"n_steps": 0}, "n_steps=0"),
        ({"n_context": 5}, "needs as many labels"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
    ],
)
def test_impossible_settings_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **changes)
