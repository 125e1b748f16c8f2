"""Normalisers: claims judged on planted runs of the truth and of errors of some per cent, and on spoilt live runs."""

import math
from dataclasses import replace

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab
from attnlab.theory.score_maps import clipped, signed, softpick
from attnlab.theory.score_maps import random_rows as theory

paper = load("normalisers")


def judged(name, lab, **changes):
    claim = paper.claims[name]
    return claim.judge(replace(claim.setting.desk, **changes), lab).outcome.value


def around(values, setting):
    x = np.asarray(values, dtype=float)
    return x * (1 + 1e-7 * np.random.default_rng(1).standard_normal((setting.n_replicas, *x.shape)))


def planted_rows(factor):
    def make(setting):
        n, gamma = setting.n_keys, -setting.cut / setting.n_keys
        laws = {name: [] for name in ("softmax", "softplus", "signed")}
        for name, values in laws.items():
            values += [theory.participation_law(name, theory.gaussian_scores(s), n).limit / n for s in setting.spreads]
        deficits = [theory.entropy_deficit_law("softplus", theory.gaussian_scores(s), n).limit for s in setting.spreads]
        found = {
            "softpick_sum": [softpick.row_sum(s) for s in setting.spreads],
            "softpick_zeros": [0.5] * 3,
            "relu_zeros": [0.5] * 3,
            "clipped_zeros": [clipped.zero_share(s, n, gamma) for s in setting.spreads],
            "clipped_sum": [clipped.kept_mass(s, n, gamma) for s in setting.spreads],
            "softplus_deficit": deficits,
            "signed_sum_square": [signed.participation(s) / n for s in setting.spreads],
            "standardised_square": [n * (1 + 1e-3 / s) ** -2 for s in setting.spreads],
            "relu_square": [n * s**2 / 2 for s in setting.spreads],
        } | {f"{name}_square": values for name, values in laws.items()}
        return {name: around(factor * np.array(values), setting) for name, values in found.items()}

    return PlantedLab(make)


ROWS = (
    "softpick_row_sum",
    "half_of_the_weights_vanish",
    "clipped_zero_share",
    "clipped_kept_mass",
    "softplus_is_flat",
    "signed_rows",
    "sizes_at_initialisation",
    "signs_cancel",
)


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.1, "REFUTED"), (0.9, "REFUTED")])
def test_rows(factor, outcome):
    for name in ROWS:
        assert judged(name, planted_rows(factor)) == outcome, name


def test_laws_of_many_keys_are_vacuous_at_wide_spreads_and_few_keys():
    assert judged("clipped_zero_share", planted_rows(1.0), spreads=(2.0,)) == "VACUOUS"
    assert judged("signed_rows", planted_rows(1.0), n_keys=8) == "VACUOUS"


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.12, "REFUTED")])
def test_lengths(factor, outcome):
    def make(setting):
        lost = [
            theory.entropy_deficit_law(
                "softplus", theory.cosine_scores(setting.dim, setting.constant * math.log(n)), n
            ).limit
            for n in setting.lengths
        ]
        return {"entropy": around(np.log(setting.lengths) - factor * np.array(lost), setting)}

    assert judged("entropy_of_length_scaled_rows", PlantedLab(make)) == outcome
    assert judged("length_scale_keeps_entropy", PlantedLab(make)) == "REFUTED"
    constant = PlantedLab(lambda setting: {"entropy": around([5.0] * 3, setting)})
    assert judged("length_scale_keeps_entropy", constant) == "HOLDS"


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.05, "REFUTED")])
def test_the_hull(factor, outcome):
    def make(setting):
        v = np.random.default_rng(0).standard_normal((setting.n_replicas, 50, setting.n_keys))
        given = v.max(-1), v.min(-1), v.var(-1)
        share = factor * theory.outside_hull_given_values_exact(*given, setting.n_keys).mean(1)
        noise = 1 + 1e-7 * np.random.default_rng(1).standard_normal(len(share))
        names = ("highest", "lowest", "mean_square")
        return {"standardised": share * noise, "softmax": 0 * share, **dict(zip(names, given, strict=True))}

    assert judged("standardised_leaves_the_hull", PlantedLab(make)) == outcome


EXACT = {
    "softmax_never_rests": "gap",
    "clipped_softmax_rests": "gap",
    "gates_rest_at_any_length": "gate",
    "score_gradients": "softpick",
    "one_pass_over_blocks": "forgetting_blocks",
    "standardised_rows_are_linear": "standardised",
    "rectified_rows_have_no_scale": "rectified",
    "forget_gates_are_a_bias": "gate_slope",
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", EXACT)
def test_live_runs_hold_and_fail_when_one_array_is_three_per_cent_off(name):
    spoil = lambda runs: {key: 1.03 * x if key == EXACT[name] else x for key, x in runs.items()}  # noqa: E731
    short = {"n_steps": 600} if "rests" in name and "gates" not in name else {}
    if name == "clipped_softmax_rests":
        short = {}
    assert judged(name, LiveLab(), **short) == "HOLDS"
    assert judged(name, LiveLab(spoil), **short) == "REFUTED"


def test_a_level_without_zero_that_does_no_harm_is_seen():
    assert judged("level_without_the_zero", LiveLab()) == "HOLDS"
    mended = LiveLab(lambda runs: runs | {"unclamped": runs["clamped"]})
    assert judged("level_without_the_zero", mended) == "REFUTED"


def test_the_bound_of_softpick_rows_is_searched():
    assert judged("softpick_rows_sum_to_at_most_one", PlantedLab({}), budget=2000) == "HOLDS"
