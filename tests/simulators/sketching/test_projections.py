"""Sketches, small steps, spectra and counts where their outcome is known."""

import numpy as np
import pytest

from attnlab.simulators.sketching.projections import (
    CountSetting,
    SketchSetting,
    SpectrumSetting,
    StepSetting,
    counts,
    given,
    given_row,
    sketches,
    small_steps,
    spectra,
    tails,
    values_only,
)

SEEDS = np.random.SeedSequence(4).spawn(2)


def test_very_wide_projections_change_nothing():
    setting = SketchSetting(n_tokens=8, n_projected=40_000, n_values=2, n_draws=2)
    runs = sketches(setting, SEEDS, "cpu")
    assert runs["square"].max() < 0.01 and (runs["violated"] == 0).all() and runs["column"].shape == (2, 2)
    P, V = given(setting)
    assert P.sum(1) == pytest.approx(np.ones(8)) and V.shape == (8, 2)


def test_no_step_gives_a_random_number_and_misses_the_output():
    setting = StepSetting(n_tokens=4, n_projected=3, step=1e-12, n_draws=4000)
    runs = small_steps(setting, SEEDS, "cpu")
    _, y = given_row(setting)
    assert runs["variance"] == pytest.approx(np.full(2, y @ y), rel=0.1)
    assert (runs["error"] > 0.5).all()


def test_flat_scores_have_rank_one():
    runs = spectra(SpectrumSetting(16, (1e-9,)), SEEDS, "cpu")
    assert runs["stable_rank"] == pytest.approx(np.ones((2, 1)))
    left = tails(SpectrumSetting(16, (1e-9, 1.0)), SEEDS, "cpu")["tail"]
    assert left.shape == (2, 2, 5) and left[:, 0].max() < 1e-12 and left[..., -1] == pytest.approx(0, abs=1e-12)
    z = np.random.default_rng(SEEDS[0]).standard_normal((16, 16))
    P = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    s2 = np.linalg.svd(P, compute_uv=False) ** 2
    found = spectra(SpectrumSetting(16, (1.0,)), SEEDS[:1], "cpu")["stable_rank"][0, 0]
    assert found == pytest.approx(s2.sum() / s2[0])


def test_the_basis_of_the_values_is_enough_and_counts_are_whole():
    runs = values_only(SketchSetting(n_tokens=16, n_values=3), SEEDS[:1], "cpu")
    assert runs["output"] == pytest.approx(runs["exact"]) and runs["rank"].tolist() == [3]
    assert np.abs(runs["fewer"] - runs["exact"]).max() > 0.01
    found = counts(CountSetting(cells=((8, 2, 3, 4),)), SEEDS[:1], "cpu")
    assert found["projected"].tolist() == [[2 * 8 * 4 * 5]] and found["softmax"].tolist() == [[64 * 5]]
