"""HyperAttention: claims judged on live runs at smoke scale, and on the same runs spoilt."""

import math
from dataclasses import replace

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab
from attnlab.theory.hashing import sampling

paper = load("hyperattention")


def judged(name, lab, **changes):
    claim = paper.claims[name]
    return claim.judge(replace(claim.setting.smoke, **changes), lab).outcome.value


SPOILT = {
    "variance_of_a_sampled_row_sum": ("row", 0.8),
    "error_of_a_sampled_product": ("by_norm", 1.2),
    "copies_need_more_rows": ("error", 0.3),
    "causal_split": ("split", 1.001),
    "published_samples_suffice": ("diagonal", 30),
}


@pytest.mark.parametrize("name", SPOILT)
def test_live_runs_hold_and_fail_when_one_array_is_off(name):
    key, factor = SPOILT[name]
    assert judged(name, LiveLab()) == "HOLDS"
    assert judged(name, LiveLab(lambda runs: runs | {key: factor * runs[key]})) == "REFUTED"


def test_the_sheet_s_number_of_rows_fails_for_copies():
    assert judged("published_rows_suffice", LiveLab()) == "REFUTED"
    assert judged("published_rows_suffice", LiveLab(lambda runs: runs | {"error": 0.09 * runs["error"]})) == "HOLDS"


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.12, "REFUTED"), (0.88, "REFUTED")])
def test_hardness(factor, outcome):
    def make(setting):
        n, rng = setting.n_replicas, np.random.default_rng(0)
        noise = 1 + 1e-7 * rng.standard_normal((n, 3))
        excess = np.array([sampling.mean_column_weight_exact_limit(s**2, setting.dim) for s in setting.spreads]) - 1
        rate = np.array([(s / setting.dim**0.5) ** 0.5 for s in setting.spreads]) * np.ones((n, 1))
        ends = rate[..., None] * np.array([4.5, 1.2])
        law = np.exp(rate**2 * (ends[..., 0] ** 2 - ends[..., 1] ** 2) / 2)
        return {
            "mean": (1 + factor * excess) * noise,
            "sums": law ** (1 + (factor - 1) / 2) * noise,
            "queries": ends,
            "rate": rate,
        }

    for name in ("mean_column_weight", "row_sums_spread_by_length"):
        assert judged(name, PlantedLab(make)) == outcome, name


@pytest.mark.parametrize(("slope", "outcome"), [(-0.5, "HOLDS"), (-0.3, "REFUTED")])
def test_the_rate(slope, outcome):
    def make(setting):
        m = np.array(setting.numbers, dtype=float)
        return {
            "spectral": m**slope * (1 + 1e-7 * np.random.default_rng(0).standard_normal((setting.n_replicas, m.size)))
        }

    assert judged("error_falls_like_a_root", PlantedLab(make)) == outcome


@pytest.mark.parametrize(("bits", "outcome"), [(5.5, "HOLDS"), (8, "REFUTED"), (3, "REFUTED")])
def test_what_blocks_catch(bits, outcome):
    share = (1 - math.atan(0.3 / 0.95) / math.pi) ** bits

    def make(setting):
        return {"caught": share * (1 + 1e-5 * np.random.default_rng(0).standard_normal(setting.n_replicas))}

    assert judged("blocks_catch_by_few_bits", PlantedLab(make)) == outcome


def test_statements_without_simulation():
    assert judged("gray_codes_differ_by_one_bit", PlantedLab({})) == "HOLDS"
    assert judged("cost_is_linear", PlantedLab({})) == "HOLDS"
    assert judged("alpha_is_at_least_one", PlantedLab({}), budget=1000) == "HOLDS"
