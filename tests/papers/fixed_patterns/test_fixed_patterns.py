"""The claims on fixed patterns, judged on planted runs: the truth holds, the nearest rival does not."""

import math

import numpy as np
import pytest

from attnlab.papers.fixed_patterns.patterns import paths
from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import PlantedLab
from attnlab.theory.base_scores import dot_product
from attnlab.theory.fixed_patterns import (
    combiner,
    halo,
    hilo,
    layout_attention,
    lsg,
    multi_scale_windows,
    neighbourhood,
    retained,
    window_recurrence,
)

paper = load("fixed_patterns")


def judged(name, make):
    claim = paper.claims[name]
    return claim.function(claim.setting.desk, PlantedLab(make))


def rows(values, setting):
    return np.tile(np.asarray(values, float), (setting.n_replicas, 1))


def scattered(mean, spread, n, seed=0):
    z = np.random.default_rng(seed).normal(size=n)
    return mean + spread * (z - z.mean()) / z.std()


@pytest.mark.parametrize(("change", "holds"), [(0.0, True), (1e-9, False)])
def test_paths_and_spreads_are_judged_to_rounding(change, holds):
    def make(setting):
        half = setting.size // 2 * sum(setting.dilations)
        total = setting.size ** len(setting.dilations)
        std = neighbourhood.influence_std(setting.size, len(setting.dilations))
        influence = paths(setting.size, setting.dilations, half) / total
        return {"influence": rows(influence + change, setting), "std": np.full(setting.n_replicas, std + change)}

    assert judged("paths_of_stacks", make).holds is holds
    assert judged("influence_is_narrow", make).holds is holds


@pytest.mark.parametrize(("which", "holds"), [(None, True), ("mean", False), ("reach", False), ("mean_window", False)])
def test_scales_are_not_equal_windows(which, holds):
    def make(setting):
        w, L = setting.window, setting.n_layers
        mean, std = multi_scale_windows.influence_moments(w, L)
        law = {"mean": mean, "std": std, "reach": multi_scale_windows.reach(w, L)}
        law["mean_window"] = w * multi_scale_windows.mean_window_share()
        rival = {"mean": L * (w - 1) / 2, "reach": L * (w - 1), "mean_window": 15 / 16 * w}
        return {k: np.full(setting.n_replicas, rival[k] if k == which else x) for k, x in law.items()}

    assert judged("scales_reach_far_and_look_near", make).holds is holds


@pytest.mark.parametrize(("window", "holds"), [(False, True), (True, False)])
def test_halos_are_not_windows(window, holds):
    def make(setting):
        b, h = setting.block, setting.halo
        share = [float(r <= h) if window else halo.visible_share(r, b, h) for r in range(b + h + 1)]
        left = [halo.left_edge(layer, b, h) for layer in range(1, setting.n_layers + 1)]
        keys = np.full(setting.n_replicas, halo.overhead(b, h) ** 0.5)
        return {"share": rows(share, setting), "keys": keys, "left": rows(left, setting)}

    assert judged("halos_break_translation", make).holds is holds


@pytest.mark.parametrize(("heads", "holds"), [(2, True), (1, False)])
def test_strides_count_heads(heads, holds):
    def make(setting):
        keys = [lsg.keys_per_query(setting.block)] * len(setting.factors)
        seen = [lsg.seen_by_stride(f, heads) for f in setting.factors]
        return {"seen": rows(seen, setting), "keys": rows(keys, setting)}

    assert judged("strides_see_one_in_f", make).holds is holds


@pytest.mark.parametrize(("passed", "holds"), [(0.0, True), (0.01, False)])
def test_pools_pass_nothing_at_the_nyquist_frequency(passed, holds):
    def make(setting):
        gain = [hilo.box_filter(w, setting.window) for w in setting.frequencies]
        return {"gain": rows(gain, setting), "nyquist": rows([passed, 1.0], setting)}

    assert judged("pools_are_box_filters", make).holds is holds


@pytest.mark.parametrize(("more", "holds"), [(0, True), (1, False)])
def test_windows_keep_harmonic_ratios(more, holds):
    def make(setting):
        law = [retained.window_mass(w + more, setting.n_keys, setting.decay) for w in setting.windows]
        return {"mass": rows(law, setting)}

    assert judged("windows_of_power_laws", make).holds is holds


@pytest.mark.parametrize(("rival", "holds"), [(False, True), (True, False)])
def test_norms_and_windows_follow_their_laws(rival, holds):
    def kept(setting):
        f, s, d = setting.factor, setting.score_std, setting.dim
        g = lsg.kept_by_norm(f, 2**0.25 * s, d) if rival else lsg.kept_by_norm_limit(f, s, d)
        return {"kept": scattered(g, 0.004, setting.n_replicas)}

    def energy(setting):
        m = setting.cells
        law = dot_product.participation_exact(setting.score_std, m) - 1 / m
        return {"energy": scattered(law * (1 - 1 / m) if rival else law, 0.001, setting.n_replicas)}

    assert judged("norms_tell_little", kept).holds is holds
    assert judged("windows_pass_little", energy).holds is holds


@pytest.mark.parametrize(("more", "holds"), [(0, True), (1, False)])
def test_cells_and_regions_are_counted_exactly(more, holds):
    def cell(setting):
        law = window_recurrence.memory_rank_bound(setting.width)
        return {"across": np.full(setting.n_replicas, law + more)}

    def region(setting):
        n, s = setting.span * setting.n_regions, setting.span
        mass = [combiner.own_span_mass(n, s), combiner.own_span_mass(n, s), s / n]
        return {"own_mass": rows(mass, setting), "rank": np.full(setting.n_replicas, 1 + more)}

    assert judged("cells_pass_width_minus_two", cell).holds is holds
    assert judged("regions_count_as_one", region).holds is holds


@pytest.mark.parametrize(("rival", "holds"), [(False, True), (True, False)])
def test_shifts_and_shared_maps_follow_their_laws(rival, holds):
    def shift(setting):
        mean = combiner.largest_normal(setting.span - rival)[0]
        return {"slope": scattered(mean, 0.02, setting.n_replicas)}

    def second(setting):
        s, n = setting.score_std, setting.n_tokens
        law = s / math.sqrt(n) if rival else layout_attention.second_eigenvalue_limit(s, n)
        return {"second": scattered(law, 0.01 * law, setting.n_replicas)}

    assert judged("maxima_shift_regions", shift).holds is holds
    assert judged("shared_maps_forget", second).holds is holds


@pytest.mark.parametrize(("change", "holds"), [(0.0, True), (1e-9, False)])
def test_layouts_superpose_to_rounding(change, holds):
    def make(setting):
        parts = np.random.default_rng(0).normal(size=(setting.n_replicas, 12, 8))
        return {"parts": parts, "superposed": parts + change}

    assert judged("layout_maps_superpose", make).holds is holds
