"""Laws of single members that the one test does not ask for, each against a closed form or a brute force."""

import itertools
from math import comb, log

import numpy as np
import pytest

from attnlab.analysis.instruments.circuits import head_overlap, lens
from attnlab.analysis.instruments.explanations import coulomb_fit
from attnlab.analysis.instruments.maps import contrast, distance, entropy, head_grid, induction_score, patterns
from attnlab.analysis.instruments.readings import maps
from attnlab.analysis.instruments.sinks import hidden_sinks, massive_activations, redistribution, sink_strength
from attnlab.analysis.instruments.worlds import causal_softmax, mixture

EPS = float(np.finfo(float).eps)


def uniform(n, causal=True):
    seen = np.tri(n) if causal else np.ones((n, n))
    a = np.broadcast_to(seen / seen.sum(-1, keepdims=True), (2, 1, 1, n, n))
    return maps(a.copy(), visible=None if causal else np.ones((1, 1, n, n), bool))


@pytest.mark.parametrize("n", [8, 65])
def test_uniform_heads_read_the_closed_forms(n):
    causal, full = uniform(n), uniform(n, causal=False)
    assert distance.measure(causal)["distance"].value[0, 0] == pytest.approx((n - 1) / 4, rel=1e-12)
    assert distance.measure(full)["distance"].value[0, 0] == pytest.approx((n * n - 1) / (3 * n), rel=1e-12)
    assert entropy.measure(causal)["entropy"].value[0, 0] == pytest.approx(
        sum(map(log, range(1, n + 1))) / n, rel=1e-12
    )
    assert entropy.measure(full)["evenness"].value[0, 0] == pytest.approx(1, rel=1e-12)
    harmonic = sum(1 / i for i in range(1, n + 1))
    sink = sink_strength.measure(causal)
    assert sink["alpha"].value[0, 0] == pytest.approx(harmonic / n, rel=1e-12)
    assert sink["last"].value[0, 0] == pytest.approx(1 / n, rel=1e-12)
    assert sink["without_self"].value[0, 0] == pytest.approx((harmonic - 1) / (n - 1), rel=1e-12)
    mass = patterns.measure(causal)["mass"]
    previous = (harmonic - 1) / (n - 1)  # over the rows that see a previous token
    assert mass.value[1, 0, 0] == pytest.approx(previous) and mass.null_mean[1, 0, 0] == pytest.approx(previous)


def test_a_sink_of_known_bonus_has_the_planted_weights():
    n, b = 64, 3.0
    s = np.zeros((2, 1, 1, n, n))
    s[..., 0] = b
    made = sink_strength.measure(maps(causal_softmax(s)))
    i = np.arange(1, n + 1)
    assert made["alpha"].value[0, 0] == pytest.approx(np.mean(np.exp(b) / (np.exp(b) + i - 1)), rel=1e-12)
    assert made["strength"].value[0, 0] == pytest.approx(b, rel=1e-12)


def test_entropy_of_a_mixture_is_its_law_and_zero_weights_count_nothing():
    made = entropy.measure(mixture(np.random.default_rng(0), np.full((2, 1, 1), 0.8), 4, (2, 1, 1, 128)))
    assert made["entropy"].value[0, 0] == pytest.approx(2.573494, abs=1e-6)  # h2(.8) + .8 ln 4 + .2 ln 124
    sharp = maps(np.broadcast_to(np.eye(6), (2, 1, 1, 6, 6)).copy())
    assert entropy.measure(sharp)["evenness"].value[0, 0] == 0


def test_the_published_penalty_punishes_early_rows_of_a_uniform_causal_head():
    n = 128
    readings = uniform(n)
    assert (entropy.penalty(readings, target=1.0) == 0).all()  # with ln(visible) as the target a uniform head is at it
    published = np.abs(np.log(np.arange(1, n + 1)) - 0.25 * np.log(n)) > 0.2 * np.log(n)
    assert published.mean() == pytest.approx(0.95, abs=0.01)
    for smooth in (False, True):
        h = np.log(np.arange(1, n + 1))
        off = np.abs(h - 0.5 * h)
        hinge = np.maximum(off - 0.2 * h, 0) if smooth else np.where(off > 0.2 * h, off, 0)
        assert entropy.penalty(readings, 0.5, 0.2, smooth)[0, 0, 0] == pytest.approx((hinge**2).sum(), rel=1e-12)


@pytest.mark.parametrize(("w", "want"), [(0.25, 0.7065), (0.5, 0.4361), (0.75, 0.1960), (0.9, 0.0730)])
def test_template_distances_are_the_closed_forms(w, want):
    n = 32
    a = np.broadcast_to(w * np.eye(n) + (1 - w) / n, (2, 1, 1, n, n)).copy()
    made = patterns.measure(maps(a, visible=np.ones((1, 1, n, n), bool)))
    assert made["distance"].value[0, 0, 0] == pytest.approx(want, abs=5e-5)
    assert made["contrast"].value[0, 0, 0] == pytest.approx(np.log(1 + w * n / (1 - w)), rel=1e-12)
    assert made["distance"].value.shape[0] == 4, "the next token is a template where no mask hides it"


def test_divergence_of_heads_is_zero_for_equal_and_ln_2_for_disjoint_ones():
    n = 8
    own, first = np.eye(n), np.zeros((n, n))
    first[:, 0] = 1
    a = np.stack([own, first, own])[None, None]
    matrix = patterns.js_matrix(maps(np.concatenate([a, a])))
    assert matrix[0, 2] == pytest.approx(0, abs=1e-15)
    assert matrix[0, 1] == pytest.approx(np.log(2) * (n - 1) / n, rel=1e-12) and np.allclose(matrix, matrix.T)


def test_labels_name_the_strongest_pattern_and_leave_random_heads_alone():
    rng = np.random.default_rng(3)
    s = rng.standard_normal((12, 1, 4, 24, 24))
    for head, at in enumerate((np.eye(24), np.eye(24, k=-1), np.arange(24) == 0)):
        s[:, :, head] += 4 * at
    readings = maps(causal_softmax(s))
    made = patterns.labels(patterns.measure(readings)["contrast"], patterns.templates_of(readings))
    assert made.tolist() == [["own", "previous", "first", ""]]


@pytest.mark.parametrize(("lam", "want"), [(1, 0.8509), (2, 1.9190), (4, 3.9586)])
def test_kernels_have_the_distance_of_the_infinite_line_where_rows_are_long(lam, want):
    assert distance.distance_of_kernel(2000, lam) == pytest.approx(want, rel=3e-3)
    here = distance.distance_of_kernel(40, lam)
    assert distance.equivalent_lam(here, 40) == pytest.approx(lam, rel=1e-9)
    assert distance.equivalent_lam(1e9, 40) == np.inf and distance.equivalent_lam(0.0, 40) == 0


def test_distance_on_a_grid():
    n = 14 * 14
    a = np.full((2, 1, 1, n, n), 1 / n)
    made = distance.measure(maps(a, visible=np.ones((1, 1, n, n), bool)), grid=(14, 14))["distance"]
    assert made.value[0, 0] == pytest.approx(0.5200 * 14, rel=1e-3) and made.unit == "patches"
    with pytest.raises(ValueError, match="195 cells"):
        distance.distances(196, (15, 13))


def test_repeats_repeat_and_one_fixed_period_is_refused():
    tokens, periods = induction_score.repeats(np.random.default_rng(0), 6, 61, 100)
    for row, period in zip(tokens, periods, strict=True):
        assert (row[period:] == row[:-period]).all() and 16 <= period <= 30
    with pytest.raises(ValueError, match="one fixed period"):
        induction_score.repeats(np.random.default_rng(0), 6, 61, 100, (20, 20))
    with pytest.raises(ValueError, match="every prompt has period 8"):
        induction_score.measure(maps(causal_softmax(np.zeros((3, 1, 1, 20, 20))), periods=np.full(3, 8)))


def test_block_means_hide_what_block_maxima_show():
    a = np.broadcast_to(np.eye(64), (2, 1, 1, 64, 64)).copy()
    made = head_grid.measure(maps(a), cells=4)
    assert made["block_max"].value[0, 0, 2, 2] == 1
    assert made["block_mean"].value[0, 0, 1, 0] == 0
    # of the 16 x 17/2 cells of a diagonal block that a causal query sees, 16 hold everything
    assert made["block_mean"].value[0, 0, 2, 2] == pytest.approx(16 / (16 * 17 / 2))
    assert head_grid.measure(maps(a[..., :63, :63]), cells=4)["block_max"].value.shape == (1, 1, 4, 4)


def test_two_hidden_sinks_are_found_exactly_and_none_in_noise():
    rng = np.random.default_rng(4)
    s = rng.standard_normal((1, 1, 50, 64, 64))
    s[..., [20, 40]] += 4
    found = [hidden_sinks.sink_columns(each) for each in hidden_sinks.column_means(s)[0, 0]]
    assert sum(each == [20, 40] for each in found) >= 45  # each column after them falls at 5 %
    assert all({20, 40} <= set(each) for each in found)


@pytest.mark.parametrize(("dim", "tau"), [(64, 6.10), (256, 6.81)])
def test_thresholds_of_massive_activations(dim, tau):
    x = np.abs(np.random.default_rng(5).standard_normal((20_000, dim)))
    measured = np.quantile(x.max(-1) / np.sqrt((x**2).mean(-1)), 0.999)
    found = massive_activations._gaussian_quantile(dim, 0.999)
    # density at the quantile q: .001 q, so the sd of the measured one is sqrt(.001/20000)/(.001 q), .055 at q = 4.06
    assert abs(found - measured) < 4 * (0.001 / 20_000) ** 0.5 / (0.001 * found)
    assert massive_activations.threshold(dim) == pytest.approx(tau, abs=0.01)
    assert massive_activations.threshold(4096) == 20.0, "the published threshold"
    with pytest.raises(ValueError, match="out of reach"):
        made = massive_activations._states(np.random.default_rng(0), None)
        massive_activations.measure(made, tau=20.0)


@pytest.mark.parametrize(("n", "a", "b"), [(6, 2, 3), (7, 5, 4), (5, 0, 3)])
def test_overlaps_have_the_law_of_all_sets(n, a, b):
    first = set(range(a))
    counts = np.zeros(min(a, b) + 1)
    for each in itertools.combinations(range(n), b):
        counts[len(first & set(each))] += 1
    assert np.allclose(head_overlap.overlap_law(n, a, b), counts / comb(n, b), atol=1e-13)


def test_pooled_overlaps_are_the_sheets_numbers():
    law = head_overlap.overlap_law(384, 27, 27)
    k = np.arange(28)
    assert law @ k == pytest.approx(1.898, abs=5e-4) and law @ k**2 - (law @ k) ** 2 == pytest.approx(1.645, abs=5e-4)
    assert 3e-24 < law[21:].sum() < 5e-24 and 1e-26 < law[22:].sum() < 4e-26
    for n, a, least in ((384, 27, 8), (144, 26, 12), (32, 6, 5)):
        assert head_overlap._smallest(head_overlap.overlap_law(n, a, a), 1e-3) == least


def test_the_depth_at_which_the_answer_shows():
    rng = np.random.default_rng(6)
    made = lens._world(rng, 0.0)
    states = made.states[:, :4].copy()
    states[np.arange(16), 2, 1 + made.answers] += 20
    states[np.arange(16), 3, 1 + made.answers] += 20
    read = lens.measure(lens.Depths(states, made.unembed, made.answers, made.norm))["probability"]
    assert lens.emergence(read) == 2 and read.null_mean[0] == pytest.approx(1 / 13)
    with pytest.raises(ValueError, match="answers must be"):
        lens.Depths(states, made.unembed, made.answers + 13)


@pytest.mark.parametrize("keep", [0.0, 0.4, 1.0])
def test_redistribution_keeps_rows_ratios_gains_and_the_output_law(keep):
    rng = np.random.default_rng(7)
    a = causal_softmax(rng.standard_normal((3, 2, 9, 9)))
    sinks = np.broadcast_to(np.isin(np.arange(9), [1, 4]), a.shape) & np.tri(9, dtype=bool)
    rows = np.arange(5, 9)
    new = redistribution.redistribute(a, sinks, keep)[..., rows, :]
    old, hit = a[..., rows, :], sinks[..., rows, :]
    assert np.allclose(new.sum(-1), 1, rtol=0, atol=8 * 9 * EPS)
    assert np.allclose(new[hit], keep * old[hit], rtol=1e-15)
    released, rest = (1 - keep) * (old * hit).sum(-1), (old * ~hit).sum(-1)
    assert np.allclose((new * ~hit).sum(-1) / rest, 1 + released / rest, rtol=1e-14)
    v = rng.standard_normal((9, 4))
    weight = (old * hit).sum(-1)[..., None]
    o_rest = (old * ~hit) @ v / rest[..., None]
    v_sink = (old * hit) @ v / weight
    assert np.allclose(new @ v - o_rest, keep * weight * (v_sink - o_rest), rtol=0, atol=1e-14)


def test_released_mass_goes_to_receivers_alone_and_needs_some_that_hold_mass():
    a = np.array([[0.5, 0.2, 0.2, 0.1]])
    sinks, receivers = np.array([[True, False, False, False]]), np.array([[False, True, False, False]])
    assert np.allclose(redistribution.redistribute(a, sinks, 0.6, receivers), [[0.3, 0.4, 0.2, 0.1]])
    with pytest.raises(ValueError, match="no receiver can take"):
        redistribution.redistribute(np.array([[1.0, 0.0]]), np.array([[True, False]]))
    with pytest.raises(ValueError, match="keep must lie"):
        redistribution.redistribute(a, sinks, 1.2)


def test_what_returns_to_the_first_token_is_its_share_of_the_rest():
    a = causal_softmax(np.random.default_rng(8).standard_normal((2, 1, 1, 12, 12)))
    at = 5
    made = redistribution.measure(maps(a), offset_column(at), keep=0.4)["back"].value
    rows = a[..., at:, :]
    moved = 0.6 * rows[..., at]
    want = (moved * rows[..., 0] / (1 - rows[..., at])).sum(-1) / moved.sum(-1)
    assert np.allclose(made, want, rtol=1e-12)


def offset_column(at):
    def targets(readings, group):
        made = np.zeros((1, group.length, group.length), bool)
        made[..., at] = True
        return made

    return targets


def test_the_fit_of_a_screened_power_is_exact_without_noise_and_has_the_stated_error():
    r = 1 + 4 * np.random.default_rng(9).random((40, 12))
    w = r**-2.0 * np.exp(-r)
    rows = coulomb_fit.Rows(np.broadcast_to(w / w.sum(-1, keepdims=True), (2, 1, 40, 12)).copy(), r)
    made = coulomb_fit.measure(rows)
    assert made["power"].value[0] == pytest.approx(2, rel=1e-10) and made["screening"].value[0] == pytest.approx(
        1, rel=1e-10
    )
    rng = np.random.default_rng(10)
    noisy = w * np.exp(0.1 * rng.standard_normal((400, 1, 40, 12)))
    values = coulomb_fit.measure(coulomb_fit.Rows(noisy, r))["power"].values
    assert values.std() == pytest.approx(coulomb_fit.fit_sd(r, 0.1)[0], rel=4 / 800**0.5)
    with pytest.raises(ValueError, match="at most two values"):
        coulomb_fit.measure(coulomb_fit.Rows(np.ones((2, 1, 3, 4)), np.tile([1.0, 1.0, 2.0, 2.0], (3, 1))))


@pytest.mark.parametrize(("sigma", "contrast_area", "raw_area"), [(0.3, 0.990, 0.826), (1.5, 0.678, 0.707)])
def test_dividing_maps_pays_below_break_even_only(sigma, contrast_area, raw_area):
    rng, shape = np.random.default_rng(11), (200, 4, 196)
    image = np.exp(rng.standard_normal(shape))
    marked = np.broadcast_to(np.arange(196) < 10, (200, 196)).copy()
    task, general = (image * np.exp(sigma * rng.standard_normal(shape)) for _ in range(2))
    task = np.where(marked[:, None], 4 * task, task)
    made = contrast.measure(contrast.TwoMaps(task, general, marked, 0.0))
    sd = ((196 + 1) / (12 * 10 * 186)) ** 0.5 / 800**0.5  # of the mean of 800 areas, under the null: an upper bound
    assert abs(made["area"].value.mean() - contrast_area) < 4 * sd + 5e-4
    assert abs(made["raw"].value.mean() - raw_area) < 4 * sd + 5e-4
    assert (made["gain"].value > 0).all() == (sigma < 1)
