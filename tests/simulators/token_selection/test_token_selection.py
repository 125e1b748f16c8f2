"""Training on classes of sequences: the model against an explicit one, counts against their moments, limits, and the decoder alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from attnlab.simulators.token_selection.decoder import DecoderSetting, train_decoder
from attnlab.simulators.token_selection.model import Classes, NextToken, PairwiseLogits
from attnlab.simulators.token_selection.scan import ScanSetting, scan_flow
from attnlab.simulators.token_selection.sequences import (
    SequenceSetting,
    attended,
    sampled_attention,
    sequence_gradients,
)
from attnlab.simulators.token_selection.training import Setting, frequencies, train_tokens

SMALL = Setting(
    n_classes=4, classes_per_query=2, n_common=2, n_distinct=3, batch=0, n_steps=20, n_records=4, n_replicas=2
)


def classes_of(setting):
    return Classes(
        setting.n_classes, setting.classes_per_query, setting.n_common, setting.n_distinct, setting.vocabulary
    )


def test_ids_of_classes_share_common_tokens_and_queries_only():
    classes = classes_of(SMALL)
    support = classes.support.numpy()
    assert SMALL.vocabulary == 2 + 3 * 4 + 2 + 4 and classes.n_tokens == 14
    assert np.all(support[:, :2] == [0, 1]) and len(np.unique(support[:, 2:])) == 12
    assert classes.query.tolist() == [0, 0, 1, 1]


def test_the_loss_is_that_of_an_explicit_sequence():
    classes, rng = classes_of(SMALL), torch.Generator().manual_seed(3)
    model = PairwiseLogits(classes, 0.7)
    parameters = {
        "Z": torch.randn(1, 2, 14, generator=rng, dtype=torch.float64),
        "Y": torch.randn(1, 14, SMALL.vocabulary, generator=rng, dtype=torch.float64),
    }
    task = NextToken(classes, torch.full((5,), 0.2, dtype=torch.float64), 1, 6)
    numbers = torch.tensor([[3.0, 2, 0, 1, 0, 3]], dtype=torch.float64)  # class 3: its tokens are 0, 1, 11, 12, 13
    tokens = torch.tensor([0, 0, 11, 13, 13, 13])
    mixed = attended(tokens, 0.7 * parameters["Z"][0, 1])
    outputs = mixed / mixed.norm() @ parameters["Y"][0]
    assert task.loss(model, parameters, numbers).item() == pytest.approx(
        (outputs.logsumexp(0) - outputs[3]).item(), rel=1e-12
    )
    other = mixed @ parameters["Y"][0]  # twin: not normalised
    assert abs(task.loss(model, parameters, numbers).item() - (other.logsumexp(0) - other[3]).item()) > 1e-3


def test_counts_have_the_moments_of_the_multinomial():
    setting = replace(SMALL, n_classes=2, classes_per_query=1)
    p = torch.tensor([0.4, 0.3, 0.2, 0.07, 0.03], dtype=torch.float64)
    task, L, n = NextToken(classes_of(setting), p, 500, 40), 40, 20_000
    numbers = torch.empty(n // 500, task.numbers_per_step, dtype=torch.float64)
    task.fill(numbers, torch.Generator().manual_seed(0))
    drawn = numbers.view(n, -1)
    counts = drawn[:, 1:]
    assert torch.all(counts.sum(1) == L) and torch.all(counts >= 0)
    share = drawn[:, 0].mean().item()
    assert abs(share - 0.5) < 5 * 0.5 / n**0.5  # five standard errors here and below
    mean_error = (L * p * (1 - p) / n).sqrt()
    assert torch.all((counts.mean(0) - L * p).abs() < 5 * mean_error)
    variance = L * (torch.diag(p) - torch.outer(p, p))
    spread = torch.sqrt(2 * torch.outer(variance.diag(), variance.diag()) / n)  # a bound for near-normal counts
    assert torch.all((torch.cov(counts.T) - variance).abs() < 6 * spread)


def test_the_first_loss_is_that_of_uniform_guessing(seeds):
    runs = train_tokens(replace(SMALL, batch=16), seeds(2))
    assert runs["loss"][:, 0] == pytest.approx(np.log(SMALL.vocabulary), rel=1e-12)
    assert np.all(runs["diverged_at"] < 0) and runs["c"].shape == (2, len(runs["steps"][0]), 4, 5)


def test_two_rates_are_two_rates(seeds):
    """One step after the first, Z moves by eta_Z times its gradient: twice the rate, twice the way, whatever eta_Y does."""

    def way(eta_y, eta_z):
        runs = train_tokens(replace(SMALL, n_steps=2, decoder_rate=eta_y, attention_rate=eta_z), seeds(1))
        return runs["z"][0, -1]

    assert way(0.01, 0.02) == pytest.approx(2 * way(0.01, 0.01), rel=1e-10)
    assert way(0.02, 0.01) == pytest.approx(
        2 * way(0.01, 0.01), rel=0.05
    )  # the signal is linear in the first step of Y


def test_frozen_attention_stays_at_the_frequencies(seeds):
    runs = train_tokens(replace(SMALL, attention_rate=0.0), seeds(1))
    assert np.all(runs["z"] == 0) and runs["c"][0, -1] == pytest.approx(runs["profile"][0], rel=1e-12)
    assert runs["residual"][0, -1, 0] < runs["residual"][0, 0, 0]


def test_sampling_many_long_sequences_approaches_the_endless_mean(seeds):
    gaps = []
    endless = train_tokens(replace(SMALL, decoder_rate=2.0, attention_rate=2.0), seeds(1))["z"][0, -1]
    for length in (17, 257):
        runs = train_tokens(
            replace(SMALL, batch=64, decoder_rate=2.0, attention_rate=2.0, sequence_length=length, n_replicas=8),
            seeds(8),
        )
        gaps.append(np.abs(runs["z"][:, -1].mean(0) - endless).max())
    assert gaps[1] < gaps[0] / 3  # 1 / T would be 16, noise leaves less


def test_replicas_of_random_frequencies_differ_and_are_sorted(seeds):
    random = frequencies(replace(SMALL, profile="random"), seeds(3))
    assert (
        np.all(random[:, 0] == random[:, 1])
        and np.all(np.diff(random[..., 2:], axis=-1) > 0)
        and len(np.unique(random[:, 0, -1])) == 3
    )
    independent = frequencies(replace(SMALL, profile="independent"), seeds(3))
    assert not np.allclose(independent[:, 0], independent[:, 1]) and independent.sum(-1) == pytest.approx(
        np.ones((3, 4))
    )


def test_the_uniform_start_has_the_published_width(seeds):
    model = PairwiseLogits(classes_of(SMALL), 0.5, uniform=True)
    drawn = model.initialise([torch.Generator().manual_seed(1)], torch.float64)
    width = 1 / SMALL.vocabulary**0.5
    assert 0.9 * width < (0.5 * drawn["Z"]).abs().max() <= width and 0.9 * width < drawn["Y"].abs().max() <= width


def test_decoder_alone_agrees_with_training_on_frozen_attention(seeds):
    """Without common tokens inputs are orthonormal, and both simulators descend on the same loss."""
    whole = Setting(
        n_classes=3,
        n_common=0,
        n_distinct=2,
        batch=0,
        attention_rate=0.0,
        decoder_rate=0.8,
        n_steps=30,
        n_records=3,
        n_replicas=1,
    )
    alone = DecoderSetting(n_classes=3, vocabulary=whole.vocabulary, overlap=0.0, rate=0.8, n_steps=30, n_records=3)
    one, two = train_tokens(whole, seeds(1)), train_decoder(alone, seeds(1))
    assert one["residual"][0, -1] == pytest.approx(two["residual"][0, -1], rel=1e-12)
    assert two["gram"][0] == pytest.approx(np.eye(3))


def test_one_class_a_step_is_the_mean_over_classes_in_the_mean(seeds):
    setting = DecoderSetting(n_classes=4, vocabulary=50, overlap=0.0, rate=0.02, n_steps=200, n_records=2)
    mean, drawn = train_decoder(setting, seeds(1)), train_decoder(replace(setting, gradient="sampled"), seeds(64))
    # a class sees 50 visits of rate 0.02 with a relative spread of 1/8; 64 replicas of 4 classes leave 1/128
    assert drawn["residual"][:, -1].mean() == pytest.approx(mean["residual"][0, -1, 0], rel=5 / 128)


def test_the_scalar_flow_conserves_z_plus_exposure_and_converges_at_fourth_order(seeds):
    setting = ScanSetting(n_steps=100, n_records=4)
    one, two, three = (scan_flow(replace(setting, n_steps=n), seeds(4)) for n in (200, 400, 1600))
    assert one["z"] == pytest.approx(-one["exposure"], abs=1e-12) and np.all(one["exposure"][:, 0] == 0)
    first, second = (np.abs(run["exposure"][:, -1] - three["exposure"][:, -1]).max() for run in (one, two))
    assert second < first / 8


def test_sequences_are_attended_by_type(seeds):
    tokens, z = torch.tensor([0, 2, 2]), torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
    weights = np.array([1.0, 0.0, 2 * np.exp(2)])
    assert attended(tokens, z).numpy() == pytest.approx(weights / weights.sum())
    runs = sampled_attention(SequenceSetting(lengths=(8, 64), n_sequences=50, n_replicas=2), seeds(2))
    assert runs["mean_attention"].sum(-1) == pytest.approx(np.ones((2, 2))) and runs["worst_gap"].shape == (2, 2, 50)
    found = sequence_gradients(SequenceSetting(lengths=(16,), n_replicas=2), seeds(2))
    assert np.all(found["counts"].sum(1) == 16)
    assert found["z_velocity"].sum(1) == pytest.approx(np.zeros(2), abs=1e-12)  # rows of Z and Y keep their sums
    assert found["Y_velocity"].sum(2) == pytest.approx(np.zeros((2, 12)), abs=1e-12)


@pytest.mark.parametrize(
    "change, text",
    [
        ({"classes_per_query": 3}, "classes_per_query=3"),
        ({"profile": "random", "batch": 8}, "batch=8"),
        ({"profile": "even"}, "profile"),
        ({"start": "uniform", "attention_rate": 0.0}, "attention_rate"),
        ({"sequence_length": 1}, "sequence_length=1"),
        ({"optimiser": "adagrad"}, "optimiser"),
        ({"momentum": 1.0}, "momentum"),
    ],
)
def test_errors_name_the_field(change, text):
    with pytest.raises(ValueError, match=text):
        replace(SMALL, **change)


def test_the_decoder_rejects_overlaps_of_one_and_few_ids():
    with pytest.raises(ValueError, match="overlap"):
        DecoderSetting(overlap=0.9, spread=0.5)
    with pytest.raises(ValueError, match="vocabulary=5"):
        DecoderSetting(vocabulary=5)
