"""The paper module: coverage, and claims judged on planted runs whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab
from attnlab.papers.tian2023_scan_snap import decoder as decoder_claims
from attnlab.papers.tian2023_scan_snap import paper as common
from attnlab.papers.tian2023_scan_snap import snapping as snapping_claims
from attnlab.papers.tian2023_scan_snap import token as token_claims
from attnlab.simulators.token_selection.training import train_tokens
from attnlab.theory.token_selection import decoder

paper = load("tian2023_scan_snap")


@pytest.fixture(autouse=True)
def one_thread():
    """One torch thread, as in the lab's workers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def verdict(name, *runs, scale="desk"):
    claim = paper.claims[name]
    return claim.function(claim.setting.at(scale), PlantedLab(runs))


def logits(setting, distinct=1.0, common=-1.0, n=16):
    """Attention logits that rise or fall steadily, faster for more frequent tokens: ``(replica, record, class, local)``."""
    rng = np.random.default_rng(0)
    slope = np.concatenate([np.full(setting.n_common, common), distinct * np.linspace(0.1, 1, setting.n_distinct)])
    time = np.linspace(0, 0.3, 12)[:, None, None]
    return rng.uniform(0.9, 1.1, (n, 1, 1, 1)) * time * np.tile(slope, (setting.n_classes, 1))


@pytest.mark.parametrize(
    "changes, outcome", [({}, "HOLDS"), ({"distinct": -0.5}, "REFUTED"), ({"common": 0.5}, "REFUTED")]
)
def test_the_fate_of_tokens_is_read_off_every_logit(changes, outcome):
    ten, one = token_claims.POPULATION, replace(token_claims.POPULATION, n_common=1, classes_per_query=4)
    assert verdict("fate_of_tokens", {"z": logits(ten, **changes)}, {"z": logits(one, **changes)}).outcome == outcome


def test_frequency_bias_needs_the_order_of_frequencies():
    setting = token_claims.POPULATION
    z = logits(setting)
    P = np.concatenate([np.ones(10), np.linspace(0.1, 1, 10)])
    for sign, outcome in ((1, "HOLDS"), (-1, "REFUTED")):
        c = P * np.exp(sign * z)
        assert verdict("frequency_bias", {"z": sign * z, "c": c / c.sum(-1, keepdims=True)}).outcome == outcome


def gains(ratio, exponent, constant=0.4, n=16):
    """Runs in which the relative gain of the two most frequent tokens grows with an exponent, up to constant / ratio."""
    rng = np.random.default_rng(int(ratio))
    risen = rng.uniform(0.9, 1.1, n) * 2 / ratio
    f = np.ones((n, 2, 2, 20))
    start = 0.5
    end = start * np.exp(exponent * (1 - constant * rng.uniform(0.9, 1.1, n) / ratio) * risen)
    f[:, 0, :, -1], f[:, 1, :, -1] = np.sqrt(1 + start), np.sqrt(1 + end)[:, None]
    z = np.zeros((n, 2, 2, 20))
    z[:, 1, :, -1] = risen[:, None]
    return {"c": f, "z": z}


def test_the_relative_gain_has_exponent_two():
    for exponent, outcome in ((2, "HOLDS"), (1, "REFUTED")):
        assert verdict("relative_gain", *(gains(ratio, exponent) for ratio in token_claims.RATIOS)).outcome == outcome


def test_the_residual_runs_over_all_ids():
    setting = decoder_claims.WEAK
    steps = np.unique(np.geomspace(1, 1_000, 20).astype(int))
    for vocabulary, outcome in ((1000, "HOLDS"), (10, "REFUTED")):
        h = decoder.decoder_growth_exact(steps / setting.n_classes, vocabulary, setting.rate)
        left = decoder.residual_exact(h, vocabulary)[:, None] + 1e-4 * np.random.default_rng(0).normal(
            size=(16, len(steps), 10)
        )
        assert verdict("residual", {"steps": np.tile(steps, (16, 1)), "residual": left}).outcome == outcome


def test_the_mixture_sent_back_is_told_from_that_of_plain_descent():
    published, plain = (
        f(decoder_claims.OVERLAPPING) for f in (decoder_claims.foreign_predicted, decoder_claims.foreign_plain)
    )
    for ratio, outcomes in ((published, ("HOLDS", "HOLDS", "REFUTED")), (plain, ("REFUTED", "REFUTED", "HOLDS"))):
        g = np.tile(np.eye(10) + ratio * (1 - np.eye(10)), (8, 1, 1, 1))
        names = "backward_mixture", "backward_mixture_plain", "backward_mixture_corrected"
        assert tuple(verdict(name, {"coefficients": g}).outcome for name in names) == outcomes


def test_snap_times_that_ignore_the_ratio_are_refuted():
    setting = snapping_claims.TIMED
    profile = np.tile(np.concatenate([np.ones(10), np.linspace(0.1, 1, 10)]) / 15.5, (16, 2, 1))
    rng = np.random.default_rng(1)

    def run(time):
        steps = np.arange(401)
        rate = np.exp(-0.5 * ((steps[1:] - 0.5 - time * rng.uniform(0.999, 1.001, (16, 1))) / 40) ** 2)
        z = np.zeros((16, 401, 2, 20))
        z[..., -1] = np.concatenate([np.zeros((16, 1)), rate.cumsum(1)], axis=1)[..., None]
        return {"steps": np.tile(steps, (16, 1)), "z": z, "profile": profile}

    right = common.snap_time(setting, profile[0, 0])
    slow = common.snap_time(replace(setting, attention_rate=setting.decoder_rate / 1_000), profile[0, 0])
    for base, outcome in ((right, "HOLDS"), (slow, "REFUTED")):
        runs = [run(base), run(1.2 * base), *(run(base / factor) for factor in snapping_claims.FACTORS)]
        found = verdict("snap_time", *runs)
        assert found.outcome == outcome, found


def test_the_reduced_equations_are_what_training_does():
    setting = replace(
        common.SMALL, batch=0, n_steps=100, n_records=5, decoder_rate=0.4, attention_rate=0.4, n_replicas=1
    )
    runs = LiveLab().simulate(train_tokens, setting)
    path = snapping_claims.predicted(setting, runs["profile"][0, 0], runs["steps"][0])
    assert (
        np.abs(snapping_claims.observed(setting, runs)[0] - path).max() < 0.4 / 20
    )  # steps: the margin of the claim without 1 / T
    rival = snapping_claims.without_feedback(setting, runs["profile"][0, 0], runs["steps"][0])
    assert np.abs(rival - path).max() > 0.1


@pytest.mark.parametrize(
    "name", ["gradient", "discrete_steps", "scan_growth", "scan_growth_printed", "distinct_always_rise"]
)
def test_cheap_claims_come_out_as_declared(name):
    claim = paper.claims[name]
    assert claim.function(claim.setting.smoke, LiveLab()).outcome == claim.expected


def test_a_figure_has_the_same_bytes_when_it_is_drawn_again(tmp_path):
    figure, written = paper.figures["fig5"], []
    for name in ("first", "second"):
        plate = figure.function(replace(figure.setting.smoke, n_steps=200), LiveLab())
        written.append({path.name: path.read_bytes() for path in plate.save(tmp_path / name, "fig5")})
    assert written[0] == written[1] and len(written[0]) == 4


def test_scanning_on_with_an_undiminished_drive_ends_in_one_winner():
    c = np.array([[0.25, 0.25, 0.2, 0.3]])
    late = snapping_claims.scanned_on(c, np.array([1.0]), 2, 40.0)
    assert late[0, 3] / late[0, 2:].sum() > 0.99
    start = snapping_claims.scanned_on(c, np.array([1.0]), 2, 1e-9)
    assert start / start.sum() == pytest.approx(c)
